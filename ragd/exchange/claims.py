"""Which ids a file shows to be complete, as its messages go by."""

from __future__ import annotations

from collections.abc import Sequence

from ragd.store.coverage import Interval


class Claims:
    """From where the file begins up to the last message, without the places that could not be read.

    Only a file that ascends shows anything before its end; DiscordChatExporter can write backwards too.
    """

    def __init__(self, start_id: int | None, complete: Sequence[Interval] | None = None) -> None:
        """`start_id` None: from its first message on. `complete`: more than that it does not claim."""
        self.ascending = True
        self.given: Interval | None = None
        """From the first to the last id of what was claimed so far."""
        self._start = start_id
        self._complete = complete
        self._spans: list[Interval] = []
        self._first = self._last = 0
        self._gaps = False

    @property
    def last_id(self) -> int:
        """The newest message so far, 0 before the first."""
        return self._last

    def see(self, message_id: int) -> None:
        """A message."""
        if message_id < self._last:
            self.ascending = False
        if self._start is None:
            self._start = message_id
        self._first = min(message_id, self._first or message_id)
        self._last = max(message_id, self._last)

    def miss(self) -> None:
        """Something that was a message and could not be read: it lies before the next one."""
        self._close(self._last)
        self._start = None
        self._gaps = True

    def take(self) -> list[Interval]:
        """What can be claimed now and was not yet."""
        if not self.ascending:
            return []
        self._close(self._last)
        return self._handed_out()

    def finish(self, end_id: int) -> list[Interval]:
        """The rest, once the whole file is known to be sound; it claims up to `end_id`, if that is not 0."""
        if self.ascending:
            self._close(max(end_id, self._last))
        elif not self._gaps:
            self._spans = [(self._first, self._last)]
        return self._handed_out()

    def _close(self, last_id: int) -> None:
        if self._start is not None and last_id >= self._start:
            self._spans.append((self._start, last_id))
            self._start = last_id + 1

    def _handed_out(self) -> list[Interval]:
        spans, self._spans = self._spans, []
        claimed = spans if self._complete is None else intersection(spans, self._complete)
        if claimed:
            first = self.given[0] if self.given else claimed[0][0]
            self.given = min(first, claimed[0][0]), max(last for _, last in claimed)
        return claimed


def intersection(some: Sequence[Interval], others: Sequence[Interval]) -> list[Interval]:
    """What lies in both."""
    common = [(max(a, c), min(b, d)) for a, b in some for c, d in others]
    return sorted((first, last) for first, last in common if first <= last)
