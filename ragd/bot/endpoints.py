"""The one place that adapts discord.py: where it connects, how long it waits before it connects again, and what it
does when there is no session to resume.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from typing import Any

import aiohttp
import discord.client
import discord.http
import discord.shard
import yarl
from discord.gateway import DiscordWebSocket, ReconnectWebSocket

from ragd.config import Settings

_log = logging.getLogger(__name__)

LONGEST_RECONNECT_SECONDS = 60.0
"""discord.py's own backoff reaches 1024 s; a daemon that must miss nothing comes back within a minute."""


LASTED_SECONDS = 30.0
"""A connection that held so long was a good one: the next failure is the first again."""


class _CappedBackoff:
    """In the place of discord.py's ExponentialBackoff: up to a minute, and from the start again after a success."""

    def __init__(self) -> None:
        self._failures = 0
        self._connected_since = -math.inf

    def delay(self) -> float:
        """Seconds to wait before the next attempt; called once a failure."""
        now = time.monotonic()
        self._failures = 0 if now - self._connected_since > LASTED_SECONDS else self._failures
        self._failures += 1
        longest = min(LONGEST_RECONNECT_SECONDS, 2.0**self._failures)
        wait = random.uniform(longest / 4, longest)  # noqa: S311 - jitter
        self._connected_since = now + wait
        return wait


class _NoSocketYet:
    """What discord.py 2.7 reads of a connection that failed: without one, it ends by an AttributeError."""

    def __init__(self, gateway: yarl.URL) -> None:
        self.gateway = gateway
        self.sequence = self.session_id = None
        self.open = False
        self.latency = math.nan


class _Socket(DiscordWebSocket):
    """What discord.py 2.7 gets wrong after a connection that failed. With one shard it always wants to RESUME, also
    when there is no session: Discord refuses that, and it would try again at once, for ever. With several it always
    begins a new session, also when there is one to resume, whose events would be lost.
    """

    @classmethod
    async def from_client(cls, client: Any, *, resume: bool = False, session: str | None = None, **more: Any) -> Any:
        if isinstance(client, discord.AutoShardedClient):
            last = _last_socket(client, more["shard_id"])
            if "sequence" not in more and last is not None and last.session_id is not None:
                resume, session = True, last.session_id
                more |= {"sequence": last.sequence, "gateway": last.gateway}
        elif client.ws is None:
            client.ws = _NoSocketYet(cls.DEFAULT_GATEWAY)
        return await super().from_client(client, resume=resume and session is not None, session=session, **more)


def _last_socket(client: discord.AutoShardedClient, shard_id: int) -> DiscordWebSocket | None:
    try:
        return client._get_websocket(shard_id=shard_id)
    except KeyError:
        return None


async def launch_shard(client: discord.AutoShardedClient, gateway: yarl.URL, shard_id: int, *, initial: bool) -> None:
    """Connect a shard for the first time; try again until that succeeds.

    discord.py's own tries again by calling itself, which ends by a RecursionError in a long outage, and whatever was
    wrong.
    """
    backoff = _CappedBackoff()
    while True:
        connecting = _Socket.from_client(client, initial=initial, gateway=gateway, shard_id=shard_id)
        try:
            socket = await asyncio.wait_for(connecting, client.shard_connect_timeout)
            break
        except (OSError, aiohttp.ClientError, TimeoutError, discord.HTTPException, *_LOST) as error:
            initial, pause = False, backoff.delay()
            why = error or type(error).__name__
            _log.warning("shard %d cannot be connected (%s), trying again in %.1f s", shard_id, why, pause)
            await asyncio.sleep(pause)
    shard = discord.shard.Shard(socket, client, client._AutoShardedClient__queue.put_nowait)  # type: ignore[attr-defined]
    client._AutoShardedClient__shards[shard_id] = shard  # type: ignore[attr-defined]
    shard.launch()


_LOST = (discord.GatewayNotFound, ReconnectWebSocket)
"""What discord.py raises for a gateway that is away."""


def use_endpoints(settings: Settings) -> None:
    """Point discord.py at the API and the gateway of the settings; call before a client is made."""
    discord.http.Route.BASE = settings.discord_api_url
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.discord_gateway_url)
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False  # nobody misses voice here
    discord.client.ExponentialBackoff = _CappedBackoff  # type: ignore[assignment, attr-defined]
    discord.client.DiscordWebSocket = _Socket  # type: ignore[misc]
    discord.shard.ExponentialBackoff = _CappedBackoff  # type: ignore[assignment, attr-defined]
    discord.shard.DiscordWebSocket = _Socket  # type: ignore[misc]
