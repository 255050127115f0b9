"""`/search`: cited passages out of what the asker may read at this moment."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import discord
from discord import app_commands
from discord.ext import commands

from ragd.answers import Allowed, SearchAnswer, SearchRequest
from ragd.bot.audience import ParentChannel, as_member
from ragd.bot.commands.access import as_readers_of, has_age_restricted, private_threads, readable, within
from ragd.bot.commands.asking import ask
from ragd.bot.commands.errors import NO_SUCH_CHANNEL, BadValue
from ragd.bot.commands.host import Host
from ragd.bot.commands.passages import Answer, parse_since, render_answer
from ragd.bot.commands.replies import Asked, answer, answer_in_embed, begin, is_private, may_embed
from ragd.bot.commands.wording import EMBED_ROOM, TEXT_ROOM

_PERSON = re.compile(r"<@!?[0-9]{15,20}>|[0-9]{15,20}")

SearchPlace = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.ForumChannel | discord.Thread


class Person(commands.UserConverter, app_commands.Transformer):
    """A user: picked from Discord's list, or in a text command a mention or an id.

    No name: of whom discord.py happens to know some share no server with the asker.
    """

    @property
    def type(self) -> discord.AppCommandOptionType:
        return discord.AppCommandOptionType.user

    async def transform(self, _: discord.Interaction, value: discord.User, /) -> discord.User:
        return value

    async def convert(self, context: commands.Context[Any], argument: str) -> discord.User:
        if not _PERSON.fullmatch(argument):
            raise commands.UserNotFound(argument)
        return await super().convert(context, argument)


class SearchOptions(commands.FlagConverter, case_insensitive=True):
    """Options of the slash command; in a text command `!search words limit: 3 since: 7d`."""

    text: commands.Range[str, 1, 500] = commands.flag(
        positional=True, description='Words, "phrases", -without, from: in: before: since: has:'
    )
    channel: SearchPlace | None = commands.flag(default=None, description="Only in this channel and its threads")
    author: Person | None = commands.flag(default=None, description="Only where this person wrote")
    since: str | None = commands.flag(default=None, description="Only what is newer: 2026-01-31, or 30m, 12h, 7d, 2w")
    limit: commands.Range[int, 1, 10] = commands.flag(default=5, description="How many passages at most")


class SearchCommands(commands.Cog):
    """A slash command is answered to the asker alone, out of all that the asker may read.

    The answer to a text command is read by whoever looks into the channel, today or next year: so it is made only of
    what all of those may read, and the asker too.
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
        author = cast(discord.User | None, options.author)
        reach = await self._reach(context)
        allowed = within(reach, options.channel.id if options.channel else None)
        if options.channel is not None and not allowed:
            raise BadValue(NO_SUCH_CHANNEL)
        request = SearchRequest(
            options.text,
            Allowed(allowed),
            options.limit,
            author=str(author.id) if author else None,
            since=since,
        )
        found = _only(await ask(self._host.settings.search_socket, request), reach)
        await self._show(
            context,
            Answer(options.text, found, public=not is_private(context), left_out_by_age=_leaves_out_by_age(context)),
        )

    async def _reach(self, context: Asked) -> dict[int, int]:
        guild, asker, place = context.guild, context.author, context.channel
        if guild is None or not isinstance(asker, discord.Member):
            raise commands.NoPrivateMessage
        threads = await self._host.in_store(lambda store: store.public_threads(guild.id))
        restricted = _is_age_restricted(place)
        reach = readable(guild, as_member(asker), threads, age_restricted=restricted)
        if is_private(context):
            return reach | await private_threads(guild, asker, reach)
        public = readable(guild, as_readers_of(place), threads, age_restricted=restricted)
        return {one: home for one, home in reach.items() if one in public}

    async def _show(self, context: Asked, shown: Answer) -> None:
        if may_embed(context):
            await answer_in_embed(context, render_answer(shown, EMBED_ROOM))
        else:
            await answer(context, render_answer(shown, TEXT_ROOM))


def _leaves_out_by_age(context: Asked) -> bool:
    """Whether somewhere else more could be found, of what the asker sees in Discord's list of channels anyway."""
    guild, asker, place = context.guild, context.author, context.channel
    if guild is None or not isinstance(asker, discord.Member) or _is_age_restricted(place):
        return False
    return has_age_restricted(guild, as_member(asker) if is_private(context) else as_readers_of(place))


def _is_age_restricted(channel: object) -> bool:
    return isinstance(channel, ParentChannel | discord.Thread) and channel.is_nsfw()


def _only(found: SearchAnswer, reach: dict[int, int]) -> SearchAnswer:
    """The same once more on our side of the socket: a passage from elsewhere is never shown."""
    results = [result for result in found.results if int(result.channel_id) in reach]
    return replace(found, results=results)
