"""Checks of an index against the vectors that it was made from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ragd.index.scan import Labels, Vectors
from ragd.index.vector_index import VectorIndex

DEPTH = 10
SAMPLED_QUERIES = 100
SAMPLED_VECTORS = 1_000


class Sample:
    """Compares answers with an exact search, and stored vectors with those in the index, in one pass over the store.

    Queries lie halfway between a vector of the index and another: near a text, as a question is, and not the text.
    """

    def __init__(self, index: VectorIndex, *, seed: int = 0) -> None:
        self._index = index
        self._labels = index.live_labels()
        self._gone = self._labels
        random = np.random.default_rng(seed)
        self._probed = set(random.permutation(self._labels)[:SAMPLED_VECTORS].tolist())
        self._queries = _mixtures(index, self._labels, random)
        self._found_labels = np.full((len(self._queries), DEPTH), -1, np.int64)
        self._found_scores = np.full((len(self._queries), DEPTH), -np.inf, np.float32)
        self.wrong = 0
        """Vectors of those looked at that are others than in the store."""

    def see(self, labels: Labels, vectors: Vectors) -> None:
        """Take note of some of the store's vectors; labels that are not in the index are passed over."""
        self._gone = self._gone[np.isin(self._gone, labels, invert=True)]
        known = np.isin(labels, self._labels)
        labels, vectors = labels[known], vectors[known]
        for label, vector in zip(labels.tolist(), vectors, strict=True):
            if label in self._probed and not self._index.holds(label, vector):
                self.wrong += 1
        scores = np.concatenate([self._found_scores, self._queries @ vectors.T], axis=1)
        all_labels = np.concatenate([self._found_labels, np.broadcast_to(labels, (len(scores), len(labels)))], axis=1)
        best = np.argpartition(-scores, DEPTH - 1, axis=1)[:, :DEPTH]
        self._found_scores = np.take_along_axis(scores, best, axis=1)
        self._found_labels = np.take_along_axis(all_labels, best, axis=1)

    def recall(self) -> float | None:
        """Mean recall@10 of the index; None while nothing was seen. Takes out of the index what was not seen."""
        self._index.remove(self._gone)
        shares = [_share(self._index, query, found) for query, found in zip(self._queries, self._truth(), strict=True)]
        return float(np.mean(shares)) if shares else None

    def _truth(self) -> Iterable[set[int]]:
        for labels, scores in zip(self._found_labels, self._found_scores, strict=True):
            yield set(labels[np.isfinite(scores)].tolist())


def _share(index: VectorIndex, query: Vectors, right: set[int]) -> float:
    """How much of what is right the index finds."""
    found = {label for label, _ in index.search(query, len(right))}
    return len(found & right) / len(right) if right else 1.0


def _mixtures(index: VectorIndex, labels: Labels, random: np.random.Generator) -> Vectors:
    """Unit vectors, shape (n, dimension), each the mean of two of the index; none if it has fewer than two."""
    if len(labels) < 2:
        return np.empty((0, index.dimension), np.float32)
    pairs = random.choice(labels, (min(SAMPLED_QUERIES, len(labels)), 2))
    sums = np.array([_vector(index, one) + _vector(index, other) for one, other in pairs.tolist()])
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray((sums / lengths)[lengths[:, 0] > 0], np.float32)


def _vector(index: VectorIndex, label: int) -> Vectors:
    vector = index.vector_of(label)
    assert vector is not None  # it is one of the live labels
    return vector
