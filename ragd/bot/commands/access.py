"""What a member may read at this moment, by discord.py's own permission code: the searcher's allow-list.

Roles come with every question, channels and overwrites are kept current by the gateway, and nothing is remembered
between two questions, so a permission that was taken away counts from the next one on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping

import aiohttp
import discord

from ragd.bot.permissions import ParentChannel, Reads, as_everybody, viewers_read_history

_log = logging.getLogger(__name__)

Reach = Mapping[int, int]
"""What may be read: ids of channels and threads, each with the id of the channel it is in: itself, or a parent."""

PRIVATE_THREADS_ASKED = 100
"""Most private threads whose membership is asked for; of more, those with the newest messages."""

AT_ONCE = 10


def as_readers_of(place: object) -> Reads:
    """What everybody may read who can read an answer given at a place, today or next year.

    That is what every member may, and the channel itself: whoever comes to see it finds its own messages beside the
    answer. Another channel that today the same members see does not count, for its overwrites may change apart.
    In the chat of a voice channel guests may read along, who see no other.
    """
    home = place.parent if isinstance(place, discord.Thread) else place
    if isinstance(home, discord.VoiceChannel):
        return lambda channel: channel == home and viewers_read_history(channel)
    if not isinstance(home, ParentChannel) or not viewers_read_history(home):
        return as_everybody
    return lambda channel: channel == home or as_everybody(channel)


def readable(
    guild: discord.Guild, reads: Reads, stored_threads: Mapping[int, int], *, age_restricted: bool
) -> dict[int, int]:
    """The Reach over channels and public threads; those of `stored_threads` (thread to parent) must be public ones.

    Age-restricted channels count only if the question was asked in one: nobody else is known to be of age.
    """
    parents = {channel.id for channel in _parents(guild, reads) if age_restricted or not channel.is_nsfw()}
    live = {thread.id: thread.parent_id for thread in guild.threads if not thread.is_private()}
    private = {thread.id for thread in guild.threads if thread.is_private()}
    threads = {
        thread: parent
        for thread, parent in {**stored_threads, **live}.items()
        if parent in parents and thread not in private
    }
    return {**{parent: parent for parent in parents}, **threads}


def has_age_restricted(guild: discord.Guild, reads: Reads) -> bool:
    """Whether `readable` leaves any out for that reason alone."""
    return any(channel.is_nsfw() for channel in _parents(guild, reads))


def _parents(guild: discord.Guild, reads: Reads) -> Iterator[ParentChannel]:
    return (channel for channel in guild.channels if isinstance(channel, ParentChannel) and reads(channel))


async def private_threads(guild: discord.Guild, member: discord.Member, reach: Reach) -> dict[int, int]:
    """The Reach over active private threads that the member is in, or may manage.

    Who is in a thread is asked of Discord: without the members intent the gateway does not tell. What cannot be asked
    is left out, as are archived private threads, whose members nobody lists.
    """
    known = [thread for thread in guild.threads if thread.is_private() and thread.parent_id in reach]
    managed = [thread for thread in known if thread.permissions_for(member).manage_threads]
    others = sorted((thread for thread in known if thread not in managed), key=_last_message, reverse=True)
    slots = asyncio.Semaphore(AT_ONCE)
    asked = others[:PRIVATE_THREADS_ASKED]
    joined = await asyncio.gather(*(_is_in(thread, member, slots) for thread in asked))
    return dict(_homes(managed)) | dict(_homes(thread for thread, is_in in zip(asked, joined, strict=True) if is_in))


def _last_message(thread: discord.Thread) -> int:
    return thread.last_message_id or thread.id


def _homes(threads: Iterable[discord.Thread]) -> Iterator[tuple[int, int]]:
    return ((thread.id, thread.parent_id) for thread in threads)


async def _is_in(thread: discord.Thread, member: discord.Member, slots: asyncio.Semaphore) -> bool:
    async with slots:
        try:
            await thread.fetch_member(member.id)
        except discord.NotFound:
            return False
        except (discord.HTTPException, aiohttp.ClientError, TimeoutError) as error:
            _log.warning("who is in thread %d cannot be asked: %s", thread.id, error)
            return False
    return True


def within(reach: Reach, channel_id: int | None) -> list[int]:
    """The allow-list: all of it, or a channel with its threads."""
    return sorted(one for one, home in reach.items() if channel_id is None or channel_id in (one, home))
