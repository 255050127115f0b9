"""The gateway connection: every event that changes what the server holds, recorded in the order it came."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterable
from dataclasses import replace

import discord
from discord.ext import commands

from ragd.bot.backfill import Backfill
from ragd.bot.discord_clock import DiscordClock
from ragd.bot.journal import Journal
from ragd.bot.normalise import AnyChannel, MessageChannel, can_read, guild_channels, message_row
from ragd.bot.regain import refresh_last_ids
from ragd.bot.scope import CaptureScope
from ragd.bot.tree import ScopedTree
from ragd.heartbeat import Counter
from ragd.store.events import (
    ChannelGone,
    ChannelRow,
    ChannelsSeen,
    Deleted,
    Edited,
    GuildGone,
    GuildSeen,
    GuildSilent,
    GuildsListed,
    Posted,
    ScopeSet,
    SessionBroken,
)

_log = logging.getLogger(__name__)


IDENTIFIES_KEPT = 10
"""IDENTIFYs of a day that are not touched: for a person who has mended what used up the others."""

IDENTIFY_WAIT_SECONDS = 50.0
"""discord.py gives a connection 60 s to come up."""


def capture_intents() -> discord.Intents:
    """What capture needs to see; MESSAGE CONTENT is privileged and must be granted in the developer portal."""
    intents = discord.Intents.none()
    intents.guilds = True
    intents.guild_messages = True
    intents.message_content = True
    return intents


class CaptureClient(commands.Bot):
    """Records; decides nothing. Handlers put events into the journal before they wait for anything."""

    def __init__(self, command_prefix: str, journal: Journal, scope: CaptureScope) -> None:
        super().__init__(
            command_prefix,
            tree_cls=ScopedTree,
            intents=capture_intents(),
            help_command=None,
            max_messages=None,
            allowed_mentions=discord.AllowedMentions.none(),
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            # who may read what is a matter of servers: no command can be used outside of one
            allowed_contexts=discord.app_commands.AppCommandContext(guild=True),
            allowed_installs=discord.app_commands.AppInstallationType(guild=True),
        )
        self.journal = journal
        self.scope = scope
        self.clock = DiscordClock()
        self.backfill: Backfill | None = None
        self._announced: set[int] = set()
        self._hidden: set[int] = set()
        """Announced as unreadable: what the cache says of their newest messages may be out of date."""
        self._left: set[int] = set()
        """Private threads that the bot was taken out of; the cache keeps them."""
        self._regaining: dict[int, asyncio.Task[None]] = {}
        self._meetings: set[asyncio.Task[None]] = set()
        self._last_event = time.monotonic()
        self._connected = False
        self._disconnected_at = self._session_began = time.monotonic()
        self.sessions = 0
        self.resumes = 0
        self.identify_blocked_seconds = 0.0
        """Until Discord grants IDENTIFYs again, as of the last attempt; 0 while there are some."""

    # Sessions

    async def on_connect(self) -> None:
        """READY: a new session, so whatever came between the last one and this one was missed."""
        self.journal.record(SessionBroken())
        self._announced.clear()
        self._hidden.clear()
        self._left.clear()
        self._connected = True
        self._session_began = time.monotonic()
        self.sessions += 1
        if self.backfill:
            self.backfill.session_lost()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Discord allows about 1,000 IDENTIFYs a day and resets the token of a bot that wants more: keep some back."""
        await super().before_identify_hook(shard_id, initial=initial)
        _, _, limit = await self.http.get_bot_gateway()
        if limit["remaining"] > IDENTIFIES_KEPT:
            self.identify_blocked_seconds = 0.0
            return
        self.identify_blocked_seconds = limit["reset_after"] / 1000
        _log.error(
            "only %d of %d IDENTIFYs are left, not connecting for up to %.0f s",
            limit["remaining"],
            limit["total"],
            self.identify_blocked_seconds,
        )
        await asyncio.sleep(min(self.identify_blocked_seconds, IDENTIFY_WAIT_SECONDS))
        raise TimeoutError("the IDENTIFY budget is used up")  # discord.py comes back after its pause and asks again

    async def on_ready(self) -> None:
        _log.info("connected to Discord: %d guilds", len(self.guilds))
        self.announce_everything()

    def announce_everything(self) -> None:
        """Tell the store where every channel stands, and have the holes that shows filled."""
        if not self.is_ready():
            return  # there is no list of guilds yet; on_ready comes
        lists = self.scope.lists
        self.journal.record(ScopeSet(sorted(lists.allow), sorted(lists.deny)))
        self.journal.record(GuildsListed([guild.id for guild in self.guilds], *_shards(self)))
        for guild in self.guilds:
            self._announce_guild(guild)
        if self.backfill:
            self.backfill.resync()

    def hear_again(self, channels: Iterable[MessageChannel]) -> None:
        """Own up to messages that the gateway did not bring: `channels` as REST shows them, newest ids included."""
        self.journal.record(SessionBroken())
        for channel in channels:
            known = channel.guild.get_channel_or_thread(channel.id)
            if isinstance(known, MessageChannel):
                known.last_message_id = channel.last_message_id
            else:
                self._announce(channel)
        self.announce_everything()

    async def on_resumed(self) -> None:
        """Discord replayed what was missed: the session goes on unbroken."""
        self._connected = True
        self.resumes += 1
        _log.info("session resumed")

    async def on_disconnect(self) -> None:
        if self._connected:
            _log.info("disconnected from Discord")
            self._disconnected_at = time.monotonic()
        self._connected = False

    # Guilds and channels

    def _announce_guild(self, guild: discord.Guild) -> None:
        if guild.unavailable or self.get_guild(guild.id) is None:
            return  # an outage, of which nothing we know is wrong; or the bot was thrown out meanwhile
        self.journal.record(GuildSeen(guild.id, guild.name))
        self._announce(*guild_channels(guild))

    def _announce(self, *channels: AnyChannel) -> None:
        self._announced.update(channel.id for channel in channels)
        rows = [self._row(channel) for channel in channels]
        regained = {row.id for row in rows if row.readable and row.id in self._hidden}
        self._hidden.update(row.id for row in rows if not row.readable)
        self.journal.record(ChannelsSeen([row for row in rows if row.id not in regained]))
        for guild in {channel.guild for channel in channels if channel.id in regained}:
            self._regain(guild)

    def _row(self, channel: AnyChannel) -> ChannelRow:
        row = self.scope.row(channel)
        return replace(row, readable=False) if channel.id in self._left else row

    def _regain(self, guild: discord.Guild) -> None:
        if guild.id not in self._regaining:
            self._regaining[guild.id] = asyncio.create_task(self._state_regained(guild))

    async def _state_regained(self, guild: discord.Guild) -> None:
        """Announce channels that the bot may read again, once REST has told their newest messages."""
        regained = {channel.id for channel in guild_channels(guild) if can_read(channel)} - self._left
        try:
            if not await refresh_last_ids(guild):
                return
        finally:
            del self._regaining[guild.id]
        self._hidden -= regained
        self._announce_guild(guild)
        if self.backfill:
            self.backfill.resync()

    async def on_guild_join(self, guild: discord.Guild) -> None:
        self._state_guild(guild)

    async def on_guild_available(self, guild: discord.Guild) -> None:
        """An outage is over. What came meanwhile is a hole of this guild's (see on_guild_unavailable)."""
        self._state_guild(guild)

    def _state_guild(self, guild: discord.Guild) -> None:
        if not self.is_ready():
            return  # on_ready does
        _log.info("guild %d is there", guild.id)
        self._hidden -= {channel.id for channel in guild_channels(guild)}  # the cache is as new as can be
        self._announce_guild(guild)
        if self.backfill:
            self.backfill.resync()

    async def on_guild_unavailable(self, guild: discord.Guild) -> None:
        """An outage at Discord: no removal, but events of that time are lost."""
        _log.warning("guild %d is unavailable", guild.id)
        self.journal.record(GuildSilent(guild.id))
        if self.backfill:
            self.backfill.resync()  # a listing that is under way proves nothing any more

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Kicked, left, or the guild was deleted."""
        _log.warning("the bot is no longer in guild %d", guild.id)
        self.journal.record(GuildGone(guild.id))
        if self.backfill:
            self.backfill.resync()  # what is being read of it proves nothing any more

    async def on_guild_channel_create(self, channel: discord.abc.GuildChannel) -> None:
        self._announce_any(channel)

    async def on_guild_channel_update(self, _: discord.abc.GuildChannel, channel: discord.abc.GuildChannel) -> None:
        self._announce_guild(channel.guild)  # a category's permissions reach all its channels
        self._wake_backfill()

    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        self.journal.record(ChannelGone(channel.id))

    async def on_guild_role_update(self, _: discord.Role, role: discord.Role) -> None:
        self._announce_guild(role.guild)
        self._wake_backfill()

    async def on_guild_role_delete(self, role: discord.Role) -> None:
        self._announce_guild(role.guild)
        self._wake_backfill()

    async def on_member_update(self, _: discord.Member, member: discord.Member) -> None:
        if member == member.guild.me:
            self._announce_guild(member.guild)
            self._wake_backfill()

    async def on_thread_create(self, thread: discord.Thread) -> None:
        self._announce_any(thread)

    async def on_thread_join(self, thread: discord.Thread) -> None:
        self._left.discard(thread.id)
        self._announce_any(thread)

    async def on_thread_remove(self, thread: discord.Thread) -> None:
        """Taken out of a thread, which matters if it is private; or the channel of it is hidden now."""
        if thread.is_private() and not thread.permissions_for(thread.guild.me).manage_threads:
            self._left.add(thread.id)
        self._announce_any(thread)

    async def on_thread_update(self, _: discord.Thread, thread: discord.Thread) -> None:
        self._announce_any(thread)

    async def on_raw_thread_delete(self, payload: discord.RawThreadDeleteEvent) -> None:
        self.journal.record(ChannelGone(payload.thread_id))

    def _announce_any(self, channel: object) -> None:
        if isinstance(channel, AnyChannel):
            self._announce(channel)
            self._wake_backfill()

    def _meet(self, channel: discord.abc.Messageable, channel_id: int) -> None:
        """A message came from a channel that was not announced: perhaps its creation was lost, then REST knows it."""
        if isinstance(channel, AnyChannel) or not self.backfill:
            self._announce_any(channel)
            return
        self._announced.add(channel_id)
        task = asyncio.create_task(self.backfill.roster.meet(channel_id))
        self._meetings.add(task)
        task.add_done_callback(self._meetings.discard)

    def _wake_backfill(self) -> None:
        if self.backfill:
            self.backfill.wake()

    # Messages

    async def on_message(self, message: discord.Message) -> None:
        if message.guild is None:
            return
        self._last_event = time.monotonic()
        self.clock.hear(message.id)
        if message.channel.id not in self._announced and self.is_ready():
            self._meet(message.channel, message.channel.id)
        if self.scope.excludes(message.channel):
            return
        self.journal.record(Posted(message_row(message, message.guild.id)))
        await self.process_commands(message)

    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        if payload.guild_id is not None:
            self._last_event = time.monotonic()
            if self.scope.excludes(payload.message.channel):
                return
            self.journal.record(Edited(message_row(payload.message, payload.guild_id)))

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        if payload.guild_id is not None:
            self.journal.record(Deleted(payload.guild_id, payload.channel_id, [payload.message_id]))

    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        if payload.guild_id is not None:
            self.journal.record(Deleted(payload.guild_id, payload.channel_id, sorted(payload.message_ids)))

    # Health

    @property
    def disconnected_seconds(self) -> float:
        """How long there has been no session; 0 while there is one."""
        return 0.0 if self._connected else time.monotonic() - self._disconnected_at

    def gateway_counters(self) -> dict[str, Counter]:
        """What the heartbeat tells of the connection; ages in seconds."""
        return {
            "connected": self._connected,
            "sessions": self.sessions,
            "resumes": self.resumes,
            "session_age_seconds": round(time.monotonic() - self._session_began, 1) if self._connected else None,
            "latency_seconds": round(self.latency, 3) if self._connected and math.isfinite(self.latency) else None,
            "last_event_age_seconds": round(time.monotonic() - self._last_event, 1),
            "gateway_ack_age_seconds": self._ack_age(),
        }

    def _ack_age(self) -> float | None:
        return round(self.ack_overdue_seconds, 1) if self._connected else None

    @property
    def ack_overdue_seconds(self) -> float:
        """How overdue Discord's next acknowledgement of a heartbeat is; 0 if it is not, or nothing is connected.

        discord.py keeps the time in a private attribute and offers no other way to see that acknowledgements stopped
        while events go on (`latency` keeps its last good value).
        """
        keep_alive = getattr(self.ws, "_keep_alive", None) if self._connected else None
        if keep_alive is None:
            return 0.0
        overdue = time.perf_counter() - float(keep_alive._last_ack) - float(keep_alive.interval or 0)
        return max(0.0, overdue)


def _shards(client: discord.Client) -> tuple[list[int], int]:
    """Which of how many shards this connection has."""
    count = client.shard_count or 1
    ids = getattr(client, "shard_ids", None)
    if ids is None:
        ids = range(count) if client.shard_id is None else [client.shard_id]
    return list(ids), count


async def close_quietly(client: discord.Client, seconds: float) -> None:
    """Close the connection, but do not let a dead one delay the stop."""
    try:
        await asyncio.wait_for(client.close(), seconds)
    except TimeoutError:
        _log.warning("the gateway did not close within %.0f s", seconds)
