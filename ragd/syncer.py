"""syncer: follows the messages' change numbers and keeps every strategy's chunks and vectors in step with them.

Two stages, both resumable. A change marks the cell (six hours of a channel) it lies in as dirty; that is cheap and
follows the feed in order. Then dirty cells are made anew, the one with the newest messages first, so that what people
just wrote is found within a second or two even while years of history are being backfilled.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ragd.chunking import (
    Chunk,
    ChunkingOptions,
    SourceMessage,
    affected_span,
    cell_bounds,
    cell_of,
    chunk_messages,
    strategy_version,
)
from ragd.config import Settings
from ragd.embedding import Embedder
from ragd.errors import RagdError
from ragd.heartbeat import Counter
from ragd.store import Store
from ragd.store.canary import CANARY_CHANNEL
from ragd.store.chunks import Cell, MessageText, NewChunk, StoredChunk, hash_text
from ragd.text import mentioned_ids, searchable_text
from ragd.worker import Pulse, StopFlag, make_directory, run_worker

_log = logging.getLogger(__name__)

IDLE_SECONDS = 0.1
"""Between two looks at the change counter, each one read of one row: what a message waits for on average is half."""

CHANGES_A_STEP = 5_000
TOKENS_A_CALL = 2_048
"""Tokens embedded between two heartbeats: some 0.3 s on a core of today, 2 s on a very slow one."""

TEXTS_REVECTORED = 32

CELLS_A_STEP = 16
TEXTS_A_STEP = 16
"""A strategy: enough for the model's threads to share, little enough for a message that comes meanwhile."""

LAG_EVERY_SECONDS = 2.0
CHECKPOINT_SECONDS = 30.0
CHECKPOINT_BYTES = 16 * 1024 * 1024
CHECKPOINT_BUSY_SECONDS = 2.0

TOKEN_COUNTS_KEPT = 20_000


class Stopped(Exception):  # noqa: N818 - no error: the step is left undone, the next start does it again
    """The stop flag was set in the middle of a step."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes different in a cell."""

    cell: Cell
    removed: list[int]
    added: list[NewChunk]


def _difference(cell: Cell, old: Sequence[StoredChunk], wanted: Sequence[Chunk]) -> _Plan:
    old_keys, keys = {chunk.key for chunk in old}, {chunk.key for chunk in wanted}
    return _Plan(
        cell,
        removed=[chunk.id for chunk in old if chunk.key not in keys],
        added=[
            NewChunk(chunk.key, chunk.message_ids, chunk.text, hash_text(chunk.text))
            for chunk in wanted
            if chunk.key not in old_keys
        ],
    )


