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

_TOMBSTONE = """
INSERT INTO message (id, guild_id, channel_id, deleted, source, received_at, change) VALUES (?, ?, ?, 1, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    deleted = 1, chunkable = 0, content = '', extra = '{}', reactions = '{}', author_name = '',
    change = excluded.change, source = CASE WHEN message.source = 'purge' THEN excluded.source ELSE message.source END
WHERE NOT message.deleted OR message.source = 'purge'
"""


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

    def __init__(self, database: APSWDatabase, policy: SearchPolicy, next_change: Callable[[], int]) -> None:
        super().__init__(database)
        self.policy = policy
        self._next_change = next_change
        self._coverage = CoverageStore(database)
        self._reactions = ReactionStore(database)
        self._now_ms = time.time_ns() // 1_000_000

    def write(self, rows: Sequence[MessageRow], source: str) -> int:
        """Store messages, or what is new about them; returns how many rows that changed or made."""
        self._execute_many(_YIELD, ((row.id,) for row in rows))
        before = self._writes()
        self._execute_many(_UPSERT, (self._parameters(row, source) for row in rows))
        return self._writes() - before

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
            missed_edits=written - len(new),
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
        self._execute_many(
            _TOMBSTONE,
            (
                (message_id, guild_id, channel_id, source, self._now_ms, self._next_change())
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
