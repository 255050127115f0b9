"""Ingest and CoverageStore against a model: whatever happens in whatever order, no claim is false, all ends equal."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ragd.store import Store
from ragd.store.events import ChannelGone, Event, PageRead
from tests.property.discord import CATEGORY, GUILD, TEXT, THREAD, Channel, FakeDiscord
from tests.property.effort import effort

PICK = st.integers(0, 1_000_000)


class CaptureMachine(RuleBasedStateMachine):
    """capture without its processes: what it is told waits in a queue, is committed in batches, and dies with it."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store.open(Path(":memory:"))
        self.ingest = self.store.ingest()
        self.discord = FakeDiscord()
        self.in_flight: list[Event] = []
        """Answers of REST, read from Discord and not yet in the queue."""
        self.announced = False

    def teardown(self) -> None:
        self.settle()
        self.store.close()

    @initialize()
    def begin(self) -> None:
        self.discord.make(CATEGORY, TEXT)
        self.connect(announce=True)

    def channel(self, pick: int) -> Channel | None:
        channels = list(self.discord.channels.values())
        return channels[pick % len(channels)] if channels else None

    # What people do

    @rule(pick=PICK, skips=st.lists(st.integers(1, 3), min_size=1, max_size=6))
    def post(self, pick: int, skips: list[int]) -> None:
        if channel := self.channel(pick):
            for skip in skips:
                self.discord.post(channel, skip)

    @rule(pick=PICK, which=PICK)
    def edit(self, pick: int, which: int) -> None:
        if (channel := self.channel(pick)) and channel.messages:
            self.discord.edit(channel, sorted(channel.messages)[which % len(channel.messages)])

    @rule(pick=PICK, share=st.integers(1, 3))
    def delete(self, pick: int, share: int) -> None:
        if (channel := self.channel(pick)) and (victims := sorted(channel.messages)[::-share]):
            self.discord.delete(channel, victims[:4])

    @rule(pick=PICK, thread=st.booleans())
    @precondition(lambda self: len(self.discord.channels) < 5)
    def make_channel(self, pick: int, thread: bool) -> None:
        parent = self.channel(pick)
        if thread and parent and parent.type == TEXT:
            self.discord.make(parent.id, THREAD)
        else:
            self.discord.make(CATEGORY, TEXT)

    @rule(pick=PICK)
    def remove_channel(self, pick: int) -> None:
        if channel := self.channel(pick):
            self.discord.remove(channel.id)

    @rule()
    def remove_category(self) -> None:
        self.discord.remove_category()

    @rule(pick=PICK)
    def hide_or_show(self, pick: int) -> None:
        if channel := self.channel(pick):
            self.discord.show(channel, not channel.readable)

    # What capture does

    @rule()
    @precondition(lambda self: self.discord.connected)
    def lose_the_session(self) -> None:
        self.discord.connected = self.announced = False

    @rule(announce=st.booleans())
    @precondition(lambda self: not self.discord.connected)
    def connect(self, announce: bool) -> None:
        self.discord.ready()
        if announce:
            self.announce()

    @rule()
    @precondition(lambda self: self.discord.connected and not self.announced)
    def announce(self) -> None:
        self.discord.announce()
        self.announced = True

    @rule(pick=PICK)
    def ask_for_a_page(self, pick: int) -> None:
        if holes := self.store.coverage.holes():
            hole = holes[pick % len(holes)]
            self._ask(hole.channel_id, hole.start_id, hole.end_id)

    @rule(pick=PICK, back=st.integers(0, 9))
    def read_again(self, pick: int, back: int) -> None:
        if (channel := self.channel(pick)) and channel.last_id:
            self._ask(channel.id, max(1, channel.last_id - back), channel.last_id)

    def _ask(self, channel_id: int, start_id: int, end_id: int) -> None:
        if (answer := self.discord.page(channel_id, start_id, end_id)) is not None:
            self.in_flight.append(answer)

    @rule(pick=PICK)
    @precondition(lambda self: self.in_flight)
    def get_a_page(self, pick: int) -> None:
        self.discord.told.append(self.in_flight.pop(pick % len(self.in_flight)))

    @rule(pick=PICK, length=st.integers(0, 9))
    def import_a_file(self, pick: int, length: int) -> None:
        """A true file: the messages of a stretch as they are, and the word that there are no others."""
        channel = self.channel(pick)
        if channel is None or not channel.last_id or channel.id not in self._known():
            return
        first, last = max(1, channel.last_id - length), channel.last_id
        rows = [channel.message(one) for one in channel.messages if first <= one <= last]
        with self.store._transaction():
            for row in rows:
                self.store._execute(
                    "INSERT OR IGNORE INTO message (id, guild_id, channel_id, content, edited_at, source, received_at,"
                    " change) VALUES (?, ?, ?, ?, ?, 'import', 0, -?)",
                    *(row.id, GUILD, channel.id, row.content, row.edited_at, row.id),
                )
            self.store.coverage.add_interval(channel.id, first, last, "import")

    def _known(self) -> set[int]:
        return {row[0] for row in self.store._all("SELECT id FROM channel WHERE NOT deleted")}

    @rule(count=st.integers(1, 12))
    @precondition(lambda self: self.discord.told)
    def commit(self, count: int) -> None:
        self.ingest.apply(self.discord.told[:count])
        del self.discord.told[:count]

    @rule()
    @precondition(lambda self: self.discord.told)
    def commit_all(self) -> None:
        self.ingest.apply(self.discord.told)
        self.discord.told.clear()

    @rule(back=st.booleans())
    def crash(self, back: bool) -> None:
        """SIGKILL: the queue, the answers on their way and the knowledge of what is live are lost."""
        self.discord.told.clear()
        self.in_flight.clear()
        self.discord.connected = self.announced = False
        self.ingest = self.store.ingest()
        if back:
            self.connect(announce=True)

    # What must hold at every moment

    @invariant()
    def no_claim_is_false(self) -> None:
        stored = {row[0] for row in self.store._all("SELECT id FROM message WHERE NOT deleted")}
        for channel in self.discord.channels.values():
            for first, last in self.store.coverage.intervals(channel.id):
                missing = [one for one in channel.messages if first <= one <= last and one not in stored]
                assert not missing, f"{first}..{last} of {channel.id} is claimed, {missing} are missing"

    @invariant()
    def tombstones_are_of_what_is_gone(self) -> None:
        tombstones = {row[0] for row in self.store._all("SELECT id FROM message WHERE deleted")}
        existing = {one for channel in self.discord.channels.values() for one in channel.messages}
        assert not tombstones & existing

    @invariant()
    def nothing_is_left_of_channels_that_are_known_to_be_gone(self) -> None:
        left = self.store._all(
            "SELECT id FROM message WHERE NOT deleted AND channel_id IN (SELECT id FROM channel WHERE deleted)"
        )
        claimed = self.store._all("SELECT * FROM coverage WHERE channel_id IN (SELECT id FROM channel WHERE deleted)")
        assert (left, claimed) == ([], [])

    @invariant()
    def proofs_are_disjoint(self) -> None:
        for channel_id in self.discord.channels:
            for one, other in pairwise(self.store.coverage.proofs(channel_id)):
                assert one.end_id < other.start_id
                assert one.end_id + 1 < other.start_id or one.source != other.source

    # How it ends

    def settle(self) -> None:
        """Connect anew, fill every hole, read everything again: then all is equal, and live goes on without a hole."""
        self.in_flight.clear()
        self.commit_all()
        self.discord.ready()
        self.discord.announce()
        self.announced = True
        self.commit_all()
        for _ in range(1000):
            holes = self.store.coverage.holes()
            if not holes:
                break
            self._answer(
                self.discord.page(holes[0].channel_id, holes[0].start_id, holes[0].end_id), holes[0].channel_id
            )
        assert self.store.coverage.holes() == []
        for channel in list(self.discord.channels.values()):
            self._reread(channel)
        self.assert_equal()
        assert self.store.completeness.progress().complete

    def _answer(self, answer: Event | None, channel_id: int) -> None:
        assert answer is not None, "a channel that cannot be read has no hole to fill"
        self.ingest.apply([answer])

    def _reread(self, channel: Channel) -> None:
        end_id = channel.last_id
        while end_id >= 1 and channel.readable:
            page = self.discord.page(channel.id, 1, end_id)
            assert isinstance(page, PageRead)
            self.ingest.apply([page])
            end_id = page.start_id - 1

    def assert_equal(self) -> None:
        rows = self.store._all("SELECT channel_id, id, content FROM message WHERE NOT deleted")
        for channel in self.discord.channels.values():
            if channel.readable:
                stored = {row[1]: row[2] for row in rows if row[0] == channel.id}
                assert stored == {one: content for one, (content, _) in channel.messages.items()}

    @rule(pick=PICK)
    @precondition(lambda self: self.announced)
    def live_goes_on_without_a_hole(self, pick: int) -> None:
        self.settle()
        if (channel := self.channel(pick)) and channel.readable:
            for _ in range(3):
                self.discord.post(channel, 2)
            self.commit_all()
            assert self.store.coverage.holes() == []


