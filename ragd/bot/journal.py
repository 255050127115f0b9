"""The queue between the gateway and the store: events in the order they came, committed in batches."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from ragd.bot.spool import Spool
from ragd.store import Store
from ragd.store.events import Event, SessionBroken

_log = logging.getLogger(__name__)

MAX_IN_MEMORY = 10_000
"""Events that wait in memory while the database cannot be written, some 20 MB; more wait on disk."""

BATCH_EVENTS = 1_000

Result = TypeVar("Result")


class InStore(Protocol):
    """Does something short in the thread that holds the store."""

    def __call__(self, work: Callable[[Store], Result]) -> Awaitable[Result]: ...


class Journal:
    """Collects events and hands them over in batches. Lives in capture's event loop.

    `record` never waits, so that discord.py's handlers, which it starts in the order of the gateway's events,
    keep that order. Too many for memory go to the spool. When that cannot take them either, they are dropped, and
    with them the claim that live is complete: `on_overflow` is asked to make good what was missed once the store
    takes events again.
    """

    def __init__(self, spool: Spool, on_overflow: Callable[[], Awaitable[None]]) -> None:
        self._pending: deque[tuple[Event | None, asyncio.Future[None] | None]] = deque()
        self._spool = spool
        self._arrived = asyncio.Event()
        self._unspooled = asyncio.Event()
        self._unspooled.set()
        self._on_overflow = on_overflow
        self._overflowed = False
        self.committed = 0
        """Events made durable since the start."""

    def __len__(self) -> int:
        return len(self._pending) + len(self._spool)

    @property
    def spooled(self) -> int:
        """Events that wait on disk."""
        return len(self._spool)

    def record(self, event: Event) -> None:
        """Queue an event of the gateway."""
        if self._overflowed:
            return
        if len(self._spool) or len(self._pending) >= MAX_IN_MEMORY:
            self._put_on_disk(event)
        else:
            self._put(event, None)

    async def commit(self, event: Event | None = None) -> None:
        """Queue an event and return when it, and all that came before, is durable; without one just wait for those."""
        await self._unspooled.wait()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(event, done)
        await done

    def _put(self, event: Event | None, done: asyncio.Future[None] | None) -> None:
        self._pending.append((event, done))
        self._arrived.set()

    def _put_on_disk(self, event: Event) -> None:
        if not len(self._spool):
            _log.warning("%d events wait for the database: later ones wait on disk", len(self._pending))
            self._unspooled.clear()
        try:
            self._spool.append(event)
        except OSError as error:
            _log.error("events are dropped and will be read again over REST: %s", error)
            self._overflowed = True

    async def write_next(self, apply: Callable[[list[Event]], Awaitable[None]], wait_seconds: float) -> None:
        """Wait at most so long for events and apply what is there. If `apply` raises, the events stay queued."""
        if not await self._wait(wait_seconds):
            return
        batch = [self._pending[at] for at in range(min(len(self._pending), BATCH_EVENTS))]
        await apply([event for event, _ in batch if event is not None])
        for _, done in batch:
            self._pending.popleft()
            if done is not None and not done.done():
                done.set_result(None)
        self.committed += len(batch)
        self._refill()
        if self._overflowed and not len(self):
            await self._recover()

    async def _wait(self, seconds: float) -> bool:
        if not self._pending:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), seconds)
            except TimeoutError:
                return False
        return True

    def _refill(self) -> None:
        """Bring the next events from disk when memory has room: those that came first go first."""
        if self._pending or self._unspooled.is_set():
            return
        for event in self._spool.take(BATCH_EVENTS):
            self._put(event, None)
        if not len(self._spool):
            self._unspooled.set()

    async def _recover(self) -> None:
        self._overflowed = False
        self._unspooled.set()
        self.record(SessionBroken())
        await self._on_overflow()
