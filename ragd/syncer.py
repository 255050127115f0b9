"""syncer: follows the messages' change numbers and keeps every strategy's chunks and vectors in step with them.

Two stages, both resumable. A change marks the cell (six hours of a channel) it lies in as dirty; that is cheap and
follows the feed in order. Then dirty cells are made anew, the one with the newest messages first, so that what people
just wrote is found within a second or two even while years of history are being backfilled.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

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
from ragd.embedders import TextEmbedder, configured_source, open_again, open_configured
from ragd.erasing import Eraser
from ragd.errors import DamagedError, RagdError, TransientError
from ragd.heartbeat import Counter, read_heartbeat
from ragd.model_change import ModelChange, Surroundings
from ragd.store import Store
from ragd.store.canary import CANARY_CHANNEL
from ragd.store.chunks import Cell, MessageText, NewChunk, StoredChunk, hash_text
from ragd.text import mentioned_ids, searchable_text
from ragd.worker import Pulse, StopFlag, make_directory, run_worker

_log = logging.getLogger(__name__)

IDLE_SECONDS = 0.1
"""Between two looks at the change counter, each one read of one row: what a message waits for on average is half."""

CHANGES_A_STEP = 5_000
CELLS_A_STEP = 16
TEXTS_A_STEP = 16
"""A strategy: enough for the model's threads to share, little enough for a message that comes meanwhile."""

SILENT_SECONDS = 30.0
"""A searcher that has not beaten for so long answers nobody; the next one begins with the model that serves then."""

LAG_EVERY_SECONDS = 2.0
CHECKPOINT_SECONDS = 30.0

WORDS_FILLED_A_STEP = 300
"""Messages indexed by words in one transaction: some 20 ms, for which capture waits to write."""

WORDS_COMPACTION_SECONDS = 24 * 3600.0
"""Longest that the words of a deleted message stay in the file."""

WORK_SECONDS = 1.0
"""While messages are being erased, from one look at the rest to the next: made after each slice, chunks of those who
wrote much would be embedded again and again, only to go with the next slice."""

CHECKPOINT_BYTES = 16 * 1024 * 1024
CHECKPOINT_BUSY_SECONDS = 2.0
"""How long one may wait for readers; nobody writes meanwhile."""

LITESTREAM_BYTES = 64 * 1024 * 1024
"""Where Litestream empties the log it stays below 10 MiB: at this size it does not, and we try."""


class Stopped(Exception):  # noqa: N818 - no error: the step is left undone, the next start does it again
    """The stop flag was set in the middle of a step."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes different in a cell."""

    cell: Cell
    removed: list[int]
    added: list[NewChunk]
    restored: list[NewChunk]
    """There already, but their text was erased: what changed was not what they say."""
    as_of: int
    """The messages' change number when they were read."""

    def texts(self) -> dict[bytes, str]:
        return {chunk.text_hash: chunk.text for chunk in (*self.added, *self.restored)}


def _difference(cell: Cell, old: Sequence[StoredChunk], wanted: Sequence[Chunk], as_of: int) -> _Plan:
    old_keys, keys = {chunk.key for chunk in old}, {chunk.key for chunk in wanted}
    erased = {chunk.key for chunk in old if chunk.erased}
    new = [NewChunk(chunk.key, chunk.message_ids, chunk.text, hash_text(chunk.text)) for chunk in wanted]
    return _Plan(
        cell,
        removed=[chunk.id for chunk in old if chunk.key not in keys],
        added=[chunk for chunk in new if chunk.key not in old_keys],
        restored=[chunk for chunk in new if chunk.key in erased],
        as_of=as_of,
    )


