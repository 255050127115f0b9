"""Fills holes over REST: newest first, fair over channels, resumable at any page."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Protocol, TypeVar

import aiohttp
import discord
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from ragd.bot.journal import Journal
from ragd.bot.normalise import AnyChannel, MessageChannel, can_read, channel_row, message_row
from ragd.bot.scope import CaptureScope
from ragd.bot.threads import Roster
from ragd.errors import ConfigError
from ragd.store import Store
from ragd.store.coverage import FIRST_ID, Hole
from ragd.store.events import ChannelGone, ChannelRow, ChannelsSeen, PageRead

if TYPE_CHECKING:
    from ragd.bot.client import CaptureClient

_log = logging.getLogger(__name__)

Result = TypeVar("Result")


class InStore(Protocol):
    """Does something short in the thread that holds the store."""

    def __call__(self, work: Callable[[Store], Result]) -> Awaitable[Result]: ...


PAGE = 100
"""Messages a page: the most Discord gives."""

CHANNELS_AT_ONCE = 8
"""Pages asked for at a time. discord.py keeps to the rate limits; more would only queue up in front of them."""

RETRY_PAUSE_SECONDS = 15.0
"""Before holes are tried again that a whole round could not make smaller."""


class Backfill:
    """Reads what the gateway did not bring. One round reads one page of each channel that has a hole."""

    def __init__(
        self,
        client: CaptureClient,
        journal: Journal,
        scope: CaptureScope,
        in_store: InStore,
        reconcile_hours: float,
    ) -> None:
        self._client = client
        self._journal = journal
        self._scope = scope
        self._in_store = in_store
        self.roster = Roster(client, journal, scope, in_store, self)
        self._reconcile_seconds = reconcile_hours * 3600
        self._wake = asyncio.Event()
        self._resync_wanted = False
        self.session = 0
        """Changes when what is being read over REST no longer joins on to what comes live."""
        self.busy = False
        """Whether holes are being filled, or everything looked through after a break."""
        self._threads: dict[int, discord.Thread] = {}
        self.holes = 0
        """Holes at the last count."""
        self.resyncs = 0
        """How often everything was stated, filled and re-read since the process started."""

    def wake(self) -> None:
        """Look for holes now."""
        self._wake.set()

    def resync(self) -> None:
        """A new session: list archived threads, fill holes, then re-read recent history for offline edits."""
        self.session += 1
        self._resync_wanted = True
        self._wake.set()

    def session_lost(self) -> None:
        """What is being read over REST no longer joins on to what comes live."""
        self.session += 1

    async def run(self) -> None:
        """Work until cancelled. Errors of single channels are logged; a refused token is raised."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self.busy = True
            await self._journal.commit()  # what woke us may still be queued, and the store would not show its hole
            resync, self._resync_wanted = self._resync_wanted, False
            if resync:
                await self._list_threads()
            await self._fill_all()
            if resync and not self._resync_wanted:
                await self._reconcile()
                self.resyncs += 1
            self.busy = self._wake.is_set()

    # Holes

    async def _fill_all(self) -> None:
        """Read pages until no hole is left but those of channels that could not be read this time."""
        started, pages = time.monotonic(), 0
        failed: set[int] = set()
        while holes := await self._in_store(lambda store: store.coverage.holes()):
            self.holes = len(holes)
            # an outage is over when the guild is stated anew, which wakes us
            reachable = [hole for hole in holes if self._is_available(hole.guild_id)]
            round_ = _newest_of_each(hole for hole in reachable if hole.channel_id not in failed)
            if not reachable:
                break
            if not round_:
                _log.warning("%d holes cannot be filled now, trying again later", len(holes))
                asyncio.get_running_loop().call_later(RETRY_PAUSE_SECONDS, self._wake.set)
                break
            read = await self._gather(self._fill_page(hole) for hole in round_)
            failed |= {hole.channel_id for hole, ok in zip(round_, read, strict=True) if not ok}
            pages += sum(read)
        else:
            self.holes = 0
        if pages:
            _log.info("%d pages of messages read in %.1f s", pages, time.monotonic() - started)

    def _is_available(self, guild_id: int) -> bool:
        """Whether Discord serves the guild now: during an outage a 404 says nothing about what there is."""
        guild = self._client.get_guild(guild_id)
        return guild is not None and not guild.unavailable

    async def _gather(self, jobs: Iterable[Awaitable[bool]]) -> list[bool]:
        slots = asyncio.Semaphore(CHANNELS_AT_ONCE)

        async def limited(job: Awaitable[bool]) -> bool:
            async with slots:
                return await job

        return await asyncio.gather(*(limited(job) for job in jobs))

    async def _fill_page(self, hole: Hole) -> bool:
        channel = await self._channel(hole.channel_id)
        if channel is None:
            return False
        page = await self._read_page(channel, hole.end_id, hole.start_id)
        return page is not None

    async def _channel(self, channel_id: int) -> MessageChannel | None:
        """The channel from the cache or, for an archived thread, over REST; None if it cannot be had."""
        cached = self._client.get_channel(channel_id) or self._threads.get(channel_id)
        if isinstance(cached, MessageChannel):
            return cached
        fetched = await self.fetch(channel_id)
        return fetched if isinstance(fetched, MessageChannel) else None

    async def fetch(self, channel_id: int) -> AnyChannel | None:
        """The channel as Discord has it now; None if it cannot be had. That it is gone is recorded."""
        try:
            fetched = await self._client.fetch_channel(channel_id)
        except discord.NotFound:
            await self._record_gone(channel_id)
            return None
        except (discord.HTTPException, discord.InvalidData, aiohttp.ClientError, TimeoutError) as error:
            _log.warning("channel %d cannot be had: %s", channel_id, error)
            return None
        if isinstance(fetched, discord.Thread):
            self._threads[channel_id] = fetched
        return fetched if isinstance(fetched, AnyChannel) else None

    async def _record_gone(self, channel_id: int) -> None:
        """Discord says that there is no such channel; during an outage that may mean no more than the outage."""
        if any(guild.unavailable for guild in self._client.guilds):
            _log.warning("channel %d is not there during an outage: asking again later", channel_id)
            return
        await self._journal.commit(ChannelGone(channel_id))

    def keep(self, threads: Iterable[discord.Thread]) -> None:
        """Remember archived threads, which discord.py does not."""
        self._threads.update((thread.id, thread) for thread in threads)

    async def read_again(self, channel_id: int, end_id: int, start_id: int) -> PageRead | None:
        """Read and commit the newest page of a stretch of a channel; None when it could not be read."""
        channel = await self._channel(channel_id)
        if channel is None or not self._is_available(channel.guild.id):
            return None
        return await self._read_page(channel, end_id, start_id)

    async def _read_page(self, channel: MessageChannel, end_id: int, start_id: int) -> PageRead | None:
        """Read and commit the newest page of start_id..end_id; None when it could not be read."""
        if not can_read(channel):
            await self._unreadable(channel)
            return None
        try:
            messages = await _history(channel, end_id)
        except discord.Forbidden:
            await self._unreadable(channel)
            return None
        except discord.NotFound:
            await self._record_gone(channel.id)
            return None
        except (discord.HTTPException, aiohttp.ClientError, TimeoutError) as error:
            _refuse_401(error)
            _log.warning("a page of channel %d cannot be read: %s", channel.id, error)
            return None
        if not messages and not can_read(channel):  # the permission went while we asked
            await self._unreadable(channel)
            return None
        return await self._commit_page(channel, messages, end_id, start_id)

    async def _commit_page(
        self, channel: MessageChannel, messages: list[discord.Message], end_id: int, start_id: int
    ) -> PageRead | None:
        if self._scope.excludes(channel):  # the lists changed while we asked
            return None
        oldest = min((message.id for message in messages), default=FIRST_ID) if len(messages) == PAGE else FIRST_ID
        start_id = max(start_id, oldest)
        rows = [message_row(message, channel.guild.id) for message in messages if message.id >= start_id]
        page = PageRead(channel.guild.id, channel.id, start_id, end_id, rows)
        await self._journal.commit(page)
        return page

    async def _unreadable(self, channel: MessageChannel) -> None:
        _log.info("channel %d is not readable for the bot", channel.id)
        row = channel_row(channel)
        await self._journal.commit(
            ChannelsSeen([ChannelRow(row.id, row.guild_id, row.parent_id, row.type, row.name, 0, readable=False)])
        )

    # What happened offline to messages we had

    async def _reconcile(self) -> None:
        """Re-read the last hours of every channel: what was edited or deleted while nobody listened shows there."""
        if not self._reconcile_seconds:
            return
        session, since = self.session, self._client.clock.ago(self._reconcile_seconds)
        channels = await self._in_store(lambda store: store.coverage.recent_channels(since))
        await self._gather(self._reconcile_channel(one, last_id, since, session) for one, last_id in channels)
        _log.info("recent history of %d channels read again", len(channels))

    async def _reconcile_channel(self, channel_id: int, end_id: int, since: int, session: int) -> bool:
        while end_id >= since and session == self.session:
            page = await self.read_again(channel_id, end_id, since)
            if page is None or page.start_id <= since:
                break
            end_id = page.start_id - 1
        return True

    # Archived threads

    async def _list_threads(self) -> None:
        """Make archived threads known, with their last messages, so that their holes show."""
        listed_at = await self._in_store(lambda store: store.threads_listed_at())
        parents = self.roster.parents()
        await self._gather(self.roster.catch_up(parent, listed_at.get(parent.id, 0)) for parent in parents)
        await self.roster.look_for_vanished()
        await self.roster.look_for_allowed()


