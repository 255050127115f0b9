"""One channel's messages to chunks: pure functions, the same chunks for any batches in which the messages come."""

from ragd.chunking.messages import CHUNKING_VERSION, DEFAULT_OPTIONS, Chunk, ChunkingOptions, Group, SourceMessage
from ragd.chunking.segments import GRID_MS, cell_bounds, cell_of
from ragd.chunking.strategies import (
    STRATEGIES,
    Strategy,
    affected_span,
    chunk_messages,
    is_boundary,
    strategy_version,
)

__all__ = [
    "CHUNKING_VERSION",
    "DEFAULT_OPTIONS",
    "GRID_MS",
    "STRATEGIES",
    "Chunk",
    "ChunkingOptions",
    "Group",
    "SourceMessage",
    "Strategy",
    "affected_span",
    "cell_bounds",
    "cell_of",
    "chunk_messages",
    "is_boundary",
    "strategy_version",
]
