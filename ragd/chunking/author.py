"""The `author` strategy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from ragd.chunking.messages import ChunkingOptions, Group, SourceMessage


def author_runs(segment: Sequence[SourceMessage], options: ChunkingOptions) -> list[Group]:
    """What one author wrote without anybody else's word between; a pause of `author_gap_ms` has ended the segment."""
    return [list(run) for _, run in groupby(segment, key=lambda message: message.author_id)]
