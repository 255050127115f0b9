"""The approximate part of the index: an HNSW graph (hnswlib) behind rules that avoid hnswlib's traps."""

from __future__ import annotations

import math
from pathlib import Path

import hnswlib
import numpy as np
from numpy.typing import NDArray

from ragd.index.scan import GROWTH, Candidates, Labels, Rows, Vectors, best_positions, grown, inner_products

SMALLEST_CAPACITY = 1024

SCAN_LIMIT = 50_000
"""Up to so many eligible nodes their codes are scanned (about 0.1 µs each), which is no dearer than a walk wide enough
for good recall, and misses nothing."""

WIDEST_FETCH = 2048
"""Fetching more nodes than that from the graph, some 10 ms of work, is not tried: a scan is surer."""

CODE_MARGIN_STEPS = 2.0
"""How much worse a code may score than the k-th best and still get a second look, in steps (scales) of the code.

Rounding errors are uniform, so a cosine errs with a standard deviation of step / sqrt(12), and the difference of two
with 0.41 steps: two steps are nearly five of those.
"""


def ef_for(count: int) -> int:
    """hnswlib's `ef`, the width of a walk, for a graph of `count` nodes.

    A fixed width loses recall as a graph grows. With M=16 on vectors somewhat harder than sentence embeddings are,
    the width that recall@10 of .97 to .98 took grew about with the square root (see benchmarks/index.py).
    """
    return max(64, 3 * math.isqrt(count))


