"""When a worker may be started again: a pure rule over monotonic times that the caller brings.

And which ends a person asked for: those say nothing about the worker and count against no rule.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RestartRule:
    """Restarts that follow one another within `quiet_seconds` are a streak.

    Within a streak the first restart is free, the k-th waits first_gap * 2^(k-2) seconds after the one before, and
    after `burst` of them one restart each `slow_gap_seconds` is left. `quiet_seconds` without a restart end a streak.
    """

    burst: int
    first_gap_seconds: float
    slow_gap_seconds: float
    quiet_seconds: float


DEFAULT_RULE = RestartRule(burst=5, first_gap_seconds=1.0, slow_gap_seconds=300.0, quiet_seconds=600.0)
"""Five within 15 seconds, then one in five minutes."""

CAPTURE_RULE = RestartRule(burst=4, first_gap_seconds=2.0, slow_gap_seconds=600.0, quiet_seconds=900.0)
"""Each restart of capture is an IDENTIFY, of which Discord allows about 1,000 a day before it resets the token. At the
slow pace supervisord's four tries a start make 576."""

RULES = {"capture": CAPTURE_RULE}

JITTER = 0.2
"""Waits are up to a fifth longer, lest workers that fell together rise together for ever."""


class RestartBudget:
    """Counts the restarts of one worker against its rule."""

    def __init__(self, rule: RestartRule, *, chance: Callable[[], float] = random.random) -> None:
        self._rule = rule
        self._chance = chance
        self._streak = 0
        self._last: float | None = None
        self._gap = 0.0

    def note(self, now: float) -> None:
        """A restart happened, whoever caused it."""
        self._streak = self.streak(now) + 1
        self._last = now
        self._gap = self._next_gap() * (1 + JITTER * self._chance())

    def streak(self, now: float) -> int:
        """Restarts in the streak that is under way; 0 after a quiet time."""
        if self._last is None or now - self._last >= self._rule.quiet_seconds:
            return 0
        return self._streak

    def spent(self, now: float) -> bool:
        """Whether only the slow pace is left."""
        return self.streak(now) >= self._rule.burst

    def wait_seconds(self, now: float) -> float:
        """How long until the next restart is allowed; 0 if it is."""
        if self._last is None or self.streak(now) == 0:
            return 0.0
        return max(0.0, self._last + self._gap - now)

    def restore(self, streak: int, now: float) -> None:
        """Go on with a streak that an earlier watchdog counted, as if its last restart were now."""
        self._streak, self._last = max(0, streak), now if streak > 0 else None
        self._gap = self._next_gap() if streak > 0 else 0.0

    def _next_gap(self) -> float:
        if self._streak >= self._rule.burst:
            return self._rule.slow_gap_seconds
        return float(self._rule.first_gap_seconds * 2 ** (self._streak - 1))


def request_end(directory: Path, worker: str, pid: int) -> None:
    """Leave word, before the process gets its signal, that a person wants it to end. Raises OSError."""
    directory.mkdir(mode=0o700, exist_ok=True)
    (directory / worker).write_text(str(pid))


def is_requested_end(directory: Path, worker: str, pid: int) -> bool:
    """Whether a person asked for the end of this very process."""
    try:
        return (directory / worker).read_text() == str(pid)
    except (OSError, ValueError):
        return False
