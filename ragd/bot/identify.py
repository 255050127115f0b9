"""When to begin a session: Discord grants about 1,000 IDENTIFYs a day, and resets the token of a bot that wants more.

How many are left is asked of Discord each time, so no restart forgets it. While most are left nothing waits. Below
that the rest is spread over the time until Discord grants new ones: a crash loop slows down to a pace that it can keep
up until then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

_log = logging.getLogger(__name__)

KEPT = 10
"""IDENTIFYs of a day that are not touched: for a person who has mended what used up the others."""

UNHURRIED = 0.5
"""Part of the budget that must be left for nothing to wait: a day has not that many restarts unless something loops."""

WAIT_SECONDS = 45.0
"""discord.py gives a connection 60 s to come up, and comes back after a pause when it did not."""

SAME_KEY_SECONDS = 5.0
"""Between two IDENTIFYs of shards with the same `shard_id % max_concurrency` (reference, "Sharding")."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The session start limit as Discord tells it."""

    total: int
    remaining: int
    reset_seconds: float
    max_concurrency: int = 1

    @property
    def exhausted(self) -> bool:
        """Whether only those are left that are kept back."""
        return self.remaining <= min(KEPT, self.total // 2)

    def pause_seconds(self, instances: int = 1) -> float:
        """How long to wait before the next IDENTIFY, where so many processes spend of the budget."""
        if self.exhausted:
            return self.reset_seconds
        if self.remaining > self.total * UNHURRIED:
            return 0.0
        return instances * self.reset_seconds / (self.remaining - min(KEPT, self.total // 2))


class IdentifyPacer:
    """Waits as the budget says. Discord closes a connection that waits for long, so it is given up and tried again;
    when a wait ends is remembered from one try to the next."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Budget]],
        instances: int = 1,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._fetch = fetch
        self._instances = instances
        self._clock = clock
        self._sleep = sleep
        self._due: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self.waiting = ""
        """Why no session begins, while it is so; one line."""

    async def wait(self, shard_id: int) -> None:
        """Return when the shard may IDENTIFY. Raises TimeoutError when that is not soon: connect, and ask, again."""
        budget = await self._fetch()
        seconds = self._seconds_left(shard_id, budget)
        if seconds > 0:
            self._tell(budget, seconds)
            await self._sleep(min(seconds, WAIT_SECONDS))
        if budget.exhausted or seconds > WAIT_SECONDS:
            raise TimeoutError("the next session waits for the IDENTIFY budget")
        await self._wait_for_others(shard_id % budget.max_concurrency)
        self._due.pop(shard_id, None)
        self.waiting = ""

    def _seconds_left(self, shard_id: int, budget: Budget) -> float:
        pause = budget.pause_seconds(self._instances)
        if budget.exhausted or not pause:
            self._due.pop(shard_id, None)
            return pause
        return self._due.setdefault(shard_id, self._clock() + pause) - self._clock()

    def _tell(self, budget: Budget, seconds: float) -> None:
        """Log it when it begins."""
        what = "is used up" if budget.exhausted else "is spent too fast"
        waiting = f"Discord's IDENTIFY budget of today {what}: the next session waits for it"
        if waiting != self.waiting:
            left = f"{budget.remaining} of {budget.total} IDENTIFYs left"
            _log.error("%s, not connecting for up to %.0f s", left, seconds)
        self.waiting = waiting

    async def _wait_for_others(self, key: int) -> None:
        now = self._clock()
        turn = max(now, self._last.get(key, now - SAME_KEY_SECONDS) + SAME_KEY_SECONDS)
        self._last[key] = turn
        await self._sleep(turn - now)