class Syncer:
    """A Worker (ragd/worker.py). Writes chunks and vectors; reads messages, never writes them."""

    idle_seconds = IDLE_SECONDS

    def __init__(self, settings: Settings, store: Store, embedder: TextEmbedder | None, stop: StopFlag) -> None:
        """`embedder` is the model that the settings name, None if it cannot be reached now.

        Raises UnavailableError if it cannot and no other one serves, RagdError.
        """
        self._settings = settings
        self._store = store
        self._chunks = store.chunks
        self._stop = stop
        self._strategies = settings.auto_sync_strategies
        self._options = chunking_options(settings)
        self._on_progress: Callable[[], None] = lambda: None
        self._models = ModelChange(store.embeddings, embedder, self._surroundings())
        self._begin_strategies()
        self._words = store.words
        self._words.begin()
        self._words_waiting = 0
        self._words_due = 0.0
        self._compacting = False
        self._full_pass_due = self._checkpoint_due = self._lag_due = self._checkpoint_blocked_until = 0.0
        self._work_due = 0.0
        self._lag = 0
        self._made = self._removed = self._cells = 0
        self._steps = self._failed_steps = 0
        self._chunks_of = {strategy: self._chunks.chunk_count(strategy) for strategy in self._strategies}
        self._dropped = self._chunks.dropped()
        self._full_pass_at: float | None = None
        self._passes_wanted = self._chunks.full_passes_wanted()
        self._eraser = Eraser(settings, store, self._breathe)

    def _surroundings(self) -> Surroundings:
        settings = self._settings
        return Surroundings(
            source=configured_source(settings),
            open_configured=partial(open_configured, settings, self._store.embeddings, settings.embed_threads),
            open_again=partial(open_again, settings, threads=settings.embed_threads),
            has_moved=partial(searcher_has_moved, settings),
            breathe=self._breathe,
        )

    def _begin_strategies(self) -> None:
        """Have chunks made anew whose making has changed, also by the model: it may read more, or less."""
        self._limits = self._models.limits
        self._chunks.begin_strategies(
            {strategy: strategy_version(strategy, self._options, self._limits) for strategy in self._strategies}
        )

    def step(self, now: float) -> bool:
        """Erase what is to be erased, follow the feed, then make some dirty cells of each strategy anew."""
        try:
            erasing = self._erase(now)
            busy = erasing
            if not erasing or now >= self._work_due:
                began = time.monotonic()
                busy = self._work() or erasing
                self._work_due = now + time.monotonic() - began + WORK_SECONDS
            self._steps += busy  # a look that finds nothing to do is no success that could outweigh a failure
            self._housekeeping(now, idle=not busy)
        except Stopped:
            return False
        except RagdError:
            self._steps += 1
            self._failed_steps += 1
            raise
        return busy

    def _erase(self, now: float) -> bool:
        began = time.monotonic()
        erasing = self._eraser.step(now)
        if erasing:
            self._stop.wait(time.monotonic() - began)  # as long as capture could not write
        return erasing

    def _work(self) -> bool:
        marked = sum(self._follow(strategy) for strategy in self._strategies)
        plans = [plan for strategy in self._strategies for plan in self._plan_some(strategy)]
        self._carry_out(plans)
        filled = self._words.fill(WORDS_FILLED_A_STEP)
        more = self._models.step()
        if self._models.limits != self._limits:
            self._begin_strategies()
        return bool(marked or plans or filled) or more

    def close(self) -> None:
        self._store.close()

    def on_progress(self, callback: Callable[[], None]) -> None:
        """Call back in the middle of long steps, for the heartbeat."""
        self._on_progress = callback

    def counters(self) -> dict[str, Counter]:
        """For the heartbeat; `backlog` and `done` are what tells a stuck syncer from an idle one."""
        return {
            "backlog": self._lag,
            "done": self._cells + self._models.embedded + self._eraser.done,
            "lag_messages": self._lag,
            "cells": self._cells,
            "chunks_made": self._made,
            "chunks_removed": self._removed,
            "embedded": self._models.embedded,
            "steps": self._steps,
            "failed_steps": self._failed_steps,
            "words_waiting": self._words_waiting or None,
            "full_pass_at": self._full_pass_at,
            "next_full_pass_at": self._next_full_pass_at(),
            **{f"chunks_{strategy}": count for strategy, count in self._chunks_of.items()},
            **self._models.counters(),
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
            texts += len(plans[-1].texts())
            if texts >= TEXTS_A_STEP:
                break
        return plans

    def _plan(self, cell: Cell) -> _Plan:
        """Chunk the part of a cell that changed anew; the plan is just what became different."""
        as_of = self._chunks.newest_change()
        stored = self._chunks.stored_chunks(cell)
        ids = self._chunks.message_ids(cell.channel_id, *cell_bounds(cell.cell))
        extents = [(chunk.first_id, chunk.last_id) for chunk in stored]
        first, last = affected_span(cell.strategy, ids, extents, cell.low_id, cell.high_id, self._options)
        wanted = self._chunk(cell, first, last)
        within = [chunk for chunk in stored if first <= chunk.first_id and chunk.last_id <= last]
        return _difference(cell, within, wanted, as_of)

    def _carry_out(self, plans: Sequence[_Plan]) -> None:
        """Embed what is new, over all plans at once, then commit cell by cell.

        Vectors first: no moment in which a message has lost its old chunk and has no new one.
        """
        texts = {digest: text for plan in plans for digest, text in plan.texts().items()}
        vectors = self._models.vectors(texts)
        for plan in plans:
            digests = plan.texts().keys()
            own = {model: {each: made[each] for each in digests & made.keys()} for model, made in vectors.items()}
            self._chunks.commit_cell(plan.cell, plan.removed, plan.added, own, texts.keys(), plan.restored, plan.as_of)
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
            count_tokens=self._models.reader.count_tokens,
            max_tokens=self._models.reader.max_tokens,
            options=self._options,
        )

    def _breathe(self) -> None:
        """Between two calls of the model: show that the loop goes round, and leave when asked to."""
        self._on_progress()
        if self._stop.is_set():
            raise Stopped

    # Keeping house

    def _housekeeping(self, now: float, *, idle: bool) -> None:
        if now >= self._lag_due:
            self._lag_due = now + LAG_EVERY_SECONDS
            self._lag = self._chunks.lag()
            self._words_waiting = self._words.waiting()
            self._heed_wishes(now)
        if self._checkpoint_is_due(now):
            self._checkpoint_due = now + CHECKPOINT_SECONDS
            done = self._store.checkpoint(CHECKPOINT_BUSY_SECONDS)
            self._checkpoint_blocked_until = 0.0 if done else now + CHECKPOINT_SECONDS
            self._recount()
        if idle:
            self._compact_words(now)
        if idle and now >= self._full_pass_due:
            self._full_pass_due = now + self._settings.auto_sync_interval_minutes * 60
            self._full_pass()

    def _checkpoint_is_due(self, now: float) -> bool:
        """By time and by size. While a reader is in the way, by time alone: each try holds up whoever writes."""
        if now < self._checkpoint_blocked_until:
            return False
        if self._settings.litestream:
            return self._store.wal_bytes() > LITESTREAM_BYTES
        return now >= self._checkpoint_due or self._store.wal_bytes() > CHECKPOINT_BYTES

    def _recount(self) -> None:
        """Count the chunks again after some were dropped elsewhere (ChunkStore.drop)."""
        dropped = self._chunks.dropped()
        if dropped != self._dropped:
            self._dropped = dropped
            self._chunks_of = {strategy: self._chunks.chunk_count(strategy) for strategy in self._strategies}

    def _compact_words(self, now: float) -> None:
        """Once a day, a step at a time, have the words of deleted messages leave the file."""
        if self._compacting:
            self._compacting = self._words.compact(begin=False)
        elif now >= self._words_due:
            self._words_due = now + WORDS_COMPACTION_SECONDS
            self._compacting = self._words.needs_compaction() and self._words.compact(begin=True)

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
        if found := self._words.mend():
            _log.warning("full pass: %d messages out of step with the indexes of words", found)
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


