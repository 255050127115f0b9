"""Counts for people, of one guild or one strategy: whole scans, so for a connection and a thread of their own."""

from __future__ import annotations

from dataclasses import dataclass

from ragd.store.canary import CANARY_CHANNEL
from ragd.store.database import Queries


@dataclass(frozen=True, slots=True)
class GuildFigures:
    """What the store holds of a guild; `edited` counts messages that exist and were ever edited."""

    messages: int
    edited: int
    deleted: int


class FigureStore(Queries):
    def of_guild(self, guild_id: int) -> GuildFigures:
        row = self._one(
            "SELECT count(*) FILTER (WHERE NOT deleted), count(*) FILTER (WHERE edited_at > 0 AND NOT deleted),"
            " count(*) FILTER (WHERE deleted) FROM message WHERE guild_id = ?",
            guild_id,
        )
        return GuildFigures(*row)

    def messages_in(self, strategy: str) -> int:
        """How many messages the strategy's chunks hold."""
        row = self._one(
            "SELECT count(DISTINCT cm.message_id) FROM chunk c JOIN chunk_message cm ON cm.chunk_id = c.id"
            " WHERE c.strategy = ? AND c.channel_id <> ?",
            strategy,
            CANARY_CHANNEL,
        )
        return int(row[0])
