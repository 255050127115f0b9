"""Channels that Discord refuses although the permissions say yes: how often in a row, and how long they are left alone.

Kept in the store, so that a restart asks no sooner. Messages and lists of archived threads are refused apart.
"""

from __future__ import annotations

import random
import time

from ragd.store.database import Queries
from ragd.store.events import Wanted

FIRST_PAUSE_SECONDS = 3600.0
LONGEST_PAUSE_SECONDS = 24 * 3600.0

JITTER = 0.2
"""Part of a pause that chance adds or takes: what was refused at once is not asked for at once."""

_COLUMNS: dict[Wanted, tuple[str, str]] = {
    "messages": ("refusals", "refused_until"),
    "threads": ("thread_refusals", "threads_refused_until"),
}


def pause_seconds(refusals: int) -> float:
    """How long to leave alone what was refused so many times in a row: doubles from an hour to a day, with jitter."""
    pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(refusals - 1, 10))
    return pause * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - jitter


class RefusalStore(Queries):
    """Reads and writes those columns of `channel`. Writing belongs inside Ingest's transaction."""

    def note(self, channel_id: int, wanted: Wanted) -> None:
        """Discord has refused again."""
        count, until = _COLUMNS[wanted]
        found = self._all(f"SELECT {count} FROM channel WHERE id = ?", channel_id)
        for (refusals,) in found:
            asked_again_at = int((time.time() + pause_seconds(refusals + 1)) * 1000)
            self._execute(
                f"UPDATE channel SET {count} = ?, {until} = ? WHERE id = ?", refusals + 1, asked_again_at, channel_id
            )

    def clear(self, channel_id: int, wanted: Wanted) -> None:
        """Discord has answered."""
        count, until = _COLUMNS[wanted]
        self._execute(f"UPDATE channel SET {count} = 0, {until} = 0 WHERE id = ? AND {count} > 0", channel_id)

    def forgive(self, guild_id: int, channel_id: int | None) -> None:
        """Permissions changed in the guild, or in a channel and so in what hangs below it: ask again at once."""
        below = "" if channel_id is None else "AND (id = ?2 OR parent_id = ?2 OR parent_id IN (SELECT id FROM channel"
        below += "" if channel_id is None else " WHERE parent_id = ?2))"
        self._execute(
            "UPDATE channel SET refusals = 0, refused_until = 0, thread_refusals = 0, threads_refused_until = 0"
            f" WHERE guild_id = ?1 AND (refusals > 0 OR thread_refusals > 0) {below}",
            guild_id,
            *(() if channel_id is None else (channel_id,)),
        )

    def doubtful(self) -> set[int]:
        """Channels whose messages were refused when they were last asked for."""
        return {row[0] for row in self._all("SELECT id FROM channel WHERE refusals > 0")}

    def refused(self, wanted: Wanted) -> frozenset[int]:
        """Channels that are not to be asked now."""
        _, until = _COLUMNS[wanted]
        now = time.time_ns() // 1_000_000
        return frozenset(row[0] for row in self._all(f"SELECT id FROM channel WHERE {until} > ?", now))

    def count(self, guild_id: int | None = None) -> int:
        """How many channels Discord refused something of, in all guilds or in one."""
        where = "" if guild_id is None else " AND guild_id = ?"
        row = self._one(
            f"SELECT count(*) FROM channel WHERE (refusals > 0 OR thread_refusals > 0) AND NOT deleted{where}",
            *(() if guild_id is None else (guild_id,)),
        )
        return int(row[0])
