"""`/privacy`, `/forget-me`, `/privacy-channel`: what the bot keeps, how to object, and how to have it gone."""

from __future__ import annotations

import asyncio
from typing import Literal

import discord
from discord import app_commands
from discord.ext import commands

from ragd.bot.commands.host import Host
from ragd.bot.commands.privacy_report import (
    AGREED,
    CONFIRM,
    NOT_AGREED,
    NOT_OPT_IN,
    OPTED_IN,
    OPTED_OUT,
    WITHDRAWN,
    Standing,
    collect_standing,
    privacy_text,
    render_forgetting,
    render_mode,
    render_standing,
)
from ragd.bot.commands.replies import Asked, answer, begin, is_private, require_manager
from ragd.store import Store

Change = Literal["opt-out", "opt-out-and-erase", "opt-in", "agree-here", "withdraw-here"]
Mode = Literal["opt-in", "everybody"]
ConsentPlace = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.ForumChannel


class PrivacyCommands(commands.Cog):
    """For everybody, but for what a channel is recorded of. A wish holds from the commit on, whatever is under way."""

    def __init__(self, host: Host) -> None:
        self._host = host

    @commands.hybrid_command(name="privacy", description="What this bot keeps of what you write, and how to object")  # type: ignore[arg-type]
    @app_commands.describe(change="Object, agree, or take that back")
    @commands.guild_only()
    @commands.cooldown(2, 10, commands.BucketType.member)
    async def privacy(self, context: Asked, change: Change | None = None) -> None:
        if change is None and not is_private(context):
            await answer(context, privacy_text(self._host.settings))  # how somebody stands is nobody else's affair
            return
        await begin(context)
        if change is None:
            await answer(context, render_standing(await self._standing(context), privacy_text(self._host.settings)))
        elif change in ("agree-here", "withdraw-here"):
            await answer(context, await self._agree(context, agrees=change == "agree-here"))
        else:
            await answer(context, await self._opt(context, change))

    @commands.hybrid_command(name="forget-me", description="Erase everything you wrote from this bot, for good")  # type: ignore[arg-type]
    @app_commands.describe(confirm="yes, if you mean it: it cannot be taken back")
    @commands.guild_only()
    @commands.cooldown(3, 60, commands.BucketType.user)
    async def forget_me(self, context: Asked, confirm: Literal["yes"] | None = None) -> None:
        await begin(context)
        await answer(context, await self._forget(context) if confirm == "yes" else CONFIRM)

    @commands.hybrid_command(name="privacy-channel", description="Record a channel of everybody, or of who agrees")  # type: ignore[arg-type]
    @app_commands.describe(mode="opt-in: only of members who agree there", channel="Default: where you ask")
    @app_commands.default_permissions(manage_guild=True)
    @commands.guild_only()
    @commands.cooldown(3, 15, commands.BucketType.member)
    @commands.check(require_manager)
    async def privacy_channel(self, context: Asked, mode: Mode, channel: ConsentPlace | None = None) -> None:
        place = channel or _home(context)
        opt_in = mode == "opt-in"
        await self._host.in_store(lambda store: store.people.set_opt_in(place.id, opt_in))
        await answer(context, render_mode(place.mention, opt_in))  # a name is shown to whoever may see the channel

    async def _standing(self, context: Asked) -> Standing:
        place = _home(context)
        return await asyncio.to_thread(collect_standing, self._host.settings, context.author.id, place.id)

    async def _opt(self, context: Asked, change: Change) -> str:
        user_id, now_id = context.author.id, _now_id(context)
        if change == "opt-in":
            await self._host.in_store(lambda store: store.people.opt_in(user_id, now_id))
            return OPTED_IN
        await self._host.in_store(lambda store: store.people.opt_out(user_id))
        return f"{OPTED_OUT}\n{await self._forget(context)}" if change == "opt-out-and-erase" else OPTED_OUT

    async def _forget(self, context: Asked) -> str:
        user_id, now_id = context.author.id, _now_id(context)
        kept = (await self._standing(context)).kept
        erasure_id = await self._host.in_store(lambda store: store.erasures.forget_user(user_id, now_id, "member"))
        return render_forgetting(erasure_id, kept if is_private(context) else None)

    async def _agree(self, context: Asked, *, agrees: bool) -> str:
        place, user_id, now_id = _home(context), context.author.id, _now_id(context)

        def tell(store: Store) -> str:
            if not agrees:
                return WITHDRAWN if store.people.withdraw(place.id, user_id) else NOT_AGREED
            if not store.people.is_opt_in(place.id):
                return NOT_OPT_IN
            store.people.agree(place.id, user_id, now_id)
            return AGREED

        return await self._host.in_store(tell)


def _now_id(context: Asked) -> int:
    """This moment by Discord's own clock: messages with a higher id come after it."""
    return context.interaction.id if context.interaction else context.message.id


def _home(context: Asked) -> discord.abc.GuildChannel:
    """The channel in which it is asked; of a thread, that which it is in."""
    channel = context.channel
    parent = channel.parent if isinstance(channel, discord.Thread) else channel
    if not isinstance(parent, discord.abc.GuildChannel):
        raise commands.NoPrivateMessage
    return parent
