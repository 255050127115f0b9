"""What the searcher reads: chunks with their vectors in the order of change, removals, and what an answer shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ragd.store.canary import CANARY_CHANNEL
from ragd.store.chunks import REMOVALS_PRUNED
from ragd.store.coverage import THREAD_TYPES
from ragd.store.database import Queries

_VARIABLES = 500
"""Bound parameters a statement; SQLite allows 32,766, shorter lists keep statements in its cache."""


_FINDABLE = "NOT {0}.deleted AND NOT {0}.excluded AND ({0}.readable OR {0}.imported)"
"""What is kept of a channel that the bot may not read any more, or is told to leave alone, is found by nobody."""

_OPEN = "NOT {0}.deleted AND ({0}.readable OR {0}.imported)"
"""What must be true of a thread's parent. Not that it is captured: whether a thread is left out is for the most
specific of the listed ids to say, and stands in the thread's own row."""

_THREADS = ",".join(map(str, THREAD_TYPES))


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened to a strategy's chunks after one change number and up to another."""

    added: list[tuple[int, bytes]]
    """Chunk id and vector."""
    removed: list[int]
    position: int
    more: bool


@dataclass(frozen=True, slots=True)
class Members:
    """Ids of chunks that an index must hold, and of those that it may: what changed after it followed last."""

    due: list[int]
    open: list[int]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which chunks may be answered; None means any. Ids of Discord, times as snowflakes."""

    channel_ids: Collection[int] | None = None
    author_id: int | None = None
    since_id: int | None = None

    @property
    def is_empty(self) -> bool:
        return self.channel_ids is None and self.author_id is None and self.since_id is None


@dataclass(frozen=True, slots=True)
class PassageMessage:
    id: int
    author_id: int
    author_name: str
    content: str
    extra: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk as it reads now: its messages that still exist, as they stand in the store this moment."""

    chunk_id: int
    strategy: str
    guild_id: int
    guild_name: str
    channel_id: int
    channel_name: str
    messages: list[PassageMessage] = field(default_factory=list)


