"""Nearest-neighbour search over unit vectors, and its snapshots on disk. No database, no event loop."""

from __future__ import annotations

from ragd.index.graph import ef_for
from ragd.index.snapshot import NoSnapshotError, StaleSnapshotError, set_aside
from ragd.index.vector_index import IndexStats, VectorIndex

__all__ = ["IndexStats", "NoSnapshotError", "StaleSnapshotError", "VectorIndex", "ef_for", "set_aside"]
