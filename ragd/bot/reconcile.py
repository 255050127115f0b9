"""Reads recent history again, all the time and gently: what the gateway lost in mid-stream shows there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

from ragd.bot.backfill import Backfill
from ragd.bot.client import CaptureClient
from ragd.bot.threads import Roster
from ragd.heartbeat import Counter

_log = logging.getLogger(__name__)

PAGES_A_MINUTE = 30
"""A hundredth of the 50 requests a second that Discord allows a bot: whatever else asks hardly notices."""

SWEEP_SECONDS = 24 * 3600.0
"""Between two rounds over all archived threads: a page for each hundred of them."""

SETTLED_SECONDS = 30.0
"""What is younger may be in a page and not here, or here and not in the page: it is still on its way."""

_IDLE_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Stretch:
    """Ids of a channel to read again."""

    channel_id: int
    start_id: int
    end_id: int


class Reconciler:
    """Goes through the window once an interval, a page of each channel in turn; holes go first. One task in capture."""

    def __init__(
        self,
        client: CaptureClient,
        backfill: Backfill,
        roster: Roster,
        recent_channels: Callable[[int], Awaitable[list[tuple[int, int, int]]]],
        *,
        hours: float,
        minutes: float,
    ) -> None:
        self._client = client
        self._backfill = backfill
        self._roster = roster
        self._recent_channels = recent_channels
        self._window_seconds = hours * 3600
        self._interval_seconds = minutes * 60
        self._sweep_due = 0.0
        self._pages = 0
        self._turns = 0
        self._turn_ended: float | None = None

    def counters(self) -> dict[str, Counter]:
        """For the heartbeat: requests made, whole turns, and since when there was none, in seconds."""
        ended = self._turn_ended
        return {
            "reread_pages": self._pages,
            "reread_turns": self._turns,
            "reread_age_seconds": None if ended is None else round(time.monotonic() - ended, 1),
        }

    async def run(self) -> None:
        """Work until cancelled. What a break calls for, Backfill has read by then: the first turn comes later."""
        began = time.monotonic()
        while True:
            await asyncio.sleep(max(0.0, began + self._interval_seconds - time.monotonic()))
            await self._quiet()
            began = time.monotonic()
            async for _ in self._steps():
                self._pages += 1
                await asyncio.sleep(60 / PAGES_A_MINUTE)
                await self._quiet()
            self._turns += 1
            self._turn_ended = time.monotonic()

    async def _quiet(self) -> None:
        """Wait until there is a connection and nothing more urgent to read."""
        while not self._client.is_ready() or self._client.sessions.away or self._backfill.busy:  # noqa: ASYNC110
            await asyncio.sleep(_IDLE_LOOK_SECONDS)  # four conditions of three objects, and no hurry

    async def _steps(self) -> AsyncIterator[None]:
        """A request each."""
        async for _ in self._window():
            yield
        if time.monotonic() >= self._sweep_due:
            async for _ in self._roster.sweep():
                yield
            self._sweep_due = time.monotonic() + SWEEP_SECONDS

    async def _window(self) -> AsyncIterator[None]:
        todo = deque(await self._stretches())
        while todo:
            stretch = todo.popleft()
            page = await self._backfill.read_again(stretch.channel_id, stretch.end_id, stretch.start_id)
            if page is not None and page.start_id > stretch.start_id:
                todo.append(replace(stretch, end_id=page.start_id - 1))
            yield

    async def _stretches(self) -> list[Stretch]:
        if not self._window_seconds:
            return []
        clock = self._client.clock
        since, settled = clock.ago(self._window_seconds), clock.ago(SETTLED_SECONDS)
        return [
            Stretch(channel_id, since, min(last_id, settled))
            for _, channel_id, last_id in await self._recent_channels(since)
        ]
