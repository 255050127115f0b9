"""The allow and deny lists in force, asked with discord.py's objects."""

from __future__ import annotations

from dataclasses import replace

import discord

from ragd.bot.normalise import AnyChannel, channel_row
from ragd.scope import Scope
from ragd.store.events import ChannelRow

Path = tuple[int | None, ...]


class CaptureScope:
    """What everything in capture that reads or records asks first. Belongs to the event loop."""

    def __init__(self, scope: Scope) -> None:
        self.lists = scope
        """Assigned anew when the settings are reloaded."""

    def excludes(self, channel: object) -> bool:
        """Whether a channel or thread as discord.py has it is to be left alone."""
        return not self.lists.includes(path_of(channel))

    def row(self, channel: AnyChannel) -> ChannelRow:
        """The channel as the store is to know it."""
        return replace(channel_row(channel), excluded=self.excludes(channel))


def path_of(channel: object) -> Path:
    """Ids from the most specific to the guild's, as far as discord.py's cache knows them."""
    guild = getattr(channel, "guild", None)
    guild_id = guild.id if guild else None
    own_id = getattr(channel, "id", None)
    if isinstance(channel, discord.Thread):
        return (own_id, channel.parent_id, getattr(channel.parent, "category_id", None), guild_id)
    return (own_id, getattr(channel, "category_id", None), guild_id)
