"""Several shards in one process, each with a gateway session of its own that no other waits for.

discord.py 2.7 serves shards one after the other: one that cannot be connected keeps the rest from being connected, or
connected again, for as long as that lasts. Here each has a task of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import aiohttp
import discord
import yarl
from discord.ext import commands
from discord.gateway import ReconnectWebSocket
from discord.shard import EventItem, EventType, Shard

from ragd.bot.client import CaptureClient
from ragd.bot.endpoints import CappedBackoff, GatewaySocket
from ragd.bot.journal import Journal
from ragd.bot.scope import CaptureScope
from ragd.bot.sessions import Shards

_log = logging.getLogger(__name__)

_AWAY = (OSError, aiohttp.ClientError, TimeoutError, discord.HTTPException, discord.GatewayNotFound, ReconnectWebSocket)
"""What discord.py raises while the gateway cannot be had."""


def make_client(command_prefix: str, journal: Journal, scope: CaptureScope, held: Shards) -> CaptureClient:
    """The client for so many shards."""
    return (ShardedCaptureClient if held.several else CaptureClient)(command_prefix, journal, scope, held)


class ShardedCaptureClient(CaptureClient, commands.AutoShardedBot):
    """Holds several shards. What discord.py tells of all of them at once says nothing: `connect` comes once a shard,
    `ready` only when each has been ready once.
    """

    async def on_connect(self) -> None: ...

    async def on_ready(self) -> None: ...

    async def on_resumed(self) -> None: ...

    async def on_disconnect(self) -> None: ...

    async def on_shard_connect(self, shard_id: int) -> None:
        self.begin_session(shard_id)

    async def on_shard_ready(self, shard_id: int) -> None:
        self.state_shard(shard_id)

    async def on_shard_resumed(self, shard_id: int) -> None:
        self.resume_session(shard_id)

    async def on_shard_disconnect(self, shard_id: int) -> None:
        self.lose_session(shard_id)

    async def connect(self, *, reconnect: bool = True) -> None:
        """Serve all shards until the client is closed. Raises what ends one of them for good."""
        self._reconnect = reconnect
        async with _Tasks(self._events) as tasks:
            tasks.start(self.launch_shards())
            while (item := await self._events.get()).type != EventType.clean_close:
                if item.type in (EventType.identify, EventType.resume):
                    tasks.start(item.shard.reidentify(item.error))
                elif item.type == EventType.reconnect:
                    tasks.start(item.shard.reconnect())
                elif isinstance(item.error, ReconnectWebSocket):
                    # closed before a word was said: discord.py would end by that
                    tasks.start(item.shard._handle_disconnect(item.error))
                else:
                    await self.close()
                    raise item.error

    @property
    def _events(self) -> asyncio.PriorityQueue[Any]:
        """What became of shards, as discord.py's own tasks tell it."""
        events: asyncio.PriorityQueue[Any] = self._AutoShardedClient__queue  # type: ignore[attr-defined]
        return events

    async def launch_shard(self, gateway: yarl.URL, shard_id: int, *, initial: bool = False) -> None:
        """Connect a shard for the first time; try again until that succeeds.

        discord.py's own tries again by calling itself, which ends by a RecursionError in a long outage, and whatever
        was wrong.
        """
        backoff = CappedBackoff()
        while True:
            connecting = GatewaySocket.from_client(self, initial=initial, gateway=gateway, shard_id=shard_id)
            try:
                socket = await asyncio.wait_for(connecting, self.shard_connect_timeout)
                break
            except _AWAY as error:
                initial, pause = False, backoff.delay()
                why = str(error) or type(error).__name__
                _log.warning("shard %d cannot be connected (%s), trying again in %.1f s", shard_id, why, pause)
                await asyncio.sleep(pause)
        shard = Shard(socket, self, self._events.put_nowait)
        self._AutoShardedClient__shards[shard_id] = shard  # type: ignore[attr-defined]
        shard.launch()


class _Tasks:
    """Tasks that end with the block. One that fails is an event, which ends the client."""

    def __init__(self, events: asyncio.PriorityQueue[Any]) -> None:
        self._events = events
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> _Tasks:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._events.put_nowait(EventItem(EventType.terminate, None, error))  # type: ignore[arg-type]
