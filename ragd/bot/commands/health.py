"""`/health`."""

from __future__ import annotations

import asyncio

from discord.ext import commands

from ragd.bot.commands.health_report import collect_health, render_details, render_summary
from ragd.bot.commands.host import Host
from ragd.bot.commands.replies import Asked, answer, begin, is_manager, is_private


class HealthCommands(commands.Cog):
    """Everybody may ask whether ragd is well; the details are for who manages the server."""

    def __init__(self, host: Host) -> None:
        self._host = host

    @commands.hybrid_command(name="health", description="Whether ragd is well; more if you manage this server")  # type: ignore[arg-type]
    @commands.guild_only()
    @commands.cooldown(3, 15, commands.BucketType.member)
    async def health(self, context: Asked) -> None:
        await begin(context)
        report = await asyncio.to_thread(collect_health, self._host.settings)
        if is_manager(context):
            # reasons may name directories and settings: not for everybody in the channel
            await answer(context, render_details(report, with_reasons=is_private(context)))
        else:
            await answer(context, render_summary(report))
