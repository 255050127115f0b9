"""discord.py's objects to the store's rows."""

from __future__ import annotations

from typing import Any

import discord
import orjson

from ragd.store.events import ChannelRow, MessageRow

MessageChannel = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread
"""Channels that hold messages."""

ThreadParent = discord.TextChannel | discord.ForumChannel
"""Channels that hold threads."""

AnyChannel = MessageChannel | discord.ForumChannel


def message_row(message: discord.Message, guild_id: int) -> MessageRow:
    """A message as the store keeps it. Webhooks count as bots."""
    reply = message.reference
    if reply and reply.type is not discord.MessageReferenceType.reply:
        reply = None
    return MessageRow(
        id=message.id,
        guild_id=guild_id,
        channel_id=message.channel.id,
        author_id=message.author.id,
        author_name=valid_text(message.author.display_name),
        is_bot=message.author.bot or message.webhook_id is not None,
        type=message.type.value,
        content=valid_text(message.content),
        extra=_extra(message),
        reply_to_id=reply.message_id if reply else None,
        edited_at=int(message.edited_at.timestamp() * 1000) if message.edited_at else 0,
    )


def valid_text(text: str) -> str:
    """Text that UTF-8 can hold: JSON may escape half of a surrogate pair, which neither SQLite nor the model takes."""
    return text.encode("utf-8", "replace").decode()


def _extra(message: discord.Message) -> str:
    """JSON of what is not words: only what is there, in an order that does not depend on Discord's."""
    details: dict[str, Any] = {}
    if message.attachments:
        details["attachments"] = [
            {"id": file.id, "name": valid_text(file.filename), "type": file.content_type, "size": file.size}
            for file in message.attachments
        ]
    if message.embeds:
        details["embeds"] = [_embed(embed) for embed in message.embeds]
    if message.mentions:
        details["mentions"] = [
            {"id": user.id, "name": valid_text(user.display_name)}
            for user in sorted(message.mentions, key=lambda user: user.id)
        ]
    if message.stickers:
        details["stickers"] = [valid_text(sticker.name) for sticker in message.stickers]
    return orjson.dumps(details, option=orjson.OPT_SORT_KEYS).decode()


def _embed(embed: discord.Embed) -> dict[str, str]:
    fields = {"title": embed.title, "description": embed.description, "url": embed.url}
    return {name: valid_text(value) for name, value in fields.items() if value}


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
    )


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


def readable_channels(guild: discord.Guild) -> list[MessageChannel]:
    """Channels and active threads of a guild with messages that the bot may read."""
    return [
        channel
        for channel in guild_channels(guild)
        if not isinstance(channel, discord.ForumChannel) and can_read(channel)
    ]


def thread_parents(guild: discord.Guild) -> list[ThreadParent]:
    """Channels of a guild whose threads the bot may read."""
    parents: list[ThreadParent] = [*guild.text_channels, *guild.forums]
    return [parent for parent in parents if can_read(parent)]
