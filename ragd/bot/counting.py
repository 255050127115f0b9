"""What Discord counts itself, against the store: messages of threads, and hits of its own search. Both only hint.

`message_count` of a thread leaves out its first message and deleted ones, and ended at 50 before July 2022; what it
makes of system messages is not documented. The search's index lags. So a count that is off is no finding: of a thread
it is the reason to compare all of it, of the search it is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import discord

from ragd.auditing import Territory
from ragd.bot.journal import Journal
from ragd.snowflake import from_unix_seconds
from ragd.store import Store

Result = TypeVar("Result")

THREADS_COMPARED = 200
"""Of a guild, at most: each is a query."""

CHANNELS_SEARCHED = 100
"""Of a guild, at most: they stand in the request's address."""

INDEX_TRIES = 3
INDEX_SECONDS = 5.0
"""How long at most to wait for Discord's index before the next try."""

_COUNTED_WELL_SINCE = from_unix_seconds(1_656_633_600)
"""2022-07-01: threads that are older count no further than 50."""


class InStore(Protocol):
    """Runs work in the thread that has the store."""

    def __call__(self, work: Callable[[Store], Result]) -> Awaitable[Result]: ...


@dataclass(frozen=True, slots=True)
class ThreadOff:
    """A thread of which Discord counts another number of messages."""

    thread_id: int
    discord: int
    stored: int

    def document(self) -> dict[str, Any]:
        return {"thread_id": str(self.thread_id), "discord": self.discord, "stored": self.stored}


@dataclass(frozen=True, slots=True)
class ThreadCounts:
    compared: int = 0
    off: list[ThreadOff] = field(default_factory=list)


async def count_threads(
    guild: discord.Guild, territory: Territory, journal: Journal, in_store: InStore
) -> ThreadCounts:
    """The active threads of a guild whose every message should be in the store. Costs one request.

    Raises discord's and aiohttp's errors, but for a refusal.
    """
    try:
        active = await guild.active_threads()
    except (discord.Forbidden, discord.NotFound):
        return ThreadCounts()
    threads = [thread for thread in active if territory.is_whole(thread.id) and thread.id >= _COUNTED_WELL_SINCE]
    threads = threads[:THREADS_COMPARED]
    await journal.commit()
    ours = {thread.id: await _count(thread.id, in_store, thread=True) for thread in threads}
    off = [
        ThreadOff(thread.id, thread.message_count, ours[thread.id])
        for thread in threads
        if thread.message_count != ours[thread.id]
    ]
    return ThreadCounts(len(threads), off)


async def _count(channel_id: int, in_store: InStore, *, thread: bool) -> int:
    return await in_store(lambda store: store.audits.count_in(channel_id, thread=thread))


async def count_by_search(guild: discord.Guild, territory: Territory, in_store: InStore) -> dict[str, Any]:
    """What Discord's search finds in channels that are complete, and what the store has there: a document.

    Raises discord's and aiohttp's errors but for a permission that is missing, which the document tells.
    """
    told: dict[str, Any] = {"guild_id": str(guild.id)}
    if not guild.me.guild_permissions.read_message_history:
        return {**told, "problem": "the bot has no permission to read its history"}
    channels = [
        channel_id
        for channel_id in territory.channels
        if territory.guild_of(channel_id) == guild.id and territory.is_whole(channel_id)
    ][:CHANNELS_SEARCHED]
    if not channels:
        return {**told, "problem": "no channel is complete yet"}
    try:
        found = await _search(guild, channels)
    except (discord.Forbidden, discord.NotFound) as error:
        return {**told, "problem": f"Discord refuses it (HTTP status {error.status})"}
    if found is None:
        return {**told, "problem": "its index is being made"}
    stored = sum([await _count(channel_id, in_store, thread=False) for channel_id in channels])
    return {**told, "channels": len(channels), "discord": found, "stored": stored}


async def _search(guild: discord.Guild, channels: list[int]) -> int | None:
    """How many messages Discord's search counts; None while it has no index of them.

    discord.py does not wrap it; its `request` keeps to the rate limits.
    """
    route = discord.http.Route("GET", "/guilds/{guild_id}/messages/search", guild_id=guild.id)
    parameters = [("limit", "1"), *(("channel_id", str(channel_id)) for channel_id in channels)]
    for attempt in range(INDEX_TRIES):
        answer = await guild._state.http.request(route, params=parameters)
        if isinstance(answer, dict) and "total_results" in answer:
            return int(answer["total_results"])
        if attempt + 1 < INDEX_TRIES:  # 202: Discord is still indexing, and says when to ask again
            await asyncio.sleep(min(INDEX_SECONDS, float(answer.get("retry_after", INDEX_SECONDS))))
    return None
