"""The index of one chunking strategy: an exact part for new vectors, an HNSW graph once there are many."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

from ragd.errors import DamagedError
from ragd.index import snapshot
from ragd.index.exact import ExactPart
from ragd.index.graph import SCAN_LIMIT, GraphPart, ef_for
from ragd.index.scan import Candidates, Labels, Vectors, as_filter, as_labels, as_unit_vectors, rank

EXACT_LIMIT = 50_000
"""Up to so many vectors there is no graph.

An exact query over 50,000 takes less than 10 ms, is never wrong and costs nothing to keep up. The graph would answer in
about half of that, miss one hit in a hundred, take a third more memory, and half a millisecond of CPU for every vector
added. At 100,000 it is three to four times as fast. See benchmarks/index.py.
"""

COMPACT_SHARE = 0.2
"""Share of removed nodes from which walks through the graph get noticeably slower (by 25-40 % at a fifth)."""

ROW_ARRAYS = 6


@dataclass(frozen=True)
class IndexStats:
    """A picture of an index for status and metrics."""

    live: int
    exact: int
    """Of `live`, those in the exact part."""
    graph: int
    """Of `live`, those in the graph."""
    deleted: int
    """Removed nodes that the graph still holds, and its snapshots with it."""
    unpurged: int
    """Vectors removed since the last compaction: files may still hold them, also where there is no graph."""
    waiting: int
    """Vectors that have yet to move into the graph, or first out of it, until `fold` has nothing more to do."""
    compacting: bool
    ef: int
    """Width of an unfiltered walk; 0 without a graph."""
    memory_bytes: int
    """Estimated."""


class VectorIndex:
    """Unit vectors under int64 labels, searched by cosine similarity.

    Changes are findable, or gone, when the call returns. Vectors arrive in the exact part; `fold` moves them into
    the graph a few at a time. All calls must come from one thread. Nothing here blocks for long, if `fold` gets a
    small limit; `save` takes about a second per 100,000 vectors.
    """

    def __init__(
        self,
        dimension: int,
        *,
        m: int = 16,
        ef_construction: int = 100,
        exact_limit: int = EXACT_LIMIT,
        scan_limit: int = SCAN_LIMIT,
    ) -> None:
        self._dimension = dimension
        self._parameters = {"m": m, "ef_construction": ef_construction}
        self._exact_limit = exact_limit
        self._new_graph: Callable[[], GraphPart] = lambda: GraphPart(dimension, m, ef_construction, scan_limit)
        self._exact = ExactPart(dimension)
        self._graph: GraphPart | None = None
        self._compacting = False
        self._unpurged = 0
        self._purge = self._purged = 0  # number of the newest purge, and of the newest that is on disk

    @property
    def dimension(self) -> int:
        return self._dimension

    def __len__(self) -> int:
        return len(self._exact) + (0 if self._graph is None else len(self._graph))

    def add(self, labels: Collection[int] | NDArray[np.integer[Any]], vectors: ArrayLike) -> None:
        """Add vectors, shape (len(labels), dimension), length 1 within 1e-3. Idempotent.

        A label that is here with the same vector is left alone, with another vector replaced; of a label given
        twice the last counts. Raises ValueError, before anything changes, for labels that are not int64, another
        dimension, NaN, infinity or another length.
        """
        names, rows = as_labels(labels), as_unit_vectors(vectors, self._dimension)
        if len(names) != len(rows):
            raise ValueError(f"{len(names)} labels for {len(rows)} vectors")
        last = {label: row for row, label in enumerate(names.tolist())}
        fresh = [row for label, row in last.items() if not self.holds(label, rows[row])]
        self.remove(names[fresh])
        self._exact.append(names[fresh], rows[fresh])

    def vector_of(self, label: int) -> Vectors | None:
        """The vector that a label is found by, shape (dimension,), or None."""
        stored = self._exact.vector_of(label)
        if stored is None and self._graph is not None:
            stored = self._graph.vector_of(label)
        return stored

    def holds(self, label: int, vector: Vectors) -> bool:
        """Whether exactly this vector is what a label is found by."""
        stored = self.vector_of(label)
        return stored is not None and np.array_equal(stored, vector)

    def reserve(self, count: int) -> None:
        """Make room for so many vectors, so that adding them copies nothing; it costs memory when it is used."""
        self._exact.reserve(count)

    def remove(self, labels: Collection[int] | NDArray[np.integer[Any]]) -> None:
        """Make labels unfindable; unknown ones are ignored. Vectors in the graph stay in memory until `compact`."""
        for label in as_filter(labels).tolist():
            found = self._exact.remove(label) or (self._graph is not None and self._graph.remove(label))
            self._unpurged += found

    def search(
        self, vector: ArrayLike, k: int, allowed: Collection[int] | NDArray[np.integer[Any]] | None = None
    ) -> list[tuple[int, float]]:
        """The `k` nearest labels and their cosine similarity, best first, equal ones in the order of labels.

        Fewer when fewer are here, or `allowed`, which may name unknown labels; None allows all, an empty one
        nothing. An int64 array is the fast way to say it. Without a graph the answer is exact; with one, recall@10
        is about .98, and exact in effect under filters that leave little. Raises ValueError only for a vector that
        `add` would not take.
        """
        query = as_unit_vectors(np.asarray(vector)[None], self._dimension)[0]
        wanted = None if allowed is None else as_filter(allowed)
        k = min(k, len(self))
        if k < 1:
            return []
        parts: list[ExactPart | GraphPart] = [self._exact] if self._graph is None else [self._exact, self._graph]
        found = [part.candidates(query, k, wanted) for part in parts]
        labels = np.concatenate([candidates.labels for candidates in found])
        vectors = np.concatenate([candidates.vectors for candidates in found])
        return rank(Candidates(labels, vectors), query, k)

    def fold(self, limit: int) -> bool:
        """Move at most `limit` vectors towards where they belong; True while there are more.

        That is from the exact part into the graph (about half a millisecond each), or, during a compaction, first
        out of the graph (20 µs each). Does nothing while there are too few for a graph.
        """
        if limit < 1:
            raise ValueError(f"limit must be 1 or more, got {limit}")
        if self._compacting:
            self._drain(limit)
        elif self._fold_is_due():
            if self._graph is None:
                self._graph = self._new_graph()
                self._graph.reserve(len(self._exact))  # now, while there is nothing to copy
            tail = self._exact.tail(limit)
            self._graph.append(*tail)
            self._exact.drop_tail(len(tail.labels))
        return self._compacting or self._fold_is_due()

    def _fold_is_due(self) -> bool:
        return len(self._exact) > (0 if self._graph is not None else self._exact_limit)

    @property
    def needs_compaction(self) -> bool:
        """Whether so much of the graph is removed that rebuilding pays. Privacy may ask for it sooner."""
        if self._graph is None or self._compacting:
            return False
        total = self._graph.deleted + len(self._graph)
        return self._graph.deleted > COMPACT_SHARE * total

    def compact(self) -> None:
        """Start to rid memory and files of removed vectors; calling `fold` until it returns False completes it.

        The live ones go back to the exact part, step by step and findable all the while, the graph is dropped and
        grows anew. The first `save` after that leaves no older file behind.
        """
        if self._graph is None:
            self._begin_purge()
        else:
            self._exact.reserve(len(self))  # at once, so that no step has to copy what has grown large
        self._compacting = self._graph is not None

    def clear(self) -> None:
        """Hold nothing, and have the next `save` leave no older file behind."""
        self._exact, self._graph, self._compacting = ExactPart(self._dimension), None, False
        self._begin_purge()

    @property
    def purge_due(self) -> bool:
        """Whether a `save` is due that rids the files of what a compaction took out of memory."""
        return self._purged < self._purge

    @property
    def purge(self) -> int:
        """Which purge a `save` that begins now rids the files for; grows."""
        return self._purge

    def saved(self, *, purge: int) -> None:
        """A save that began with that `purge` has succeeded: for whoever let a fork do it, while another purge may have
        become due."""
        self._purged = max(self._purged, purge)

    def _begin_purge(self) -> None:
        self._purge, self._unpurged = self._purge + 1, 0

    def _drain(self, limit: int) -> None:
        assert self._graph is not None
        some = self._graph.some(limit)
        self._exact.append(*some)
        for label in some.labels.tolist():
            self._graph.remove(label)
        if len(self._graph) == 0:
            self._graph, self._compacting = None, False
            self._begin_purge()

    def live_labels(self) -> Labels:
        """Every label that can be found, ascending: a copy."""
        graph = np.empty(0, np.int64) if self._graph is None else self._graph.labels
        return np.sort(np.concatenate([self._exact.labels, graph]))

    def stats(self) -> IndexStats:
        """What the index holds now."""
        graph = self._graph
        nodes, deleted = (0, 0) if graph is None else (len(graph), graph.deleted)
        return IndexStats(
            live=len(self),
            exact=len(self._exact),
            graph=nodes,
            deleted=deleted,
            unpurged=self._unpurged,
            waiting=self._waiting(),
            compacting=self._compacting,
            ef=0 if graph is None else ef_for(nodes + deleted),
            memory_bytes=self._exact.memory_bytes + (0 if graph is None else graph.memory_bytes),
        )

    def _waiting(self) -> int:
        if self._compacting:
            assert self._graph is not None
            return len(self._graph) + (len(self) if len(self) > self._exact_limit else 0)
        return len(self._exact) if self._fold_is_due() else 0

    def save(self, directory: Path, *, position: int, model_key: str, strategy: str) -> int:
        """Write a new generation of the snapshot and return its number; see `snapshot.write_generation`.

        `position` is the change number up to which this index has followed the database. Raises TransientError
        when the disk does not take it; nothing is lost then. One process may write to a directory.
        """
        writers: dict[str, snapshot.Writer] = {snapshot.ROWS: self._write_rows}
        if self._graph is not None:
            writers[snapshot.GRAPH] = self._graph.write
        identity = snapshot.Identity(model_key, self._dimension, strategy)
        deleted = 0 if self._graph is None else self._graph.deleted
        unpurged = 0 if self.purge_due else self._unpurged
        content = snapshot.Content(position, len(self), deleted, unpurged, self._parameters)
        manifest = snapshot.write_generation(directory, identity, content, writers, purge=self.purge_due)
        self.saved(purge=self._purge)
        return manifest.generation

    def _write_rows(self, path: Path) -> None:
        graph = self._new_graph() if self._graph is None else self._graph
        with path.open("wb") as file:
            for array in (self._exact.labels, self._exact.vectors, *graph.rows()):
                np.save(file, array, allow_pickle=False)

    @classmethod
    def load(
        cls, directory: Path, *, model_key: str, dimension: int, strategy: str, **settings: int
    ) -> tuple[VectorIndex, int]:
        """The index of the newest sound generation, and the position it reflects; `settings` as for the class.

        Every file is verified before it is read. Raises StaleSnapshotError when the snapshot is of another model,
        dimension or strategy (NoSnapshotError when there is none) and DamagedError when no generation is sound; in
        each case: build from the database. Changes no file.
        """

        def read(directory: Path, manifest: snapshot.Manifest) -> tuple[VectorIndex, int]:
            index = cls(dimension, **settings)
            try:
                index._restore(directory, manifest)
            except (OSError, ValueError, EOFError, RuntimeError) as error:
                raise DamagedError(f"index snapshot {manifest.generation} in {directory}: {error}") from error
            return index, manifest.position

        return snapshot.newest(directory, snapshot.Identity(model_key, dimension, strategy), read)

    def _restore(self, directory: Path, manifest: snapshot.Manifest) -> None:
        """Fill an empty index from verified files. Raises OSError, ValueError, EOFError or RuntimeError."""
        with (directory / snapshot.file_name(snapshot.ROWS, manifest.generation)).open("rb") as file:
            labels, vectors, *graph_rows = (npy.read_array(file, allow_pickle=False) for _ in range(ROW_ARRAYS))
        self._exact.restore(as_labels(labels), as_unit_vectors(vectors, self._dimension))
        if manifest.has(snapshot.GRAPH):
            self._graph = self._new_graph()
            self._graph.restore(directory / snapshot.file_name(snapshot.GRAPH, manifest.generation), *graph_rows)
        if len(self) != manifest.count or len(np.unique(self.live_labels())) != manifest.count:
            raise ValueError(f"{len(self)} vectors instead of {manifest.count}")
        self._unpurged = manifest.unpurged
