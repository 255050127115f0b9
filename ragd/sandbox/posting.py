"""Changes to messages: post, edit, delete, pin, react."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Unpack

from typing_extensions import TypedDict  # pydantic, which checks the control side, needs this one before 3.12

from . import payloads
from .channels import ChannelActions
from .entities import (
    FORUM_TYPES,
    NO_PARTS,
    Channel,
    ChannelType,
    Intents,
    Message,
    MessageFlags,
    MessageParts,
    MessageType,
    Payload,
    Reaction,
)
from .state import UnknownEntityError, WorldRuleError

_USER_MENTION = re.compile(r"<@!?(\d{1,20})>")
_ROLE_MENTION = re.compile(r"<@&(\d{1,20})>")
_BULK_DELETE_MAX = 100
_POSTLESS = frozenset({ChannelType.CATEGORY, *FORUM_TYPES})


class PartFields(TypedDict, total=False):
    """The fields of `MessageParts` that a poster may give; mentions of roles and everyone are parsed when absent."""

    attachments: Sequence[Payload]
    embeds: Sequence[Payload]
    components: Sequence[Payload]
    sticker_items: Sequence[Payload]
    poll: Payload | None
    tts: bool
    pinned: bool
    mention_everyone: bool
    mention_roles: tuple[int, ...]
    webhook_id: int | None
    webhook_name: str | None
    application_id: int | None
    interaction_metadata: Payload | None
    snapshots: Sequence[Payload]


class MessageChanges(TypedDict, total=False):
    """What `edit` may change; mentions follow the content."""

    content: str
    attachments: Sequence[Payload]
    embeds: Sequence[Payload]
    components: Sequence[Payload]
    poll: Payload | None
    flags: int


class MessageActions(ChannelActions):
    """Messages and reactions."""

    def post(
        self,
        channel_id: int,
        author_id: int,
        content: str = "",
        *,
        reply_to: int | None = None,
        reference: tuple[int, int] | None = None,
        ping_reply: bool = True,
        type: int | None = None,
        flags: int = 0,
        mentions: Iterable[int] | None = None,
        message_id: int | None = None,
        at_ms: int | None = None,
        **parts: Unpack[PartFields],
    ) -> Message:
        """Post a message. Without `message_id` and `at_ms` (Unix ms) it happens now and has the highest id of all.

        Mentions are parsed from the content unless given; `reply_to` is a message id of this channel (it may be gone);
        `reference` is what system messages point at: (channel id, message id or 0).
        Posting to an archived thread unarchives it, and puts the author into the thread.
        """
        channel = self._open_channel(channel_id, silent_history=message_id is not None or at_ms is not None)
        self._check_author(author_id, parts)
        message = Message(self._message_id(message_id, at_ms), channel_id, author_id, content, flags=flags)
        message.reply_to = reference if reply_to is None else (channel_id, reply_to)
        message.type = _default_type(reply_to) if type is None else type
        message.parts = self._parts(channel, content, parts)
        found = self._parse_mentions(content) if mentions is None else list(mentions)
        message.mentions = self._with_replied(found, reply_to if ping_reply else None)
        self._store(channel, message)
        return message

    def forward(self, channel_id: int, author_id: int, message_id: int, *, at_ms: int | None = None) -> Message:
        """Forward a message to a channel, as it is now: later edits and its deletion do not show there."""
        source = self.message(message_id)
        return self.post(
            channel_id,
            author_id,
            reference=(source.channel_id, source.id),
            flags=MessageFlags.HAS_SNAPSHOT,
            at_ms=at_ms,
            snapshots=[payloads.snapshot_payload(self, source)],
        )

    def _open_channel(self, channel_id: int, *, silent_history: bool) -> Channel:
        channel = self.channel(channel_id)
        if channel.type in _POSTLESS:
            raise WorldRuleError(f"channel {channel_id} of type {int(channel.type)} takes no messages")
        if channel.thread is not None and channel.thread.archived and not silent_history:
            if channel.thread.locked:
                raise WorldRuleError(f"thread {channel_id} is locked")
            self.unarchive_thread(channel_id)
        return channel

    def _check_author(self, author_id: int, parts: PartFields) -> None:
        if parts.get("webhook_id") is None:
            self.user(author_id)

    def _message_id(self, message_id: int | None, at_ms: int | None) -> int:
        if message_id is None:
            return self.clock.fresh() if at_ms is None else self.clock.at(at_ms)
        if message_id in self.messages or message_id in self.messages.deleted:
            raise WorldRuleError(f"message {message_id} exists already or is deleted")
        self.clock.note(message_id)
        return message_id

    def _parts(self, channel: Channel, content: str, given: PartFields) -> MessageParts:
        if "@" not in content and not given:
            return NO_PARTS
        parts = MessageParts(**given)
        if "mention_roles" not in given and channel.guild_id is not None:
            roles = self.guild(channel.guild_id).roles
            wanted = (int(found) for found in _ROLE_MENTION.findall(content))
            parts.mention_roles = tuple(dict.fromkeys(role_id for role_id in wanted if role_id in roles))
        if "mention_everyone" not in given:
            parts.mention_everyone = "@everyone" in content or "@here" in content
        return parts

    def _parse_mentions(self, content: str) -> list[int]:
        if "<@" not in content:
            return []
        wanted = (int(found) for found in _USER_MENTION.findall(content))
        return list(dict.fromkeys(user_id for user_id in wanted if user_id in self.users))

    def _with_replied(self, mentions: list[int], reply_to: int | None) -> tuple[int, ...]:
        target = None if reply_to is None else self.messages.get(reply_to)
        if target is not None and target.author_id in self.users and target.author_id not in mentions:
            mentions.append(target.author_id)
        return tuple(mentions)

    def _store(self, channel: Channel, message: Message) -> None:
        self.messages.add(message)
        channel.last_message_id = max(channel.last_message_id or 0, message.id)
        if channel.thread is not None and not is_starter(message):
            channel.thread.message_count += 1
            channel.thread.total_message_sent += 1
            if message.author_id in self.users:
                self.join_thread(channel.id, message.author_id)
        self._emit_message("MESSAGE_CREATE", message)

    # -- changes

    def edit(
        self, message_id: int, *, mark_edited: bool = True, at_ms: int | None = None, **changes: Unpack[MessageChanges]
    ) -> Message:
        """Change a message. `mark_edited=False` leaves `edited_timestamp` alone, as when Discord adds embeds."""
        message = self.message(message_id)
        for name, value in changes.items():
            setattr(message if name in ("content", "flags") else message.own_parts(), name, value)
        if "content" in changes:
            self._remention(message)
        if mark_edited:
            message.edited_ms = self.clock.now_ms() if at_ms is None else at_ms
        self._emit_message("MESSAGE_UPDATE", message)
        return message

    def _remention(self, message: Message) -> None:
        replied = message.reply_to[1] if message.reply_to else None
        target = self.messages.get(replied) if replied else None
        keep_ping = target is not None and target.author_id in message.mentions
        message.mentions = self._with_replied(self._parse_mentions(message.content), replied if keep_ping else None)
        parsed = self._parts(self.channel(message.channel_id), message.content, {})
        if parsed is not NO_PARTS or message.parts is not NO_PARTS:
            parts = message.own_parts()
            parts.mention_roles, parts.mention_everyone = parsed.mention_roles, parsed.mention_everyone

    def set_pinned(self, message_id: int, pinned: bool) -> Message:
        """Pin or unpin a message."""
        message = self.message(message_id)
        message.own_parts().pinned = pinned
        channel = self.channel(message.channel_id)
        pins = {"channel_id": str(channel.id), "last_pin_timestamp": None}
        if channel.guild_id is not None:
            pins["guild_id"] = str(channel.guild_id)
        self.emit(
            "CHANNEL_PINS_UPDATE",
            lambda: pins,
            guild_id=channel.guild_id,
            channel_id=channel.id,
            intent=Intents.GUILDS if channel.guild_id else Intents.DIRECT_MESSAGES,
        )
        self._emit_message("MESSAGE_UPDATE", message)
        return message

    def delete(self, message_id: int) -> None:
        """Delete a message."""
        message = self.message(message_id)
        channel = self.channel(message.channel_id)
        self._forget(channel, message)
        data = {"id": str(message_id), **_place(channel)}
        self._emit_in_channel("MESSAGE_DELETE", channel, data)

    def bulk_delete(self, channel_id: int, message_ids: Iterable[int]) -> list[int]:
        """Delete up to 100 messages of a channel at once; ids that are not there are skipped. Returns the deleted."""
        channel = self.channel(channel_id)
        wanted = list(dict.fromkeys(message_ids))
        if len(wanted) > _BULK_DELETE_MAX:
            raise WorldRuleError(f"bulk_delete takes at most {_BULK_DELETE_MAX} messages")
        gone = [found for key in wanted if (found := self.messages.get(key)) and found.channel_id == channel_id]
        for message in gone:
            self._forget(channel, message)
        if gone:
            data = {"ids": [str(message.id) for message in gone], **_place(channel)}
            self._emit_in_channel("MESSAGE_DELETE_BULK", channel, data)
        return [message.id for message in gone]

    def _forget(self, channel: Channel, message: Message) -> None:
        # As on Discord, last_message_id keeps pointing at a message that is gone.
        self.messages.remove(message, channel.guild_id)
        if channel.thread is not None and not is_starter(message):
            channel.thread.message_count -= 1

    # -- reactions

    def react(self, message_id: int, user_id: int, emoji: str) -> None:
        """Put a reaction; `emoji` is a standard emoji or `name:id`. Reacting twice changes nothing."""
        message = self.message(message_id)
        self.user(user_id)
        reactions = message.own_parts().reactions
        reaction = reactions.setdefault(emoji, Reaction(_emoji_payload(emoji)))
        if user_id not in reaction.user_ids:
            reaction.user_ids.append(user_id)
            self._emit_reaction("MESSAGE_REACTION_ADD", message, user_id, reaction.emoji)

    def unreact(self, message_id: int, user_id: int, emoji: str) -> None:
        """Take a user's reaction away."""
        message = self.message(message_id)
        reaction = message.parts.reactions.get(emoji)
        if reaction is None or user_id not in reaction.user_ids:
            raise UnknownEntityError("reaction", emoji)
        reaction.user_ids.remove(user_id)
        if not reaction.user_ids:
            del message.parts.reactions[emoji]
        self._emit_reaction("MESSAGE_REACTION_REMOVE", message, user_id, reaction.emoji)

    def clear_reactions(self, message_id: int, emoji: str | None = None) -> None:
        """A moderator takes all reactions away, or all of one emoji."""
        message = self.message(message_id)
        channel = self.channel(message.channel_id)
        data: Payload = {"message_id": str(message_id), **_place(channel)}
        if emoji is None:
            message.own_parts().reactions.clear()
            self._emit_reactions("MESSAGE_REACTION_REMOVE_ALL", channel, data)
            return
        reaction = message.own_parts().reactions.pop(emoji, None)
        if reaction is None:
            raise UnknownEntityError("reaction", emoji)
        self._emit_reactions("MESSAGE_REACTION_REMOVE_EMOJI", channel, {**data, "emoji": reaction.emoji})

    # -- events

    def _emit_message(self, name: str, message: Message) -> None:
        channel = self.channel(message.channel_id)
        self.emit(
            name,
            lambda: payloads.message_event_payload(self, message),
            guild_id=channel.guild_id,
            channel_id=channel.id,
            intent=_message_intent(channel),
        )

    def _emit_in_channel(self, name: str, channel: Channel, data: Payload) -> None:
        self.emit(name, lambda: data, guild_id=channel.guild_id, channel_id=channel.id, intent=_message_intent(channel))

    def _emit_reaction(self, name: str, message: Message, user_id: int, emoji: Payload) -> None:
        channel = self.channel(message.channel_id)
        data: Payload = {
            "user_id": str(user_id),
            "message_id": str(message.id),
            "message_author_id": str(message.author_id),
            "emoji": emoji,
            "burst": False,
            "type": 0,
            **_place(channel),
        }
        if channel.guild_id is not None and name == "MESSAGE_REACTION_ADD":
            member = self.guild(channel.guild_id).members.get(user_id)
            if member is not None:
                data["member"] = payloads.member_payload(self, member)
        self._emit_reactions(name, channel, data)

    def _emit_reactions(self, name: str, channel: Channel, data: Payload) -> None:
        intent = Intents.GUILD_MESSAGE_REACTIONS if channel.guild_id else Intents.DIRECT_MESSAGE_REACTIONS
        self.emit(name, lambda: data, guild_id=channel.guild_id, channel_id=channel.id, intent=intent)


def is_starter(message: Message) -> bool:
    """True for the message a thread began with, which `message_count` leaves out."""
    return message.id == message.channel_id or message.type == MessageType.THREAD_STARTER_MESSAGE


def is_loading(message: Message) -> bool:
    """True for the 'thinking...' message of a deferred interaction."""
    return bool(message.flags & MessageFlags.LOADING)


def _default_type(reply_to: int | None) -> int:
    return MessageType.DEFAULT if reply_to is None else MessageType.REPLY


def _message_intent(channel: Channel) -> int:
    return Intents.DIRECT_MESSAGES if channel.guild_id is None else Intents.GUILD_MESSAGES


def _place(channel: Channel) -> Payload:
    place = {"channel_id": str(channel.id)}
    if channel.guild_id is not None:
        place["guild_id"] = str(channel.guild_id)
    return place


def _emoji_payload(emoji: str) -> Payload:
    name, _, emoji_id = emoji.partition(":")
    return {"id": emoji_id or None, "name": name}
