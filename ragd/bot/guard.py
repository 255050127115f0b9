"""Is the gateway connection what it says it is? Asked of Discord over REST, and of the clock of acknowledgements.

A socket that is up proves nothing: acknowledgements may have stopped (a zombie), or they come and events do not (a
deaf gateway). A quiet server looks just the same from inside, so quiet is no verdict: what Discord says exists is.
Reconnecting resumes the session; one that stays deaf is for the watchdog, whose restart brings a new one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable

import aiohttp
import discord

from ragd.bot.client import CaptureClient
from ragd.bot.normalise import MessageChannel, can_read, last_id
from ragd.heartbeat import Counter

_log = logging.getLogger(__name__)

CHECK_SECONDS = 60.0
"""Longest between two comparisons; each costs two requests a guild."""

SETTLED_SECONDS = 15.0
"""A message that REST has not shown for longer may still be on its way to us. Less than the time between two looks."""

ZOMBIE_SECONDS = 30.0
"""How overdue an acknowledgement may be. Discord sends it within a second of each heartbeat."""

LONGEST_PATIENCE_SECONDS = 1800.0
"""Between two forced reconnects, at most. The pause doubles from the first: each may cost one of 1,000 IDENTIFYs."""


class GatewayGuard:
    """Compares, and reconnects what is not what it seems. One task in capture."""

    def __init__(self, client: CaptureClient, deaf_seconds: float) -> None:
        """`deaf_seconds`: after how long the watchdog would restart a deaf capture; we reconnect well before that."""
        self._client = client
        self._interval = min(CHECK_SECONDS, deaf_seconds / 4)
        self._zombie_seconds = min(ZOMBIE_SECONDS, deaf_seconds / 4)
        self._settled_seconds = min(SETTLED_SECONDS, deaf_seconds / 8)
        self._patience = self._interval
        self._next_reconnect = 0.0
        self._awaited: dict[int, tuple[int, float]] = {}
        """By channel, a message that REST has shown and since when; the gateway is to bring it, or later ones."""
        self._listed: set[int] = set()
        """What the comparison has met: channels that are gone, and threads that sleep, need not be remembered."""
        self._read: dict[int, int] = {}
        """By channel that was unheard at the last comparison, up to where it was read over REST instead."""
        self.deaf_channels = 0
        """Channels that had messages, at the last comparison, which the gateway did not bring."""
        self.compared_at = 0.0
        """Unix seconds of the last comparison, 0 before the first."""
        self.reconnects = 0

    def counters(self) -> dict[str, Counter]:
        return {
            "deaf_channels": self.deaf_channels,
            "compared_at": round(self.compared_at),
            "forced_reconnects": self.reconnects,
        }

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            guilds = [guild for guild in self._client.guilds if self._client.sessions.has(guild.shard_id)]
            if self._client.is_ready() and not (self._client.sessions.away and not guilds):
                await self._check(guilds)

    async def _check(self, guilds: list[discord.Guild]) -> None:
        overdue = self._client.overdue_seconds().items()
        if zombies := [shard_id for shard_id, seconds in overdue if seconds > self._zombie_seconds]:
            _log.warning("Discord has stopped to acknowledge heartbeats: reconnecting")
            await self._reconnect(zombies)
            return
        self._listed.clear()
        try:
            deaf = [found for guild in guilds for found in await self._unheard(guild)]
        except (discord.HTTPException, aiohttp.ClientError, TimeoutError) as error:
            _log.warning("cannot compare with Discord: %s", error)
            return
        self.deaf_channels, self.compared_at = len(deaf), time.time()
        self._read = {channel.id: last_id(channel) for channel in deaf}
        self._awaited = {channel_id: seen for channel_id, seen in self._awaited.items() if channel_id in self._listed}
        if deaf:
            _log.warning("the gateway did not bring messages of %d channels: reading them, reconnecting", len(deaf))
            self._client.hear_again(deaf)
            await self._reconnect({channel.guild.shard_id for channel in deaf})

    async def _unheard(self, guild: discord.Guild) -> list[MessageChannel]:
        """Channels as REST shows them with messages that neither came live nor were there at the session's start."""
        listed = [*await guild.fetch_channels(), *await guild.active_threads()]
        self._listed.update(channel.id for channel in listed)
        return [
            channel
            for channel in listed
            if isinstance(channel, MessageChannel)
            and can_read(channel)
            and self._is_unheard(channel, last_id(guild.get_channel_or_thread(channel.id)))
        ]

    def _is_unheard(self, channel: MessageChannel, known: int) -> bool:
        """`known`: the newest that the gateway brought.

        What REST shows first may still be on its way, so it is waited for, by a clock that nobody can set; and for
        that one message, because in a busy channel the newest never is old enough to be missed. A channel that was
        unheard at the last comparison, and to which nothing came since, has no such time.
        """
        now, newest = time.monotonic(), last_id(channel)
        if known == self._read.get(channel.id):
            return known < newest
        awaited, since = self._awaited.get(channel.id, (0, now))
        if awaited <= known:
            awaited, since = self._awaited[channel.id] = newest, now
        return known < awaited and now - since >= self._settled_seconds

    async def _reconnect(self, shard_ids: Iterable[int]) -> None:
        now = time.monotonic()
        if now < self._next_reconnect:
            return
        self._patience = self._interval if now > self._next_reconnect + LONGEST_PATIENCE_SECONDS else 2 * self._patience
        self._next_reconnect = now + min(self._patience, LONGEST_PATIENCE_SECONDS)
        self.reconnects += 1
        await self._client.reconnect(shard_ids)
