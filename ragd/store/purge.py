"""Takes out what was captured of channels that are captured no more, for `ragdctl purge`; an erasure of kind `channel`
(ragd/store/erasure.py) goes step by step.

It writes messages beside Ingest, in the same way: a change number for each, taken inside an IMMEDIATE transaction. So
the syncer follows it as it follows deletes, and chunks and vectors go.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from ragd.scope import Scope
from ragd.store.chunks import ChunkStore
from ragd.store.database import Queries
from ragd.store.standing import StandingStore
from ragd.store.words import WordIndex

Reason = Literal["captured", "denied", "deleted", "unreadable", "left"]
"""Why a channel is captured no more, `captured` if it still is."""

SLICE = 1_000
"""Messages a transaction: some 10 ms, in which capture waits."""

_FILLED = "(NOT deleted OR author_id <> 0 OR author_name <> '' OR reactions <> '{}' OR erase_at > 0)"
"""What a tombstone of Discord's keeps, a purged one does not: who wrote it, and for a while what."""

_REASON = (
    "CASE WHEN coalesce(g.removed, 0) THEN 'left' WHEN c.deleted THEN 'deleted' WHEN c.excluded THEN 'denied'"
    " WHEN NOT c.readable AND NOT c.imported THEN 'unreadable' ELSE 'captured' END"
)


@dataclass(frozen=True, slots=True)
class Standing:
    """A channel or thread and what is kept of it."""

    id: int
    guild_id: int
    guild_name: str
    parent_id: int | None
    name: str
    reason: Reason
    messages: int
    """Rows with something in them; tombstones that only keep an id are none."""


class PurgeStore(Queries):
    """Every step is a transaction of its own and looks anew whether the channel is still out of capture."""

    def standings(
        self, channel_ids: Collection[int] = (), guild_ids: Collection[int] = (), *, denied: bool = False
    ) -> list[Standing]:
        """The channels of that id, guild or (with `denied`) standing, with their threads; categories count as what is
        in them. By guild and channel."""
        rows = self._all(
            f"SELECT c.id, c.guild_id, coalesce(g.name, ''), c.parent_id, c.name, {_REASON}"
            " FROM channel c LEFT JOIN guild g ON g.id = c.guild_id ORDER BY c.guild_id, c.id"
        )
        parents = {row[0]: row[3] for row in rows}
        wanted, guilds = set(channel_ids), set(guild_ids)
        return [
            Standing(row[0], row[1], row[2], row[3], row[4], row[5], self.filled(row[0]))
            for row in rows
            if wanted.intersection((row[0], row[3], parents.get(row[3])))
            or row[1] in guilds
            or (denied and row[5] == "denied")
        ]

    def filled(self, channel_id: int) -> int:
        """How many messages of a channel have something in them."""
        return int(self._one(f"SELECT count(*) FROM message WHERE channel_id = ? AND {_FILLED}", channel_id)[0])

    def exclude(self, scope: Scope) -> None:
        """Put the lists into force in the store, for when no capture runs to do so."""
        with self._transaction():
            StandingStore(self._database).apply_scope(scope)

    def forget_coverage(self, channel_id: int) -> bool:
        """The first step: from here on nothing claims to be complete. False if the channel is captured again."""
        with self._transaction():
            if self.is_captured(channel_id):
                return False
            self._execute("DELETE FROM coverage WHERE channel_id = ?", channel_id)
        return True

    def purge_some(self, channel_id: int, after_id: int = 0) -> tuple[int, int]:
        """Empty up to SLICE messages with ids above `after_id`; returns the last of their ids, 0 when none was left,
        and how many they were.

        Returns (0, 0) too if the channel is captured again.
        """
        with self._transaction():
            if self.is_captured(channel_id):
                return 0, 0
            rows = self._all(
                f"SELECT id, deleted FROM message WHERE channel_id = ? AND id > ? AND {_FILLED} ORDER BY id LIMIT ?",
                channel_id,
                after_id,
                SLICE,
            )
            self._empty([row[0] for row in rows if not row[1]])
            self._execute_many(
                "UPDATE message SET content = '', extra = '{}', author_id = 0, author_name = '', reactions = '{}',"
                " erase_at = 0 WHERE id = ?",
                ((row[0],) for row in rows if row[1]),
            )
        return (int(rows[-1][0]), len(rows)) if rows else (0, 0)

    def _empty(self, message_ids: Sequence[int]) -> None:
        (last,) = self._one(
            "UPDATE counter SET value = value + ? WHERE name = 'message_change' RETURNING value", len(message_ids)
        )
        first = int(last) - len(message_ids) + 1
        self._execute_many(
            "UPDATE message SET deleted = 1, chunkable = 0, content = '', extra = '{}', reactions = '{}',"
            " author_id = 0, author_name = '', reply_to_id = NULL, edited_at = 0, source = 'purge', change = ?"
            " WHERE id = ?",
            ((first + nth, message_id) for nth, message_id in enumerate(message_ids)),
        )
        WordIndex(self._database).follow(first - 1)
        ChunkStore(self._database).blank_changed(first - 1)

    def is_captured(self, channel_id: int) -> bool:
        rows = self._all(
            f"SELECT {_REASON} FROM channel c LEFT JOIN guild g ON g.id = c.guild_id WHERE c.id = ?", channel_id
        )
        return rows == [("captured",)]

    def searchable(self, channel_ids: Collection[int]) -> int:
        """How many chunks of these channels the syncer has not yet taken away."""
        return sum(int(self._one("SELECT count(*) FROM chunk WHERE channel_id = ?", one)[0]) for one in channel_ids)
