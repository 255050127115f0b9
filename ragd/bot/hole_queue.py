"""Which hole is read next: one page a channel in turn, the channels with the newest holes first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from ragd.store.coverage import Hole

RETRY_PAUSE_SECONDS = 15.0
"""Before a channel is tried again of which a page could not be read."""


class HoleQueue:
    """Holes of a round. Turns go round without waiting for one another: a slow channel holds up none but itself."""

    def __init__(self) -> None:
        self._waiting: deque[Hole] = deque()
        self._blocked_until: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def restock(self, holes: Iterable[Hole], now: float) -> None:
        """Begin a round with what is missing now, newest first: of each channel its newest hole.

        Nothing may be out of the queue meanwhile. Channels that failed of late are left out.
        """
        newest: dict[int, Hole] = {}
        for hole in holes:
            if self._blocked_until.get(hole.channel_id, 0.0) <= now:
                newest.setdefault(hole.channel_id, hole)
        self._waiting = deque(newest.values())

    def take(self) -> Hole | None:
        """The hole whose turn it is; None when nothing waits."""
        return self._waiting.popleft() if self._waiting else None

    def put_back(self, hole: Hole, read_from: int) -> bool:
        """Its page reached down to `read_from`: what is left waits for its next turn. True when nothing is left."""
        if read_from > hole.start_id:
            self._waiting.append(replace(hole, end_id=read_from - 1))
            return False
        return True

    def block(self, channel_id: int, now: float) -> None:
        """A page could not be read: leave the channel alone for a while."""
        self._blocked_until[channel_id] = now + RETRY_PAUSE_SECONDS