def searcher_has_moved(settings: Settings, switch: int) -> bool:
    """Whether the searcher answers by the model of this switch, or there is none that answers by another.

    By the wall clock: whoever is wrong about it only stops feeding an old index a little early, or late.
    """
    try:
        beat = read_heartbeat(settings.heartbeat_dir, "searcher")
    except DamagedError:
        return True
    if beat is None or abs(time.time() - beat.written_at) > SILENT_SECONDS:
        return True
    served = beat.counters.get("model_switch")
    return isinstance(served, int) and served >= switch


def _open_syncer(settings: Settings, store: Store, stop: StopFlag) -> Syncer | None:
    """The syncer, as soon as there is a model to embed with; None if it shall stop before. Raises RagdError."""
    pulse = Pulse(settings, "syncer")
    while not stop.is_set():
        embedder: TextEmbedder | None = None
        try:
            embedder = open_configured(settings, store.embeddings, settings.embed_threads)
        except TransientError as error:
            if store.embeddings.serving() is None:
                pulse.enter("degraded", str(error))
                stop.wait(settings.heartbeat_seconds)
                continue
            _log.warning("%s; it is tried again", error)
        return Syncer(settings, store, embedder, stop)
    return None


def run(settings: Settings, stop: StopFlag) -> None:
    """Run the syncer until the flag is set. Raises RagdError."""
    make_directory(settings.data_dir)
    # NORMAL: chunks and vectors are derived; what a power cut takes is made again.
    store = Store.open(settings.database_path, busy_seconds=settings.busy_seconds)
    syncer = _open_syncer(settings, store, stop)
    if syncer is None:
        store.close()
        return
    pulse = Pulse(settings, "syncer", syncer.counters)
    syncer.on_progress(pulse.beat)
    run_worker(syncer, pulse, stop)
