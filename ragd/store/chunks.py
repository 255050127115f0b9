"""What the syncer reads and writes: dirty cells, a cell's messages, its chunks with their vectors."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ragd.store.canary import CANARY_CHANNEL
from ragd.store.database import Row
from ragd.store.embeddings import VectorTable
from ragd.store.models import DirtyCell, SyncState

CellOf = Callable[[int], int]
"""The number of the cell that a message id falls into."""

REMOVALS_KEPT_SECONDS = 7 * 24 * 3600
"""An index snapshot that is older cannot learn of removals any more and is rebuilt."""

REMOVALS_PRUNED = "removals_pruned"
"""Counter: the newest chunk change whose removal record has been dropped."""

FULL_PASSES_WANTED = "full_pass_wanted"
"""Counter: how often somebody asked for a full pass. The syncer heeds that it grew, not how far."""

DROPPED = "chunks_dropped"
"""Counter: chunks that went at once, with a message of theirs."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Work for a strategy: one cell of a channel and the span of ids that changed in it."""

    strategy: str
    channel_id: int
    cell: int
    low_id: int
    high_id: int
    messages: int


_WIDEN = (
    "ON CONFLICT (strategy, channel_id, cell) DO UPDATE SET low_id = min(low_id, excluded.low_id),"
    " high_id = max(high_id, excluded.high_id), messages = messages + 1"
)

_UNUSED = "NOT EXISTS (SELECT 1 FROM chunk WHERE chunk.text_hash = vector.text_hash)"
"""Of a row of `vector`: no chunk has its text."""


@dataclass(frozen=True, slots=True)
class StoredChunk:
    id: int
    key: str
    first_id: int
    last_id: int
    erased: bool
    """Its text was (`blank_changed`)."""


@dataclass(frozen=True, slots=True)
class NewChunk:
    """A chunk to store, its text embedded."""

    key: str
    message_ids: Sequence[int]
    text: str
    text_hash: bytes


def hash_text(text: str) -> bytes:
    """Identifies a text for the vector table: the same text never needs to be embedded twice."""
    return hashlib.sha256(text.encode()).digest()[:16]


@dataclass(frozen=True, slots=True)
class MessageText:
    """What search reads of a message row."""

    id: int
    author_id: int
    author_name: str
    content: str
    extra: str
    reply_to_id: int | None