CaptureMachine.TestCase.settings = effort(examples=150, steps=80)
TestCapture = CaptureMachine.TestCase


def test_the_channels_of_a_deleted_category_stay() -> None:
    """At Discord they do, whatever order the gateway tells it in."""
    machine = CaptureMachine()
    machine.begin()
    machine.post(0, [1, 1])
    machine.commit_all()
    machine.remove_category()
    machine.discord.told.pop()
    machine.commit_all()
    machine.assert_equal()
    machine.teardown()


def test_a_page_that_comes_after_its_channel_went_is_nothing() -> None:
    machine = CaptureMachine()
    machine.begin()
    machine.crash(back=False)
    machine.post(0, [1, 1])
    machine.connect(announce=True)
    machine.commit_all()
    machine.ask_for_a_page(0)
    machine.remove_channel(0)
    assert isinstance(machine.discord.told[-1], ChannelGone)
    machine.get_a_page(0)
    machine.commit_all()
    machine.nothing_is_left_of_channels_that_are_known_to_be_gone()
    machine.teardown()


def test_what_was_posted_between_two_sessions_is_a_hole_whatever_comes_live_after_it() -> None:
    machine = CaptureMachine()
    machine.begin()
    machine.post(0, [1])
    machine.commit_all()
    machine.lose_the_session()
    machine.post(0, [1])
    machine.connect(announce=True)
    machine.post(0, [1])
    machine.commit_all()
    machine.no_claim_is_false()
    assert len(machine.store.coverage.holes()) == 1
    machine.teardown()
