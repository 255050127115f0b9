"""Nearest-neighbour search over unit vectors, and its snapshots on disk. No database, no event loop."""

from __future__ import annotations

from ragd.index.graph import ef_for
from ragd.index.saving import Saver
from ragd.index.snapshot import Identity, NoSnapshotError, StaleSnapshotError, discard, set_aside
from ragd.index.vector_index import IndexStats, VectorIndex

__all__ = [
    "Identity",
    "IndexStats",
    "NoSnapshotError",
    "Saver",
    "StaleSnapshotError",
    "VectorIndex",
    "discard",
    "ef_for",
    "set_aside",
]
