"""`/search`: cited passages out of what the asker may read at this moment."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, cast

import discord
from discord import app_commands
from discord.ext import commands

from ragd.answering.limits import Limits
from ragd.answers import SearchRequest
from ragd.bot.commands.asking import ask
from ragd.bot.commands.audience import allowed_in, leaves_out_by_age, only, reach_of
from ragd.bot.commands.errors import require_turn
from ragd.bot.commands.host import Host
from ragd.bot.commands.passages import Answer, parse_since, render_answer
from ragd.bot.commands.place import Named, SearchPlace
from ragd.bot.commands.replies import Asked, answer, answer_in_embed, begin, is_private, may_embed
from ragd.bot.commands.wording import EMBED_ROOM, TEXT_ROOM

_PERSON = re.compile(r"<@!?[0-9]{15,20}>|[0-9]{15,20}")


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
    """The limits are this command's own: RAGD_SEARCH_PER_MINUTE and RAGD_SEARCH_GUILD_PER_MINUTE."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._limits = Limits(host.settings.search_per_minute, host.settings.search_guild_per_minute)

    async def cog_check(self, context: Asked) -> bool:  # type: ignore[override]
        require_turn(context, self._limits)
        return True

    @commands.hybrid_command(  # type: ignore[arg-type]
        name="search",
        description="Search what was said in the channels you can read",
        usage="words [channel: #name] [author: @name] [since: 7d] [limit: 5]",
    )
    @commands.guild_only()
    async def search(self, context: Asked, *, options: SearchOptions) -> None:
        await begin(context)
        since = parse_since(options.since, datetime.now(UTC)) if options.since else None
        author = cast(discord.User | None, options.author)
        channel = cast(Named | None, options.channel)
        reach = await reach_of(self._host, context)
        request = SearchRequest(
            options.text,
            allowed_in(context, reach, channel),
            options.limit,
            author=str(author.id) if author else None,
            since=since,
        )
        found = only(await ask(self._host.settings.search_socket, request), reach)
        by_age = leaves_out_by_age(context)
        await self._show(context, Answer(options.text, found, public=not is_private(context), left_out_by_age=by_age))

    async def _show(self, context: Asked, shown: Answer) -> None:
        if may_embed(context):
            await answer_in_embed(context, render_answer(shown, EMBED_ROOM))
        else:
            await answer(context, render_answer(shown, TEXT_ROOM))
