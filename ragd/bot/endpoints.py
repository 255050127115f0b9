"""The one place that adapts discord.py: where it connects, and how long it waits before it connects again."""

from __future__ import annotations

import random

import discord.client
import discord.http
import yarl
from discord.backoff import ExponentialBackoff
from discord.gateway import DiscordWebSocket

from ragd.config import Settings

LONGEST_RECONNECT_SECONDS = 60.0
"""discord.py's own backoff reaches 1024 s; a daemon that must miss nothing comes back within a minute."""


class _CappedBackoff(ExponentialBackoff[bool]):
    def delay(self) -> float:
        longest = LONGEST_RECONNECT_SECONDS
        wanted = super().delay()
        return wanted if wanted <= longest else random.uniform(longest / 2, longest)  # noqa: S311 - jitter


def use_endpoints(settings: Settings) -> None:
    """Point discord.py at the API and the gateway of the settings; call before a client is made."""
    discord.http.Route.BASE = settings.discord_api_url
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.discord_gateway_url)
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False  # nobody misses voice here
    discord.client.ExponentialBackoff = _CappedBackoff  # type: ignore[assignment, attr-defined]
