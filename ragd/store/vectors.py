"""What the searcher reads: chunks with their vectors in the order of change, removals, and what an answer shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ragd.store.canary import CANARY_CHANNEL
from ragd.store.chunks import REMOVALS_PRUNED
from ragd.store.database import Queries
from ragd.store.erasure import PURGE_WANTED, PURGED
from ragd.store.scope import FINDABLE, OPEN, SHOWN, THREADS, Filter, of_chunks, reach

_VARIABLES = 500
"""Bound parameters a statement; SQLite allows 32,766, shorter lists keep statements in its cache."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened to a strategy's chunks after one change number and up to another."""

    added: list[tuple[int, bytes]]
    """Chunk id and vector."""
    removed: list[int]
    position: int
    more: bool


@dataclass(frozen=True, slots=True)
class PlaceChanges:
    """Which chunks of a strategy came, and went, since somebody looked."""

    added: list[tuple[int, int]]
    """Chunk and channel, ascending by chunk."""
    removed: list[int]
    position: int


@dataclass(frozen=True, slots=True)
class Members:
    """Ids of chunks that an index must hold, and of those that it may: what changed after it followed last."""

    due: list[int]
    open: list[int]


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

    def purge_wanted(self) -> int:
        """The chunk change at which something was erased last: what was removed up to it must be in no index file."""
        rows = self._all("SELECT value FROM counter WHERE name = ?", PURGE_WANTED)
        return int(rows[0][0]) if rows else 0

    def purged(self, strategy: str) -> int:
        """The newest `purge_wanted` that the strategy's files have seen."""
        rows = self._all("SELECT value FROM counter WHERE name = ?", PURGED + strategy)
        return int(rows[0][0]) if rows else 0

    def note_purged(self, strategy: str, change: int) -> None:
        """No file of the strategy's holds anything that was removed up to that change."""
        with self._transaction():
            self._execute(
                "INSERT INTO counter (name, value) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
                PURGED + strategy,
                change,
            )

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
        return Changes([(row[1], row[2]) for row in added], self._removed(strategy, position, upto), upto, more)

    def _removed(self, strategy: str, position: int, upto: int) -> list[int]:
        """Chunks removed after one change number and up to another."""
        rows = self._all(
            "SELECT chunk_id FROM chunk_removal WHERE strategy = ? AND change > ? AND change <= ?",
            strategy,
            position,
            upto,
        )
        return [row[0] for row in rows]

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
        where, parameters = of_chunks(wanted)
        return [
            row[0]
            for row in self._all(f"SELECT c.id FROM chunk c WHERE c.strategy = ? AND {where}", strategy, *parameters)
        ]

    def place_changes(self, strategy: str, after_id: int, position: int) -> PlaceChanges | None:
        """Chunks with higher ids than `after_id`, and those removed after change `position`; -1 is before all.

        None if it is no longer known what was removed since then.
        """
        with self._snapshot():
            if 0 <= position < self.oldest_followable():
                return None
            upto = self.last_change()
            if upto == position:
                return PlaceChanges([], [], position)
            added = self._all(
                "SELECT id, channel_id FROM chunk WHERE +strategy = ? AND id > ? ORDER BY id", strategy, after_id
            )
            removed = self._removed(strategy, position, upto) if position >= 0 else []
        return PlaceChanges(added, removed, upto)

    def canary_chunks(self, strategy: str) -> list[int]:
        """Ids of the chunks that hold canaries: no other query may be told of them."""
        return [
            row[0]
            for row in self._all("SELECT id FROM chunk WHERE strategy = ? AND channel_id = ?", strategy, CANARY_CHANNEL)
        ]

    def passages(self, chunk_ids: Sequence[int]) -> dict[int, Passage]:
        """The chunks that still say something, by id; messages ascend by id.

        Without what was deleted, and without channels, threads of channels and guilds that are out of reach.
        """
        found: dict[int, Passage] = {}
        for part in _slices(chunk_ids):
            rows = self._all(
                # The `+` keeps SQLite from reading the whole channel for each chunk instead of the chunk's messages.
                "SELECT c.id, c.strategy, ch.guild_id, coalesce(g.name, ''), ch.id, ch.name,"
                " m.id, m.author_id, m.author_name, m.content, m.extra"
                f" FROM chunk c JOIN channel ch ON ch.id = c.channel_id AND {FINDABLE.format('ch')}"
                f" LEFT JOIN channel p ON p.id = ch.parent_id AND ch.type IN ({THREADS})"
                " LEFT JOIN guild g ON g.id = ch.guild_id"
                " JOIN chunk_message cm ON cm.chunk_id = c.id"
                f" JOIN message m ON m.id = cm.message_id AND +m.channel_id = c.channel_id AND {SHOWN}"
                f" WHERE c.id IN ({_marks(part)}) AND NOT coalesce(g.removed, 0)"
                f" AND (p.id IS NULL OR {OPEN.format('p')}) ORDER BY c.id, m.id",
                *part,
            )
            for row in rows:
                passage = found.setdefault(row[0], Passage(*row[:6]))
                passage.messages.append(PassageMessage(*row[6:]))
        return found

    def homes(self, message_ids: Sequence[int], strategies: Sequence[str]) -> dict[int, int]:
        """A chunk of each message that has one, of the first of the strategies that has it."""
        found: dict[int, tuple[int, int]] = {}
        for part in _slices(message_ids):
            rows = self._all(
                "SELECT cm.message_id, c.strategy, c.id FROM chunk_message cm JOIN chunk c ON c.id = cm.chunk_id"
                f" WHERE cm.message_id IN ({_marks(part)})",
                *part,
            )
            for message_id, strategy, chunk_id in rows:
                if strategy in strategies:
                    place = (strategies.index(strategy), chunk_id)
                    found[message_id] = min(place, found.get(message_id, place))
        return {message_id: place[1] for message_id, place in found.items()}

    def bare_passages(self, message_ids: Sequence[int]) -> dict[int, Passage]:
        """Messages as passages of their own, by message id; obeys no filter: the caller has.

        `chunk_id` is then the negative of the message's.
        """
        found: dict[int, Passage] = {}
        for part in _slices(message_ids):
            rows = self._all(
                "SELECT m.id, ch.guild_id, coalesce(g.name, ''), ch.id, ch.name, m.author_id, m.author_name, m.content,"
                " m.extra FROM message m JOIN channel ch ON ch.id = m.channel_id"
                " LEFT JOIN guild g ON g.id = ch.guild_id"
                f" WHERE {SHOWN} AND m.id IN ({_marks(part)})",
                *part,
            )
            for row in rows:
                message = PassageMessage(row[0], *row[5:])
                found[row[0]] = Passage(-row[0], "message", row[1], row[2], row[3], row[4], [message])
        return found

    def neighbours(
        self, channel_id: int, message_id: int, count: int
    ) -> tuple[list[PassageMessage], list[PassageMessage]]:
        """Up to so many messages before and after one in its channel, both ascending by id."""
        base = (
            "SELECT m.id, m.author_id, m.author_name, m.content, m.extra FROM message m"
            f" WHERE m.channel_id = ? AND {SHOWN} AND m.id"
        )
        before = self._all(f"{base} < ? ORDER BY m.id DESC LIMIT ?", channel_id, message_id, count)
        after = self._all(f"{base} > ? ORDER BY m.id LIMIT ?", channel_id, message_id, count)
        return [PassageMessage(*row) for row in reversed(before)], [PassageMessage(*row) for row in after]

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

    def author_id(self, name: str, readable: Collection[int] | None = None) -> int | None:
        """The author whose name this is (case does not matter), the most recent one if several bear it.

        Of `readable` channels only; None for all: a name must not tell that its bearer writes elsewhere.
        """
        within, parameters = reach(Filter(readable))
        rows = self._all(
            # INDEXED BY: SQLite may prefer to read all messages of the channels, newest first, for a name of nobody
            "SELECT author_id FROM message INDEXED BY message_author_name"
            " WHERE lower(author_name) = lower(?) AND NOT deleted"
            f" AND channel_id IN ({within}) ORDER BY id DESC LIMIT 1",
            name,
            *parameters,
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
