"""What can only be told from several looks: how long something has been so, and jumps of the clock."""

from __future__ import annotations

import time

from ragd.store.health import Progress

JUMP_SECONDS = 2.0
"""A time service corrects a clock by less than that between two passes."""


class Stopwatch:
    """For how long a value has been true, or has not changed, by the caller's monotonic clock."""

    def __init__(self) -> None:
        self._value: object = object()
        self._since = 0.0

    def unchanged(self, value: object, now: float) -> float:
        if value != self._value:
            self._value, self._since = value, now
        return now - self._since

    def held(self, condition: bool, now: float) -> float:
        """For how long it has been true; 0 while it is not."""
        seconds = self.unchanged(condition, now)
        return seconds if condition else 0.0


class ClockWatch:
    """Compares the wall clock with the monotonic one."""

    def __init__(self) -> None:
        self._offset: float | None = None
        self._jumped_at: float | None = None
        self.jump_seconds = 0.0
        """The last jump: forward is positive. A machine that slept jumps forward too."""

    def observe(self, monotonic: float, wall: float) -> float | None:
        """Take note of both; returns the jump if there was one since the last time."""
        before, self._offset = self._offset, wall - monotonic
        if before is None or abs(self._offset - before) < JUMP_SECONDS:
            return None
        self.jump_seconds, self._jumped_at = self._offset - before, monotonic
        return self.jump_seconds

    def seconds_ago(self, monotonic: float) -> float | None:
        return None if self._jumped_at is None else monotonic - self._jumped_at


class Backlog:
    """How long changes wait until search has them, and whether anything is done about it."""

    def __init__(self) -> None:
        self._mark: tuple[int, float] | None = None
        self._stuck = Stopwatch()
        self.behind_seconds = 0.0
        """How long the longest waiting change has been known."""
        self.stuck_seconds = 0.0

    def follow(self, progress: Progress, done: object, now: float) -> None:
        """`done`: anything that changes when the syncer gets work done."""
        moved = (progress.followed_change, progress.lag_messages, progress.oldest_mark, done)
        self.stuck_seconds = self._stuck.unchanged(moved, now)
        unfollowed = self._unfollowed_seconds(progress, now)
        marked = 0.0 if progress.oldest_mark is None else max(0.0, time.time() - progress.oldest_mark / 1000)
        self.behind_seconds = max(unfollowed, marked) if progress.lag_messages else 0.0

    def _unfollowed_seconds(self, progress: Progress, now: float) -> float:
        """Since when the first change has been seen that no strategy has followed yet: a lower bound, and 0 if none."""
        if progress.followed_change >= progress.newest_change:
            self._mark = None
        elif self._mark is None or progress.followed_change >= self._mark[0]:
            self._mark = progress.newest_change, now
        return 0.0 if self._mark is None else now - self._mark[1]
