"""Archived threads, which no gateway event and no cache shows: listed after a break, and gone through once a day.

Discord lists a channel's archived threads by the time of archiving, the last one first. A channel remembers up to what
moment, by Discord's clock, all of them have been seen (`threads_listed_at`); after a break the listing ends there. What
was posted in an old thread meanwhile has brought it back to the front, or among the active ones. The daily round reads
the lists to their end: it finds threads that were deleted unseen, and private ones that opened to the bot since.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import aiohttp
import discord

from ragd.bot.journal import InStore, Journal
from ragd.bot.normalise import AnyChannel, ThreadParent, thread_parents
from ragd.bot.scope import CaptureScope
from ragd.store.events import ChannelsSeen, ThreadsListed, Wanted

if TYPE_CHECKING:
    from ragd.bot.client import CaptureClient

_log = logging.getLogger(__name__)

PAGE = 100

MARGIN_MS = 3_600_000
"""A listing goes on so far behind the moment up to which all was seen: Discord's servers have a clock each."""

_TIE = timedelta(milliseconds=1)

_FAILURES = (discord.HTTPException, aiohttp.ClientError, TimeoutError)


class Reader(Protocol):
    """What the roster needs of the backfill."""

    def session_of(self, shard_id: int | None) -> int:
        """Changes when the gateway's stream of the shard, None for any, breaks."""
        ...

    async def judge(self, channel_id: int, wanted: Wanted, error: discord.HTTPException) -> None:
        """Record what a refusal says about the channel."""
        ...

    def wake(self) -> None:
        """Look for holes once what is recorded by now has been committed."""
        ...

    def keep(self, threads: Iterable[discord.Thread]) -> None:
        """Remember threads that discord.py does not."""
        ...

    async def fetch(self, channel_id: int) -> AnyChannel | None:
        """The channel as Discord has it now. One that is gone has been recorded as such, and is None."""
        ...


