"""discord.py's objects to the store's rows."""

from __future__ import annotations

from typing import Any

import discord
import orjson

from ragd.bot.details import account_name, message_extra, reactions_of, unix_ms, valid_text
from ragd.store.events import ChannelRow, MessageRow
from ragd.store.reactions import dump_reactions

Place = discord.TextChannel | discord.VoiceChannel | discord.StageChannel

MessageChannel = Place | discord.Thread
"""Channels that hold messages."""

ThreadParent = discord.TextChannel | discord.ForumChannel
"""Channels that hold threads."""

AnyChannel = MessageChannel | discord.ForumChannel


def message_row(message: discord.Message, guild_id: int) -> MessageRow:
    """A message as the store keeps it, the same by gateway and by REST. Webhooks count as bots.

    Of our own there is no more than that it was written: it quotes others, whose words must go when they do.
    """
    own = message.guild is not None and message.author == message.guild.me
    reply = message.reference
    if reply and reply.type is not discord.MessageReferenceType.reply:
        reply = None
    return MessageRow(
        id=message.id,
        guild_id=guild_id,
        channel_id=message.channel.id,
        author_id=message.author.id,
        author_name=account_name(message.author),
        is_bot=message.author.bot or message.webhook_id is not None,
        type=message.type.value,
        content="" if own else valid_text(message.content),
        extra="{}" if own else message_extra(message),
        reply_to_id=reply.message_id if reply else None,
        edited_at=unix_ms(message.edited_at),
        reactions=dump_reactions(reactions_of(message)),
    )


def channel_row(channel: AnyChannel) -> ChannelRow:
    """A channel or thread as it stands in discord.py's cache, `readable` by the bot's own permissions now."""
    return ChannelRow(
        id=channel.id,
        guild_id=channel.guild.id,
        parent_id=channel.parent_id if isinstance(channel, discord.Thread) else channel.category_id,
        type=channel.type.value,
        name=valid_text(channel.name),
        last_message_id=last_id(channel),
        readable=can_read(channel),
        archived=isinstance(channel, discord.Thread) and channel.archived,
        details=channel_details(channel),
    )


def channel_details(channel: AnyChannel) -> str:
    """JSON of what is worth knowing of a channel, only what says something; see `Channel.details` in the models."""
    details = _thread_details(channel) if isinstance(channel, discord.Thread) else _place_details(channel)
    told = {key: value for key, value in details.items() if value}
    return orjson.dumps(told, option=orjson.OPT_SORT_KEYS).decode()


def _thread_details(thread: discord.Thread) -> dict[str, Any]:
    return {
        "auto_archive_minutes": thread.auto_archive_duration,
        "locked": thread.locked,
        "owner_id": thread.owner_id,
        "tags": [valid_text(tag.name) for tag in thread.applied_tags],
    }


def _place_details(channel: Place | discord.ForumChannel) -> dict[str, Any]:
    return {
        "nsfw": channel.nsfw,
        "tags": [valid_text(tag.name) for tag in getattr(channel, "available_tags", ())],
        "topic": valid_text(getattr(channel, "topic", None) or ""),
    }


def last_id(channel: object) -> int:
    """The newest message id that a channel object names, 0 for none and for no channel."""
    return getattr(channel, "last_message_id", None) or 0


def can_read(channel: AnyChannel) -> bool:
    """Whether the bot may view the channel and read its history.

    Asked before every page: without the permission Discord answers with an empty list, which would look complete.
    """
    try:
        permissions = channel.permissions_for(channel.guild.me)
    except discord.ClientException:  # a thread whose parent is not in the cache
        return False
    return permissions.view_channel and permissions.read_message_history


def can_send(channel: object) -> bool:
    """Whether the bot may write in a channel of a guild; asked before it does, for a refusal counts against us."""
    try:
        permissions = channel.permissions_for(channel.guild.me)  # type: ignore[attr-defined]
    except (AttributeError, discord.ClientException):  # no channel of a guild that is in the cache
        return False
    writes = permissions.send_messages_in_threads if isinstance(channel, discord.Thread) else permissions.send_messages
    return bool(permissions.view_channel and writes)


def guild_channels(guild: discord.Guild) -> list[AnyChannel]:
    """Channels and active threads of a guild that hold messages or threads."""
    kinds = (discord.TextChannel, discord.VoiceChannel, discord.StageChannel, discord.ForumChannel)
    return [*(channel for channel in guild.channels if isinstance(channel, kinds)), *guild.threads]


def thread_parents(guild: discord.Guild) -> list[ThreadParent]:
    """Channels of a guild whose threads the bot may read."""
    parents: list[ThreadParent] = [*guild.text_channels, *guild.forums]
    return [parent for parent in parents if can_read(parent)]
