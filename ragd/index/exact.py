"""The exact part of the index: vectors in one growing numpy matrix, searched whole."""

from __future__ import annotations

import numpy as np

from ragd.index.scan import (
    Candidates,
    Labels,
    Rows,
    Vectors,
    best_positions,
    grown,
    inner_products,
    matching_rows,
    resized,
)

FLOAT_MARGIN = 1e-5
"""More than float32 rounding can move the inner product of two unit vectors of a few hundred dimensions."""

SMALLEST_CAPACITY = 256


class ExactPart:
    """Labels and float32 vectors, dense and unordered: a removed row is overwritten by the last one.

    Nothing of a removed vector stays in memory. Not thread-safe.
    """

    def __init__(self, dimension: int) -> None:
        self._count = 0
        self._labels = np.empty(SMALLEST_CAPACITY, np.int64)
        self._vectors = np.empty((SMALLEST_CAPACITY, dimension), np.float32)
        self._row_of: dict[int, int] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def labels(self) -> Labels:
        """A view, shape (n,), valid until the next change."""
        return self._labels[: self._count]

    @property
    def vectors(self) -> Vectors:
        """A view, shape (n, dimension), valid until the next change."""
        return self._vectors[: self._count]

    @property
    def memory_bytes(self) -> int:
        """Bytes of the rows in use; capacity beyond them has never been touched."""
        return self.labels.nbytes + self.vectors.nbytes

    def reserve(self, needed: int) -> None:
        """Make room for so many rows in all; room costs memory when it is used."""
        self._labels = grown(self._labels, self._count, needed)
        self._vectors = grown(self._vectors, self._count, needed)

    def append(self, labels: Labels, vectors: Vectors) -> None:
        """Add rows whose labels are not here yet; the caller has checked that."""
        needed = self._count + len(labels)
        self.reserve(needed)
        self._labels[self._count : needed] = labels
        self._vectors[self._count : needed] = vectors
        self._row_of.update(zip(labels.tolist(), range(self._count, needed), strict=True))
        self._count = needed

    def restore(self, labels: Labels, vectors: Vectors) -> None:
        """Become these rows, which are taken over, not copied. Raises ValueError when there is not a label for each."""
        self._row_of = dict(zip(labels.tolist(), range(len(vectors)), strict=True))
        self._labels, self._vectors, self._count = labels, vectors, len(labels)

    def vector_of(self, label: int) -> Vectors | None:
        """The vector of a label, shape (dimension,), or None."""
        row = self._row_of.get(label)
        return None if row is None else self._vectors[row]

    def remove(self, label: int) -> bool:
        """Forget a label; False when it was not here."""
        row = self._row_of.pop(label, None)
        if row is None:
            return False
        last = self._count - 1
        if row != last:
            self._labels[row], self._vectors[row] = self._labels[last], self._vectors[last]
            self._row_of[int(self._labels[row])] = row
        self._vectors[last] = 0.0
        self._count = last
        return True

    def tail(self, limit: int) -> Candidates:
        """At most `limit` of the last rows: views, valid until the next change."""
        start = max(0, self._count - limit)
        return Candidates(self.labels[start:], self.vectors[start:])

    def drop_tail(self, count: int) -> None:
        """Forget the last `count` rows and give memory back when three quarters of it are unused."""
        for label in self.tail(count).labels.tolist():
            del self._row_of[label]
        self._vectors[self._count - count : self._count] = 0.0
        self._count -= count
        if len(self._labels) > max(SMALLEST_CAPACITY, 4 * self._count):
            capacity = max(SMALLEST_CAPACITY, 2 * self._count)
            self._labels = resized(self._labels, self._count, capacity)
            self._vectors = resized(self._vectors, self._count, capacity)

    def candidates(self, query: Vectors, k: int, allowed: Labels | None) -> Candidates:
        """The `k` nearest of the allowed rows, with ties: exact."""
        rows = None if allowed is None else matching_rows(self.labels, allowed)
        scores = inner_products(self.vectors, query, rows)
        best: Rows = best_positions(scores, k, FLOAT_MARGIN)
        best = best if rows is None else rows[best]
        return Candidates(self.labels[best], self.vectors[best])
