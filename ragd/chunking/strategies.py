"""The strategies by name, and the way from a channel's messages to chunks.

A strategy says which messages belong together, within a *segment*: a run of messages that no boundary crosses.
Groups are then packed, in order and as whole messages, into chunks that the model reads to the end.
A new strategy is one function from a segment to groups and one entry in STRATEGIES.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from ragd.chunking.author import author_runs
from ragd.chunking.conversation import conversations
from ragd.chunking.messages import CHUNKING_VERSION, DEFAULT_OPTIONS, Chunk, ChunkingOptions, Group, SourceMessage
from ragd.chunking.packing import Packer
from ragd.chunking.scorer import bundled_identity
from ragd.chunking.segments import GRID_MS, is_cut, segments, widen
from ragd.chunking.single import singles
from ragd.chunking.sliding_window import sliding_windows
from ragd.chunking.temporal import windows
from ragd.chunking.tokens import whole_segment


@dataclass(frozen=True, slots=True)
class Strategy:
    """How messages are put together."""

    gap_ms: Callable[[ChunkingOptions], int]
    """No group spans two neighbouring messages that are so far apart or farther."""
    group: Callable[[Sequence[SourceMessage], ChunkingOptions], Iterable[Group]]
    """One segment to groups of ascending messages; linear, deterministic, looking at nothing else."""
    choices: Callable[[ChunkingOptions], tuple[object, ...]]
    """Whatever else than the messages decides what it makes."""


STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        "single": Strategy(lambda _: 0, singles, lambda _: ()),
        "temporal": Strategy(lambda options: options.window_ms, windows, lambda options: (options.window_ms,)),
        "conversation": Strategy(
            lambda options: options.gap_ms, conversations, lambda options: (options.gap_ms, bundled_identity())
        ),
        "sliding_window": Strategy(
            lambda options: options.gap_ms,
            sliding_windows,
            lambda options: (options.gap_ms, options.window_messages, options.overlap_messages),
        ),
        "author": Strategy(
            lambda options: options.author_gap_ms, author_runs, lambda options: (options.author_gap_ms,)
        ),
        "tokens": Strategy(lambda _: GRID_MS, whole_segment, lambda _: ()),
    }
)


def chunk_messages(
    strategy: str,
    messages: Sequence[SourceMessage],
    *,
    count_tokens: Callable[[str], int],
    max_tokens: int,
    options: ChunkingOptions = DEFAULT_OPTIONS,
) -> list[Chunk]:
    """Chunks of one channel's messages, ordered by message ids, then part.

    `messages` ascend by id without repeats (else ValueError). No chunk counts more than `max_tokens`.
    `count_tokens` includes special tokens. As it is slow, it is asked once about each message and once about each chunk
    of several, and more often only about a message that does not fit.
    Cutting `messages` wherever `is_boundary` says so and joining what the pieces give changes nothing.
    Raises KeyError for an unknown strategy; ConfigError if `max_tokens` does not hold even one character.
    """
    if any(earlier.id >= later.id for earlier, later in pairwise(messages)):
        raise ValueError("messages must ascend by id without repeats")
    way = STRATEGIES[strategy]
    packer = Packer(_edition(strategy, options), count_tokens, max_tokens)
    runs = segments(way.gap_ms(options), messages)
    return [chunk for segment in runs for chunk in packer.pack(way.group(segment, options))]


def strategy_version(strategy: str, options: ChunkingOptions = DEFAULT_OPTIONS, limits: str = "") -> int:
    """Another number whenever the same messages may give other chunks: 62 bits of a hash.

    `limits` says how much text the model reads (ragd/embedding.py). Keys of chunks do not have it: what another model
    reads as well is the same chunk.
    """
    return int.from_bytes(hashlib.sha256(f"{_edition(strategy, options)}\n{limits}".encode()).digest()[:8]) >> 2


def _edition(strategy: str, options: ChunkingOptions) -> str:
    choices = STRATEGIES[strategy].choices(options)
    return f"{strategy}\n{' '.join(map(str, (CHUNKING_VERSION, *choices)))}"


def is_boundary(strategy: str, earlier_id: int, later_id: int, options: ChunkingOptions = DEFAULT_OPTIONS) -> bool:
    """Whether no chunk can hold messages on both sides of these two neighbours."""
    return is_cut(STRATEGIES[strategy].gap_ms(options), earlier_id, later_id)


def affected_span(
    strategy: str,
    message_ids: Sequence[int],
    extents: Iterable[tuple[int, int]],
    low_id: int,
    high_id: int,
    options: ChunkingOptions = DEFAULT_OPTIONS,
) -> tuple[int, int]:
    """Which part of a cell must be chunked anew after messages of low_id..high_id came, changed or went.

    `message_ids` are the cell's messages as they are now, ascending; `extents` the first and last ids of the chunks it
    had before. The span returned holds both ids, whole segments, and every old chunk that it touches: chunking just it
    and replacing just the chunks in it gives what chunking everything would.
    """
    return widen(STRATEGIES[strategy].gap_ms(options), message_ids, extents, low_id, high_id)
