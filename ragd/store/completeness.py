"""How complete each channel is: what `ragdctl coverage` shows. Read-only, and the same in any process."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ragd.store.coverage import FIRST_ID, THREAD_PARENTS, CoverageStore, Hole, Interval
from ragd.store.database import Queries, Row

_LIFE = """
SELECT c.id AS id, c.guild_id, coalesce(g.name, '') AS guild, c.parent_id, c.type, c.name, c.archived,
       coalesce(g.removed, 0) AS removed, c.excluded, c.imported, c.readable, c.refused_until,
       min(c.id, coalesce((SELECT min(m.id) FROM message m WHERE m.channel_id = c.id), c.id)) AS first_id,
       c.last_message_id AS last_id
FROM channel c LEFT JOIN guild g ON g.id = c.guild_id
WHERE NOT c.deleted
"""
# A channel's id is the moment it was made. Messages can be older: those of a forum post's thread are not, but an
# imported file or a channel that Discord made out of another one may bring such.

_COVERED = f"""
WITH life AS ({_LIFE})
SELECT channel_id, source, sum(max(0, min(end_id, last_id) - max(start_id, first_id) + 1))
FROM coverage JOIN life ON id = channel_id GROUP BY channel_id, source
"""

_INTERVALS = """
SELECT channel_id, sum(start_id > previous + 1) FROM (
    SELECT channel_id, start_id, lag(end_id, 1, -1) OVER (PARTITION BY channel_id ORDER BY start_id) AS previous
    FROM coverage
) GROUP BY channel_id
"""
# Those that touch are one: they differ only in how they were proved.


@dataclass(frozen=True, slots=True)
class ChannelCompleteness:
    """A channel or thread: how much of its life, from its making to its last message, the store has."""

    guild_id: int
    guild: str
    channel_id: int
    parent_id: int | None
    type: int
    name: str
    archived: bool
    left_out: str
    """Why its messages are not captured; empty if they are."""
    refused_until: int
    """Unix ms until which Discord is not asked, because it refused; 0 if it is asked now."""
    first_id: int
    last_id: int
    covered_by: dict[str, int]
    """How many of the ids of its life are known complete, by how that was proved."""
    intervals: int
    holes: tuple[Interval, ...]
    """Ascending. The first one may begin before the channel was made: nobody has said yet that nothing is there."""
    messages: int

    @property
    def extent(self) -> int:
        """Ids from its making to its last message: its life, for ids are times. 0 if nobody has written yet."""
        return max(0, self.last_id - self.first_id + 1) if self.last_id else 0

    @property
    def covered(self) -> int:
        return sum(self.covered_by.values())

    @property
    def percent(self) -> float:
        """Of its life, rounded down; 100 only if no hole is left."""
        return percent(self.covered, self.extent, complete=not self.holes)


def percent(covered: int, extent: int, *, complete: bool) -> float:
    """In hundredths, rounded down: 100 when and only when it is complete."""
    if complete:
        return 100.0
    return min(99.99, covered * 10_000 // extent / 100) if extent else 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """What is left to read, in one cheap look."""

    covered: int
    extent: int
    holes: int
    """Those that can be filled now."""
    refused_holes: int
    """Those of channels that Discord refused for the time being."""

    @property
    def complete(self) -> bool:
        return not self.holes and not self.refused_holes

    @property
    def percent(self) -> float:
        return percent(self.covered, self.extent, complete=self.complete)


class CompletenessStore(Queries):
    """Reads a consistent picture: each method is one read transaction."""

    def channels(self) -> list[ChannelCompleteness]:
        """Every channel and thread that exists, those that are not captured too."""
        with self._snapshot():
            life = self._all(_LIFE)
            covered: dict[int, dict[str, int]] = {}
            for channel_id, source, ids in self._all(_COVERED):
                covered.setdefault(channel_id, {})[source] = ids
            intervals: dict[int, int] = dict(self._all(_INTERVALS))
            messages = self._messages()
            holes = _by_channel(CoverageStore(self._database).open_holes())
        return [
            _channel(row, covered.get(row[0], {}), intervals.get(row[0], 0), holes.get(row[0], ()), messages)
            for row in life
        ]

    def progress(self) -> Progress:
        """Of all channels that are captured; counts no messages, so it may be asked every second."""
        with self._snapshot():
            life = {row[0]: row for row in self._all(_LIFE)}
            covered = self._all(_COVERED)
            holes = CoverageStore(self._database).open_holes()
        now = _now_ms()
        captured = {key: row for key, row in life.items() if not _left_out(row)}
        extent = sum(max(0, row[-1] - row[-2] + 1) for row in captured.values() if row[-1])
        refused = sum(captured[hole.channel_id][11] > now for hole in holes)
        return Progress(sum(ids for key, _, ids in covered if key in captured), extent, len(holes) - refused, refused)

    def _messages(self) -> dict[int, int]:
        """By channel, those that are not deleted: all from one index, less the few tombstones from another."""
        counts: dict[int, int] = dict(self._all("SELECT channel_id, count(*) FROM message GROUP BY channel_id"))
        for channel_id, deleted in self._all("SELECT channel_id, count(*) FROM message WHERE deleted GROUP BY 1"):
            counts[channel_id] -= deleted
        return counts


def _by_channel(holes: list[Hole]) -> dict[int, tuple[Interval, ...]]:
    found: dict[int, list[Interval]] = {}
    for hole in holes:
        found.setdefault(hole.channel_id, []).append((hole.start_id, hole.end_id))
    return {channel_id: tuple(sorted(spans)) for channel_id, spans in found.items()}


def _channel(
    row: Row, covered_by: dict[str, int], intervals: int, holes: tuple[Interval, ...], messages: dict[int, int]
) -> ChannelCompleteness:
    channel_id, guild_id, guild, parent_id, kind, name, archived = row[:7]
    return ChannelCompleteness(
        guild_id=guild_id,
        guild=guild,
        channel_id=channel_id,
        parent_id=parent_id,
        type=kind,
        name=name,
        archived=bool(archived),
        left_out=_left_out(row),
        refused_until=row[11] if row[11] > _now_ms() else 0,
        first_id=max(FIRST_ID, row[-2]),
        last_id=row[-1],
        covered_by=covered_by,
        intervals=intervals,
        holes=holes,
        messages=messages.get(channel_id, 0),
    )


def _left_out(row: Row) -> str:
    """The same rule as for the holes that are to be filled (ragd/store/coverage.py), with its reason."""
    kind, (removed, excluded, imported, readable) = row[4], row[7:11]
    if removed:
        return "the bot is not in this server any more"
    if excluded:
        return "left out by RAGD_ALLOW_IDS or RAGD_DENY_IDS"
    if imported:
        return "known from an imported file alone"
    if not readable:
        return "the bot may not read it"
    return "holds threads, no messages of its own" if kind in THREAD_PARENTS else ""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
