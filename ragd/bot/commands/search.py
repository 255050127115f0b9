"""`/search`: cited passages out of what the asker may read at this moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import discord
from discord.ext import commands

from ragd.answers import Allowed, SearchAnswer, SearchRequest
from ragd.bot.commands.access import ParentChannel, as_everybody, as_member, private_threads, readable, within
from ragd.bot.commands.asking import ask
from ragd.bot.commands.host import Host
from ragd.bot.commands.passages import Answer, parse_since, render_answer
from ragd.bot.commands.replies import Asked, answer, answer_in_embed, begin, is_private, may_embed
from ragd.bot.commands.wording import EMBED_ROOM, TEXT_ROOM

SearchPlace = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.ForumChannel | discord.Thread


class SearchOptions(commands.FlagConverter, case_insensitive=True):
    """Options of the slash command; in a text command `!search words limit: 3 since: 7d`."""

    text: commands.Range[str, 1, 500] = commands.flag(
        positional=True, description='Words, "phrases", -without, from: in: before: since: has:'
    )
    channel: SearchPlace | None = commands.flag(default=None, description="Only in this channel and its threads")
    author: discord.User | None = commands.flag(default=None, description="Only where this person wrote")
    since: str | None = commands.flag(default=None, description="Only what is newer: 2026-01-31, or 30m, 12h, 7d, 2w")
    limit: commands.Range[int, 1, 10] = commands.flag(default=5, description="How many passages at most")


class SearchCommands(commands.Cog):
    """A slash command is answered to the asker alone, out of all that the asker may read.

    The answer to a text command is read by whoever looks into the channel, today or next year: so it is made only of
    what every member of the server may read, wherever it was asked.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    @commands.hybrid_command(  # type: ignore[arg-type]
        name="search",
        description="Search what was said in the channels you can read",
        usage="words [channel: #name] [author: @name] [since: 7d] [limit: 5]",
    )
    @commands.guild_only()
    @commands.cooldown(5, 20, commands.BucketType.member)
    async def search(self, context: Asked, *, options: SearchOptions) -> None:
        await begin(context)
        since = parse_since(options.since, datetime.now(UTC)) if options.since else None
        reach = await self._reach(context)
        request = SearchRequest(
            options.text,
            Allowed(within(reach, options.channel.id if options.channel else None)),
            options.limit,
            author=str(options.author.id) if options.author else None,
            since=since,
        )
        found = await ask(self._host.settings.search_socket, request)
        await self._show(context, Answer(options.text, _only(found, reach), public=not is_private(context)))

    async def _reach(self, context: Asked) -> dict[int, int]:
        guild, asker = context.guild, context.author
        if guild is None or not isinstance(asker, discord.Member):
            raise commands.NoPrivateMessage
        threads = await self._host.in_store(lambda store: store.public_threads(guild.id))
        restricted = _is_age_restricted(context.channel)
        reach = readable(guild, as_member(asker), threads, age_restricted=restricted)
        if is_private(context):
            return reach | await private_threads(guild, asker, reach)
        public = readable(guild, as_everybody, threads, age_restricted=restricted)
        return {one: home for one, home in reach.items() if one in public}

    async def _show(self, context: Asked, shown: Answer) -> None:
        if may_embed(context):
            await answer_in_embed(context, render_answer(shown, EMBED_ROOM))
        else:
            await answer(context, render_answer(shown, TEXT_ROOM))


def _is_age_restricted(channel: object) -> bool:
    return isinstance(channel, ParentChannel | discord.Thread) and channel.is_nsfw()


def _only(found: SearchAnswer, reach: dict[int, int]) -> SearchAnswer:
    """The same once more on our side of the socket: a passage from elsewhere is never shown."""
    results = [result for result in found.results if int(result.channel_id) in reach]
    return replace(found, results=results)