class Syncer:
    """A Worker (ragd/worker.py). Writes chunks and vectors; reads messages, never writes them."""

    idle_seconds = IDLE_SECONDS

    def __init__(self, settings: Settings, store: Store, embedder: Embedder, stop: StopFlag) -> None:
        self._settings = settings
        self._store = store
        self._chunks = store.chunks
        self._embedder = embedder
        self._stop = stop
        self._strategies = settings.auto_sync_strategies
        self._count_tokens = lru_cache(TOKEN_COUNTS_KEPT)(embedder.count_tokens)
        identity = embedder.identity
        self._model_id = self._chunks.model_id(identity.key, identity.name, embedder.dimension)
        self._options = chunking_options(settings)
        self._chunks.begin_strategies(
            {strategy: strategy_version(strategy, self._options) for strategy in self._strategies}
        )
        self._revectoring = True
        self._full_pass_due = self._checkpoint_due = self._lag_due = 0.0
        self._lag = 0
        self._made = self._removed = self._embedded = self._cells = 0
        self._steps = self._failed_steps = 0
        self._chunks_of = {strategy: self._chunks.chunk_count(strategy) for strategy in self._strategies}
        self._full_pass_at: float | None = None
        self._passes_wanted = self._chunks.full_passes_wanted()
        self._on_progress: Callable[[], None] = lambda: None

    def step(self, now: float) -> bool:
        """Follow the feed, then make some dirty cells of each strategy anew."""
        try:
            busy = self._work()
            self._steps += busy  # a look that finds nothing to do is no success that could outweigh a failure
            self._housekeeping(now, idle=not busy)
        except Stopped:
            return False
        except RagdError:
            self._steps += 1
            self._failed_steps += 1
            raise
        return busy

    def _work(self) -> bool:
        marked = sum(self._follow(strategy) for strategy in self._strategies)
        plans = [plan for strategy in self._strategies for plan in self._plan_some(strategy)]
        self._carry_out(plans)
        return bool(marked or plans) or self._revector()

    def close(self) -> None:
        self._store.close()

    def on_progress(self, callback: Callable[[], None]) -> None:
        """Call back in the middle of long steps, for the heartbeat."""
        self._on_progress = callback

    def counters(self) -> dict[str, Counter]:
        """For the heartbeat; `backlog` and `done` are what tells a stuck syncer from an idle one."""
        return {
            "backlog": self._lag,
            "done": self._cells + self._embedded,
            "lag_messages": self._lag,
            "cells": self._cells,
            "chunks_made": self._made,
            "chunks_removed": self._removed,
            "embedded": self._embedded,
            "steps": self._steps,
            "failed_steps": self._failed_steps,
            "full_pass_at": self._full_pass_at,
            "next_full_pass_at": self._next_full_pass_at(),
            **{f"chunks_{strategy}": count for strategy, count in self._chunks_of.items()},
        }

    def _next_full_pass_at(self) -> float | None:
        """In Unix seconds, for people; the pass itself keeps to a clock that nobody can set."""
        if self._full_pass_at is None:
            return None
        return round(time.time() + max(0.0, self._full_pass_due - time.monotonic()), 1)

    # Following

    def _follow(self, strategy: str) -> int:
        if not self._chunks.has_changes(strategy):
            return 0
        return self._chunks.mark_dirty(strategy, cell_of, CHANGES_A_STEP)

    # Cells

    def _plan_some(self, strategy: str) -> list[_Plan]:
        """Plans for the newest dirty cells, as many as give the model a good call's worth of texts."""
        plans: list[_Plan] = []
        texts = 0
        for cell in self._chunks.dirty_cells(strategy, CELLS_A_STEP):
            plans.append(self._plan(cell))
            texts += len(plans[-1].added)
            if texts >= TEXTS_A_STEP:
                break
        return plans

    def _plan(self, cell: Cell) -> _Plan:
        """Chunk the part of a cell that changed anew; the plan is just what became different."""
        stored = self._chunks.stored_chunks(cell)
        ids = self._chunks.message_ids(cell.channel_id, *cell_bounds(cell.cell))
        extents = [(chunk.first_id, chunk.last_id) for chunk in stored]
        first, last = affected_span(cell.strategy, ids, extents, cell.low_id, cell.high_id, self._options)
        wanted = self._chunk(cell, first, last)
        within = [chunk for chunk in stored if first <= chunk.first_id and chunk.last_id <= last]
        return _difference(cell, within, wanted)

    def _carry_out(self, plans: Sequence[_Plan]) -> None:
        """Embed what is new, over all plans at once, then commit cell by cell.

        Vectors first: no moment in which a message has lost its old chunk and has no new one.
        """
        texts = {chunk.text_hash: chunk.text for plan in plans for chunk in plan.added}
        missing = self._chunks.unembedded(texts.keys(), self._model_id)
        vectors = self._embed({digest: texts[digest] for digest in sorted(missing)})
        for plan in plans:
            own = {chunk.text_hash: vectors[chunk.text_hash] for chunk in plan.added if chunk.text_hash in vectors}
            self._chunks.commit_cell(plan.cell, plan.removed, plan.added, own, self._model_id, keep=texts.keys())
            self._count(plan)

    def _count(self, plan: _Plan) -> None:
        self._cells += 1
        self._made += len(plan.added)
        self._removed += len(plan.removed)
        if plan.cell.channel_id != CANARY_CHANNEL:
            self._chunks_of[plan.cell.strategy] += len(plan.added) - len(plan.removed)

    def _chunk(self, cell: Cell, first_id: int, last_id: int) -> list[Chunk]:
        rows = self._chunks.message_texts(cell.channel_id, first_id, last_id)
        return chunk_messages(
            cell.strategy,
            [source_message(row) for row in rows],
            count_tokens=self._count_tokens,
            max_tokens=self._embedder.max_tokens,
            options=self._options,
        )

    def _embed(self, texts: dict[bytes, str]) -> dict[bytes, bytes]:
        vectors: dict[bytes, bytes] = {}
        for part in self._calls(texts):
            self._breathe()
            for digest, vector in zip(part, self._embedder.embed([texts[d] for d in part]), strict=True):
                vectors[digest] = vector.astype("<f4").tobytes()
            self._embedded += len(part)
        return vectors

    def _calls(self, texts: dict[bytes, str]) -> Iterator[list[bytes]]:
        """Texts by hash, as many at a time as have TOKENS_A_CALL together."""
        part: list[bytes] = []
        tokens = 0
        for digest, text in texts.items():
            part.append(digest)
            tokens += self._count_tokens(text)
            if tokens >= TOKENS_A_CALL:
                yield part
                part, tokens = [], 0
        if part:
            yield part

    def _breathe(self) -> None:
        """Between two calls of the model: show that the loop goes round, and leave when asked to."""
        self._on_progress()
        if self._stop.is_set():
            raise Stopped

    # Another model, and keeping house

    def _revector(self) -> bool:
        """After a change of model: give every chunk a vector of the new one; True while some have none."""
        if not self._revectoring:
            return False
        texts = dict(self._chunks.without_vector(self._model_id, TEXTS_REVECTORED))
        if texts:
            self._chunks.add_vectors(self._embed(texts), self._model_id)
            return True
        self._chunks.drop_other_models(self._model_id)
        self._revectoring = False
        return False

    def _housekeeping(self, now: float, *, idle: bool) -> None:
        if now >= self._lag_due:
            self._lag_due = now + LAG_EVERY_SECONDS
            self._lag = self._chunks.lag()
            self._heed_wishes(now)
        if now >= self._checkpoint_due or self._store.wal_bytes() > CHECKPOINT_BYTES:
            self._checkpoint_due = now + CHECKPOINT_SECONDS
            self._store.checkpoint(CHECKPOINT_BUSY_SECONDS)
        if idle and now >= self._full_pass_due:
            self._full_pass_due = now + self._settings.auto_sync_interval_minutes * 60
            self._full_pass()

    def _heed_wishes(self, now: float) -> None:
        """Bring the full pass forward when somebody asked for one (`/sync now`)."""
        wanted = self._chunks.full_passes_wanted()
        if wanted != self._passes_wanted:
            self._passes_wanted, self._full_pass_due = wanted, now

    def _full_pass(self) -> None:
        """Look at everything once more: whatever slipped through is found and mended here, and reported."""
        started = time.monotonic()
        for strategy in self._strategies:
            if found := self._chunks.mark_inconsistent(strategy, cell_of):
                _log.warning("full pass: %d messages out of step with their %s chunks", found, strategy)
            self._chunks_of[strategy] = self._chunks.chunk_count(strategy)
        self._chunks.prune_removals()
        self._full_pass_at = time.time()
        _log.info("full pass over %s in %.1f s", ", ".join(self._strategies), time.monotonic() - started)


