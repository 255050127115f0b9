"""A real capture against the sandbox, hurt at random: no claim is ever false; in the end store and ledger are equal."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ragd.sandbox.client import SandboxThread
from ragd.sandbox.entities import Ledger
from ragd.store import Store
from ragd.store.completeness import Progress
from tests.processes import Place, Process, environment, furnish, stored_messages, truth, until
from tests.property.effort import effort
from tests.property.watcher import Watcher

SETTLING_SECONDS = 120.0
"""Reconnecting waits up to a minute, and what could not be read is tried again after a quarter of one."""

PICK = st.integers(0, 1_000_000)
HISTORY = "/channels/*/messages"


class CaptureMachine(RuleBasedStateMachine):
    """Every rule does something to Discord, to the connection or to the process, and waits for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []
        self._began = time.monotonic()
        self._open = contextlib.ExitStack()
        self.directory = Path(tempfile.mkdtemp(prefix="ragd-"))
        self._open.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.place: Place = furnish(self._open.enter_context(SandboxThread()))
        self.capture = Process("capture", environment(self.place.sandbox, self.directory))
        self._open.callback(self.capture.end)
        self.path = self.capture.settings.database_path
        self.watcher = Watcher(self.path, self.place.ledger)
        self._open.callback(self.watcher.end)
        self.channels = [self.place.channel_id]
        self.threads: list[int] = []
        self.ids: list[int] = []
        self.alive = self.network = True

    def teardown(self) -> None:
        """Also after a failure: then what happened, with times, and the end of capture's log."""
        try:
            if not self.watcher.finding:
                self.settle()
            self.nothing_false_was_ever_claimed()
        finally:
            self._open.close()

    def note(self, what: str) -> None:
        self.log.append(f"{time.monotonic() - self._began:7.2f} s  {what}")

    def story(self) -> str:
        return "\n".join([*self.log, "capture's log ends:", self.capture.tail()])

    @initialize(messages=st.integers(0, 250))
    def begin(self, messages: int) -> None:
        self._post(self.place.channel_id, messages)
        self.capture.start()

    # People

    def _place(self, pick: int) -> int:
        places = [*self.channels, *self.threads]
        return places[pick % len(places)]

    def _post(self, channel_id: int, count: int) -> None:
        self.note(f"{count} posts in {channel_id}")
        self.ids += self.place.control.post_many(
            channel_id, self.place.member_id, [f"{len(self.ids) + n}" for n in range(count)]
        )

    @rule(pick=PICK, count=st.sampled_from([1, 1, 2, 5, 130]))
    def post(self, pick: int, count: int) -> None:
        self._post(self._place(pick), count)

    @rule(picks=st.lists(PICK, min_size=1, max_size=3))
    def edit(self, picks: Sequence[int]) -> None:
        for message_id in self._existing(picks):
            self.note(f"edit {message_id}")
            self.place.control.edit(message_id, f"edited {len(self.log)}")

    @rule(picks=st.lists(PICK, min_size=1, max_size=3), newest=st.booleans())
    def delete(self, picks: Sequence[int], newest: bool) -> None:
        """Also the newest, at which a channel's last_message_id goes on to point."""
        for message_id in [*self._existing(picks), *([self.ids[-1]] if newest and self.ids else [])]:
            self.note(f"delete {message_id}")
            if message_id in self.ids:
                self.ids.remove(message_id)
                self.place.control.delete(message_id)

    @rule(pick=PICK)
    def delete_many(self, pick: int) -> None:
        """Up to a hundred, often all that a channel has."""
        channel = self._place(pick)
        victims = [one.id for one in self.place.ledger().messages.values() if one.channel_id == channel][-100:]
        self.note(f"{len(victims)} deletes in {channel}")
        gone = set(self.place.control.bulk_delete(channel, victims))
        self.ids = [one for one in self.ids if one not in gone]

    def _existing(self, picks: Sequence[int]) -> list[int]:
        return sorted({self.ids[pick % len(self.ids)] for pick in picks}) if self.ids else []

    @rule(count=st.integers(0, 3))
    @precondition(lambda self: len(self.threads) < 4)
    def make_thread(self, count: int) -> None:
        self.note("a new thread")
        self.threads.append(self.place.control.create_thread(self.place.channel_id, self.place.member_id, "thread"))
        self._post(self.threads[-1], count)

    @rule(pick=PICK)
    @precondition(lambda self: self.threads)
    def archive_thread(self, pick: int) -> None:
        thread = self.threads[pick % len(self.threads)]
        self.note(f"archive {thread}")
        self.place.control.archive_thread(thread)

    @rule()
    @precondition(lambda self: len(self.channels) < 3)
    def make_channel(self) -> None:
        self.note("a new channel")
        self.channels.append(self.place.control.create_channel(self.place.guild_id, f"channel {len(self.channels)}"))

    # The connection

    @rule(pick=PICK, count=st.integers(0, 4))
    def cut_and_resume(self, pick: int, count: int) -> None:
        self.note("cut")
        self.place.control.cut()
        self._post(self._place(pick), count)

    @rule(pick=PICK, count=st.integers(0, 4))
    def lose_the_session(self, pick: int, count: int) -> None:
        self.note("session expired, cut")
        self.place.control.expire_sessions()
        self.place.control.cut()
        self._post(self._place(pick), count)

    @rule(how=st.sampled_from(["reconnect", "invalid, resumable", "invalid"]))
    def disturb(self, how: str) -> None:
        self.note(how)
        if how == "reconnect":
            self.place.control.reconnect()
        else:
            self.place.control.invalidate(resumable=how != "invalid")

    @rule(status=st.sampled_from([500, 502, 503, None]), times=st.integers(1, 2))
    def fail_pages(self, status: int | None, times: int) -> None:
        self.note(f"{times} pages fail: {status or 'reset'}")
        self.place.control.rest_fault(status=status, reset=status is None, pattern=HISTORY, times=times)

    @rule()
    def slow_pages(self) -> None:
        """Time for something to happen between a page's being asked for and its coming."""
        self.note("4 pages are slow")
        self.place.control.rest_fault(delay_seconds=0.3, pattern=HISTORY, times=4)

    @rule(up=st.booleans())
    def switch_network(self, up: bool) -> None:
        self.note(f"network {'up' if up else 'down'}")
        self.network = up
        self.place.control.network(up=up)

    # The process

    @rule()
    @precondition(lambda self: self.alive)
    def kill(self) -> None:
        self.note("SIGKILL")
        self.capture.kill()
        self.alive = False

    @rule()
    @precondition(lambda self: self.alive)
    def stop(self) -> None:
        """A stop may also come before the process can handle it; what counts is that it ends."""
        self.note("SIGTERM")
        self.capture.stop()
        self.alive = False

    @rule()
    @precondition(lambda self: not self.alive)
    def start(self) -> None:
        self.note("start")
        self.capture.start()
        self.alive = True

    # What must hold

    @invariant()
    def nothing_false_was_ever_claimed(self) -> None:
        assert not self.watcher.finding, f"{self.watcher.finding}\n{self.story()}"

    @invariant()
    def capture_lives_unless_it_was_ended(self) -> None:
        if self.alive and self.log:
            assert self.capture._process is None or self.capture.process.poll() is None, self.story()

    @rule()
    def settle(self) -> None:
        """Make the world whole, and wait until store and ledger are equal and nothing is missing."""
        self.note("settle")
        self.place.control.clear_faults()
        self.network = True
        if not self.alive:
            self.start()
        ledger = self.place.ledger()
        try:
            until(lambda: self._equal(ledger), "store and ledger are equal", SETTLING_SECONDS)
        except AssertionError as error:
            error.add_note(self.story())
            raise
        assert self._tombstones() <= ledger.deleted
        self.note(f"settled, {self.watcher.looks} looks")

    def _equal(self, ledger: Ledger) -> bool:
        self.nothing_false_was_ever_claimed()
        self.capture_lives_unless_it_was_ended()
        if not self.path.exists() or not self.capture.counter("connected"):
            return False
        return stored_messages(self.path) == truth(ledger) and self._progress().complete

    def _progress(self) -> Progress:
        with contextlib.closing(Store.open_read_only(self.path)) as store:
            return store.completeness.progress()

    def _tombstones(self) -> set[int]:
        with contextlib.closing(Store.open_read_only(self.path)) as store:
            return {row[0] for row in store._all("SELECT id FROM message WHERE deleted")}


CaptureMachine.TestCase.settings = effort(examples=4, steps=18)
TestCaptureProcess = CaptureMachine.TestCase
