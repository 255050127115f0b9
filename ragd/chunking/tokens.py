"""The `tokens` strategy."""

from __future__ import annotations

from collections.abc import Sequence

from ragd.chunking.messages import ChunkingOptions, Group, SourceMessage


def whole_segment(segment: Sequence[SourceMessage], options: ChunkingOptions) -> list[Group]:
    """Everything in one group: only what the model reads cuts it."""
    return [list(segment)]