def chunking_options(settings: Settings) -> ChunkingOptions:
    """What the settings say of the strategies."""
    return ChunkingOptions(
        window_ms=settings.chunking_window_seconds * 1000,
        gap_ms=settings.chunking_gap_seconds * 1000,
        window_messages=settings.chunking_window_messages,
        overlap_messages=settings.chunking_overlap_messages,
        author_gap_ms=settings.chunking_author_gap_seconds * 1000,
    )


def source_message(row: MessageText) -> SourceMessage:
    """What chunking reads of a stored message."""
    return SourceMessage(
        id=row.id,
        author_id=row.author_id,
        author_name=row.author_name,
        text=searchable_text(row.content, row.extra),
        reply_to_id=row.reply_to_id,
        mention_ids=mentioned_ids(row.extra),
    )


def run(settings: Settings, stop: StopFlag) -> None:
    """Run the syncer until the flag is set. Raises RagdError."""
    make_directory(settings.data_dir)
    # NORMAL: chunks and vectors are derived; what a power cut takes is made again.
    store = Store.open(settings.database_path, busy_seconds=settings.busy_seconds)
    embedder = Embedder.open(settings.model_dir, settings.embed_threads, settings.model_graph)
    syncer = Syncer(settings, store, embedder, stop)
    pulse = Pulse(settings, "syncer", syncer.counters)
    syncer.on_progress(pulse.beat)
    run_worker(syncer, pulse, stop)
