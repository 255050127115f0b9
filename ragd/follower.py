"""One strategy's index, made from the store's chunk changes and kept in step with them."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np

from ragd.embedders import TextEmbedder
from ragd.errors import DamagedError
from ragd.index import Identity, Saver, StaleSnapshotError, VectorIndex, discard, set_aside
from ragd.indexes import Differences, IndexState, compare
from ragd.store.vectors import VectorStore
from ragd.worker import make_directory

_log = logging.getLogger(__name__)

CHANGES_A_STEP = 1_000
FOLDS_A_STEP = 25
"""Vectors moved into the graph a step: some 20 ms, which is what a query may wait for."""

COMPACTION_SECONDS = 24 * 3600.0
"""Longest that a removed vector stays in the graph and so in its file."""

COMPACTION_AFTER_START_SECONDS = 1800.0
"""The same where files are begun with that have removed vectors: since when, they do not say."""


class Follower:
    """One strategy's index, kept in step with the store. Belongs to the index thread.

    `settings` as for VectorIndex.
    """

    def __init__(
        self,
        directory: Path,
        strategy: str,
        embedder: TextEmbedder,
        store: VectorStore,
        *,
        load: bool = True,
        **settings: int,
    ) -> None:
        """Begins with the snapshot on disk, unless `load` is False, else with nothing."""
        self._directory = directory / strategy
        self._strategy = strategy
        self._model_key = embedder.identity.key
        self._dimension = embedder.dimension
        self._store = store
        self._settings = settings
        self._model_id: int | None = None
        make_directory(self._directory)
        self.index, self.position = self._load() if load else self._empty()
        identity = Identity(self._model_key, self._dimension, strategy)
        self._saver = Saver(self.index, self._directory, identity, self.position)
        self._expected = 0
        self.is_filling = True
        self._writes = True
        old = self.index.stats().unpurged > 0
        self._compaction_due = time.monotonic() + (COMPACTION_AFTER_START_SECONDS if old else COMPACTION_SECONDS)
        self._purged = self._purging = store.purged(strategy)

    def _load(self) -> tuple[VectorIndex, int]:
        """The snapshot, or an empty index that begins at change 0, which is how an index is rebuilt."""
        if aside := set_aside(self._directory):
            _log.error("%s: damaged index files set aside in %s", self._strategy, aside)
        try:
            index, position = VectorIndex.load(
                self._directory,
                model_key=self._model_key,
                dimension=self._dimension,
                strategy=self._strategy,
                **self._settings,
            )
        except (StaleSnapshotError, DamagedError) as error:
            _log.info("%s: building the index from the database: %s", self._strategy, error)
            return self._empty()
        if position < self._store.oldest_followable() or position > self._store.last_change():
            _log.warning("%s: the index snapshot does not fit the database, rebuilding", self._strategy)
            return self._empty()
        _log.info("%s: index snapshot with %d vectors at change %d", self._strategy, len(index), position)
        return index, position

    def _empty(self) -> tuple[VectorIndex, int]:
        return VectorIndex(self._dimension, **self._settings), 0

    def leave_files(self) -> None:
        """Write no more: another follower of the same strategy, of another model, does from now on."""
        self._saver.wait()
        self._writes = False

    def step(self, now: float) -> bool:
        """Follow some changes, or else move some vectors; True if there is more to do."""
        if self.follow():
            return True
        if self._purge_is_due() or self._compaction_is_due(now):
            self._compaction_due = now + COMPACTION_SECONDS
            self.index.compact()
        if self.index.fold(FOLDS_A_STEP):
            return True
        if self._writes:
            self._saver.step(now, self.position)
            self._note_purged()
        return False

    def rebuild(self) -> None:
        """Begin anew from the database; the files go at once. Raises TransientError when they cannot be removed."""
        self._saver.wait()
        discard(self._directory)
        self.index.clear()
        self.position = self._saver.position = 0
        self._expected, self.is_filling = 0, True
        _log.info("%s: building the index from the database: asked to", self._strategy)

    def _purge_is_due(self) -> bool:
        """Whether something was erased (ragd/store/erasure.py) since the files were last purged; true once."""
        wanted = self._store.purge_wanted()
        if wanted <= self._purging or self.position < wanted:
            return False
        self._purging = wanted
        return True

    def _note_purged(self) -> None:
        """Say that no file holds what was erased, once the compaction begun for that is over and on disk."""
        if self._purging > self._purged and not self.index.stats().compacting and not self.index.purge_due:
            self._store.note_purged(self._strategy, self._purging)
            self._purged = self._purging

    def _compaction_is_due(self, now: float) -> bool:
        return self.index.needs_compaction or (now >= self._compaction_due and self.index.stats().unpurged > 0)

    @property
    def behind(self) -> int:
        """Chunk changes not followed yet."""
        return max(0, self._store.last_change() - self.position)

    def describe(self) -> IndexState:
        """How the index is, for whoever asks."""
        return IndexState(
            self._strategy, self.index.stats(), self.position, self.behind, self._expected if self.is_filling else None
        )

    def check(self) -> Differences:
        """Compare with the store. Takes about a second for a million chunks, in which nothing is answered."""
        members = self._store.members(self._strategy, self._model_id or 0, self.position)
        return compare(self.index.live_labels(), members)

    def follow(self) -> bool:
        """Take over some changes; True if there are more to take over."""
        more = self._follow()
        self.is_filling &= more
        return more

    def _follow(self) -> bool:
        if self._store.last_change() <= self.position:
            return False
        if self._model_id is None:
            self._model_id = self._store.model_id(self._model_key)
        if self._model_id is None:
            return False  # the syncer has not met this model yet: there is no vector of it
        if self.position == 0:
            self._expected = self._store.vector_count(self._strategy, self._model_id)
            self.index.reserve(self._expected)
        changes = self._store.changes(self._strategy, self._model_id, self.position, CHANGES_A_STEP)
        if changes.added:
            labels = [chunk_id for chunk_id, _ in changes.added]
            vectors = np.frombuffer(b"".join(data for _, data in changes.added), "<f4")
            self.index.add(labels, vectors.reshape(len(labels), self._dimension))
        self.index.remove(changes.removed)
        self.position = changes.position
        return changes.more

    def snapshot(self) -> None:
        """Write the index to disk if it is not there."""
        self._saver.save(self.position)
        self._note_purged()

    def close(self) -> None:
        """Write the index to disk if that is worth it."""
        if self._writes:
            self._saver.close(self.position)
            self._note_purged()
