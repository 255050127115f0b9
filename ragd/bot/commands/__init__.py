"""What members can ask the bot. Cogs are thin; what they say is made by functions beside them."""

from __future__ import annotations

from discord.ext import commands

from ragd.bot.commands.ask import AskCommands
from ragd.bot.commands.errors import ErrorHandler
from ragd.bot.commands.health import HealthCommands
from ragd.bot.commands.host import Host
from ragd.bot.commands.privacy import PrivacyCommands
from ragd.bot.commands.registration import Registration
from ragd.bot.commands.search import SearchCommands
from ragd.bot.commands.sync import SyncCommands


async def add_commands(bot: commands.Bot, host: Host) -> None:
    """Add every command, the one error handler, and the registration of slash commands, which waits for READY.

    The list of slash commands is the whole bot's, so of several instances that with shard 0 registers it.
    """
    cogs = (
        ErrorHandler(bot),
        HealthCommands(host),
        SyncCommands(host),
        SearchCommands(host),
        AskCommands(host),
        PrivacyCommands(host),
        *([Registration(bot)] if 0 in host.settings.held_shards else []),
    )
    for cog in cogs:
        await bot.add_cog(cog)
