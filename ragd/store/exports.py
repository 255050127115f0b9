"""What an export reads: channels, and their messages in pages, so that no read transaction lives long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ragd.store.database import Queries
from ragd.store.events import MessageRow

PAGE = 1_000


@dataclass(frozen=True, slots=True)
class ExportedChannel:
    """A channel with its guild's and its parent's name, empty where the store has none."""

    id: int
    guild_id: int
    guild: str
    parent_id: int | None
    parent: str
    type: int
    name: str
    topic: str
    excluded: bool


@dataclass(frozen=True, slots=True)
class ExportedMessage:
    """`read_at`: of one that came from a file, when it was read from Discord (Unix ms); 0 for one kept up to date."""

    row: MessageRow
    reactions: str
    read_at: int = 0


class ExportStore(Queries):
    """Each query is a transaction of its own: one that stays open would keep the write-ahead log from being emptied."""

    def channels(self) -> list[ExportedChannel]:
        """Every channel that exists, by id; the canary's is none."""
        rows = self._all(
            "SELECT c.id, c.guild_id, coalesce(g.name, ''), c.parent_id, coalesce(p.name, ''), c.type, c.name,"
            " coalesce(json_extract(c.details, '$.topic'), ''), c.excluded = 1 FROM channel c"
            " LEFT JOIN guild g ON g.id = c.guild_id LEFT JOIN channel p ON p.id = c.parent_id"
            " WHERE NOT c.deleted ORDER BY c.id"
        )
        return [ExportedChannel(*row) for row in rows]

    def messages(self, channel_id: int, first_id: int, last_id: int) -> Iterator[ExportedMessage]:
        """What is not deleted of a channel when its page is read, by id; `last_id` 0 for no bound."""
        page = first_id - 1
        while rows := self._all(
            "SELECT id, guild_id, channel_id, author_id, author_name, is_bot, type, content, extra, reply_to_id,"
            " edited_at, reactions, iif(source = 'import', received_at, 0) FROM message"
            " WHERE channel_id = ?1 AND id > ?2 AND (?3 = 0 OR id <= ?3) AND NOT deleted ORDER BY id LIMIT ?4",
            channel_id,
            page,
            last_id,
            PAGE,
        ):
            page = rows[-1][0]
            for row in rows:
                yield ExportedMessage(_row(*row[:11]), *row[11:])


def _row(*columns: object) -> MessageRow:
    message_id, guild_id, channel_id, author_id, author_name, is_bot, *rest = columns
    return MessageRow(message_id, guild_id, channel_id, author_id, author_name, bool(is_bot), *rest)  # type: ignore[arg-type]