class GraphPart:
    """Nodes 0..n-1 in an HNSW graph, each with a label, a mark whether it lives, and an 8-bit code of its vector.

    hnswlib refuses to add a deleted label again, so it never sees labels: it gets node numbers, which are not used
    twice. It keeps deleted vectors, and keeps writing them to disk, until the graph is dropped as a whole. Reading
    one vector back costs it 20 µs, which is too slow for a filtered scan; hence the codes, a quarter of the vectors'
    size, with exact vectors read for the finalists only. One thread.
    """

    def __init__(self, dimension: int, m: int, ef_construction: int, scan_limit: int) -> None:
        self._dimension = dimension
        self._scan_limit = scan_limit
        self._count = 0
        self._labels = np.empty(0, np.int64)
        self._live = np.empty(0, np.bool_)
        self._scales = np.empty(0, np.float32)
        self._codes = np.empty((0, dimension), np.int8)
        self._node_of: dict[int, int] = {}
        self._hnsw = hnswlib.Index("ip", dimension)
        self._hnsw.init_index(SMALLEST_CAPACITY, M=m, ef_construction=ef_construction)
        self._hnsw.set_num_threads(1)

    def __len__(self) -> int:
        return len(self._node_of)

    @property
    def deleted(self) -> int:
        """Nodes that are removed, but still in memory and in every snapshot."""
        return self._count - len(self)

    @property
    def labels(self) -> Labels:
        """Labels of the live nodes, shape (len(self),), in no order."""
        return self._labels[self.live_nodes()]

    @property
    def memory_bytes(self) -> int:
        """Roughly what the graph and the codes take; the dictionary of labels is estimated."""
        per_node = self._dimension + 8 + 4 + 1 + 100
        return int(self._hnsw.index_file_size()) + self._count * per_node

    def live_nodes(self) -> Rows:
        """Node numbers that are not removed, ascending."""
        return np.flatnonzero(self._live[: self._count])

    def append(self, labels: Labels, vectors: Vectors) -> None:
        """Add nodes whose labels are not here yet; the caller has checked labels and vectors."""
        needed = self._count + len(labels)
        self.reserve(needed)
        nodes = np.arange(self._count, needed)
        self._hnsw.add_items(vectors, nodes, num_threads=1)
        self._labels[nodes], self._live[nodes] = labels, True
        self._codes[nodes], self._scales[nodes] = _encode(vectors)
        self._node_of.update(zip(labels.tolist(), nodes.tolist(), strict=True))
        self._count = needed

    def reserve(self, needed: int) -> None:
        """Make room for so many nodes in all; room costs memory when it is used."""
        # Always ahead of add_items, which over capacity inserts a part of its input and then raises.
        if needed > self._hnsw.get_max_elements():
            self._hnsw.resize_index(int(needed * GROWTH))
        self._labels = grown(self._labels, self._count, needed)
        self._live = grown(self._live, self._count, needed)
        self._scales = grown(self._scales, self._count, needed)
        self._codes = grown(self._codes, self._count, needed)

    def remove(self, label: int) -> bool:
        """Make a label unfindable; False when it was not here."""
        node = self._node_of.pop(label, None)
        if node is None:
            return False
        self._hnsw.mark_deleted(node)
        self._live[node] = False
        self._codes[node] = 0
        return True

    def vector_of(self, label: int) -> Vectors | None:
        """The vector of a label, shape (dimension,), or None."""
        node = self._node_of.get(label)
        return None if node is None else self.vectors_of(np.array([node]))[0]

    def vectors_of(self, nodes: Rows) -> Vectors:
        """The exact vectors of live nodes, shape (len(nodes), dimension); 20 µs each."""
        if len(nodes) == 0:
            return np.empty((0, self._dimension), np.float32)
        return np.asarray(self._hnsw.get_items(nodes), np.float32)

    def some(self, limit: int) -> Candidates:
        """At most `limit` live nodes."""
        nodes = self.live_nodes()[:limit]
        return Candidates(self._labels[nodes], self.vectors_of(nodes))

    def candidates(self, query: Vectors, k: int, allowed: Labels | None) -> Candidates:
        """About the `k` nearest of the allowed live nodes, at least min(k, how many there are) of them."""
        nodes = self.live_nodes()
        if allowed is not None:
            nodes = nodes[np.isin(self._labels[nodes], allowed)]
        # A walk also passes through removed nodes without counting them: past one in two it loses to a scan.
        worth_walking = len(nodes) > self._scan_limit and self.deleted <= len(self)
        found = self._walk(query, k, nodes) if worth_walking else None
        if found is None:
            found = self._scan(query, k, nodes)
        return Candidates(self._labels[found], self.vectors_of(found))

    def _scan(self, query: Vectors, k: int, nodes: Rows) -> Rows:
        """The best of `nodes` by their codes, with as many more as make up for the codes' error."""
        scales = self._scales[nodes]
        scores = inner_products(self._codes, query, nodes) * scales
        margin = CODE_MARGIN_STEPS * float(scales.max(initial=0.0))
        return nodes[best_positions(scores, k, margin, limit=4 * k + 64)]

    def _walk(self, query: Vectors, k: int, nodes: Rows) -> Rows | None:
        """Walk the graph past ineligible nodes; None when too few of those it meets are in `nodes`.

        Each round is wide enough for what the share of eligible nodes lets expect; a filter that goes against the
        query can defeat that, and then a scan is sure. A Python filter callback would cost 20 ms and more.
        """
        eligible = np.zeros(self._count, np.bool_)
        eligible[nodes] = True
        expected = 2 * math.ceil(k * len(self) / len(nodes))
        for fetch in (expected, 4 * expected):
            nearest = self._nearest(query, min(fetch, len(self)))
            hits = nearest[eligible[nearest]]
            if len(hits) >= k:
                return hits[: 2 * k]
        return None

    def _nearest(self, query: Vectors, fetch: int) -> Rows:
        """The `fetch` nearest nodes, best first; none when that is too wide, or more than the walk can reach."""
        nothing = np.empty(0, np.intp)
        if fetch > WIDEST_FETCH:
            return nothing
        self._hnsw.set_ef(ef_for(self._count) + fetch)  # every time: loading resets it to 10
        try:
            nodes, _ = self._hnsw.knn_query(query, k=fetch, num_threads=1)
        except RuntimeError:  # hnswlib's only way to say that it found fewer than `fetch`
            return nothing
        return np.asarray(nodes[0], np.intp)

    def rows(self) -> tuple[Labels, NDArray[np.bool_], Vectors, NDArray[np.int8]]:
        """Labels, live marks, scales and codes of all nodes, as `restore` takes them: views."""
        used = slice(self._count)
        return self._labels[used], self._live[used], self._scales[used], self._codes[used]

    def write(self, path: Path) -> int:
        """Write the graph and return how large the file must be: on a full disk hnswlib reports success."""
        self._hnsw.save_index(str(path))
        return int(self._hnsw.index_file_size())

    def restore(
        self, path: Path, labels: Labels, live: NDArray[np.bool_], scales: Vectors, codes: NDArray[np.int8]
    ) -> None:
        """Replace everything by what `write` and `rows` gave.

        The file must be verified: one flipped bit makes hnswlib crash or lie. Raises ValueError when the parts do
        not belong together and RuntimeError as hnswlib does.
        """
        self._hnsw = hnswlib.Index("ip", self._dimension)  # loading into one that is in use prints a warning
        self._hnsw.load_index(str(path), max_elements=len(labels))
        if self._hnsw.get_current_count() != len(labels):
            raise ValueError(f"the graph has {self._hnsw.get_current_count()} nodes, the rows {len(labels)}")
        self._count = len(labels)
        self._labels, self._live, self._scales, self._codes = labels, live, scales, codes
        nodes = self.live_nodes()
        self._node_of = dict(zip(labels[nodes].tolist(), nodes.tolist(), strict=True))
        self._hnsw.set_num_threads(1)


def _encode(vectors: Vectors) -> tuple[NDArray[np.int8], Vectors]:
    """Codes, shape (n, dimension), and scales, shape (n,): vector = code * scale within half a scale."""
    scales = np.abs(vectors).max(axis=1) / np.float32(127)
    return np.rint(vectors / scales[:, None]).astype(np.int8), scales
