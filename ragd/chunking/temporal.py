"""The `temporal` strategy."""

from __future__ import annotations

from collections.abc import Sequence

from ragd.chunking.messages import ChunkingOptions, Group, SourceMessage
from ragd.snowflake import to_unix_ms


def windows(segment: Sequence[SourceMessage], options: ChunkingOptions) -> list[Group]:
    """A window opens with its first message and takes in what comes within `window_ms` of that."""
    found: list[Group] = []
    for message in segment:
        if found and to_unix_ms(message.id) - to_unix_ms(found[-1][0].id) < options.window_ms:
            found[-1].append(message)
        else:
            found.append([message])
    return found
