"""Writes messages as Discord tells them: the rules by which one word about a message wins over another."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from playhouse.apsw_ext import APSWDatabase

from ragd.store.coverage import CoverageStore
from ragd.store.database import Queries
from ragd.store.events import MessageRow, PageRead
from ragd.store.reactions import ReactionStore
from ragd.store.withholding import ERASED, Withholding
from ragd.text import SearchPolicy, is_chunkable

_TOMBSTONE_SLICE = 5_000

PURGED = "purge"
"""`source` of a tombstone that `ragdctl purge` made. Discord may still have the message: where the channel is captured
again, it comes back."""

_UPSERT = """
INSERT INTO message (id, guild_id, channel_id, author_id, author_name, is_bot, type, content, extra, reply_to_id,
                     edited_at, reactions, chunkable, source, received_at, change)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    content = excluded.content, extra = excluded.extra, edited_at = excluded.edited_at,
    chunkable = excluded.chunkable, change = excluded.change,
    deleted = 0, author_id = excluded.author_id, reply_to_id = excluded.reply_to_id,
    author_name = CASE WHEN message.deleted THEN excluded.author_name ELSE message.author_name END,
    source = CASE WHEN message.deleted THEN excluded.source ELSE message.source END
WHERE message.deleted AND message.source = 'purge'
  OR NOT message.deleted
  AND (excluded.edited_at > message.edited_at
       OR excluded.edited_at = message.edited_at
          AND (excluded.content <> message.content OR excluded.extra <> message.extra))
"""
# A tombstone wins over everything, a newer edit over an older one: a page that was read before a live event and
# applied after it changes nothing. But what was purged here, and is there at Discord, comes back where it is captured
# again. With equal edit times the later word counts (an embed that Discord filled in).

_INSERT_TOMBSTONE = (
    "INSERT INTO message (id, guild_id, channel_id, deleted, source, received_at, change, erase_at)"
    " VALUES (?, ?, ?, 1, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET deleted = 1, chunkable = 0, change ="
    " excluded.change, source = CASE WHEN message.source = 'purge' THEN excluded.source ELSE message.source END"
)
_TOMBSTONE = f"""
{_INSERT_TOMBSTONE}, content = '', extra = '{{}}', reactions = '{{}}', author_name = '', erase_at = 0
WHERE NOT message.deleted OR message.source = 'purge'
"""

_SOFT_TOMBSTONE = f"""
{_INSERT_TOMBSTONE}, erase_at = excluded.erase_at
WHERE NOT message.deleted OR message.source = 'purge'
"""
# What it said stays for RAGD_DELETED_RETENTION_DAYS: nobody finds it, for nothing of it is chunkable.

_WITHHELD = f"""
INSERT INTO message (id, guild_id, channel_id, deleted, source, received_at, change)
VALUES (?1, ?2, ?3, 1, '{ERASED}', ?4, ?5)
ON CONFLICT (id) DO UPDATE SET
    deleted = 1, chunkable = 0, content = '', extra = '{{}}', reactions = '{{}}', author_id = 0, author_name = '',
    reply_to_id = NULL, edited_at = 0, erase_at = 0, change = excluded.change, source = '{ERASED}'
