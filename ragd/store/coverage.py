"""Interval sets of message ids known to be complete, per channel; a hole is what they leave out."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from ragd.store.database import Queries

Interval = tuple[int, int]
"""First and last id, both included."""

FIRST_ID = 1

THREAD_PARENTS = frozenset({15, 16})
"""Forum and media channels hold threads, no messages of their own."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Ids of a channel that may hold messages the store has not seen."""

    guild_id: int
    channel_id: int
    start_id: int
    end_id: int


def holes_between(intervals: Iterable[Interval], last_id: int) -> list[Interval]:
    """What disjoint intervals leave out of FIRST_ID..last_id, ascending."""
    holes, start = [], FIRST_ID
    for first, last in sorted(intervals):
        if first > last_id:
            break
        if first > start:
            holes.append((start, first - 1))
        start = max(start, last + 1)
    if start <= last_id:
        holes.append((start, last_id))
    return holes


class CoverageStore(Queries):
    """The intervals of all channels. Writing methods belong inside the transaction that stores what they claim."""

    def add_interval(self, channel_id: int, start_id: int, end_id: int, source: str) -> None:
        """Record that start_id..end_id is complete, joining what it touches."""
        if end_id < start_id:
            return
        touching = self._all(
            "SELECT start_id, end_id FROM coverage WHERE channel_id = ? AND start_id <= ? AND end_id >= ?",
            channel_id,
            end_id + 1,
            start_id - 1,
        )
        if any(first <= start_id and end_id <= last for first, last in touching):
            return
        for first, _ in touching:
            self._execute("DELETE FROM coverage WHERE channel_id = ? AND start_id = ?", channel_id, first)
        self._execute(
            "INSERT INTO coverage (channel_id, start_id, end_id, source, proved_at) VALUES (?, ?, ?, ?, ?)",
            channel_id,
            min([start_id, *(first for first, _ in touching)]),
            max([end_id, *(last for _, last in touching)]),
            source,
            _now_ms(),
        )

    def extend_live(self, channel_id: int, live_from: int, newest_id: int) -> None:
        """Extend the interval that begins at or before live_from, and reaches it, to newest_id.

        The common case is one UPDATE by primary key: a message in a channel that was complete up to the one before.
        """
        extended = self._execute(
            "UPDATE coverage SET end_id = max(end_id, ?), source = 'gateway', proved_at = ?"
            " WHERE channel_id = ? AND start_id = (SELECT max(start_id) FROM coverage WHERE channel_id = ?)"
            " AND start_id <= ? AND end_id >= ? - 1",
            newest_id,
            _now_ms(),
            channel_id,
            channel_id,
            live_from,
            live_from,
        )
        if not extended:
            self.add_interval(channel_id, live_from, newest_id, "gateway")

    def forget(self, channel_id: int) -> None:
        self._execute("DELETE FROM coverage WHERE channel_id = ?", channel_id)

    def intervals(self, channel_id: int) -> list[Interval]:
        """The channel's complete intervals, ascending."""
        rows = self._all("SELECT start_id, end_id FROM coverage WHERE channel_id = ? ORDER BY start_id", channel_id)
        return [(first, last) for first, last in rows]

    def holes(self) -> list[Hole]:
        """Every hole of every channel the bot may read, the one with the newest messages first."""
        intervals: dict[int, list[Interval]] = {}
        for channel_id, first, last in self._all("SELECT channel_id, start_id, end_id FROM coverage"):
            intervals.setdefault(channel_id, []).append((first, last))
        readable = self._all(
            "SELECT guild_id, id, last_message_id FROM channel"
            f" WHERE readable AND NOT deleted AND type NOT IN ({','.join(map(str, sorted(THREAD_PARENTS)))})"
        )
        holes = [
            Hole(guild_id, channel_id, start, end)
            for guild_id, channel_id, last_id in readable
            for start, end in holes_between(intervals.get(channel_id, ()), last_id)
        ]
        return sorted(holes, key=lambda hole: hole.end_id, reverse=True)

    def unreadable_channels(self) -> int:
        """How many channels there are whose messages the bot may not read."""
        return int(self._one("SELECT count(*) FROM channel WHERE NOT readable AND NOT deleted")[0])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
