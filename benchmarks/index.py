"""Measures what the switches of ragd/index are argued from: exact against HNSW, codes against walks, saving, loading.

    python -m benchmarks.index [count ...]

Synthetic vectors, built to be about as hard for HNSW as sentence embeddings are; queries are not in the index.
Times are medians, one BLAS thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is imported: workers run on one core

import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.vectors import DIMENSION, Vectors
from benchmarks.vectors import synthetic as corpus
from ragd.index import VectorIndex

COUNTS = (1000, 5000, 10_000, 20_000, 50_000, 100_000)
QUERIES = 100
KEY = {"model_key": "benchmark", "strategy": "benchmark"}
NEVER = 10**9
FOLD_LIMIT = 100

SHARES = (1.0, 0.9, 0.5, 0.2, 0.05, 0.01)

Answers = tuple[list[set[int]], float]
"""The labels that each query finds, and the median time of a query in milliseconds."""


def milliseconds(call: Callable[[], object]) -> float:
    """How long one call takes."""
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000


def query_milliseconds(index: VectorIndex, queries: Vectors, allowed: NDArray[np.int64] | None = None) -> float:
    """Median of one search for 10."""
    index.search(queries[0], 10, allowed)
    return statistics.median(milliseconds(lambda query=query: index.search(query, 10, allowed)) for query in queries)


def resident_megabytes() -> float:
    """Memory of this process."""
    gc.collect()
    return psutil.Process().memory_info().rss / 1e6


def found(index: VectorIndex, queries: Vectors, allowed: NDArray[np.int64] | None = None) -> list[set[int]]:
    """The ten labels that each query finds."""
    return [{label for label, _ in index.search(query, 10, allowed)} for query in queries]


def recall(truth: list[set[int]], answers: list[set[int]]) -> float:
    """Mean recall@10."""
    return sum(len(right & answer) for right, answer in zip(truth, answers, strict=True)) / (10 * len(truth))


def fold_steps(index: VectorIndex) -> list[float]:
    """Milliseconds of every step until all is folded."""
    steps = []
    more = True
    while more:
        begun = time.perf_counter()
        more = index.fold(FOLD_LIMIT)
        steps.append((time.perf_counter() - begun) * 1000)
    return steps


def save_and_load(index: VectorIndex) -> tuple[float, float, float]:
    """Seconds to save, seconds to load, megabytes on disk."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        save = milliseconds(lambda: index.save(directory, position=1, **KEY)) / 1000
        size = sum(path.stat().st_size for path in directory.iterdir()) / 1e6
        load = milliseconds(lambda: VectorIndex.load(directory, **KEY, dimension=DIMENSION)) / 1000
    return save, load, size


def some_of(labels: NDArray[np.int64]) -> list[tuple[float, NDArray[np.int64]]]:
    """Filters: a share, and so many of the labels."""
    random = np.random.default_rng(4)
    return [(share, np.sort(random.choice(labels, int(len(labels) * share), replace=False))) for share in SHARES]


def measure_exact(vectors: Vectors, labels: NDArray[np.int64], queries: Vectors) -> dict[float, Answers]:
    """Print the row of the exact part; return what is right, and how long that took, for each filter."""
    empty = resident_megabytes()
    index = VectorIndex(DIMENSION, exact_limit=NEVER)
    adding = milliseconds(lambda: index.add(labels, vectors)) / len(labels)
    memory = resident_megabytes() - empty
    show("exact", query_milliseconds(index, queries), 1.0, adding, memory, save_and_load(index))
    return {
        share: (found(index, queries, allowed), query_milliseconds(index, queries, allowed))
        for share, allowed in some_of(labels)
    }


def measure_graph(vectors: Vectors, labels: NDArray[np.int64], queries: Vectors, exact: dict[float, Answers]) -> None:
    """Print the row of the graph, then one for each filter: exact, walk of the graph, scan of its codes."""
    empty = resident_megabytes()
    walk = VectorIndex(DIMENSION, exact_limit=0, scan_limit=0)
    walk.add(labels, vectors)
    steps = fold_steps(walk)
    memory = resident_megabytes() - empty
    quality = recall(exact[1.0][0], found(walk, queries))
    show("walk", query_milliseconds(walk, queries), quality, sum(steps) / len(labels), memory, save_and_load(walk))
    worst = f"steps of {FOLD_LIMIT}: median {statistics.median(steps):.0f} ms, worst {max(steps):.0f} ms"
    print(f"       ef {walk.stats().ef}, {worst}; estimated {walk.stats().memory_bytes / 1e6:.0f} MB")
    with tempfile.TemporaryDirectory() as name:
        walk.save(Path(name), position=1, **KEY)
        scan, _ = VectorIndex.load(Path(name), **KEY, dimension=DIMENSION, scan_limit=NEVER)
    for share, allowed in some_of(labels):
        truth, duration = exact[share]
        line = f"       {share:4.0%} allowed: exact {duration:5.2f} ms"
        for label, index in (("walk", walk), ("codes", scan)):
            quality = recall(truth, found(index, queries, allowed))
            line += f", {label} {query_milliseconds(index, queries, allowed):5.2f} ms (recall {quality:.3f})"
        print(line, flush=True)


def show(
    name: str, query: float, quality: float, adding: float, memory: float, files: tuple[float, float, float]
) -> None:
    """Print one row."""
    save, load, size = files
    print(
        f"{name:6} query {query:6.2f} ms  recall@10 {quality:.3f}  add {adding:.3f} ms  memory {memory:5.0f} MB"
        f"  save {save:.2f} s  load {load:.2f} s  disk {size:.0f} MB",
        flush=True,
    )


def main() -> None:
    """Measure the sizes given, or all."""
    for count in [int(argument) for argument in sys.argv[1:]] or COUNTS:
        vectors, labels, queries = corpus(count, seed=2), np.arange(count, dtype=np.int64), corpus(QUERIES, seed=3)
        print(f"\n== {count:,} vectors")
        measure_graph(vectors, labels, queries, measure_exact(vectors, labels, queries))


if __name__ == "__main__":
    main()
