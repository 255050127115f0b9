"""`/ask`: an answer out of what the asker may read at this moment, with a link to every message it rests on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeAlias, cast

from discord.ext import commands

from ragd.answering.limits import Limits
from ragd.answers import SearchAnswer, SearchRequest
from ragd.bot.commands.asking import ask
from ragd.bot.commands.audience import allowed_in, only, reach_after_a_while, reach_of
from ragd.bot.commands.errors import require_turn
from ragd.bot.commands.host import Host
from ragd.bot.commands.passages import parse_since
from ragd.bot.commands.place import Named, SearchPlace
from ragd.bot.commands.replied import render_reply
from ragd.bot.commands.replies import Asked, answer, answer_in_embed, begin, is_private, may_embed
from ragd.bot.commands.wording import EMBED_ROOM, TEXT_ROOM

Look: TypeAlias = Callable[[Host, Asked], Awaitable[dict[int, int]]]

OVERTAKEN = "What the answer was written from has changed meanwhile: these are quotes."


class AskOptions(commands.FlagConverter, case_insensitive=True):
    """Options of the slash command; in a text command `!ask words since: 7d`."""

    text: commands.Range[str, 1, 500] = commands.flag(positional=True, description="What you want to know")
    channel: SearchPlace | None = commands.flag(default=None, description="Only from this channel and its threads")
    since: str | None = commands.flag(default=None, description="Only from what is newer: 2026-01-31, or 12h, 7d, 2w")


class AskCommands(commands.Cog):
    """The limits are this command's own: RAGD_ASK_PER_MINUTE and RAGD_ASK_GUILD_PER_MINUTE."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._limits = Limits(host.settings.ask_per_minute, host.settings.ask_guild_per_minute)

    async def cog_check(self, context: Asked) -> bool:  # type: ignore[override]
        require_turn(context, self._limits)
        return True

    @commands.hybrid_command(  # type: ignore[arg-type]
        name="ask",
        description="Ask what was said in the channels you can read, and where",
        usage="question [channel: #name] [since: 7d]",
    )
    @commands.guild_only()
    async def ask(self, context: Asked, *, options: AskOptions) -> None:
        await begin(context)
        answerer, asker_id = self._host.answerer, context.author.id
        reply = await answerer.answer(options.text, await self._find(context, options, reach_of), asker_id)
        if reply.is_asked_of_model:
            now = await self._find(context, options, reach_after_a_while)
            if not reply.stands(now):
                reply = replace(await answerer.answer(options.text, now, asker_id, write=False), note=OVERTAKEN)
        public = not is_private(context)
        if may_embed(context):
            await answer_in_embed(context, render_reply(reply, EMBED_ROOM, public=public))
        else:
            await answer(context, render_reply(reply, TEXT_ROOM, public=public))

    async def _find(self, context: Asked, options: AskOptions, look: Look) -> SearchAnswer:
        """What the asker may read of it at this moment."""
        since = parse_since(options.since, datetime.now(UTC)) if options.since else None
        reach = await look(self._host, context)
        allowed = allowed_in(context, reach, cast(Named | None, options.channel))
        request = SearchRequest(options.text, allowed, self._host.answerer.passages, since=since)
        return only(await ask(self._host.settings.search_socket, request), reach)
