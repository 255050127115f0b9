"""Tells the store which channels there are, and from which of their messages on the gateway brings all."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import discord

from ragd.bot.normalise import AnyChannel, can_read, guild_channels
from ragd.bot.regain import refresh_last_ids
from ragd.store.events import ChannelRow, ChannelsSeen, GuildSeen

if TYPE_CHECKING:
    from ragd.bot.client import CaptureClient


class Announcer:
    """What has been said of channels in the present sessions. Lives in the client's event loop."""

    def __init__(self, client: CaptureClient) -> None:
        self._client = client
        self._announced: dict[int, int] = {}
        """Guilds of the channels that the store knows of in this session."""
        self._hidden: set[int] = set()
        """Announced as unreadable: what the cache says of their newest messages may be out of date."""
        self._left: set[int] = set()
        """Private threads that the bot was taken out of; the cache keeps them."""
        self._regaining: dict[int, asyncio.Task[None]] = {}
        self._meetings: set[asyncio.Task[None]] = set()

    def begin_session(self, shard_id: int) -> None:
        """A session that has just begun brings a cache that is as new as can be."""
        shard_of = self._client.held.shard_of
        ours = {one for one, guild_id in self._announced.items() if shard_of(guild_id) == shard_id}
        self._announced = {one: guild_id for one, guild_id in self._announced.items() if one not in ours}
        self._hidden -= ours
        self._left -= ours

    def knows(self, channel_id: int) -> bool:
        return channel_id in self._announced

    def forget(self, channel_id: int) -> None:
        """It was deleted."""
        self._announced.pop(channel_id, None)

    def announce_guild(self, guild: discord.Guild) -> None:
        """The guild and all its channels as they stand in the cache."""
        if guild.unavailable or self._client.get_guild(guild.id) is None:
            return  # an outage, of which nothing we know is wrong; or the bot was thrown out meanwhile
        self._client.journal.record(GuildSeen(guild.id, guild.name))
        self.announce(*guild_channels(guild))

    def announce(self, *channels: AnyChannel) -> None:
        """These channels; those that the bot may read again when REST has told their newest messages."""
        self._announced.update((channel.id, channel.guild.id) for channel in channels)
        rows = [self._row(channel) for channel in channels]
        regained = {row.id for row in rows if row.readable and row.id in self._hidden}
        self._hidden.update(row.id for row in rows if not row.readable)
        self._client.journal.record(ChannelsSeen([row for row in rows if row.id not in regained]))
        for guild in {channel.guild for channel in channels if channel.id in regained}:
            self._regain(guild)

    def _row(self, channel: AnyChannel) -> ChannelRow:
        row = self._client.scope.row(channel)
        return replace(row, readable=False) if channel.id in self._left else row

    def _regain(self, guild: discord.Guild) -> None:
        if guild.id not in self._regaining:
            self._regaining[guild.id] = asyncio.create_task(self._state_regained(guild))

    async def _state_regained(self, guild: discord.Guild) -> None:
        regained = {channel.id for channel in guild_channels(guild) if can_read(channel)} - self._left
        try:
            if not await refresh_last_ids(guild):
                return
        finally:
            del self._regaining[guild.id]
        self._hidden -= regained
        self._restate(guild)

    def state_guild(self, guild: discord.Guild) -> None:
        """A guild that Discord has just shown whole, so that the cache is as new as can be."""
        self._hidden -= {channel.id for channel in guild_channels(guild)}
        self._restate(guild)

    def _restate(self, guild: discord.Guild) -> None:
        self.announce_guild(guild)
        if self._client.backfill:
            self._client.backfill.resync(guild.shard_id)

    def leave(self, thread: discord.Thread) -> None:
        """The bot was taken out of a thread, which matters if it is private; or the channel of it is hidden now."""
        if thread.is_private() and not thread.permissions_for(thread.guild.me).manage_threads:
            self._left.add(thread.id)

    def join(self, thread: discord.Thread) -> None:
        self._left.discard(thread.id)

    def meet(self, channel: object, channel_id: int, guild: discord.Guild) -> None:
        """A message came from a channel that was not announced: perhaps its creation was lost, then REST knows it."""
        backfill = self._client.backfill
        if isinstance(channel, AnyChannel):
            self.announce(channel)
        if backfill is None:
            return
        if isinstance(channel, AnyChannel):
            backfill.wake()
            return
        self._announced[channel_id] = guild.id
        task = asyncio.create_task(backfill.roster.meet(channel_id, guild.shard_id))
        self._meetings.add(task)
        task.add_done_callback(self._meetings.discard)
