"""`/search`: cited passages out of what the asker may read at this moment."""

from __future__ import annotations

from datetime import UTC, datetime

import discord
from discord.ext import commands

from ragd.answering.limits import Limits
from ragd.answers import Allowed, SearchRequest
from ragd.bot.commands.access import within
from ragd.bot.commands.asking import ask
from ragd.bot.commands.audience import only, reach_of
from ragd.bot.commands.errors import require_turn
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
    """The limits are this command's own: RAGD_SEARCH_PER_MINUTE and RAGD_SEARCH_GUILD_PER_MINUTE."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._limits = Limits(host.settings.search_per_minute, host.settings.search_guild_per_minute)

    @commands.hybrid_command(  # type: ignore[arg-type]
        name="search",
        description="Search what was said in the channels you can read",
        usage="words [channel: #name] [author: @name] [since: 7d] [limit: 5]",
    )
    @commands.guild_only()
    async def search(self, context: Asked, *, options: SearchOptions) -> None:
        require_turn(context, self._limits)
        await begin(context)
        since = parse_since(options.since, datetime.now(UTC)) if options.since else None
        reach = await reach_of(self._host, context)
        request = SearchRequest(
            options.text,
            Allowed(within(reach, options.channel.id if options.channel else None)),
            options.limit,
            author=str(options.author.id) if options.author else None,
            since=since,
        )
        found = await ask(self._host.settings.search_socket, request)
        await self._show(context, Answer(options.text, only(found, reach), public=not is_private(context)))

    async def _show(self, context: Asked, shown: Answer) -> None:
        if may_embed(context):
            await answer_in_embed(context, render_answer(shown, EMBED_ROOM))
        else:
            await answer(context, render_answer(shown, TEXT_ROOM))
