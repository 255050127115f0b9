"""The gateway connection: every event that changes what the server holds, recorded in the order it came."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import sys
import time
from collections.abc import Collection, Iterable
from typing import Any

import discord
from discord.ext import commands

from ragd.bot.announcer import Announcer
from ragd.bot.backfill import Backfill
from ragd.bot.details import emoji_key
from ragd.bot.discord_clock import DiscordClock
from ragd.bot.doubts import Doubts
from ragd.bot.identify import Budget, IdentifyPacer
from ragd.bot.journal import Journal
from ragd.bot.normalise import AnyChannel, MessageChannel, can_send, message_row
from ragd.bot.requests import Requests
from ragd.bot.scope import CaptureScope
from ragd.bot.sessions import Sessions, Shards
from ragd.bot.tree import ScopedTree
from ragd.heartbeat import Counter
from ragd.store.events import (
    AccessChanged,
    ChannelGone,
    Deleted,
    Edited,
    GuildGone,
    GuildSilent,
    GuildsListed,
    LoggedIn,
    Posted,
    Reacted,
    ScopeSet,
)

_log = logging.getLogger(__name__)

ReactionPayload = discord.RawReactionActionEvent | discord.RawReactionClearEvent | discord.RawReactionClearEmojiEvent

_RESUMABLE_CODE = 4000
"""Closes a connection and keeps the session: Discord replays what it still has. discord.py sends no other."""


def capture_intents() -> discord.Intents:
    """What capture needs to see; MESSAGE CONTENT is privileged and must be granted in the developer portal."""
    intents = discord.Intents.none()
    intents.guilds = True
    intents.guild_messages = True
    intents.guild_reactions = True
    intents.message_content = True
    return intents


class CaptureClient(commands.Bot):
    """Records; decides nothing. Handlers put events into the journal before they wait for anything."""

    def __init__(
        self,
        command_prefix: str,
        journal: Journal,
        scope: CaptureScope,
        held: Shards = Shards(),  # noqa: B008 - frozen
    ) -> None:
        self.requests = Requests(held.instances)
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
            http_trace=self.requests.trace(),
            **held.options(),
        )
        self.http.request = self.requests.gate(self.http.request)  # type: ignore[method-assign]
        self.journal = journal
        self.scope = scope
        self.clock = DiscordClock()
        self.backfill: Backfill | None = None
        self.held = held
        self.sessions = Sessions(held.ids)
        self.pacer = IdentifyPacer(self._fetch_budget, held.instances)
        self.recommended_shards = 0
        """What Discord said last; 0 before it was asked."""
        self._announcer = Announcer(self)
        self._last_event = time.monotonic()
        self._doubts = Doubts(self)
        self._doubts.guard(self._connection.parsers)

    async def on_error(self, event_method: str, /, *_: object, **__: object) -> None:
        self._doubts.note(event_method, sys.exception())

    # Sessions: of the one shard, or of each (see ragd/bot/sharding.py)

    async def on_connect(self) -> None:
        self.begin_session(self.held.ids[0])

    async def on_ready(self) -> None:
        self.state_shard(self.held.ids[0])

    async def on_resumed(self) -> None:
        self.resume_session(self.held.ids[0])

    async def on_disconnect(self) -> None:
        self.lose_session(self.held.ids[0])

    def begin_session(self, shard_id: int) -> None:
        """READY: a new session, so whatever came between the last one and this one was missed."""
        if self.user is not None:
            self.journal.record(LoggedIn(self.user.id))
        self.journal.record(self.held.broken(shard_id))
        self._announcer.begin_session(shard_id)
        self.sessions.begin(shard_id)
        if self.backfill:
            self.backfill.session_lost(shard_id)

    def state_shard(self, shard_id: int) -> None:
        """Tell the store where every channel of the shard stands, and have the holes that shows filled."""
        guilds = [guild for guild in self.guilds if guild.shard_id == shard_id]
        _log.info("connected to Discord: %d guilds%s", len(guilds), self._of_shard(shard_id))
        lists = self.scope.lists
        self.journal.record(ScopeSet(sorted(lists.allow), sorted(lists.deny)))
        self.journal.record(GuildsListed([guild.id for guild in guilds], [shard_id], self.held.count))
        for guild in guilds:
            self._announcer.announce_guild(guild)
        if self.backfill:
            self.backfill.resync(shard_id)

    def resume_session(self, shard_id: int) -> None:
        """Discord replayed what was missed: the session goes on unbroken."""
        self.sessions.resume(shard_id)
        _log.info("session resumed%s", self._of_shard(shard_id))

    def lose_session(self, shard_id: int) -> None:
        if self.sessions.lose(shard_id):
            _log.info("disconnected from Discord%s", self._of_shard(shard_id))

    def _of_shard(self, shard_id: int) -> str:
        return f" (shard {shard_id} of {self.held.count})" if self.held.count > 1 else ""

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        if not initial:
            # as Discord asks for after an invalid session; discord.py's own hook waits for 5 s
            await asyncio.sleep(random.uniform(1, 5))  # noqa: S311 - jitter
        await self.pacer.wait(shard_id or 0)

    async def _fetch_budget(self) -> Budget:
        shards, _, limit = await self.http.get_bot_gateway()
        if shards > max(self.held.count, self.recommended_shards):
            _log.warning(
                "Discord recommends %d shards for this bot, RAGD_SHARD_COUNT is %d: it refuses a shard of more than"
                " 2,500 servers",
                shards,
                self.held.count,
            )
        self.recommended_shards = shards
        return Budget(limit["total"], limit["remaining"], limit["reset_after"] / 1000, limit["max_concurrency"])

    def announce_everything(self) -> None:
        """Tell the store where every channel stands, and have the holes that shows filled."""
        if not self.is_ready():
            return  # there is no list of guilds yet; on_ready comes
        for shard_id in self.held.ids:
            self.state_shard(shard_id)

    def hear_again(self, channels: Collection[MessageChannel]) -> None:
        """Own up to messages that the gateway did not bring: `channels` as REST shows them, newest ids included."""
        shards = sorted({channel.guild.shard_id for channel in channels})
        for shard_id in shards:
            self.journal.record(self.held.broken(shard_id))
        for channel in channels:
            known = channel.guild.get_channel_or_thread(channel.id)
            if isinstance(known, MessageChannel):
                known.last_message_id = channel.last_message_id
            else:
                self._announcer.announce(channel)
        for shard_id in shards:
            self.state_shard(shard_id)

    async def reconnect(self, shard_ids: Iterable[int]) -> None:
        """Close connections so that each session is resumed by another."""
        for shard_id in shard_ids:
            if (socket := self._socket(shard_id)) is not None:
                await socket.close(_RESUMABLE_CODE)

    def _socket(self, shard_id: int) -> Any | None:
        try:
            return self._get_websocket(shard_id=shard_id)
        except KeyError:  # not launched yet
            return None

    # Guilds and channels

    async def on_guild_join(self, guild: discord.Guild) -> None:
        self._state_guild(guild)

    async def on_guild_available(self, guild: discord.Guild) -> None:
        """An outage is over. What came meanwhile is a hole of this guild's (see on_guild_unavailable)."""
        self._state_guild(guild)

    def _state_guild(self, guild: discord.Guild) -> None:
        if self.is_ready():  # else on_ready does
            _log.info("guild %d is there", guild.id)
            self._announcer.state_guild(guild)

    async def on_guild_unavailable(self, guild: discord.Guild) -> None:
        """An outage at Discord: no removal, but events of that time are lost."""
        _log.warning("guild %d is unavailable", guild.id)
        self.journal.record(GuildSilent(guild.id))
        if self.backfill:
            self.backfill.resync(guild.shard_id)  # a listing that is under way proves nothing any more

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Kicked, left, or the guild was deleted."""
        _log.warning("the bot is no longer in guild %d", guild.id)
        self.journal.record(GuildGone(guild.id))
        if self.backfill:
            self.backfill.resync(guild.shard_id)  # what is being read of it proves nothing any more

    async def on_guild_channel_create(self, channel: discord.abc.GuildChannel) -> None:
        self._announce_any(channel)

    async def on_guild_channel_update(self, old: discord.abc.GuildChannel, channel: discord.abc.GuildChannel) -> None:
        if old.overwrites != channel.overwrites:
            self.journal.record(AccessChanged(channel.guild.id, channel.id))
        self._announcer.announce_guild(channel.guild)  # a category's permissions reach all its channels
        self._wake_backfill()

    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        self._announcer.forget(channel.id)
        self.journal.record(ChannelGone(channel.id))

    async def on_guild_role_update(self, old: discord.Role, role: discord.Role) -> None:
        if old.permissions != role.permissions:
            self.journal.record(AccessChanged(role.guild.id))
        self._announcer.announce_guild(role.guild)
        self._wake_backfill()

    async def on_guild_role_delete(self, role: discord.Role) -> None:
        self._announcer.announce_guild(role.guild)
        self._wake_backfill()

    async def on_member_update(self, _: discord.Member, member: discord.Member) -> None:
        if member == member.guild.me:
            self.journal.record(AccessChanged(member.guild.id))
            self._announcer.announce_guild(member.guild)
            self._wake_backfill()

    async def on_thread_create(self, thread: discord.Thread) -> None:
        self._announce_any(thread)

    async def on_thread_join(self, thread: discord.Thread) -> None:
        self._announcer.join(thread)
        self._announce_any(thread)

    async def on_thread_remove(self, thread: discord.Thread) -> None:
        self._announcer.leave(thread)
        self._announce_any(thread)

    async def on_thread_update(self, _: discord.Thread, thread: discord.Thread) -> None:
        self._announce_any(thread)

    async def on_raw_thread_delete(self, payload: discord.RawThreadDeleteEvent) -> None:
        self._announcer.forget(payload.thread_id)
        self.journal.record(ChannelGone(payload.thread_id))

    def _announce_any(self, channel: object) -> None:
        if isinstance(channel, AnyChannel):
            self._announcer.announce(channel)
            self._wake_backfill()

    def _wake_backfill(self) -> None:
        if self.backfill:
            self.backfill.wake()

    # Messages

    async def on_message(self, message: discord.Message) -> None:
        if message.guild is None:
            return
        self._last_event = time.monotonic()
        self.clock.hear(message.id)
        if not self._announcer.knows(message.channel.id) and self.is_ready():
            self._announcer.meet(message.channel, message.channel.id, message.guild)
        if self.scope.excludes(message.channel):
            return
        self.journal.record(Posted(message_row(message, message.guild.id)))
        if message.content.startswith(str(self.command_prefix)) and can_send(message.channel):
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

    # Reactions

    async def on_raw_reaction_add(self, payload: discord.RawReactionActionEvent) -> None:
        self._react(payload, payload.emoji, 1)

    async def on_raw_reaction_remove(self, payload: discord.RawReactionActionEvent) -> None:
        self._react(payload, payload.emoji, -1)

    async def on_raw_reaction_clear_emoji(self, payload: discord.RawReactionClearEmojiEvent) -> None:
        self._react(payload, payload.emoji, 0)

    async def on_raw_reaction_clear(self, payload: discord.RawReactionClearEvent) -> None:
        self._react(payload, None, 0)

    def _react(self, payload: ReactionPayload, emoji: discord.PartialEmoji | None, by: int) -> None:
        if payload.guild_id is not None:
            self.journal.record(Reacted(payload.message_id, emoji_key(emoji) if emoji else None, by))

    # Health

    def gateway_counters(self) -> dict[str, Counter]:
        """What the heartbeat tells of the connection, with several shards of the worst of them; ages in seconds."""
        away = self.sessions.away
        overdue = None if away else round(max(self.overdue_seconds().values(), default=0.0), 1)
        return {
            "connected": not away,
            "shards": len(self.held.ids),
            "shards_away": len(away),
            "sessions": self.sessions.begun,
            "resumes": self.sessions.resumed,
            "session_age_seconds": None if away else round(self.sessions.age_seconds, 1),
            "latency_seconds": round(self.latency, 3) if not away and math.isfinite(self.latency) else None,
            "last_event_age_seconds": round(time.monotonic() - self._last_event, 1),
            "gateway_ack_age_seconds": overdue,
            **self.requests.counters(),
        }

    def overdue_seconds(self) -> dict[int, float]:
        """How overdue Discord's next acknowledgement of a heartbeat is, by shard that has a session; 0 if it is not.

        discord.py keeps the time in a private attribute and offers no other way to see that acknowledgements stopped
        while events go on (`latency` keeps its last good value).
        """
        return {shard_id: _overdue(self._socket(shard_id)) for shard_id in self.held.ids if self.sessions.has(shard_id)}


def _overdue(socket: Any | None) -> float:
    keep_alive = getattr(socket, "_keep_alive", None)
    if keep_alive is None:
        return 0.0
    return max(0.0, time.perf_counter() - float(keep_alive._last_ack) - float(keep_alive.interval or 0))


async def close_quietly(client: discord.Client, seconds: float) -> None:
    """Close the connection, but do not let a dead one delay the stop."""
    try:
        await asyncio.wait_for(client.close(), seconds)
    except TimeoutError:
        _log.warning("the gateway did not close within %.0f s", seconds)
