"""A million messages of history over REST: how long, in how much memory, killed in the middle, with live messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.stage import Poster, SandboxProcess, outside, posted_at, sandbox, variables, workspace
from benchmarks.tables import Table, number, p50_p99
from ragd.errors import RagdError
from ragd.store import Store
from tests.processes import Process, until

FULL: dict[str, Any] = {"channels": 10, "messages": 100_000}
QUICK: dict[str, Any] = {"channels": 4, "messages": 2_500}

PROMISE_MB = 250
LONGEST_SECONDS = 1_500.0
CHECKPOINT_SECONDS = 2.0
LIVE_A_SECOND = 5
POLL_SECONDS = 0.002


def run(channels: int, messages: int) -> list[Table]:
    """One run: half of it, SIGKILL, the other half with live messages."""
    total = channels * messages
    with sandbox(history=(channels, messages)) as server, workspace() as directory:
        # nothing is read again on purpose, so that what is read twice can be counted
        environ = variables(server, directory, RAGD_RECONCILE_HOURS="0")
        first = read(Process("capture", environ), total // 2, kill=True)
        with checkpointed(first.path) as store:
            had = stored(store)
        with LiveMessages(server, first.path) as live:
            second = read(Process("capture", environ), total, kill=False)
        with outside(first.path) as store:
            again = had + second.fetched - stored(store)
    return [_table(channels, messages, had, again, first, second, live)]


def _table(
    channels: int, messages: int, had: int, again: int, first: Reading, second: Reading, live: LiveMessages
) -> Table:
    total, seconds = channels * messages, first.seconds + second.seconds
    table = Table("A long backfill", ["", "measured"])
    table.add("messages", f"{total:,}")
    table.add("minutes", number(seconds / 60))
    table.add("messages/s", number(total / seconds))
    table.add("pages/s", number(total / 100 / seconds))
    table.add("messages/CPU s of capture", number(total / (first.cpu_seconds + second.cpu_seconds)))
    table.add("peak memory of capture, MB", f"{number(max(first.peak_mb, second.peak_mb))} (limit {PROMISE_MB})")
    table.add("stored when killed", f"{had:,}")
    table.add("read again after that", f"{again:,}")
    half, most = p50_p99(live.delays_ms)
    table.add("live message to durable meanwhile, p50 / p99 ms", f"{number(half)} / {number(most)}")
    table.notes.append(
        f"{channels} channels of {messages:,}, without rate limits; SIGKILL at half, restarted at once. Times from the"
        " start of each process to its last commit. The log is checkpointed as the syncer would, every"
        f" {CHECKPOINT_SECONDS:g} s. {len(live.delays_ms):,} live messages, {LIVE_A_SECOND} a second, in the second"
        " half."
    )
    return table


@dataclass
class Reading:
    """What one process did."""

    path: Path
    seconds: float
    cpu_seconds: float
    peak_mb: float
    fetched: int
    """Messages in pages that it committed."""


def read(capture: Process, upto: int, *, kill: bool) -> Reading:
    """Start capture and wait until so many messages of history are stored."""
    path, began = capture.settings.database_path, time.monotonic()
    capture.start()
    try:
        until(lambda: capture.beat(), capture.tail())
        with checkpointed(path) as store:
            await_stored(store, upto, capture)
            seconds = time.monotonic() - began
            if not kill:
                until(lambda: capture.counter("holes") == 0 and capture.counter("resyncs"), capture.tail())
            times, fetched = psutil.Process(capture.process.pid).cpu_times(), int(capture.counter("backfilled") or 0)
            return Reading(path, seconds, times.user + times.system, peak_mb(capture), fetched)
    finally:
        capture.end()


def await_stored(store: Store, wanted: int, capture: Process) -> None:
    """Wait for history. Raises RagdError if capture ends or takes too long."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while (found := stored(store)) < wanted:
        if capture.process.poll() is not None or time.monotonic() > deadline:
            raise RagdError(f"{found:,} of {wanted:,} messages:\n{capture.tail()}")
        time.sleep(0.2)


def stored(store: Store) -> int:
    """Messages that came over REST, the few of the live channel that it had before capture was there among them."""
    return int(store._one("SELECT count(*) FROM message WHERE source = 'rest'")[0])


def peak_mb(process: Process) -> float:
    """The most that was ever resident (VmHWM), MB."""
    lines = Path(f"/proc/{process.process.pid}/status").read_text().splitlines()
    (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(peak) * 1024 / 1e6


@contextmanager
def checkpointed(path: Path) -> Iterator[Store]:
    """The store from outside, its log emptied now and then: the syncer's task, which does not run here."""
    ended = threading.Event()

    def empty() -> None:
        writer = Store.open(path)
        while not ended.wait(CHECKPOINT_SECONDS):
            writer.checkpoint(1.0)
        writer.close()

    thread = threading.Thread(target=empty)
    thread.start()
    try:
        with outside(path) as store:
            yield store
    finally:
        ended.set()
        thread.join()


@dataclass
class LiveMessages:
    """Posts into a quiet channel while history is read, and takes the time until each is durable."""

    server: SandboxProcess
    path: Path
    delays_ms: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> LiveMessages:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        world = self.server.control.world()
        (channel,) = [int(one["id"]) for one in world["channels"] if one.get("name") == "live"]
        author = int(next(one["id"] for one in world["users"] if not one.get("bot")))
        poster = Poster(self.server)
        with outside(self.path) as store:
            self._first(store, poster, channel, author)
            while not self._ended.wait(1 / LIVE_A_SECOND):
                message_id = poster.post(channel, author, "live")
                if self._seen(store, message_id):
                    self.delays_ms.append((time.time() - posted_at(message_id)) * 1000)
        poster.close()

    def _first(self, store: Store, poster: Poster, channel: int, author: int) -> None:
        """Wait until capture listens: what was posted before came, or will come, over REST."""
        while not self._ended.wait(0.5):
            poster.post(channel, author, "is anybody there")
            if store._all("SELECT 1 FROM message WHERE channel_id = ? AND source = 'gateway'", channel):
                return

    def _seen(self, store: Store, message_id: int) -> bool:
        while not store._all("SELECT 1 FROM message WHERE id = ?", message_id):
            if self._ended.wait(POLL_SECONDS):
                return False
        return True
