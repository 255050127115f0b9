"""The `sliding_window` strategy."""

from __future__ import annotations

from collections.abc import Sequence

from ragd.chunking.messages import ChunkingOptions, Group, SourceMessage


def sliding_windows(segment: Sequence[SourceMessage], options: ChunkingOptions) -> list[Group]:
    """`window_messages` at a time, each window beginning with the last `overlap_messages` of the one before.

    The last one may be shorter; none consists of what the one before had.
    """
    step = options.window_messages - options.overlap_messages
    starts = range(0, max(1, len(segment) - options.overlap_messages), step)
    return [list(segment[start : start + options.window_messages]) for start in starts]
