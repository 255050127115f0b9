"""Who may read a channel, by discord.py's own permission code: one member, or every member of the server."""

from __future__ import annotations

from collections.abc import Callable

import discord

ParentChannel = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.ForumChannel
"""Channels that hold messages, or threads that do."""

Reads = Callable[[ParentChannel], bool]


def as_member(member: discord.Member) -> Reads:
    """What one member may view and read the history of.

    A guest, who was let into one voice channel, has @everyone's permissions and sees no other; which one is not told.
    """
    return lambda channel: not member.flags.guest and _opens(channel, channel.permissions_for(member))


def as_everybody(channel: ParentChannel) -> bool:
    """Whether every member of the server may: @everyone does, and no overwrite takes it from a role or a member.

    Who is timed out counts as before: that ends, and until then shuts no more than the chats of voice channels. Guests
    of a voice channel do not count: they see nothing else.
    """
    everyone = channel.guild.default_role
    return _opens(channel, channel.permissions_for(everyone)) and not any(
        _takes(channel, denied) for denied in _denied_to_some(channel)
    )


def everybody_views(channel: discord.abc.GuildChannel) -> bool:
    """Whether every member of the server sees that there is this channel, and so its name."""
    everyone = channel.guild.default_role
    return channel.permissions_for(everyone).view_channel and not any(
        denied.view_channel for denied in _denied_to_some(channel)
    )


def viewers_read_history(channel: ParentChannel) -> bool:
    """Whether whoever sees the channel may read its history too: @everyone may, and nobody's overwrite takes it."""
    allowed, denied = channel.overwrites_for(channel.guild.default_role).pair()
    history = allowed.read_message_history or (
        channel.guild.default_role.permissions.read_message_history and not denied.read_message_history
    )
    return history and not any(denied.read_message_history for denied in _denied_to_some(channel))


def _denied_to_some(channel: discord.abc.GuildChannel) -> list[discord.Permissions]:
    """What overwrites take from roles and members; @everyone's own is not among them."""
    everyone = channel.guild.default_role
    return [overwrite.pair()[1] for target, overwrite in channel.overwrites.items() if target != everyone]


def _opens(channel: ParentChannel, permissions: discord.Permissions) -> bool:
    if not (permissions.view_channel and permissions.read_message_history):
        return False
    # the chat of a voice channel opens only for who may join it
    return permissions.connect or not isinstance(channel, discord.VoiceChannel | discord.StageChannel)


def _takes(channel: ParentChannel, denied: discord.Permissions) -> bool:
    voice = isinstance(channel, discord.VoiceChannel | discord.StageChannel)
    return denied.view_channel or denied.read_message_history or (voice and denied.connect)
