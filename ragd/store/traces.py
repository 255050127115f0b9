"""What the store knows of one message and the way it has come: asked by `ragdctl why`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

from ragd.store.coverage import Interval, ProvedInterval, holes_between
from ragd.store.database import Queries
from ragd.store.judgement import Judgement

Facts = TypeVar("Facts")


@dataclass(frozen=True, slots=True)
class MessageFacts:
    id: int
    guild_id: int
    channel_id: int
    author_id: int
    author_name: str
    is_bot: bool
    type: int
    content: str
    extra: str
    edited_at: int
    deleted: bool
    chunkable: bool
    source: str
    received_at: int
    change: int


@dataclass(frozen=True, slots=True)
class GuildFacts:
    name: str
    removed: bool


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    id: int
    guild_id: int
    parent_id: int | None
    type: int
    name: str
    last_message_id: int
    readable: bool
    deleted: bool
    excluded: bool
    imported: bool
    refused_until: int
    """Unix ms."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How an id of a channel stands in what is proved: in an interval, in a hole, or beyond the newest message."""

    proof: ProvedInterval | None
    hole: Interval | None


@dataclass(frozen=True, slots=True)
class ChunkFacts:
    """A chunk that holds the message; `model` is the name of the one that its vector is of, None without a vector."""

    id: int
    strategy: str
    key: str
    messages: int
    made_at: int
    change: int
    model: str | None


@dataclass(frozen=True, slots=True)
class StrategyFacts:
    """How far a strategy is with the message's cell."""

    name: str
    position: int
    """Up to which change of messages it knows what to make anew."""
    dirty_since: int | None
    """Since when the cell has been waiting to be made anew, Unix ms; None if it is not."""


class TraceStore(Queries):
    """Reads only."""

    def message(self, message_id: int) -> MessageFacts | None:
        return self._first(MessageFacts, "message", message_id)

    def own_user_id(self) -> int:
        """The bot's own; 0 before its first login."""
        return Judgement(self._database).own_user_id()

    def guild(self, guild_id: int) -> GuildFacts | None:
        return self._first(GuildFacts, "guild", guild_id)

    def channel(self, channel_id: int) -> ChannelFacts | None:
        return self._first(ChannelFacts, "channel", channel_id)

    def standing(self, channel: ChannelFacts, message_id: int, proofs: list[ProvedInterval]) -> Standing:
        """Where the id stands in a channel's `proofs`."""
        proof = next((proof for proof in proofs if proof.start_id <= message_id <= proof.end_id), None)
        holes = holes_between([(proof.start_id, proof.end_id) for proof in proofs], channel.last_message_id)
        return Standing(proof, next((hole for hole in holes if hole[0] <= message_id <= hole[1]), None))

    def chunks(self, message_id: int) -> list[ChunkFacts]:
        """The chunks that hold it, with vectors of the model that answers questions."""
        rows = self._all(
            "SELECT c.id, c.strategy, c.key, (SELECT count(*) FROM chunk_message WHERE chunk_id = c.id), c.made_at,"
            " c.change, (SELECT m.name FROM model m JOIN vector v ON v.model_id = m.id AND v.text_hash = c.text_hash"
            " WHERE m.id = (SELECT id FROM model ORDER BY serving DESC LIMIT 1))"
            " FROM chunk_message cm JOIN chunk c ON c.id = cm.chunk_id WHERE cm.message_id = ?"
            " ORDER BY c.strategy, c.id",
            message_id,
        )
        return [ChunkFacts(*row) for row in rows]

    def strategies(self, channel_id: int, cell: int) -> list[StrategyFacts]:
        rows = self._all(
            "SELECT s.strategy, s.position, d.marked_at FROM sync_state s LEFT JOIN dirty_cell d"
            " ON d.strategy = s.strategy AND d.channel_id = ? AND d.cell = ? ORDER BY s.strategy",
            channel_id,
            cell,
        )
        return [StrategyFacts(*row) for row in rows]

    def _first(self, kind: type[Facts], table: str, row_id: int) -> Facts | None:
        """The row of that id as a dataclass whose fields are columns."""
        columns = fields(kind)  # type: ignore[arg-type]
        rows = self._all(f"SELECT {', '.join(column.name for column in columns)} FROM {table} WHERE id = ?", row_id)
        if not rows:
            return None
        pairs = zip(columns, rows[0], strict=True)
        return kind(**{column.name: bool(value) if column.type == "bool" else value for column, value in pairs})
