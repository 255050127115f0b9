"""Interval sets of message ids known to be complete, per channel; a hole is what they leave out."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from typing import Literal

from ragd.store.database import Queries

Interval = tuple[int, int]
"""First and last id, both included."""

Proof = Literal["gateway", "rest", "import"]
"""How an interval is known to be complete. A file's word is the weakest: it never replaces one of Discord's."""

FIRST_ID = 1

THREAD_TYPES = (10, 11, 12)
"""Discord's channel types of threads: in announcement channels, public, private."""

THREAD_PARENTS = frozenset({15, 16})
"""Forum and media channels hold threads, no messages of their own."""


_CAPTURED = (
    "readable AND NOT deleted AND NOT excluded AND NOT imported"
    f" AND type NOT IN ({','.join(map(str, sorted(THREAD_PARENTS)))})"
    " AND NOT EXISTS (SELECT 1 FROM guild g WHERE g.id = guild_id AND g.removed)"
)
"""Channels whose every message the store is to have."""

_GAPS = f"""
SELECT channel_id, previous + 1, start_id - 1 FROM (
    SELECT channel_id, start_id,
           lag(end_id, 1, {FIRST_ID - 1}) OVER (PARTITION BY channel_id ORDER BY start_id) AS previous
    FROM coverage
) WHERE start_id > previous + 1
"""
# The table is stored in this very order, so SQLite reads it once and sorts nothing.


@dataclass(frozen=True, slots=True)
class ProvedInterval:
    """Ids of a channel known to be complete, how, and when that was proved first and last (Unix ms)."""

    start_id: int
    end_id: int
    source: Proof
    proved_from: int
    proved_at: int


@dataclass(frozen=True, slots=True)
class Hole:
    """Ids of a channel that may hold messages the store has not seen."""

    guild_id: int
    channel_id: int
    start_id: int
    end_id: int