class VectorStore(Queries):
    """Queries of the searcher."""

    def model_id(self, key: str) -> int | None:
        """The id of the embedding model, None while no vector of it can exist."""
        rows = self._all("SELECT id FROM model WHERE key = ?", key)
        return int(rows[0][0]) if rows else None

    def last_change(self) -> int:
        return int(self._one("SELECT value FROM counter WHERE name = 'chunk_change'")[0])

    def oldest_followable(self) -> int:
        """Below this position removals have been forgotten: whoever stands there must begin at 0."""
        rows = self._all("SELECT value FROM counter WHERE name = ?", REMOVALS_PRUNED)
        return int(rows[0][0]) if rows else 0

    def changes(self, strategy: str, model_id: int, position: int, limit: int) -> Changes:
        """The next changes after `position`, at most `limit` added chunks at a time."""
        upto = self.last_change()
        added = self._all(
            # INDEXED BY: left to itself SQLite sorts all the rest of the strategy for each slice, which is quadratic.
            "SELECT c.change, c.id, v.data FROM chunk c INDEXED BY chunk_change"
            " JOIN vector v ON v.model_id = ? AND v.text_hash = c.text_hash"
            " WHERE c.strategy = ? AND c.change > ? AND c.change <= ? ORDER BY c.change LIMIT ?",
            model_id,
            strategy,
            position,
            upto,
            limit,
        )
        more = len(added) == limit
        if more:
            upto = added[-1][0]
        removed = self._all(
            "SELECT chunk_id FROM chunk_removal WHERE strategy = ? AND change > ? AND change <= ?",
            strategy,
            position,
            upto,
        )
        return Changes([(row[1], row[2]) for row in added], [row[0] for row in removed], upto, more)

    def vector_count(self, strategy: str, model_id: int) -> int:
        """How many chunks of the strategy have a vector of the model."""
        return int(
            self._one(
                "SELECT count(*) FROM chunk c JOIN vector v ON v.model_id = ? AND v.text_hash = c.text_hash"
                " WHERE c.strategy = ?",
                model_id,
                strategy,
            )[0]
        )

    def members(self, strategy: str, model_id: int, position: int) -> Members:
        """What an index that has followed up to `position` must hold, as of one moment."""
        rows = self._all(
            "SELECT c.id, c.change <= ?3 FROM chunk c JOIN vector v ON v.model_id = ?2 AND v.text_hash = c.text_hash"
            " WHERE c.strategy = ?1"
            " UNION ALL SELECT chunk_id, 0 FROM chunk_removal WHERE strategy = ?1 AND change > ?3",
            strategy,
            model_id,
            position,
        )
        return Members([row[0] for row in rows if row[1]], [row[0] for row in rows if not row[1]])

    def allowed_chunks(self, strategy: str, wanted: Filter) -> list[int]:
        """Ids of the strategy's chunks that pass a filter."""
        where: list[str] = ["c.strategy = ?"]
        parameters: list[object] = [strategy]
        if wanted.since_id is not None:
            where.append("c.last_id >= ?")
            parameters.append(wanted.since_id)
        if wanted.author_id is not None:
            where.append(
                "EXISTS (SELECT 1 FROM chunk_message cm JOIN message m ON m.id = cm.message_id"
                " WHERE cm.chunk_id = c.id AND m.author_id = ?)"
            )
            parameters.append(wanted.author_id)
        base = f"SELECT c.id FROM chunk c WHERE {' AND '.join(where)}"
        if wanted.channel_ids is None:
            return [row[0] for row in self._all(base, *parameters)]
        return [
            row[0]
            for part in _slices(sorted(wanted.channel_ids))
            for row in self._all(f"{base} AND c.channel_id IN ({_marks(part)})", *parameters, *part)
        ]

    def passages(self, chunk_ids: Sequence[int]) -> dict[int, Passage]:
        """The chunks that still say something, by id; messages ascend by id.

        Without what was deleted, and without channels, threads of channels and guilds that are out of reach.
        """
        found: dict[int, Passage] = {}
        for part in _slices(chunk_ids):
            rows = self._all(
                "SELECT c.id, c.strategy, ch.guild_id, coalesce(g.name, ''), ch.id, ch.name,"
                " m.id, m.author_id, m.author_name, m.content, m.extra"
                f" FROM chunk c JOIN channel ch ON ch.id = c.channel_id AND {_FINDABLE.format('ch')}"
                f" LEFT JOIN channel p ON p.id = ch.parent_id AND ch.type IN ({_THREADS})"
                " LEFT JOIN guild g ON g.id = ch.guild_id"
                " JOIN chunk_message cm ON cm.chunk_id = c.id"
                " JOIN message m ON m.id = cm.message_id AND m.chunkable"
                f" WHERE c.id IN ({_marks(part)}) AND NOT coalesce(g.removed, 0)"
                f" AND (p.id IS NULL OR {_OPEN.format('p')}) ORDER BY c.id, m.id",
                *part,
            )
            for row in rows:
                passage = found.setdefault(row[0], Passage(*row[:6]))
                passage.messages.append(PassageMessage(*row[6:]))
        return found

    def canaries_in(self, chunk_ids: Sequence[int]) -> list[int]:
        """Ids of canaries that the chunks hold: what `passages` shows nobody (ragd/store/canary.py)."""
        return [
            row[0]
            for part in _slices(chunk_ids)
            for row in self._all(
                "SELECT DISTINCT m.id FROM chunk_message cm JOIN message m ON m.id = cm.message_id AND m.chunkable"
                f" WHERE m.channel_id = ? AND cm.chunk_id IN ({_marks(part)})",
                CANARY_CHANNEL,
                *part,
            )
        ]

    def author_id(self, name: str) -> int | None:
        """The author whose name this is (case does not matter), the most recent one if several bear it."""
        rows = self._all(
            "SELECT author_id FROM message WHERE lower(author_name) = lower(?) ORDER BY id DESC LIMIT 1", name
        )
        return int(rows[0][0]) if rows else None

    def channel_ids(self, name: str) -> list[int]:
        """Channels of that name, with or without `#`, and the threads in them."""
        rows = self._all(
            "SELECT id FROM channel WHERE lower(name) = lower(?1) OR parent_id IN"
            " (SELECT id FROM channel WHERE lower(name) = lower(?1))",
            name.removeprefix("#"),
        )
        return [row[0] for row in rows]


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _slices(values: Sequence[int]) -> list[Sequence[int]]:
    return [values[start : start + _VARIABLES] for start in range(0, len(values), _VARIABLES)]
