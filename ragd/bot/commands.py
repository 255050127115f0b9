"""What members can ask the bot; each command is thin, the answer is made beside it."""

from __future__ import annotations

import asyncio
from typing import Any

from discord.ext import commands

from ragd.config import Settings
from ragd.status import Status, collect_status


class HealthCommand(commands.Cog):
    """`!health` (with COMMAND_PREFIX): what the operator sees with `ragdctl status`, in short."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @commands.command(name="health")
    @commands.guild_only()
    @commands.cooldown(2, 10, commands.BucketType.channel)
    async def health(self, context: commands.Context[commands.Bot]) -> None:
        """Say how ragd is. Names no channel and quotes no message, so anybody may ask."""
        status = await asyncio.to_thread(collect_status, self._settings)
        await context.reply(render_health(status), mention_author=False)

    async def cog_command_error(self, context: commands.Context[Any], error: Exception) -> None:
        if not isinstance(error, commands.CommandOnCooldown | commands.NoPrivateMessage):
            raise error


def render_health(status: Status) -> str:
    """A few lines of text."""
    store = status.store
    lines = [f"ragd is **{status.state}**" + (f": {status.reasons[0]}" if status.reasons else "")]
    lines += [f"`{name:<8}` {process.state}, {process.restarts} restarts" for name, process in status.processes.items()]
    if store is not None:
        lines.append(f"{store.messages} messages, {store.chunks} chunks, {store.holes} holes, lag {store.lag_messages}")
    return "\n".join(lines)
