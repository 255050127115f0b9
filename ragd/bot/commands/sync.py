"""`/sync now`, `/autosync_status`, `/listener_stats`: for who manages the server."""

from __future__ import annotations

import asyncio

from discord import app_commands
from discord.ext import commands

from ragd.bot.commands.host import Host
from ragd.bot.commands.replies import Asked, answer, begin, require_manager
from ragd.bot.commands.sync_report import (
    collect_listener,
    collect_sync,
    render_listener,
    render_sync,
    render_wish,
)


class SyncCommands(commands.Cog):
    """Figures only, no names: the answers to text commands may be read by everybody in the channel."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def cog_check(self, context: Asked) -> bool:  # type: ignore[override]
        if context.guild is None:
            raise commands.NoPrivateMessage
        return await require_manager(context)

    @commands.hybrid_group(name="sync", invoke_without_command=True, description="Bring ragd in step with this server")  # type: ignore[arg-type]
    @app_commands.default_permissions(manage_guild=True)
    async def sync(self, context: Asked) -> None:
        await answer(context, f"`{context.clean_prefix}sync now` reads recent history again and checks every chunk.")

    @sync.command(name="now", description="Read recent history again, fill holes, check every chunk")  # type: ignore[arg-type]
    @commands.cooldown(1, 60, commands.BucketType.guild)
    async def now(self, context: Asked) -> None:
        await begin(context)
        await self._host.in_store(lambda store: store.chunks.want_full_pass())
        self._host.resync()
        await answer(context, render_wish(self._host.counters()))

    @commands.hybrid_command(name="autosync_status", description="How chunks and vectors keep up, by strategy")  # type: ignore[arg-type]
    @app_commands.default_permissions(manage_guild=True)
    @commands.cooldown(3, 15, commands.BucketType.member)
    async def autosync_status(self, context: Asked) -> None:
        await begin(context)
        report = await asyncio.to_thread(collect_sync, self._host.settings)
        await answer(context, render_sync(report))

    @commands.hybrid_command(name="listener_stats", description="What was heard, edited, deleted, and what is missing")  # type: ignore[arg-type]
    @app_commands.default_permissions(manage_guild=True)
    @commands.cooldown(3, 15, commands.BucketType.member)
    async def listener_stats(self, context: Asked) -> None:
        assert context.guild is not None, "cog_check"
        await begin(context)
        totals = await asyncio.to_thread(collect_listener, self._host.settings, context.guild.id)
        await answer(context, render_listener(self._host.counters(), totals))