WHERE message.deleted AND message.source = 'purge' OR NOT message.deleted AND ?6 > message.edited_at
"""
# What was stored before its author objected stays until it is erased or edited: neither the old text, which does not
# hold any more, nor the new one, which is not to be stored, may be kept then.


_YIELD = "DELETE FROM message WHERE id = ? AND source = 'import' AND NOT deleted"
# Discord's own word takes the place of a file's, whatever their edit times say.


@dataclass(frozen=True, slots=True)
class _Known:
    """What the store has of a message before a page says more."""

    deleted: bool
    reactions: str
    is_import: bool


class MessageWriter(Queries):
    """Part of Ingest's transaction."""

    def __init__(
        self, database: APSWDatabase, policy: SearchPolicy, next_change: Callable[[], int], *, deleted_kept_ms: int = 0
    ) -> None:
        super().__init__(database)
        self.policy = policy
        self._deleted_kept_ms = deleted_kept_ms
        self._withholding = Withholding(database)
        self._next_change = next_change
        self._coverage = CoverageStore(database)
        self._reactions = ReactionStore(database)
        self._now_ms = time.time_ns() // 1_000_000

    def write(self, rows: Sequence[MessageRow], source: str) -> int:
        """Store messages, or what is new about them; returns how many rows that changed or made."""
        kept, withheld = self._withholding.split(rows)
        self._execute_many(_YIELD, ((row.id,) for row in kept))
        before = self._writes()
        self._execute_many(_UPSERT, (self._parameters(row, source) for row in kept))
        self.withhold(withheld)
        return self._writes() - before

    def withhold(self, rows: Sequence[MessageRow]) -> None:
        """Store of them only that they exist."""
        self._execute_many(
            _WITHHELD,
            ((row.id, row.guild_id, row.channel_id, self._now_ms, self._next_change(), row.edited_at) for row in rows),
        )

    def _parameters(self, row: MessageRow, source: str) -> tuple[object, ...]:
        return (
            row.id,
            row.guild_id,
            row.channel_id,
            row.author_id,
            row.author_name,
            row.is_bot,
            row.type,
            row.content,
            row.extra,
            row.reply_to_id,
            row.edited_at,
            row.reactions,
            is_chunkable(self.policy, row.author_id, row.is_bot, row.type, row.content, row.extra),
            source,
            self._now_ms,
            self._next_change(),
        )

    def write_page(self, page: PageRead) -> Tally[str]:
        """Store what a page of Discord's says, also by what is not in it. Returns what nobody had told before:
        `missed_posts`, `missed_edits`, `missed_deletes`; and of all that it buried, `deleted`."""
        known = self._stored(page)
        living = {message_id: one.reactions for message_id, one in known.items() if not one.deleted}
        vanished = living.keys() - {row.id for row in page.rows}
        self.bury(page.guild_id, page.channel_id, sorted(vanished), "rest")
        written = self.write(page.rows, "rest")
        self._reactions.state(page.rows, living)
        new = [row.id for row in page.rows if row.id not in known or known[row.id].is_import]
        unheard = [message_id for message_id in new if message_id not in known]
        return Tally(
            deleted=len(vanished),
            missed_posts=self._count_proved(page.channel_id, unheard),
            missed_edits=max(0, written - len(new)),  # an imported one of somebody who objected is new, and not written
            missed_deletes=len(vanished),
        )

    def _stored(self, page: PageRead) -> dict[int, _Known]:
        """By message that the store knows of in the page's range. What Discord has not of the living ones was deleted
        while nobody listened; what was purged counts as unknown.
        """
        rows = self._all(
            "SELECT id, deleted, reactions, source = 'import' AND NOT deleted FROM message"
            f" WHERE channel_id = ? AND id BETWEEN ? AND ? AND NOT (deleted AND source = '{PURGED}')",
            page.channel_id,
            page.start_id,
            page.end_id,
        )
        return {row[0]: _Known(bool(row[1]), row[2], bool(row[3])) for row in rows}

    def _count_proved(self, channel_id: int, ids: Sequence[int]) -> int:
        """How many lie in what had been proved already: the page mended those, the others it brought to a hole."""
        proved = self._coverage.intervals(channel_id) if ids else []
        return sum(any(first <= one <= last for first, last in proved) for one in ids)

    def _writes(self) -> int:
        return int(self._database.connection().total_changes())

    def bury(self, guild_id: int, channel_id: int, message_ids: Sequence[int], source: str) -> None:
        """Make tombstones of them, also of those that were never seen."""
        kept_ms = self._deleted_kept_ms
        erase_at = self._now_ms + kept_ms if kept_ms else 0
        self._execute_many(
            _SOFT_TOMBSTONE if kept_ms else _TOMBSTONE,
            (
                (message_id, guild_id, channel_id, source, self._now_ms, self._next_change(), erase_at)
                for message_id in message_ids
            ),
        )

    def bury_channel(self, channel_id: int) -> int:
        """Make tombstones of all that a channel has; returns of how many."""
        query, buried = "SELECT guild_id, id FROM message WHERE channel_id = ? AND NOT deleted LIMIT ?", 0
        while rows := self._all(query, channel_id, _TOMBSTONE_SLICE):
            self.bury(rows[0][0], channel_id, [row[1] for row in rows], "gateway")
            buried += len(rows)
        return buried
