"""The queue between the gateway and the store: events in the order they came, committed in batches."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from ragd.store.events import Event, SessionBroken

_log = logging.getLogger(__name__)

MAX_PENDING = 50_000
"""Events that wait in memory while the database cannot be written; about 100 MB at Discord's usual message size."""

BATCH_EVENTS = 1_000


class Journal:
    """Collects events and hands them over in batches. Lives in capture's event loop.

    `record` never waits, so that discord.py's handlers, which it starts in the order of the gateway's events,
    keep that order. When too much waits, later events are dropped, and with them the claim that live is complete:
    `on_overflow` is asked to make good what was missed once the store takes events again.
    """

    def __init__(self, on_overflow: Callable[[], Awaitable[None]]) -> None:
        self._pending: deque[tuple[Event | None, asyncio.Future[None] | None]] = deque()
        self._arrived = asyncio.Event()
        self._on_overflow = on_overflow
        self._overflowed = False
        self.committed = 0
        """Events made durable since the start."""

    def __len__(self) -> int:
        return len(self._pending)

    def record(self, event: Event) -> None:
        """Queue an event of the gateway."""
        if len(self._pending) < MAX_PENDING:
            self._pending.append((event, None))
            self._arrived.set()
        elif not self._overflowed:
            self._overflowed = True
            _log.error("%d events wait for the database: later ones are dropped and read again over REST", MAX_PENDING)

    async def commit(self, event: Event | None = None) -> None:
        """Queue an event and return when it, and all that came before, is durable; without one just wait for those."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((event, done))
        self._arrived.set()
        await done

    async def write_next(self, apply: Callable[[list[Event]], Awaitable[None]], wait_seconds: float) -> None:
        """Wait at most so long for events and apply what is there. If `apply` raises, the events stay queued."""
        if not self._pending:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), wait_seconds)
            except TimeoutError:
                return
        batch = [self._pending[at] for at in range(min(len(self._pending), BATCH_EVENTS))]
        await apply([event for event, _ in batch if event is not None])
        for _, done in batch:
            self._pending.popleft()
            if done is not None and not done.done():
                done.set_result(None)
        self.committed += len(batch)
        if self._overflowed and not self._pending:
            await self._recover()

    async def _recover(self) -> None:
        self._overflowed = False
        self.record(SessionBroken())
        await self._on_overflow()