@dataclass(frozen=True, slots=True)
class Covered:
    """What is complete of a channel that is captured, up to its newest message: disjoint, ascending, never empty."""

    guild_id: int
    channel_id: int
    last_message_id: int
    intervals: tuple[Interval, ...]

    @property
    def is_whole(self) -> bool:
        return self.intervals == ((FIRST_ID, self.last_message_id),)


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

    def add_interval(self, channel_id: int, start_id: int, end_id: int, source: Proof) -> None:
        """Record that start_id..end_id is complete.

        It is joined with what touches it and was proved in the same way. Of others it takes over what it covers: the
        last proof counts; but an import only fills what Discord itself has not proved.
        """
        if source == "import":
            proved = self.intervals(channel_id)
            for first, last in holes_between([(1, start_id - 1), *proved], end_id):
                self._prove(channel_id, first, last, source)
        elif start_id <= end_id:
            self._prove(channel_id, start_id, end_id, source)

    def _prove(self, channel_id: int, start_id: int, end_id: int, source: Proof) -> None:
        now = proved_from = _now_ms()
        touching = self._proofs("start_id <= ? AND end_id >= ?", channel_id, end_id + 1, start_id - 1)
        others = [other for other in touching if other.source != source]
        for same in (proof for proof in touching if proof.source == source):
            self._execute("DELETE FROM coverage WHERE channel_id = ? AND start_id = ?", channel_id, same.start_id)
            start_id, end_id = min(start_id, same.start_id), max(end_id, same.end_id)
            proved_from = min(proved_from, same.proved_from)
        for other in others:
            self._cut(channel_id, other, start_id, end_id)
        self._insert(channel_id, ProvedInterval(start_id, end_id, source, proved_from, now))

    def _cut(self, channel_id: int, proof: ProvedInterval, start_id: int, end_id: int) -> None:
        """Take start_id..end_id out of an interval."""
        if proof.end_id < start_id or proof.start_id > end_id:
            return
        self._execute("DELETE FROM coverage WHERE channel_id = ? AND start_id = ?", channel_id, proof.start_id)
        if proof.start_id < start_id:
            self._insert(channel_id, replace(proof, end_id=start_id - 1))
        if proof.end_id > end_id:
            self._insert(channel_id, replace(proof, start_id=end_id + 1))

    def _insert(self, channel_id: int, proof: ProvedInterval) -> None:
        self._execute(
            "INSERT INTO coverage (channel_id, start_id, end_id, source, proved_from, proved_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            channel_id,
            *astuple(proof),
        )

    def extend_live(self, channel_id: int, live_from: int, newest_id: int) -> None:
        """Record that a session, unbroken since live_from, has brought everything up to newest_id.

        The common case is one UPDATE by primary key: the newest interval is the session's own.
        """
        extended = self._execute(
            "UPDATE coverage SET end_id = max(end_id, ?), proved_at = ?"
            " WHERE channel_id = ? AND start_id = (SELECT max(start_id) FROM coverage WHERE channel_id = ?)"
            " AND source = 'gateway' AND end_id >= ? - 1",
            newest_id,
            _now_ms(),
            channel_id,
            channel_id,
            live_from,
        )
        if not extended:
            # what was read again over REST keeps that proof
            known = [last for _, last in self.intervals(channel_id) if last >= live_from - 1]
            self.add_interval(channel_id, max([live_from, *(last + 1 for last in known)]), newest_id, "gateway")

    def withdraw_imports(self, channel_id: int, start_id: int, end_id: int) -> None:
        """Take back what files said of start_id..end_id; what Discord proved stays."""
        for proof in self._proofs("source = 'import' AND end_id >= ? AND start_id <= ?", channel_id, start_id, end_id):
            self._cut(channel_id, proof, start_id, end_id)

    def forget(self, channel_id: int) -> None:
        self._execute("DELETE FROM coverage WHERE channel_id = ?", channel_id)

    def intervals(self, channel_id: int) -> list[Interval]:
        """What is complete of the channel, however it was proved: disjoint, not touching, ascending."""
        joined: list[Interval] = []
        for proof in self.proofs(channel_id):
            if joined and joined[-1][1] == proof.start_id - 1:
                joined[-1] = (joined[-1][0], proof.end_id)
            else:
                joined.append((proof.start_id, proof.end_id))
        return joined

    def proofs(self, channel_id: int) -> list[ProvedInterval]:
        """The channel's complete intervals with their proofs, ascending."""
        return self._proofs("1", channel_id)

    def _proofs(self, condition: str, channel_id: int, *parameters: object) -> list[ProvedInterval]:
        rows = self._all(
            "SELECT start_id, end_id, source, proved_from, proved_at FROM coverage"
            f" WHERE channel_id = ? AND {condition} ORDER BY start_id",
            channel_id,
            *parameters,
        )
        return [ProvedInterval(*row) for row in rows]

    def holes(self) -> list[Hole]:
        """Every hole that can be read now, the one with the newest messages first.

        Not those of channels that the bot may not read or is not to read, and of those that Discord refused and that
        are to be asked again later.
        """
        return self._holes("refused_until <= ?", _now_ms())

    def open_holes(self) -> list[Hole]:
        """The same, and those of channels that Discord refused for the time being."""
        return self._holes("1")

    def _holes(self, condition: str, *parameters: object) -> list[Hole]:
        """SQLite finds the gaps, so that 100,000 intervals without one cost no Python object each."""
        gaps: dict[int, list[Interval]] = {}
        for channel_id, first, last in self._all(_GAPS):
            gaps.setdefault(channel_id, []).append((first, last))
        ends: dict[int, int] = dict(self._all("SELECT channel_id, max(end_id) FROM coverage GROUP BY channel_id"))
        query = f"SELECT guild_id, id, last_message_id FROM channel WHERE {_CAPTURED} AND {condition}"
        holes = [
            Hole(guild_id, channel_id, first, min(last, last_id))
            for guild_id, channel_id, last_id in self._all(query, *parameters)
            for first, last in (*gaps.get(channel_id, ()), (ends.get(channel_id, 0) + 1, last_id))
            if first <= last_id
        ]
        return sorted(holes, key=lambda hole: hole.end_id, reverse=True)

    def covered(self) -> list[Covered]:
        """What is known to be complete of every channel that is captured and has messages."""
        channels = self._all(f"SELECT guild_id, id, last_message_id FROM channel WHERE {_CAPTURED}")
        found = [
            Covered(guild_id, channel_id, last_id, tuple(_up_to(last_id, self.intervals(channel_id))))
            for guild_id, channel_id, last_id in channels
        ]
        return [covered for covered in found if covered.intervals]

    def captured(self, channel_ids: Iterable[int]) -> list[int]:
        """Those of the channels whose every message the store is to have."""
        wanted = set(channel_ids)
        return [row[0] for row in self._all(f"SELECT id FROM channel WHERE {_CAPTURED}") if row[0] in wanted]

    def recent_channels(self, since: int) -> list[tuple[int, int, int]]:
        """Captured channels with messages from an id on: guild, channel and its newest message, by channel."""
        rows = self._all(
            f"SELECT guild_id, id, last_message_id FROM channel WHERE {_CAPTURED} AND refused_until <= ?"
            " AND last_message_id >= ? ORDER BY id",
            _now_ms(),
            since,
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def unreadable_channels(self) -> int:
        """How many channels there are whose messages the bot may not read."""
        return int(self._one("SELECT count(*) FROM channel WHERE NOT readable AND NOT deleted AND NOT imported")[0])


def _up_to(last_id: int, intervals: Iterable[Interval]) -> list[Interval]:
    return [(first, min(last, last_id)) for first, last in intervals if first <= last_id]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