class ChunkStore(VectorTable):
    """Queries of the syncer. One process, one thread."""

    # Following the messages

    def begin_strategies(self, versions: Mapping[str, int]) -> None:
        """Start at 0 for a strategy that is new or whose version changed; drop the chunks of those no more wanted.

        After a change of version the old chunks serve on, cell by cell, until the new ones take their place; what
        both have in common keeps its vectors.
        """
        with self._transaction():
            known = {state.strategy: state.version for state in SyncState.select().execute(self._database)}
            for gone in known.keys() - versions.keys():
                self._drop_strategy(gone)
            for strategy, version in versions.items():
                if known.get(strategy) != version:
                    self._execute("REPLACE INTO sync_state VALUES (?, ?, 0)", strategy, version)

    def _drop_strategy(self, strategy: str) -> None:
        self._remove(strategy, [row[0] for row in self._all("SELECT id FROM chunk WHERE strategy = ?", strategy)])
        DirtyCell.delete().where(DirtyCell.strategy == strategy).execute(self._database)
        SyncState.delete().where(SyncState.strategy == strategy).execute(self._database)

    def has_changes(self, strategy: str) -> bool:
        """Whether messages changed since the strategy last looked; takes no lock."""
        return bool(
            self._all(
                "SELECT 1 FROM sync_state, counter WHERE strategy = ? AND name = 'message_change' AND position < value",
                strategy,
            )
        )

    def mark_dirty(self, strategy: str, cell_of: CellOf, limit: int) -> int:
        """Turn up to `limit` message changes into dirty cells; returns how many, 0 when the strategy is level."""
        with self._transaction():
            (position,) = self._one("SELECT position FROM sync_state WHERE strategy = ?", strategy)
            changes = self._all(
                "SELECT change, id, channel_id FROM message WHERE change > ? ORDER BY change LIMIT ?", position, limit
            )
            self._mark(strategy, ((row[2], row[1]) for row in changes), cell_of)
            # numbers that a page took and no message has: what was read again had not changed
            (newest,) = self._one("SELECT value FROM counter WHERE name = 'message_change'")
            level = newest if len(changes) < limit else changes[-1][0]
            SyncState.update(position=level).where(SyncState.strategy == strategy).execute(self._database)
        return len(changes)

    def _mark(self, strategy: str, messages: Iterable[tuple[int, int]], cell_of: CellOf) -> None:
        now_ms = _now_ms()
        self._execute_many(
            "INSERT INTO dirty_cell (strategy, channel_id, cell, low_id, high_id, messages, marked_at)"
            f" VALUES (?, ?, ?, ?, ?, 1, ?) {_WIDEN}",
            ((strategy, channel_id, cell_of(mid), mid, mid, now_ms) for channel_id, mid in messages),
        )

    def dirty_cells(self, strategy: str, limit: int) -> list[Cell]:
        """Dirty cells, those with the newest messages first: what people search for, even during a long backfill."""
        rows = (
            DirtyCell.select()
            .where(DirtyCell.strategy == strategy)
            .order_by(DirtyCell.cell.desc(), DirtyCell.high_id.desc())
            .limit(limit)
            .execute(self._database)
        )
        return [Cell(strategy, row.channel_id, row.cell, row.low_id, row.high_id, row.messages) for row in rows]

    def lag(self) -> int:
        """Messages changed since their chunks were last made, for the strategy that is furthest behind."""
        row = self._one(
            # the canary is taken off, not left out: the count of all is read from the index on `change` alone
            "SELECT coalesce(max((SELECT count(*) FROM message WHERE change > s.position)"
            " - (SELECT count(*) FROM message WHERE channel_id = ?1 AND change > s.position)"
            " + (SELECT coalesce(sum(messages), 0) FROM dirty_cell d"
            " WHERE d.strategy = s.strategy AND d.channel_id <> ?1)), 0) FROM sync_state s",
            CANARY_CHANNEL,
        )
        return int(row[0])

    # Full passes

    def want_full_pass(self) -> None:
        """Ask the syncer, whichever process it is, to look at everything once more. Any process may call it."""
        with self._transaction():
            self._execute(
                "INSERT INTO counter (name, value) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1",
                FULL_PASSES_WANTED,
            )

    def full_passes_wanted(self) -> int:
        """How often it was asked for since the database was made."""
        rows = self._all("SELECT value FROM counter WHERE name = ?", FULL_PASSES_WANTED)
        return int(rows[0][0]) if rows else 0

    def chunk_count(self, strategy: str) -> int:
        return int(
            self._one("SELECT count(*) FROM chunk WHERE strategy = ? AND channel_id <> ?", strategy, CANARY_CHANNEL)[0]
        )

    # One cell

    def message_ids(self, channel_id: int, first_id: int, last_id: int) -> list[int]:
        """Ids of the span's messages that take part in search, ascending."""
        rows = self._all(
            "SELECT id FROM message WHERE channel_id = ? AND id BETWEEN ? AND ? AND chunkable ORDER BY id",
            channel_id,
            first_id,
            last_id,
        )
        return [row[0] for row in rows]

    def message_texts(self, channel_id: int, first_id: int, last_id: int) -> list[MessageText]:
        """The span's messages that take part in search, ascending by id."""
        rows = self._all(
            "SELECT id, author_id, author_name, content, extra, reply_to_id FROM message"
            " WHERE channel_id = ? AND id BETWEEN ? AND ? AND chunkable ORDER BY id",
            channel_id,
            first_id,
            last_id,
        )
        return [MessageText(*row) for row in rows]

    def stored_chunks(self, cell: Cell) -> list[StoredChunk]:
        rows = self._all(
            "SELECT id, key, first_id, last_id, text = '' FROM chunk"
            " WHERE strategy = ? AND channel_id = ? AND cell = ?",
            cell.strategy,
            cell.channel_id,
            cell.cell,
        )
        return [StoredChunk(row[0], row[1], row[2], row[3], bool(row[4])) for row in rows]

    def commit_cell(
        self,
        cell: Cell,
        removed: Sequence[int],
        added: Sequence[NewChunk],
        vectors: Mapping[int, Mapping[bytes, bytes]],
        keep: Collection[bytes] = (),
        restored: Sequence[NewChunk] = (),
        as_of: int | None = None,
    ) -> None:
        """Replace chunks of a cell in one transaction, and take the cell off the list unless it changed meanwhile.

        `vectors` are those that the new chunks' texts have not got yet, by model id and text hash. `keep` names texts
        that another cell is about to use: their vectors stay though no chunk has them just now. `restored` are there,
        their text erased, and say the same again. Of a message that was written after change number `as_of`, before
        which all was read, no text is stored.
        """
        with self._transaction():
            for model_id, made in vectors.items():
                self._store_vectors(made, model_id)
            self._remove(cell.strategy, removed, keep={*keep, *(chunk.text_hash for chunk in added)})
            self._add(cell, added)
            self._execute_many("UPDATE chunk SET text = ? WHERE key = ?", ((one.text, one.key) for one in restored))
            if as_of is not None:
                self._blank_overtaken([*added, *restored], as_of)
            DirtyCell.delete().where(
                (DirtyCell.strategy == cell.strategy)
                & (DirtyCell.channel_id == cell.channel_id)
                & (DirtyCell.cell == cell.cell)
                & (DirtyCell.messages == cell.messages)
            ).execute(self._database)
            DirtyCell.update(marked_at=_now_ms()).where(
                (DirtyCell.strategy == cell.strategy)
                & (DirtyCell.channel_id == cell.channel_id)
                & (DirtyCell.cell == cell.cell)
            ).execute(self._database)

    def _add(self, cell: Cell, chunks: Sequence[NewChunk]) -> None:
        change = self._take_changes(len(chunks))
        for offset, chunk in enumerate(chunks):
            ids = chunk.message_ids
            self._execute(
                "INSERT INTO chunk (key, strategy, channel_id, cell, first_id, last_id, text, text_hash, change,"
                " made_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                chunk.key,
                cell.strategy,
                cell.channel_id,
                cell.cell,
                ids[0],
                ids[-1],
                chunk.text,
                chunk.text_hash,
                change + offset,
                _now_ms(),
            )
            chunk_id = self._database.connection().last_insert_rowid()
            self._execute_many(
                "INSERT INTO chunk_message (chunk_id, message_id) VALUES (?, ?)", ((chunk_id, mid) for mid in ids)
            )

    def newest_change(self) -> int:
        """The change number of the message that was written last."""
        return int(self._one("SELECT value FROM counter WHERE name = 'message_change'")[0])

    def blank_changed(self, change: int) -> None:
        """Erase the text of every chunk that holds a message which was written, edited or deleted after that change
        number, within the caller's transaction: the syncer may come to it days later.

        What it said is found by its vector until the syncer makes it anew; answers quote messages alone.
        """
        self._execute(
            "UPDATE chunk SET text = '' WHERE text <> '' AND id IN (SELECT cm.chunk_id FROM message m"
            " CROSS JOIN chunk_message cm ON cm.message_id = m.id WHERE m.change > ?)",
            change,
        )

    def _blank_overtaken(self, chunks: Iterable[NewChunk], as_of: int) -> None:
        """The same of these chunks, which were made while somebody wrote. Their cell is marked, or about to be."""
        self._execute_many(
            "UPDATE chunk SET text = '' WHERE key = ? AND EXISTS (SELECT 1 FROM chunk_message cm"
            " JOIN message m ON m.id = cm.message_id WHERE cm.chunk_id = chunk.id AND m.change > ?)",
            ((one.key, as_of) for one in chunks),
        )

    def drop(self, message_ids: Collection[int]) -> tuple[int, int]:
        """Drop every chunk that holds one of them, within the caller's transaction; returns how many, and vectors.

        Their cells are marked: the syncer makes them anew of what is left.
        """
        dropped: dict[int, Row] = {}
        for message_id in message_ids:
            for row in self._all(
                "SELECT c.id, c.strategy, c.channel_id, c.cell, c.first_id, c.last_id FROM chunk_message cm"
                " JOIN chunk c ON c.id = cm.chunk_id WHERE cm.message_id = ?",
                message_id,
            ):
                dropped[row[0]] = row[1:]
        return self._drop(dropped)

    def drop_channel(self, channel_id: int, limit: int) -> tuple[int, int]:
        """The same of up to `limit` chunks of a channel in which no message says anything any more."""
        rows = self._all(
            "SELECT c.id, c.strategy, c.channel_id, c.cell, c.first_id, c.last_id FROM sync_state s"
            " JOIN chunk c ON c.strategy = s.strategy WHERE c.channel_id = ? AND NOT EXISTS (SELECT 1"
            " FROM chunk_message cm JOIN message m ON m.id = cm.message_id AND m.chunkable WHERE cm.chunk_id = c.id)"
            " LIMIT ?",
            channel_id,
            limit,
        )
        return self._drop({row[0]: row[1:] for row in rows})

    def _drop(self, chunks: Mapping[int, Row]) -> tuple[int, int]:
        if not chunks:
            return 0, 0
        now_ms, vectors = _now_ms(), 0
        for chunk_id, (strategy, *cell) in chunks.items():
            vectors += self._remove(strategy, [chunk_id])
            self._execute(
                "INSERT INTO dirty_cell (strategy, channel_id, cell, low_id, high_id, messages, marked_at)"
                f" VALUES (?, ?, ?, ?, ?, 1, ?) {_WIDEN}",
                strategy,
                *cell,
                now_ms,
            )
        self._execute(
            "INSERT INTO counter (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + ?",
            DROPPED,
            len(chunks),
            len(chunks),
        )
        return len(chunks), vectors

    def dropped(self) -> int:
        """How many chunks were ever taken out otherwise than by the syncer's own plans."""
        rows = self._all("SELECT value FROM counter WHERE name = ?", DROPPED)
        return int(rows[0][0]) if rows else 0

    def _remove(self, strategy: str, chunk_ids: Sequence[int], keep: Collection[bytes] = ()) -> int:
        """Drop chunks, their text and, unless another chunk (or `keep`) shares it, their vectors; returns how many of
        these."""
        change, now, vectors = self._take_changes(len(chunk_ids)), int(time.time()), 0
        for offset, chunk_id in enumerate(chunk_ids):
            for (text_hash,) in self._all("DELETE FROM chunk WHERE id = ? RETURNING text_hash", chunk_id):
                self._execute("DELETE FROM chunk_message WHERE chunk_id = ?", chunk_id)
                self._execute(
                    "INSERT INTO chunk_removal (chunk_id, strategy, change, removed_at) VALUES (?, ?, ?, ?)",
                    chunk_id,
                    strategy,
                    change + offset,
                    now,
                )
                if text_hash not in keep:
                    vectors += self._drop_unused_vector(text_hash)
        return vectors

    def _drop_unused_vector(self, text_hash: bytes) -> int:
        return self._execute(
            # model by model: the table is ordered by model, and without one all of it would be read
            "DELETE FROM vector WHERE model_id IN (SELECT id FROM model) AND text_hash = ?1"
            " AND NOT EXISTS (SELECT 1 FROM chunk WHERE chunk.text_hash = ?1)",
            text_hash,
        )

    def drop_orphans(self, after: tuple[int, bytes] = (-1, b""), limit: int = 2_000) -> tuple[int, bytes] | None:
        """Of the next vectors drop those of texts that no chunk has, which a cell that was never finished left.

        Returns where to go on, None at the end. Reads without a lock.
        """
        page = self._all(
            f"SELECT model_id, text_hash, {_UNUSED} FROM vector WHERE (model_id, text_hash) > (?, ?)"
            " ORDER BY model_id, text_hash LIMIT ?",
            *after,
            limit,
        )
        if orphans := [(row[0], row[1]) for row in page if row[2]]:
            with self._transaction():
                self._execute_many(f"DELETE FROM vector WHERE model_id = ? AND text_hash = ? AND {_UNUSED}", orphans)
        return (page[-1][0], page[-1][1]) if len(page) == limit else None

    # Repair

    def mark_inconsistent(self, strategy: str, cell_of: CellOf) -> int:
        """The full pass: find messages that no chunk holds and chunks that hold deleted ones, and mark their cells."""
        missing = self._all(
            "SELECT channel_id, id FROM message m WHERE chunkable AND NOT EXISTS (SELECT 1 FROM chunk_message cm"
            " JOIN chunk c ON c.id = cm.chunk_id WHERE cm.message_id = m.id AND c.strategy = ?)",
            strategy,
        )
        stale = self._all(
            "SELECT c.channel_id, cm.message_id FROM chunk c JOIN chunk_message cm ON cm.chunk_id = c.id"
            " JOIN message m ON m.id = cm.message_id WHERE c.strategy = ? AND NOT m.chunkable",
            strategy,
        )
        with self._transaction():
            self._mark(strategy, ((row[0], row[1]) for row in [*missing, *stale]), cell_of)
        return len(missing) + len(stale)

    def prune_removals(self) -> None:
        """Drop removal records that every index has had a week to follow."""
        before = int(time.time()) - REMOVALS_KEPT_SECONDS
        with self._transaction():
            (newest,) = self._one("SELECT max(change) FROM chunk_removal WHERE removed_at < ?", before)
            if newest is None:
                return
            self._execute("DELETE FROM chunk_removal WHERE removed_at < ?", before)
            self._execute(
                "INSERT INTO counter (name, value) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
                REMOVALS_PRUNED,
                newest,
            )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
