"""Out of which channels a question is answered: by who asks, and by who will read the answer."""

from __future__ import annotations

from dataclasses import replace

import discord
from discord.ext import commands

from ragd.answers import SearchAnswer
from ragd.bot.commands.access import ParentChannel, as_everybody, as_member, private_threads, readable
from ragd.bot.commands.host import Host
from ragd.bot.commands.replies import Asked, is_private


async def reach_of(host: Host, context: Asked) -> dict[int, int]:
    """The Reach (ragd/bot/commands/access.py) of a question.

    A slash command is answered to the asker alone, out of all that the asker may read. The answer to a text command is
    read by whoever looks into the channel, today or next year: so it is made only of what every member of the server
    may read, wherever it was asked.
    """
    guild, asker = context.guild, context.author
    if guild is None or not isinstance(asker, discord.Member):
        raise commands.NoPrivateMessage
    threads = await host.in_store(lambda store: store.public_threads(guild.id))
    restricted = _is_age_restricted(context.channel)
    reach = readable(guild, as_member(asker), threads, age_restricted=restricted)
    if is_private(context):
        return reach | await private_threads(guild, asker, reach)
    public = readable(guild, as_everybody, threads, age_restricted=restricted)
    return {one: home for one, home in reach.items() if one in public}


def _is_age_restricted(channel: object) -> bool:
    return isinstance(channel, ParentChannel | discord.Thread) and channel.is_nsfw()


def only(found: SearchAnswer, reach: dict[int, int]) -> SearchAnswer:
    """The same once more on our side of the socket: a passage from elsewhere is never shown, nor sent to anybody."""
    results = [result for result in found.results if int(result.channel_id) in reach]
    return replace(found, results=results)
