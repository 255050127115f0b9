"""One message as it is now with what stands around it, for an asker who may read it; and who bears a name."""

from __future__ import annotations

from dataclasses import dataclass

from ragd.store.database import Queries
from ragd.store.scope import SHOWN, Filter, of_messages

_COLUMNS = "m.id, m.author_id, m.author_name, m.content, m.extra, m.reply_to_id, m.edited_at"


@dataclass(frozen=True, slots=True)
class Said:
    """A message; `edited_at` in Unix ms, 0 for never."""

    id: int
    author_id: int
    author_name: str
    content: str
    extra: str
    reply_to_id: int | None
    edited_at: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A message and its neighbours in the channel, each list ascending by id."""

    guild_id: int
    guild_name: str
    channel_id: int
    channel_name: str
    before: list[Said]
    message: Said
    after: list[Said]


class SurroundingsStore(Queries):
    """Reads what search would be allowed to show, and nothing else."""

    def around(self, message_id: int, wanted: Filter, before: int, after: int) -> Surroundings | None:
        """The message with up to so many before and after it; None if nobody has it or the asker may not find it."""
        where, parameters = of_messages(wanted)
        with self._snapshot():
            rows = self._all(
                f"SELECT {_COLUMNS}, ch.guild_id, coalesce(g.name, ''), ch.id, ch.name FROM message m"
                " JOIN channel ch ON ch.id = m.channel_id LEFT JOIN guild g ON g.id = ch.guild_id"
                f" WHERE m.id = ? AND {SHOWN} AND {where}",
                message_id,
                *parameters,
            )
            if not rows:
                return None
            *message, guild_id, guild_name, channel_id, channel_name = rows[0]
            base = f"SELECT {_COLUMNS} FROM message m WHERE m.channel_id = ? AND {SHOWN} AND m.id"
            earlier = self._all(f"{base} < ? ORDER BY m.id DESC LIMIT ?", channel_id, message_id, before)
            later = self._all(f"{base} > ? ORDER BY m.id LIMIT ?", channel_id, message_id, after)
        return Surroundings(
            guild_id,
            guild_name,
            channel_id,
            channel_name,
            [Said(*row) for row in reversed(earlier)],
            Said(*message),
            [Said(*row) for row in later],
        )

    def people(self, name: str) -> list[int]:
        """Ids of all who wrote under that name (case does not matter), bots and webhooks aside."""
        rows = self._all(
            "SELECT DISTINCT author_id FROM message WHERE lower(author_name) = lower(?) AND NOT is_bot AND NOT deleted"
            " ORDER BY author_id",
            name,
        )
        return [row[0] for row in rows]
