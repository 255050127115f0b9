"""The `single` strategy."""

from __future__ import annotations

from collections.abc import Sequence

from ragd.chunking.messages import ChunkingOptions, Group, SourceMessage


def singles(segment: Sequence[SourceMessage], options: ChunkingOptions) -> list[Group]:
    """Each message alone."""
    return [[message] for message in segment]
