"""An index as it grows: recall through deletion and compaction, what growth, saving and rebuilding hold up."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is imported: workers run on one core

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.queries import fill
from benchmarks.tables import Table, median, number, p50_p99
from benchmarks.vectors import DIMENSION, Vectors, like, real, synthetic
from ragd.embedding import Embedder
from ragd.follower import FOLDS_A_STEP, Follower
from ragd.index import VectorIndex
from ragd.index.background import BackgroundSave
from ragd.store import Store

DEPTH = 10
HELD_OUT = 2_000
"""Real vectors that are no part of any index: queries are made of them."""

KEY = {"model_key": "benchmark", "strategy": "benchmark"}
STRATEGY = "temporal"

FULL = {"sizes": (10_000, 50_000, 100_000), "texts": 60_000, "queries": 300}
QUICK = {"sizes": (500,), "texts": 0, "queries": 20}


def run(sizes: tuple[int, ...], texts: int, queries: int) -> list[Table]:
    """Measure each size. Without `texts`, or without the data they come from, vectors are synthetic."""
    pattern = real(texts) if texts else np.empty((0, DIMENSION), np.float32)
    recalls = Table(
        "Recall@10 against exact search",
        ("vectors", "of", "new", "half deleted", "as many added", "compacted", "exact, ms", "graph, ms"),
        notes=[
            "A graph and walks through it are forced at every size; with default settings there is none up to 50,000.",
            "Real: sentences and chat lines by the bundled model. Like them: mixtures of those, benchmarks/vectors.py.",
            "Times are medians of one query for ten, on one thread.",
        ],
    )
    waits = Table(
        "What holds a query up, in milliseconds",
        ("vectors", "being built, p50", "p99", "growth by half", "snapshot by a fork", "the same without"),
        notes=[f"While built: a step of {FOLDS_A_STEP} vectors, then an answer; until half of them were in the graph."],
    )
    rebuilds = Table(
        "From the database to a complete answer", ("vectors", "seconds", "vectors a second", "graph after, s")
    )
    for size in sizes:
        origin, stored, asked = vectors_for(pattern, size, queries)
        measure(recalls, waits, origin, stored, asked, size)
        measure_rebuild(rebuilds, size)
    return [recalls, waits, rebuilds]


def vectors_for(pattern: Vectors, size: int, queries: int) -> tuple[str, Vectors, Vectors]:
    """Where they come from, half as many again as `size`, and queries."""
    wanted = size + size // 2
    if not len(pattern):
        return "synthetic", synthetic(wanted, seed=2), synthetic(queries, seed=3)
    held_out, rest = pattern[:HELD_OUT], pattern[HELD_OUT:]
    if wanted <= len(rest):
        return "real", rest[:wanted], held_out[:queries]
    return "like real", like(rest, wanted, seed=2), like(held_out, queries, seed=3)


def measure(recalls: Table, waits: Table, origin: str, stored: Vectors, asked: Vectors, size: int) -> None:
    """Build, delete half, add as many, compact; a row in each table."""
    labels = np.arange(len(stored))
    index = VectorIndex(DIMENSION, exact_limit=0, scan_limit=0)
    index.reserve(size)
    index.add(labels[:size], stored[:size])
    exact_ms = [milliseconds(lambda query=query: index.search(query, DEPTH)) for query in asked]
    built = fold_and_ask(index, asked)
    graph_ms = [milliseconds(lambda query=query: index.search(query, DEPTH)) for query in asked]
    shares = [recall(index, stored, labels[:size], asked)]
    saved = measure_saves(index)
    gone = np.random.default_rng(1).choice(size, size // 2, replace=False)
    index.remove(gone)
    kept = np.setdiff1d(labels[:size], gone)
    shares.append(recall(index, stored, kept, asked))
    index.add(labels[size:], stored[size:])
    growth = milliseconds(lambda: index.fold(1))  # beyond what was reserved, so this one has to make room
    fold_all(index)
    kept = np.concatenate([kept, labels[size:]])
    shares.append(recall(index, stored, kept, asked))
    index.compact()
    fold_all(index)
    shares.append(recall(index, stored, kept, asked))
    recalls.add(
        f"{size:,}", origin, *(f"{share:.4f}" for share in shares), number(median(exact_ms)), number(median(graph_ms))
    )
    waits.add(f"{size:,}", *map(number, p50_p99(built)), number(growth), *map(number, saved))


def fold_and_ask(index: VectorIndex, asked: Vectors) -> list[float]:
    """Build to the end; what queries took that came with a step before them, at even distances over the first half."""
    steps = max(1, len(index) // FOLDS_A_STEP)
    every = max(1, steps // (2 * len(asked)))
    took = []
    for number_ in range(steps // 2):
        begun = time.perf_counter()
        index.fold(FOLDS_A_STEP)
        if number_ % every == 0:
            index.search(asked[number_ // every % len(asked)], DEPTH)
            took.append((time.perf_counter() - begun) * 1000)
    fold_all(index)
    return took


def fold_all(index: VectorIndex) -> None:
    while index.fold(500):
        pass


def measure_saves(index: VectorIndex) -> tuple[float, float]:
    """How long a save holds up this thread: done by a fork, and done by itself."""
    with tempfile.TemporaryDirectory() as name:
        begun = time.perf_counter()
        work = BackgroundSave(lambda: index.save(Path(name), position=1, **KEY))
        fork = (time.perf_counter() - begun) * 1000
        work.result()
        return fork, milliseconds(lambda: index.save(Path(name), position=2, **KEY))


def recall(index: VectorIndex, stored: Vectors, kept: NDArray[np.int64], asked: Vectors) -> float:
    """Mean recall@10; `kept` are the labels, and rows of `stored`, that are in the index."""
    right = exact(stored, kept, asked)
    found = [{label for label, _ in index.search(query, DEPTH)} for query in asked]
    return float(np.mean([len(one & other) / len(other) for one, other in zip(found, right, strict=True)]))


def exact(stored: Vectors, kept: NDArray[np.int64], asked: Vectors) -> list[set[int]]:
    """The ten nearest labels of each query."""
    allowed = np.zeros(len(stored), np.bool_)
    allowed[kept] = True
    best = []
    for query in asked:
        scores = np.where(allowed, stored @ query, -np.inf)
        best.append(set(np.argpartition(-scores, DEPTH)[:DEPTH].tolist()))
    return best


def measure_rebuild(table: Table, size: int) -> None:
    """Time a follower of a store that has two strategies with so many chunks each, without index files."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ragd.sqlite3"
        fill(path, 2 * size)
        store = Store.open(path)
        try:
            follower = Follower(Path(name) / "index", STRATEGY, Embedder.open(threads=1), store.vectors)
            begun = time.perf_counter()
            while follower.follow():
                pass
            filled = time.perf_counter() - begun
            fold_all(follower.index)
            built = time.perf_counter() - begun - filled
            table.add(f"{size:,}", f"{filled:.1f}", number(size / filled), f"{built:.0f}")
        finally:
            store.close()


def milliseconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000
