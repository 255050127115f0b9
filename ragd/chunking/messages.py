"""What chunking reads, what it makes, and what of it can be set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

CHUNKING_VERSION = 2
"""Part of every key: raise it when the same messages shall give other chunks, and all are made anew."""


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """What chunking reads of a message. `text` is its searchable text and never empty."""

    id: int
    author_id: int
    author_name: str
    text: str
    reply_to_id: int | None = None
    mention_ids: tuple[int, ...] = ()


Group = list[SourceMessage]
"""Messages that belong together, ascending by id."""


@dataclass(frozen=True, slots=True)
class ChunkingOptions:
    """What of the strategies can be set (CHUNKING_*); each strategy has keys of its own for each choice of its own."""

    window_ms: int = 3_600_000
    """How long a temporal window is, from its first message."""
    gap_ms: int = 1_800_000
    """A conversation in which nobody wrote for so long has ended; no sliding window spans it either."""
    window_messages: int = 10
    overlap_messages: int = 2
    """How many of a sliding window's messages the next one has too; less than `window_messages`."""
    author_gap_ms: int = 600_000
    """After so long an author's next message begins a run of its own."""


DEFAULT_OPTIONS = ChunkingOptions()


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is embedded: whole messages, or one piece of a message that is longer than the model reads."""

    key: str
    """32 hex digits: a hash of the strategy, its edition, message ids, part and text."""
    strategy: str
    message_ids: tuple[int, ...]
    """Ascending."""
    text: str
    """One line a message, `author: text`; newlines inside a message are kept."""
    part: int = 0
    """Counts the pieces of one over-long message from 0; 0 for whole messages."""


def make_chunk(edition: str, message_ids: tuple[int, ...], text: str, part: int = 0) -> Chunk:
    """A chunk with its key. `edition` is the strategy's name, a newline, and whatever else decides what it makes."""
    # Only the text can hold a newline besides and it comes last: no two different chunks write the same thing.
    identity = f"{edition}\n{','.join(map(str, message_ids))}\n{part}\n{text}"
    key = hashlib.sha256(identity.encode()).hexdigest()[:32]
    return Chunk(key, edition.partition("\n")[0], message_ids, text, part)
