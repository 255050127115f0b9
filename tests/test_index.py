"""The vector index against brute force: recall, filters, removal, compaction, and a model driven by hypothesis."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray

from ragd.index import VectorIndex, ef_for

DIMENSION = 384
Vectors = NDArray[np.float32]


def corpus(count: int, *, seed: int = 0, dimension: int = DIMENSION) -> Vectors:
    """Unit vectors in loose, overlapping topics with a falling spectrum: as hard for HNSW as sentence embeddings."""
    random = np.random.default_rng(seed)
    spectrum = np.arange(1, dimension + 1, dtype=np.float32) ** -0.4
    topics = np.random.default_rng(1).standard_normal((1000, dimension), np.float32)
    vectors = topics[random.integers(0, len(topics), count)]
    vectors += np.float32(1.5) * random.standard_normal((count, dimension), np.float32)
    vectors *= spectrum
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def fold_all(index: VectorIndex, limit: int = 1000) -> None:
    """Fold to the end."""
    while index.fold(limit):
        pass


def exact_labels(vectors: Vectors, labels: NDArray[np.int64], query: Vectors, k: int) -> list[int]:
    """Brute force: the labels of the `k` best, in order."""
    scores = vectors.astype(np.float64) @ query
    return labels[np.lexsort((labels, -scores))[:k]].tolist()


def recall(index: VectorIndex, vectors: Vectors, labels: NDArray[np.int64], allowed: Any = None) -> float:
    """Mean recall@10 of 100 queries that are not in the index."""
    if allowed is not None:
        keep = np.isin(labels, allowed)
        vectors, labels = vectors[keep], labels[keep]
    shares = [
        len({label for label, _ in index.search(query, 10, allowed)} & set(exact_labels(vectors, labels, query, 10)))
        for query in corpus(100, seed=99)
    ]
    return float(np.mean(shares)) / 10


@pytest.fixture(scope="module")
def large() -> tuple[VectorIndex, Vectors, NDArray[np.int64]]:
    """12,000 vectors in a graph that is walked, not scanned; the tests that share it change nothing."""
    vectors, labels = corpus(12_000), np.arange(12_000, dtype=np.int64) * 3 + 5
    index = VectorIndex(DIMENSION, exact_limit=1000, scan_limit=1000)
    index.add(labels, vectors)
    fold_all(index)
    return index, vectors, labels


def small(count: int = 20, **settings: int) -> tuple[VectorIndex, Vectors]:
    """An index of 8 dimensions with labels 1..count."""
    vectors = corpus(count, dimension=8)
    index = VectorIndex(8, **settings)
    index.add(range(1, count + 1), vectors)
    return index, vectors


def test_walk_recalls_nearly_everything(large: tuple[VectorIndex, Vectors, NDArray[np.int64]]) -> None:
    index, vectors, labels = large
    assert index.stats().graph == len(index) == 12_000
    assert recall(index, vectors, labels) >= 0.98


@pytest.mark.parametrize("share", [0.9, 0.5, 0.2, 0.01])
def test_filters_keep_recall(large: tuple[VectorIndex, Vectors, NDArray[np.int64]], share: float) -> None:
    index, vectors, labels = large
    allowed = np.random.default_rng(4).choice(labels, int(share * len(labels)), replace=False)
    assert recall(index, vectors, labels, allowed) >= 0.98


def test_filter_against_the_query_falls_back_to_a_scan(
    large: tuple[VectorIndex, Vectors, NDArray[np.int64]],
) -> None:
    index, vectors, labels = large
    query = vectors[0]
    far = labels[np.argsort(vectors @ query)[:4000]]
    found = [label for label, _ in index.search(query, 10, far)]
    keep = np.isin(labels, far)
    assert found == exact_labels(vectors[keep], labels[keep], query, 10)


def test_recall_survives_deletions_and_compaction() -> None:
    vectors, labels = corpus(10_000), np.arange(10_000, dtype=np.int64)
    index = VectorIndex(DIMENSION, exact_limit=1000, scan_limit=1000)
    index.add(labels, vectors)
    fold_all(index)
    gone = np.random.default_rng(5).choice(labels, 3000, replace=False)
    index.remove(gone)
    kept = np.setdiff1d(labels, gone)
    assert index.needs_compaction
    assert recall(index, vectors[kept], kept) >= 0.98
    index.compact()
    assert not index.needs_compaction
    for _ in range(9):  # most nodes drained by now: some are found here, some there
        assert index.fold(700)
    assert index.stats().compacting
    assert recall(index, vectors[kept], kept) >= 0.98
    fold_all(index)
    stats = index.stats()
    assert (stats.graph, stats.exact, stats.deleted, stats.compacting) == (7000, 0, 0, False)
    assert recall(index, vectors[kept], kept) >= 0.98


def test_codes_agree_with_exact_search() -> None:
    vectors, labels = corpus(5000), np.arange(5000, dtype=np.int64)
    index = VectorIndex(DIMENSION, exact_limit=0)
    index.add(labels, vectors)
    fold_all(index)
    assert index.stats().graph == 5000  # all under scan_limit, so codes decide who is looked at
    assert recall(index, vectors, labels) == 1.0


def test_empty_index_finds_nothing() -> None:
    index = VectorIndex(8)
    assert index.search(corpus(1, dimension=8)[0], 10) == []
    assert index.fold(10) is False
    assert len(index) == 0
    assert index.live_labels().tolist() == []
    assert not index.needs_compaction


@pytest.mark.parametrize("exact_limit", [0, 1000])
@pytest.mark.parametrize("k", [-1, 0, 1, 19, 20, 21, 10**9])
def test_k_is_clamped(exact_limit: int, k: int) -> None:
    index, vectors = small(exact_limit=exact_limit, scan_limit=0)
    fold_all(index)
    assert len(index.search(vectors[0], k)) == min(max(k, 0), 20)


@pytest.mark.parametrize("exact_limit", [0, 1000])
@pytest.mark.parametrize(
    ("allowed", "count"),
    [
        ([], 0),
        (set(), 0),
        (np.empty(0, np.int64), 0),
        ([77, 2**62, -4], 0),
        ([2**70, -(2**70), 2**63], 0),
        ({3, 4, 5}, 3),
        ([3, 3, 4, 5, 999], 3),
        (np.array([3, 4, 5], np.int32), 3),
        (range(1, 21), 10),
        (None, 10),
    ],
)
def test_filters_of_every_kind(exact_limit: int, allowed: Any, count: int) -> None:
    index, vectors = small(exact_limit=exact_limit, scan_limit=0)
    fold_all(index)
    assert len(index.search(vectors[0], 10, allowed)) == count


def test_more_deleted_than_a_walk_can_reach() -> None:
    index, vectors = small(500, exact_limit=0, scan_limit=0)
    fold_all(index)
    index.remove(range(1, 496))
    assert {label for label, _ in index.search(vectors[0], 10)} == set(range(496, 501))
    index.remove(range(496, 501))
    assert index.search(vectors[0], 10) == []
    assert index.needs_compaction
    index.compact()
    fold_all(index)
    assert index.stats().deleted == 0


@pytest.mark.parametrize("exact_limit", [0, 1000])
def test_score_is_cosine_and_equal_scores_follow_labels(exact_limit: int) -> None:
    index = VectorIndex(8, exact_limit=exact_limit, scan_limit=0)
    vectors = np.repeat(corpus(2, dimension=8), 50, axis=0)
    index.add(range(100, 0, -1), vectors)
    fold_all(index)
    index.add([500, 400], vectors[:2])  # the same vector in both parts
    found = index.search(vectors[0], 52)
    assert [label for label, _ in found] == [*range(51, 101), 400, 500]
    assert {score for _, score in found} == {found[0][1]}
    assert found[0][1] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("exact_limit", [0, 1000])
def test_add_is_idempotent_and_replaces(exact_limit: int) -> None:
    index, vectors = small(exact_limit=exact_limit)
    fold_all(index)
    index.add(range(1, 21), vectors)
    assert (len(index), index.stats().deleted) == (20, 0)
    index.add([1], vectors[1:2])
    assert len(index) == 20
    assert [label for label, _ in index.search(vectors[1], 2)] == [1, 2]
    index.add([7, 7], vectors[[2, 1]])
    assert [label for label, _ in index.search(vectors[1], 3)] == [1, 2, 7]


@pytest.mark.parametrize("exact_limit", [0, 1000])
def test_removed_label_can_come_back(exact_limit: int) -> None:
    index, vectors = small(exact_limit=exact_limit)
    fold_all(index)
    index.remove([3, 4, 12345])
    index.remove([3])
    assert index.search(vectors[2], 20, [3, 4]) == []
    index.add([3], vectors[2:3])
    fold_all(index)
    assert [label for label, _ in index.search(vectors[2], 1)] == [3]
    assert index.live_labels().tolist() == [1, 2, 3, *range(5, 21)]


def test_large_labels() -> None:
    index, vectors = small(0)[0], corpus(3, dimension=8)
    labels = [2**63 - 1, -(2**63), 2**62 + 1]
    index.add(labels, vectors)
    assert index.live_labels().tolist() == sorted(labels)
    assert index.search(vectors[0], 1, labels)[0][0] == 2**63 - 1


def _unit(count: int, dimension: int = 8) -> Vectors:
    return np.eye(dimension, dtype=np.float32)[:count]


@pytest.mark.parametrize(
    ("labels", "vectors"),
    [
        ([50], np.full((1, 8), np.nan)),
        ([50], np.full((1, 8), np.inf)),
        ([50], np.full((1, 8), 1e300)),
        ([50], np.zeros((1, 8))),
        ([50], _unit(1) * 1.01),
        ([50, 51], np.vstack([_unit(1), _unit(1) * 2])),
        ([50], _unit(1, 9)),
        ([50], _unit(1)[0]),
        ([50, 51], _unit(1)),
        ([50], _unit(2)),
        ([2**63], _unit(1)),
        ([0.5], _unit(1)),
        (["a"], _unit(1)),
        ([[50]], _unit(1)),
    ],
)
def test_bad_input_changes_nothing(labels: Any, vectors: Any) -> None:
    index, _ = small()
    with pytest.raises(ValueError, match=r"label|vector"):
        index.add(labels, vectors)
    assert index.live_labels().tolist() == list(range(1, 21))


@pytest.mark.parametrize("vector", [np.full(8, np.nan), np.ones(8), np.eye(9)[0], np.eye(8)])
def test_bad_query_is_refused(vector: Any) -> None:
    with pytest.raises(ValueError, match="vector"):
        small()[0].search(vector, 3)


def test_fold_moves_at_most_its_limit_and_not_below_the_exact_limit() -> None:
    index, vectors = small(20, exact_limit=20)
    assert index.fold(5) is False
    assert index.stats().graph == 0
    index.add([21], vectors[:1])
    assert index.fold(5) is True
    assert (index.stats().graph, index.stats().exact) == (5, 16)
    fold_all(index, 7)
    assert (index.stats().graph, index.stats().exact) == (21, 0)
    with pytest.raises(ValueError, match="limit"):
        index.fold(0)


def test_compaction_below_the_exact_limit_drops_the_graph() -> None:
    index, _ = small(30, exact_limit=20)
    fold_all(index)
    index.remove(range(1, 16))
    index.compact()
    fold_all(index)
    stats = index.stats()
    assert (stats.exact, stats.graph, stats.deleted, stats.ef) == (15, 0, 0, 0)


def test_graph_grows_past_every_capacity() -> None:
    index = VectorIndex(8, exact_limit=0)
    vectors = corpus(5000, dimension=8)
    for start in range(0, 5000, 499):
        index.add(range(start, min(start + 499, 5000)), vectors[start : start + 499])
        fold_all(index, 100)
    assert index.live_labels().tolist() == list(range(5000))
    assert index.stats().memory_bytes > 5000 * 8


def test_ef_grows_with_the_index() -> None:
    widths = [ef_for(count) for count in (0, 1000, 10_000, 100_000, 1_000_000)]
    assert widths == sorted(widths)
    assert widths[0] >= 10
    assert widths[-1] >= 2 * widths[2]


class IndexModel(RuleBasedStateMachine):
    """Any order of calls against a dict. Every answer has to be exact: at this size walks reach everything."""

    labels = st.lists(st.integers(0, 40), max_size=12)
    pool = corpus(12, seed=3, dimension=4)  # few vectors, so that many labels share one

    @initialize(exact_limit=st.sampled_from([0, 5, 1000]), scan_limit=st.sampled_from([0, 1000]))
    def begin(self, exact_limit: int, scan_limit: int) -> None:
        self.settings = {"exact_limit": exact_limit, "scan_limit": scan_limit}
        self.index = VectorIndex(4, **self.settings)
        self.model: dict[int, int] = {}
        self.directory = tempfile.TemporaryDirectory()
        self.saved: dict[int, int] | None = None
        self.position = 0

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            self.directory.cleanup()

    @rule(rows=st.dictionaries(st.integers(0, 40), st.integers(0, 11), max_size=12))
    def add(self, rows: dict[int, int]) -> None:
        self.index.add(list(rows), self.pool[list(rows.values())].reshape(-1, 4))
        self.model.update(rows)

    @rule(labels=labels)
    def remove(self, labels: list[int]) -> None:
        self.index.remove(labels)
        for label in labels:
            self.model.pop(label, None)

    @rule(limit=st.integers(1, 30))
    def fold(self, limit: int) -> None:
        self.index.fold(limit)

    @rule()
    def compact(self) -> None:
        self.index.compact()

    @rule(query=st.integers(0, 11), k=st.integers(0, 50), allowed=st.none() | labels)
    def search(self, query: int, k: int, allowed: list[int] | None) -> None:
        found = self.index.search(self.pool[query], k, allowed)
        cosines = self.pool.astype(np.float64) @ self.pool[query]
        rows = {label: row for label, row in self.model.items() if allowed is None or label in allowed}
        expected = sorted(rows, key=lambda label: (-cosines[rows[label]].round(6), label))[:k]
        assert [label for label, _ in found] == expected
        assert [score for _, score in found] == pytest.approx([cosines[rows[label]] for label in expected], abs=1e-6)

    @rule()
    def save(self) -> None:
        self.position += 1
        self.index.save(Path(self.directory.name), position=self.position, model_key="m", strategy="s")
        self.saved = dict(self.model)

    @precondition(lambda self: self.saved is not None)
    @rule()
    def load(self) -> None:
        directory = Path(self.directory.name)
        self.index, position = VectorIndex.load(directory, model_key="m", dimension=4, strategy="s", **self.settings)
        assert position == self.position
        assert self.saved is not None
        self.model = dict(self.saved)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        if hasattr(self, "index"):
            assert len(self.index) == len(self.model)
            assert self.index.live_labels().tolist() == sorted(self.model)
            stats = self.index.stats()
            assert stats.exact + stats.graph == stats.live == len(self.model)


IndexModel.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_any_order_of_calls = IndexModel.TestCase
