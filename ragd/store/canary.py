"""The canary: a message nobody wrote, in a channel that does not exist, to see how long one takes to be found.

It goes the way of every message, so only what must not see it knows of it: it has the reserved channel 0, which has no
row in `channel`, so no passage of it is ever made for anybody; and counts leave that channel out.
"""

from __future__ import annotations

import time
from typing import Literal

from ragd.snowflake import from_unix_seconds
from ragd.store.database import Queries
from ragd.store.words import WordIndex

CANARY_CHANNEL = 0
"""No channel of Discord has this id, and no row of `channel` this one."""

SOURCE = "canary"

_LAST_OF_MILLISECOND = (1 << 22) - 1
"""The lowest 22 bits of a snowflake: Discord's last worker, process and increment, which it has never reached."""

Stage = Literal["syncer", "searcher"]


class CanaryStore(Queries):
    """The one writer of messages beside Ingest; lives in the watchdog, one thread."""

    def release(self, words: str) -> int:
        """Store a canary with these words, which nobody else may use; returns its id."""
        message_id = from_unix_seconds(time.time()) | _LAST_OF_MILLISECOND
        with self._transaction():
            self._execute(
                "INSERT INTO message (id, guild_id, channel_id, content, chunkable, source, received_at, change)"
                " VALUES (?, 0, ?, ?, 1, ?, ?, ?)",
                message_id,
                CANARY_CHANNEL,
                words,
                SOURCE,
                time.time_ns() // 1_000_000,
                change := self._next_change(),
            )
            WordIndex(self._database).follow(change - 1)
        return message_id

    def waits_for(self, message_id: int) -> Stage:
        """Whose turn it is: the syncer's until every chunk with it has its vector, then the searcher's."""
        (made,) = self._one(
            "SELECT count(*) FROM chunk_message cm JOIN chunk c ON c.id = cm.chunk_id"
            " JOIN vector v ON v.text_hash = c.text_hash WHERE cm.message_id = ?",
            message_id,
        )
        return "searcher" if made else "syncer"

    def recall(self) -> None:
        """Have every canary forgotten, as a deleted message is: the syncer drops its chunks, the searcher follows."""
        with self._transaction():
            for (message_id,) in self._all(
                "SELECT id FROM message WHERE channel_id = ? AND NOT deleted", CANARY_CHANNEL
            ):
                self._execute(
                    "UPDATE message SET deleted = 1, chunkable = 0, content = '', change = ? WHERE id = ?",
                    change := self._next_change(),
                    message_id,
                )
                WordIndex(self._database).follow(change - 1)

    def bury(self) -> int:
        """Take recalled canaries out of the store that no chunk holds any more; returns how many are left."""
        with self._transaction():
            self._execute(
                "DELETE FROM message WHERE channel_id = ? AND deleted"
                " AND change <= (SELECT coalesce(min(position), change) FROM sync_state)"
                " AND NOT EXISTS (SELECT 1 FROM dirty_cell d WHERE d.channel_id = message.channel_id)"
                " AND NOT EXISTS (SELECT 1 FROM chunk_message cm WHERE cm.message_id = message.id)",
                CANARY_CHANNEL,
            )
        return int(self._one("SELECT count(*) FROM message WHERE channel_id = ?", CANARY_CHANNEL)[0])

    def _next_change(self) -> int:
        # inside the transaction, as Ingest does: changes commit in their order
        (change,) = self._one("UPDATE counter SET value = value + 1 WHERE name = 'message_change' RETURNING value")
        return int(change)