class Roster:
    """Makes known what there is to read beyond discord.py's cache, and finds out what is no more."""

    def __init__(
        self,
        client: CaptureClient,
        journal: Journal,
        scope: CaptureScope,
        in_store: InStore,
        reader: Reader,
    ) -> None:
        self._client = client
        self._journal = journal
        self._scope = scope
        self._in_store = in_store
        self._reader = reader

    # After a break

    async def catch_up(self, parent: ThreadParent, listed_at: int) -> bool:
        """List the threads archived since `listed_at` (Unix ms); False when that cannot be said to be complete."""
        shard_id, newest = parent.guild.shard_id, 0
        session = self._reader.session_of(shard_id)
        try:
            async for page in archived_pages(parent, listed_at - MARGIN_MS):
                if not self._announce(page, shard_id, session):
                    return False  # a break lies between the answer and now: it proves nothing about what is live
                newest = max(newest, *map(archived_ms, page))
        except _FAILURES as error:
            await self._complain(parent, error)
            return False
        if newest:
            await self._journal.commit(ThreadsListed(parent.id, newest))
        return True

    async def _complain(self, parent: ThreadParent, error: Exception) -> None:
        if isinstance(error, discord.HTTPException):
            await self._reader.judge(parent.id, "threads", error)
        else:
            _log.warning("archived threads of channel %d cannot be listed: %s", parent.id, error)

    def parents(self, shards: Collection[int]) -> list[ThreadParent]:
        """Channels of these shards' guilds whose archived threads are to be known."""
        return [
            parent
            for guild in self._client.guilds
            if guild.shard_id in shards and not guild.unavailable
            for parent in thread_parents(guild)
            if not self._scope.excludes(parent)
        ]

    async def look_for_vanished(self, shards: Collection[int]) -> None:
        """Ask for every channel that the store has and Discord did not name: an absence alone is no proof."""
        await self._journal.commit()
        for guild in self._client.guilds:
            if guild.shard_id not in shards or guild.unavailable:
                continue
            present = {channel.id for channel in (*guild.channels, *guild.threads)}
            for channel_id in await self._suspects(guild.id, present):
                await self.meet(channel_id, guild.shard_id)

    async def look_for_allowed(self) -> None:
        """Ask for ids on the allow list that no cache has: archived threads whose channel is left alone, so not listed.

        Not during an outage, when Discord denies what is there.
        """
        if any(guild.unavailable for guild in self._client.guilds):
            return
        for one in sorted(self._scope.lists.allow):
            if self._client.get_guild(one) is None and self._client.get_channel(one) is None:
                await self.meet(one)

    async def _suspects(self, guild_id: int, present: set[int]) -> list[int]:
        return await self._in_store(lambda store: store.standing.suspects(guild_id, present))

    async def meet(self, channel_id: int, shard_id: int | None = None) -> None:
        """Have Discord say what has become of a channel that no cache has, and make it known or gone."""
        session = self._reader.session_of(shard_id)
        found = await self._reader.fetch(channel_id)
        if found is not None:
            self._announce([found], shard_id, session)

    def _announce(self, found: Iterable[AnyChannel], shard_id: int | None, session: int) -> bool:
        if session != self._reader.session_of(shard_id):
            return False
        channels = list(found)
        self._reader.keep(channel for channel in channels if isinstance(channel, discord.Thread))
        self._journal.record(ChannelsSeen([self._scope.row(channel) for channel in channels]))
        self._reader.wake()  # holes that this shows are in the store a moment later, maybe after it has been asked
        return True

    # Once a day

    async def sweep(self) -> AsyncIterator[None]:
        """Go through all archived threads; yields after each request, for the caller to set the pace."""
        refused = await self._in_store(lambda store: store.refusals.refused("threads"))
        for parent in self.parents(self._client.held.ids):
            if parent.id in refused:
                continue
            try:
                async for _ in self._sweep_parent(parent):
                    yield
            except _FAILURES as error:
                await self._complain(parent, error)

    async def _sweep_parent(self, parent: ThreadParent) -> AsyncIterator[None]:
        before = set(await self._in_store(lambda store: store.standing.archived_threads(parent.id)))
        shard_id, seen = parent.guild.shard_id, set[int]()
        session = self._reader.session_of(shard_id)
        async for page in archived_pages(parent, 0):
            if not self._announce(page, shard_id, session):
                return
            seen.update(thread.id for thread in page)
            yield
        for channel_id in sorted(before - seen):
            await self.meet(channel_id, shard_id)
            yield


async def archived_pages(parent: ThreadParent, since_ms: int) -> AsyncIterator[list[discord.Thread]]:
    """Archived threads of a channel, at least those archived since then, page by page.

    Private ones as far as the bot may: all of them with Manage Threads, else those that it is in. The latter come by
    id and not by time, so they are read to their end; there are few.
    """
    async for page in _by_time(lambda before: parent.archived_threads(limit=PAGE, before=before), since_ms):
        yield page
    if isinstance(parent, discord.TextChannel) and not parent.is_news():
        if parent.permissions_for(parent.guild.me).manage_threads:
            private = lambda before: parent.archived_threads(limit=PAGE, before=before, private=True)  # noqa: E731
            async for page in _by_time(private, since_ms):
                yield page
        elif joined := [thread async for thread in parent.archived_threads(limit=None, private=True, joined=True)]:
            yield joined


ListPage = Callable[[datetime | None], AsyncIterator[discord.Thread]]


async def _by_time(list_page: ListPage, since_ms: int) -> AsyncIterator[list[discord.Thread]]:
    """Pages that overlap by a millisecond: `before` leaves out its own instant, and several may share one."""
    seen, before = set[int](), None
    while True:
        page = [thread async for thread in list_page(before)]
        new = [thread for thread in page if thread.id not in seen]
        seen.update(thread.id for thread in new)
        if new:
            yield new
        if len(page) < PAGE or archived_ms(page[-1]) < since_ms:
            return
        before = page[-1].archive_timestamp + (_TIE if new else timedelta())


def archived_ms(thread: discord.Thread) -> int:
    """When the thread was archived, Unix ms by Discord's clock."""
    return int(thread.archive_timestamp.timestamp() * 1000)
