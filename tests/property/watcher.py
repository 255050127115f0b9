"""Looks at capture's database all the time, as anybody might, and compares what it claims with what Discord has."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from ragd.errors import RagdError
from ragd.sandbox.entities import Ledger
from ragd.store import Store
from ragd.store.coverage import Interval
from ragd.store.migrations import MIGRATIONS

PAUSE_SECONDS = 0.05


class Watcher:
    """Finds claims that are false at the moment they stand in the database; the first one ends the watch.

    Ids only grow, so whatever exists with an id inside a claimed interval existed when the claim was made: no claim
    needs time to become true. The ledger is taken after the look, so what is deleted meanwhile is not held against it.
    """

    def __init__(self, path: Path, ledger: Callable[[], Ledger]) -> None:
        self._path = path
        self._ledger = ledger
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher")
        self.looks = 0
        self.finding = ""
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.is_set() and not self.finding:
            try:
                self.finding = self.look() if self._path.exists() else ""
            except Exception as error:  # noqa: BLE001 - a look that fails must not pass for one that found nothing
                self.finding = f"cannot look: {error!r}"
            self._ended.wait(PAUSE_SECONDS)

    def look(self) -> str:
        """What is wrong now, or nothing."""
        try:
            intervals, stored, tombstones = _snapshot(self._path)
        except RagdError as error:
            return "" if not error.permanent else f"the database cannot be read: {error}"
        self.looks += 1
        ledger = self._ledger()
        missing = [
            entry.id
            for entry in ledger.messages.values()
            if entry.id not in stored and _claimed(intervals.get(entry.channel_id, []), entry.id)
        ]
        if missing:
            return f"claimed as complete, but missing: {sorted(missing)[:5]} of {len(missing)}"
        if buried := tombstones & ledger.messages.keys():
            return f"a tombstone in the store, alive at Discord: {sorted(buried)[:5]}"
        return ""


def _claimed(intervals: list[Interval], message_id: int) -> bool:
    return any(first <= message_id <= last for first, last in intervals)


def _snapshot(path: Path) -> tuple[dict[int, list[Interval]], set[int], set[int]]:
    """Intervals by channel, ids of messages, ids of tombstones, all of one moment."""
    store = Store.open_read_only(path)
    try:
        with store._snapshot():
            if not store._all("SELECT 1 FROM sqlite_schema WHERE name = 'migration'"):
                return {}, set(), set()
            if not store._all("SELECT 1 FROM migration WHERE number = ?", MIGRATIONS[-1].number):
                return {}, set(), set()
            rows = store._all("SELECT channel_id, start_id, end_id FROM coverage")
            messages = store._all("SELECT id, deleted FROM message")
    finally:
        store.close()
    intervals: dict[int, list[Interval]] = {}
    for channel_id, first, last in rows:
        intervals.setdefault(channel_id, []).append((first, last))
    return intervals, {row[0] for row in messages}, {row[0] for row in messages if row[1]}
