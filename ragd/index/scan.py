"""Inner products of one query with many vectors and the choice of the best: plain numpy, no state."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Labels = NDArray[np.int64]
Vectors = NDArray[np.float32]
Rows = NDArray[np.intp]

UNIT_TOLERANCE = 1e-3
"""How far from 1 the length of a vector may be: float16 rounding passes, a forgotten normalisation does not."""

BLOCK_ROWS = 1024
"""Rows gathered or widened at a time: such a block stays in the cache, and a scan needs no second matrix."""

GROWTH = 1.5


class Candidates(NamedTuple):
    """What a part of the index offers for a query: labels, shape (n,), and their vectors, shape (n, dimension)."""

    labels: Labels
    vectors: Vectors


def inner_products(matrix: NDArray[Any], query: Vectors, rows: Rows | None = None) -> Vectors:
    """`matrix[rows] @ query` in float32, shape (len(rows),); all rows without `rows`. `matrix` may hold int8."""
    if matrix.dtype == np.float32 and (rows is None or 2 * len(rows) > len(matrix)):
        scores = np.asarray(matrix @ query)
        return scores if rows is None else np.asarray(scores[rows])  # to gather most rows costs more than all products
    count = len(matrix) if rows is None else len(rows)
    scores = np.empty(count, np.float32)
    for start in range(0, count, BLOCK_ROWS):
        stop = start + BLOCK_ROWS
        block = matrix[start:stop] if rows is None else matrix[rows[start:stop]]
        np.dot(block.astype(np.float32, copy=False), query, out=scores[start:stop])
    return scores


def best_positions(scores: Vectors, k: int, margin: float, limit: int | None = None) -> Rows:
    """Positions of the `k` best scores and of all within `margin` of the k-th, at most `limit`, in no order.

    The margin covers the error of `scores`, so that an exact second look can still choose among near ties.
    """
    if len(scores) <= k:
        return np.arange(len(scores))
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    near = np.flatnonzero(scores >= kth - margin)
    if limit is None or len(near) <= limit:
        return near
    return near[np.argsort(-scores[near], kind="stable")[:limit]]


def rank(found: Candidates, query: Vectors, k: int) -> list[tuple[int, float]]:
    """The `k` best candidates as (label, cosine), best first; equal scores in the order of their labels.

    Summed in float64 row by row: a vector scores the same wherever it is stored, which a BLAS product does not
    promise, so copies of one text keep a fixed order.
    """
    scores = (found.vectors.astype(np.float64) * query).sum(axis=1).clip(-1.0, 1.0)
    order = np.lexsort((found.labels, -scores))[:k]
    return list(zip(found.labels[order].tolist(), scores[order].tolist(), strict=True))


def matching_rows(labels: Labels, allowed: Labels) -> Rows:
    """Rows of `labels` that are in `allowed`. About 1 ms for 100,000 of either, rowids being dense."""
    return np.flatnonzero(np.isin(labels, allowed))


def as_labels(values: Collection[int] | NDArray[np.integer[Any]]) -> Labels:
    """`values` as int64, shape (n,). Raises ValueError for anything but whole numbers that fit."""
    array = values if isinstance(values, np.ndarray) else np.asarray(list(values))
    if array.size == 0 and array.ndim == 1:
        return np.empty(0, np.int64)
    if array.ndim != 1 or not np.can_cast(array.dtype, np.int64, "safe"):
        raise ValueError(f"labels must be a flat list of 64-bit integers, got {array.dtype} of shape {array.shape}")
    return array.astype(np.int64, copy=False)


def as_filter(values: Collection[int] | NDArray[np.integer[Any]]) -> Labels:
    """Like `as_labels`, but a number too large for a label is passed over: it cannot be in the index."""
    try:
        return as_labels(values)
    except ValueError:
        bounds = np.iinfo(np.int64)
        return as_labels([int(value) for value in values if bounds.min <= value <= bounds.max])


def as_unit_vectors(values: ArrayLike, dimension: int) -> Vectors:
    """`values` as float32, shape (n, dimension), C order.

    Raises ValueError for another dimension, NaN, infinity, or a length that is not 1: HNSW accepts them all and then
    answers wrongly.
    """
    with np.errstate(all="ignore"):
        vectors = np.ascontiguousarray(values, dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != dimension:
            raise ValueError(f"vectors must have shape (n, {dimension}), got {vectors.shape}")
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= UNIT_TOLERANCE))  # negated, so that NaN is wrong as well
    if len(wrong):
        raise ValueError(f"vector {wrong[0]} has length {lengths[wrong[0]]}, must be finite and 1")
    return vectors


def resized(array: NDArray[Any], used: int, capacity: int) -> NDArray[Any]:
    """A copy with room for `capacity` rows, the first `used` filled. Untouched rows cost address space only."""
    copy = np.empty((capacity, *array.shape[1:]), array.dtype)
    copy[:used] = array[:used]
    return copy


def grown(array: NDArray[Any], used: int, needed: int) -> NDArray[Any]:
    """`array` itself when it has `needed` rows, else a copy with half as many again, so that n adds copy O(n) rows."""
    return array if needed <= len(array) else resized(array, used, int(needed * GROWTH))
