"""Slash commands stay silent where the bot is to leave a channel alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

if TYPE_CHECKING:
    from ragd.bot.client import CaptureClient

ANYWHERE = frozenset({"health", "privacy", "forget-me"})
"""Commands that say how ragd is and what it keeps: asking that must be possible everywhere."""


class ScopedTree(app_commands.CommandTree["CaptureClient"]):
    """The tree of commands of a client that has allow and deny lists."""

    async def interaction_check(self, interaction: discord.Interaction[CaptureClient], /) -> bool:
        """Whether the command is to be run; else the asker has been told."""
        name = interaction.command.qualified_name if interaction.command else ""
        if name in ANYWHERE or not interaction.client.scope.excludes(interaction.channel):
            return True
        await interaction.response.send_message("ragd is told to leave this channel alone.", ephemeral=True)
        return False
