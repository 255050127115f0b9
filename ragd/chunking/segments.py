"""Where a channel's messages can be cut: segments that no chunk crosses, within cells of a fixed grid of time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

from ragd.chunking.messages import SourceMessage
from ragd.snowflake import from_unix_seconds, to_unix_ms

GRID_MS = 6 * 3_600_000
"""Length of a cell of the UTC grid; no segment crosses from one cell to the next.

An edit re-makes its whole segment. Gaps alone bound nothing: a busy channel may never fall silent, and one
edit would re-embed years. A fixed grid bounds the work at six hours of one channel, and where it cuts depends on
no message, so no edit, deletion or late arrival can move a cut. A conversation that runs across a cell's end
becomes two: four cuts a day, against a cost of any edit that grows with the cell's length.
"""


def cell_of(message_id: int) -> int:
    """The number of the grid cell that a message falls into; no chunk holds messages of two cells."""
    return to_unix_ms(message_id) // GRID_MS


def cell_bounds(cell: int) -> tuple[int, int]:
    """The lowest and the highest id that a message of the cell can have."""
    return from_unix_seconds(cell * GRID_MS / 1000), from_unix_seconds((cell + 1) * GRID_MS / 1000) - 1


def is_cut(gap_ms: int, earlier_id: int, later_id: int) -> bool:
    """Whether no chunk can hold messages on both sides of these two neighbours.

    Where (a, b) is a cut, so is (x, y) for all x <= a and y >= b. So a message that comes, changes or goes touches
    no chunk outside its own segment and the segments of its two neighbours.
    """
    earlier_ms, later_ms = to_unix_ms(earlier_id), to_unix_ms(later_id)
    return later_ms - earlier_ms >= gap_ms or later_ms // GRID_MS != earlier_ms // GRID_MS


def segments(gap_ms: int, messages: Sequence[SourceMessage]) -> Iterator[Sequence[SourceMessage]]:
    """The runs of messages between two cuts."""
    start = 0
    for at in range(1, len(messages)):
        if is_cut(gap_ms, messages[at - 1].id, messages[at].id):
            yield messages[start:at]
            start = at
    if messages:
        yield messages[start:]


def widen(
    gap_ms: int, message_ids: Sequence[int], extents: Iterable[tuple[int, int]], low_id: int, high_id: int
) -> tuple[int, int]:
    """A span of ids widened until it holds whole segments and every extent that it touches."""
    extents = tuple(extents)
    while True:
        low_id, high_id = _whole_segments(gap_ms, message_ids, low_id, high_id)
        touched = [extent for extent in extents if extent[0] <= high_id and extent[1] >= low_id]
        low = min([low_id, *(first for first, _ in touched)])
        high = max([high_id, *(last for _, last in touched)])
        if (low, high) == (low_id, high_id):
            return low, high
        low_id, high_id = low, high


def _whole_segments(gap_ms: int, ids: Sequence[int], low_id: int, high_id: int) -> tuple[int, int]:
    """Widen a span to the segments of its nearest neighbours outside of it.

    Theirs, too: a message that went may have been all that held them together with what is inside.
    """
    left, right = bisect_left(ids, low_id) - 1, bisect_right(ids, high_id)
    while left > 0 and not is_cut(gap_ms, ids[left - 1], ids[left]):
        left -= 1
    while right + 1 < len(ids) and not is_cut(gap_ms, ids[right], ids[right + 1]):
        right += 1
    low = min(low_id, ids[left]) if left >= 0 else low_id
    high = max(high_id, ids[right]) if right < len(ids) else high_id
    return low, high
