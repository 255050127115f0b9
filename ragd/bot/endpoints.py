"""The one place that adapts discord.py: where it connects, how long it waits before it connects again, and what it
does when there is no session to resume.
"""

from __future__ import annotations

import math
import random
import time
from typing import Any

import discord.client
import discord.http
import discord.shard
import yarl
from discord.gateway import DiscordWebSocket

from ragd.config import Settings

LONGEST_RECONNECT_SECONDS = 60.0
"""discord.py's own backoff reaches 1024 s; a daemon that must miss nothing comes back within a minute."""


LASTED_SECONDS = 30.0
"""A connection that held so long was a good one: the next failure is the first again."""


class CappedBackoff:
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


class GatewaySocket(DiscordWebSocket):
    """What discord.py 2.7 gets wrong after a connection that failed, and about latency. With one shard it always wants
    to RESUME, also when there is no session: Discord refuses that, and it would try again at once, for ever. With
    several it always begins a new session, also when there is one to resume, whose events would be lost.
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

    async def send_heartbeat(self, data: Any) -> None:
        """discord.py notes the time only when its thread has learnt that the beat is sent: an acknowledgement that is
        there sooner, on a busy machine, it takes for a whole interval late."""
        if self._keep_alive is not None:
            self._keep_alive._last_send = time.perf_counter()
        await super().send_heartbeat(data)


def _last_socket(client: discord.AutoShardedClient, shard_id: int) -> DiscordWebSocket | None:
    try:
        return client._get_websocket(shard_id=shard_id)
    except KeyError:
        return None


def use_endpoints(settings: Settings) -> None:
    """Point discord.py at the API and the gateway of the settings; call before a client is made."""
    discord.http.Route.BASE = settings.discord_api_url
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.discord_gateway_url)
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False  # nobody misses voice here
    discord.client.ExponentialBackoff = CappedBackoff  # type: ignore[assignment, attr-defined]
    discord.client.DiscordWebSocket = GatewaySocket  # type: ignore[misc]
    discord.shard.ExponentialBackoff = CappedBackoff  # type: ignore[assignment, attr-defined]
    discord.shard.DiscordWebSocket = GatewaySocket  # type: ignore[misc]