def _newest_of_each(holes: Iterable[Hole]) -> list[Hole]:
    """The first hole of each channel; holes come newest first."""
    newest: dict[int, Hole] = {}
    for hole in holes:
        newest.setdefault(hole.channel_id, hole)
    return list(newest.values())


def _refuse_401(error: Exception) -> None:
    """A token that stopped to be valid is no error of a channel: every further request would count against us."""
    if isinstance(error, discord.HTTPException) and error.status == 401:
        raise ConfigError(
            "Discord refuses DISCORD_BOT_TOKEN", hint="copy the token anew from the developer portal, page Bot"
        )


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, discord.DiscordServerError | aiohttp.ClientError | TimeoutError)


async def _history(channel: MessageChannel, end_id: int) -> list[discord.Message]:
    """The newest page at or below end_id. Server errors are tried again a few times, with jitter."""
    before = discord.Object(end_id + 1)
    retrying = AsyncRetrying(
        retry=retry_if_exception(_is_transient),
        wait=wait_random_exponential(multiplier=0.5, max=10),
        stop=stop_after_attempt(4),
        reraise=True,
    )
    return await retrying(_one_page, channel, before)


async def _one_page(channel: MessageChannel, before: discord.Object) -> list[discord.Message]:
    return [message async for message in channel.history(limit=PAGE, before=before)]
