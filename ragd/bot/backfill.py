"""Fills holes over REST: newest first, fair over channels, resumable at any page."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
import discord
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from ragd.bot.hole_queue import RETRY_PAUSE_SECONDS, HoleQueue
from ragd.bot.journal import InStore, Journal
from ragd.bot.normalise import AnyChannel, MessageChannel, can_read, channel_row
from ragd.bot.reading import page_of, read_rows
from ragd.bot.refusals import verdict
from ragd.bot.scope import CaptureScope
from ragd.bot.threads import Roster
from ragd.store.coverage import Hole
from ragd.store.events import ChannelGone, ChannelsSeen, MessageRow, PageRead, Wanted

if TYPE_CHECKING:
    from ragd.bot.client import CaptureClient

_log = logging.getLogger(__name__)

CHANNELS_AT_ONCE = 8
"""Pages asked for at a time. discord.py keeps to the rate limits; more would only queue up in front of them."""

LOOK_SECONDS = 600.0
"""Between two looks for holes that nothing announces: those of channels that Discord refused until then."""

THREADS_KEPT = 10_000
"""Archived threads in memory; of others, whose holes are still to be read, each costs a request."""


class Backfill:
    """Reads what the gateway did not bring: a page of each channel that has a hole in turn (see HoleQueue)."""

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
        self._resync_wanted: set[int] = set()
        self._sessions: Counter[int] = Counter()
        """By shard, grows with each session that is lost or begins."""
        self._settled: dict[int, int] = {}
        """By shard, the session in which all was filled and read again."""
        self.busy = False
        """Whether holes are being filled, or everything looked through after a break."""
        self._threads: dict[int, discord.Thread] = {}
        self._pages = 0
        self.holes = 0
        """Holes that are left, as of the last count."""
        self.resyncs = 0
        """How often everything was stated, filled and re-read since the process started."""

    @property
    def at_rest(self) -> bool:
        """Whether all was filled and recent history read again since the session began or was broken."""
        return bool(self._sessions) and self._settled == self._sessions

    def wake(self) -> None:
        """Look for holes now."""
        self._wake.set()

    def resync(self, shard_id: int | None = None) -> None:
        """A new session of a shard, or of all: list archived threads, fill holes, then re-read recent history for
        offline edits."""
        shards = set(self._client.held.ids) if shard_id is None else {shard_id}
        self._sessions.update(shards)
        self._resync_wanted |= shards
        self._wake.set()

    def session_lost(self, shard_id: int) -> None:
        """What is being read over REST no longer joins on to what comes live."""
        self._sessions[shard_id] += 1

    def session_of(self, shard_id: int | None) -> int:
        """Changes when what is being read over REST of the shard's guilds, None for any shard, no longer joins on to
        what comes live."""
        return self._sessions.total() if shard_id is None else self._sessions[shard_id]

    async def run(self) -> None:
        """Work until cancelled. Errors of single channels are logged; a refused token is raised."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK_SECONDS)
            self._wake.clear()
            self.busy = True
            await self._journal.commit()
            resync, self._resync_wanted = self._resync_wanted, set()
            sessions = self._sessions.copy()
            if resync:
                await self._list_threads(resync)
            await self._fill_all()
            if unbroken := resync - self._resync_wanted:
                await self._reconcile(unbroken)
                self.resyncs += 1
                self._settled.update({shard: sessions[shard] for shard in unbroken})
            self.busy = self._wake.is_set()

    # Holes

    async def _fill_all(self) -> None:
        """Read pages until no hole is left but those of channels that could not be read this time.

        Ends early when a new session wants everything looked through: its threads come before old history.
        """
        started, self._pages = time.monotonic(), 0
        queue = HoleQueue()
        while not self._resync_wanted and (holes := await self._open_holes()):
            queue.restock(holes, time.monotonic())
            if not len(queue):
                _log.warning("%d holes cannot be filled now, trying again later", len(holes))
                break
            await asyncio.gather(*(self._drain(queue) for _ in range(CHANNELS_AT_ONCE)))
        if self._pages:
            _log.info("%d pages of messages read in %.1f s", self._pages, time.monotonic() - started)

    async def _open_holes(self) -> list[Hole]:
        """Those that can be read: an outage is over when the guild is stated anew, which wakes us."""
        self._wake.clear()
        await self._journal.commit()  # what woke us may still be queued, and the store would not show its hole
        holes = await self._in_store(lambda store: store.coverage.holes())
        self.holes = len(holes)
        return [hole for hole in holes if self._is_available(hole.guild_id)]

    async def _drain(self, queue: HoleQueue) -> None:
        """Read pages until the queue is empty, or something woke us: then there may be newer holes than these."""
        while not self._wake.is_set() and (hole := queue.take()):
            page = await self._fill_page(hole)
            if page is None:
                queue.block(hole.channel_id, time.monotonic())
                asyncio.get_running_loop().call_later(RETRY_PAUSE_SECONDS, self._wake.set)
                continue
            self._pages += 1
            self.holes -= queue.put_back(hole, page.start_id)

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

    async def _fill_page(self, hole: Hole) -> PageRead | None:
        channel = await self._channel(hole.channel_id)
        return None if channel is None else await self._read_page(channel, hole.end_id, hole.start_id)

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
        except discord.HTTPException as error:
            await self.judge(channel_id, "messages", error)
            return None
        except (discord.InvalidData, aiohttp.ClientError, TimeoutError) as error:
            _log.warning("channel %d cannot be had: %s", channel_id, error)
            return None
        if isinstance(fetched, discord.Thread):
            self.keep([fetched])
        return fetched if isinstance(fetched, AnyChannel) else None

    async def judge(self, channel_id: int, wanted: Wanted, error: discord.HTTPException) -> None:
        """Record what a refusal says about the channel. That there is none may, during an outage, mean no more than
        the outage."""
        event = verdict(channel_id, wanted, error)
        if isinstance(event, ChannelGone) and any(guild.unavailable for guild in self._client.guilds):
            _log.warning("channel %d is not there during an outage: asking again later", channel_id)
        elif event is not None:
            await self._journal.commit(event)

    def keep(self, threads: Iterable[discord.Thread]) -> None:
        """Remember archived threads, which discord.py does not."""
        self._threads.update((thread.id, thread) for thread in threads)
        for oldest in list(self._threads)[: max(0, len(self._threads) - THREADS_KEPT)]:
            del self._threads[oldest]

    async def read_again(self, channel_id: int, end_id: int, start_id: int) -> PageRead | None:
        """Read and commit the newest page of a stretch of a channel; None when it could not be read."""
        channel = await self._channel(channel_id)
        if channel is None or not self._is_available(channel.guild.id):
            return None
        return await self._read_page(channel, end_id, start_id)

    async def _read_page(self, channel: MessageChannel, end_id: int, start_id: int) -> PageRead | None:
        """Read and commit the newest page of start_id..end_id; None when it could not be read."""
        user = self._client.user
        if user is None or channel.guild.get_member(user.id) is None:  # a READY has just emptied the cache
            return None
        if not can_read(channel):
            await self._unreadable(channel)
            return None
        try:
            rows = await _history(channel, end_id)
        except discord.HTTPException as error:
            if error.status == 403 and not can_read(channel):  # the permission went while we asked
                await self._unreadable(channel)
            else:
                await self.judge(channel.id, "messages", error)
            return None
        except (aiohttp.ClientError, TimeoutError) as error:
            _log.warning("a page of channel %d cannot be read: %s", channel.id, error)
            return None
        if not rows and not can_read(channel):  # the permission went while we asked
            await self._unreadable(channel)
            return None
        return await self._commit_page(channel, rows, end_id, start_id)

    async def _commit_page(
        self, channel: MessageChannel, rows: list[MessageRow], end_id: int, start_id: int
    ) -> PageRead | None:
        if self._scope.excludes(channel):  # the lists changed while we asked
            return None
        page = page_of(channel.id, channel.guild.id, rows, (start_id, end_id))
        await self._journal.commit(page)
        return page

    async def _unreadable(self, channel: MessageChannel) -> None:
        _log.info("channel %d is not readable for the bot", channel.id)
        row = replace(channel_row(channel), last_message_id=0, readable=False, archived=False)
        await self._journal.commit(ChannelsSeen([row]))

    # What happened offline to messages we had

    async def _reconcile(self, shards: set[int]) -> None:
        """Re-read the last hours of every channel: what was edited or deleted while nobody listened shows there."""
        if not self._reconcile_seconds:
            return
        sessions, since = self._sessions.copy(), self._client.clock.ago(self._reconcile_seconds)
        recent = await self._in_store(lambda store: store.coverage.recent_channels(since))
        chosen = [
            (channel_id, last_id, shard)
            for guild_id, channel_id, last_id in recent
            if (shard := self._client.held.shard_of(guild_id)) in shards
        ]
        await self._gather(self._reconcile_channel(*one, since, sessions[one[-1]]) for one in chosen)
        _log.info("recent history of %d channels read again", len(chosen))

    async def _reconcile_channel(self, channel_id: int, end_id: int, shard_id: int, since: int, session: int) -> bool:
        while end_id >= since and session == self._sessions[shard_id]:
            page = await self.read_again(channel_id, end_id, since)
            if page is None or page.start_id <= since:
                break
            end_id = page.start_id - 1
        return True

    # Archived threads

    async def _list_threads(self, shards: set[int]) -> None:
        """Make archived threads known, with their last messages, so that their holes show."""
        listed_at = await self._in_store(lambda store: store.threads_listed_at())
        refused = await self._in_store(lambda store: store.refusals.refused("threads"))
        parents = [parent for parent in self.roster.parents(shards) if parent.id not in refused]
        await self._gather(self.roster.catch_up(parent, listed_at.get(parent.id, 0)) for parent in parents)
        await self.roster.look_for_vanished(shards)
        await self.roster.look_for_allowed()


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, discord.DiscordServerError | aiohttp.ClientError | TimeoutError)


async def _history(channel: MessageChannel, end_id: int) -> list[MessageRow]:
    """The newest page at or below end_id. Server errors are tried again a few times, with jitter."""
    retrying = AsyncRetrying(
        retry=retry_if_exception(_is_transient),
        wait=wait_random_exponential(multiplier=0.5, max=10),
        stop=stop_after_attempt(4),
        reraise=True,
    )
    return await retrying(read_rows, channel, end_id)
