"""Out of which channels a question is answered: by who asks, and by who will read the answer."""

from __future__ import annotations

from dataclasses import replace

import aiohttp
import discord
from discord.ext import commands

from ragd.answers import Allowed, SearchAnswer
from ragd.bot.commands.access import as_readers_of, has_age_restricted, private_threads, readable, within
from ragd.bot.commands.errors import NO_SUCH_CHANNEL, BadValue
from ragd.bot.commands.host import Host
from ragd.bot.commands.place import Named, find_place
from ragd.bot.commands.replies import Asked, is_private
from ragd.bot.permissions import ParentChannel, as_member
from ragd.errors import UnavailableError


async def reach_of(host: Host, context: Asked) -> dict[int, int]:
    """The Reach (ragd/bot/commands/access.py) of a question.

    A slash command is answered to the asker alone, out of all that the asker may read. The answer to a text command is
    read by whoever looks into the channel, today or next year: so it is made only of what all of those may read, and
    the asker too. Raises UnavailableError while Discord does not tell of the guild.
    """
    if not isinstance(context.author, discord.Member):
        raise commands.NoPrivateMessage
    return await _reach_of(host, context, context.author)


async def reach_after_a_while(host: Host, context: Asked) -> dict[int, int]:
    """The same when time has passed since the question: the roles that came with it may have been taken away.

    Discord is asked who the asker is now; who has left may read nothing. Raises UnavailableError while Discord cannot
    be asked, or does not tell of the guild.
    """
    if context.guild is None:
        raise commands.NoPrivateMessage
    try:
        asker = await context.guild.fetch_member(context.author.id)
    except discord.NotFound:
        return {}
    except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
        raise UnavailableError(f"Discord does not say who is in server {context.guild.id}: {error}") from None
    if not host.hears_of(context.guild):
        raise UnavailableError(f"no connection to server {context.guild.id}, whose permissions may have changed")
    return await _reach_of(host, context, asker)


async def _reach_of(host: Host, context: Asked, asker: discord.Member) -> dict[int, int]:
    guild, place = asker.guild, context.channel
    if guild.unavailable:
        raise UnavailableError(f"server {guild.id} is out, and its permissions may have changed")
    threads = await host.in_store(lambda store: store.public_threads(guild.id))
    restricted = _is_age_restricted(place)
    reach = readable(guild, as_member(asker), threads, age_restricted=restricted)
    if is_private(context):
        return reach | await private_threads(guild, asker, reach)
    public = readable(guild, as_readers_of(place), threads, age_restricted=restricted)
    return {one: home for one, home in reach.items() if one in public}


def allowed_in(context: Asked, reach: dict[int, int], channel: Named | None) -> Allowed:
    """The allow-list, of a channel and its threads if one is named. Raises BadValue if that is not within reach.

    To be asked when all other options have been judged: which of two wrong ones is told must not depend on what is
    there but out of reach.
    """
    if channel is None:
        return Allowed(within(reach, None))
    found = find_place(context.guild, reach, channel) if context.guild else None
    if found is None:
        raise BadValue(NO_SUCH_CHANNEL)
    return Allowed(within(reach, found))


def leaves_out_by_age(context: Asked) -> bool:
    """Whether somewhere else more could be found, of what the asker sees in Discord's list of channels anyway."""
    guild, asker, place = context.guild, context.author, context.channel
    if guild is None or not isinstance(asker, discord.Member) or _is_age_restricted(place):
        return False
    return has_age_restricted(guild, as_member(asker) if is_private(context) else as_readers_of(place))


def _is_age_restricted(channel: object) -> bool:
    return isinstance(channel, ParentChannel | discord.Thread) and channel.is_nsfw()


def only(found: SearchAnswer, reach: dict[int, int]) -> SearchAnswer:
    """The same once more on our side of the socket: a passage from elsewhere is never shown, nor sent to anybody."""
    results = [result for result in found.results if int(result.channel_id) in reach]
    return replace(found, results=results)
