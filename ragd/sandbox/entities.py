"""What exists in the sandbox's world: plain records, ids as int, times as Unix milliseconds.

Payload dicts for the wire are made in `payloads`; changes go through `world.World`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any

Payload = dict[str, Any]
"""A JSON object as Discord sends it: ids are strings in it."""


class ChannelType(IntEnum):
    """The channel types that the sandbox knows."""

    TEXT = 0
    DM = 1
    VOICE = 2
    CATEGORY = 4
    NEWS = 5
    NEWS_THREAD = 10
    PUBLIC_THREAD = 11
    PRIVATE_THREAD = 12
    STAGE = 13
    FORUM = 15
    MEDIA = 16


FORUM_TYPES = frozenset({ChannelType.FORUM, ChannelType.MEDIA})
"""Channels whose posts are threads; a media channel is a forum that shows pictures."""

VOICE_TYPES = frozenset({ChannelType.VOICE, ChannelType.STAGE})
"""Channels for speaking, each with a chat beside it."""

THREAD_TYPES = frozenset({ChannelType.NEWS_THREAD, ChannelType.PUBLIC_THREAD, ChannelType.PRIVATE_THREAD})


class MessageType(IntEnum):
    """The message types that the sandbox makes by itself; `Message.type` may hold any other number too."""

    DEFAULT = 0
    RECIPIENT_ADD = 1
    CHANNEL_PINNED_MESSAGE = 6
    MEMBER_JOIN = 7
    THREAD_CREATED = 18
    REPLY = 19
    CHAT_INPUT_COMMAND = 20
    THREAD_STARTER_MESSAGE = 21


class MessageFlags(IntFlag):
    """Message flags that change what the sandbox does."""

    HAS_THREAD = 1 << 5
    EPHEMERAL = 1 << 6
    LOADING = 1 << 7
    HAS_SNAPSHOT = 1 << 14


class Intents(IntFlag):
    """Gateway intents. Source: https://discord.com/developers/docs/events/gateway#gateway-intents"""

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_MODERATION = 1 << 2
    GUILD_EXPRESSIONS = 1 << 3
    GUILD_INTEGRATIONS = 1 << 4
    GUILD_WEBHOOKS = 1 << 5
    GUILD_INVITES = 1 << 6
    GUILD_VOICE_STATES = 1 << 7
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    GUILD_MESSAGE_TYPING = 1 << 11
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    DIRECT_MESSAGE_TYPING = 1 << 14
    MESSAGE_CONTENT = 1 << 15
    GUILD_SCHEDULED_EVENTS = 1 << 16
    AUTO_MODERATION_CONFIGURATION = 1 << 20
    AUTO_MODERATION_EXECUTION = 1 << 21
    GUILD_MESSAGE_POLLS = 1 << 24
    DIRECT_MESSAGE_POLLS = 1 << 25


PRIVILEGED_INTENTS = Intents.GUILD_MEMBERS | Intents.GUILD_PRESENCES | Intents.MESSAGE_CONTENT


@dataclass(slots=True)
class User:
    """An account, human or bot."""

    id: int
    username: str
    global_name: str | None = None
    bot: bool = False
    avatar: str | None = None
    discriminator: str = "0"


@dataclass(slots=True)
class Application:
    """A bot application: who owns `token`. `granted_intents` are the privileged intents switched on in its portal."""

    id: int
    name: str
    token: str
    bot_id: int
    granted_intents: Intents = PRIVILEGED_INTENTS
    owner_id: int = 0


@dataclass(slots=True)
class Role:
    """A guild role; the one whose id is the guild's id is @everyone."""

    id: int
    name: str
    permissions: int = 0
    position: int = 0
    color: int = 0
    hoist: bool = False
    mentionable: bool = False
    managed: bool = False
    bot_id: int | None = None


@dataclass(slots=True)
class Member:
    """A user in a guild; `roles` leaves @everyone out, as Discord's payloads do.

    Until `timed_out_until_ms` the member may only look.
    """

    user_id: int
    joined_ms: int
    nick: str | None = None
    roles: list[int] = field(default_factory=list)
    timed_out_until_ms: int | None = None


class OverwriteTarget(IntEnum):
    """Whom a permission overwrite is about."""

    ROLE = 0
    MEMBER = 1


@dataclass(slots=True)
class Overwrite:
    """A permission overwrite of a channel, keyed in `Channel.overwrites` by the id of its role or member."""

    id: int
    target: OverwriteTarget
    allow: int = 0
    deny: int = 0


@dataclass(slots=True)
class ThreadMember:
    """A user in a thread."""

    user_id: int
    joined_ms: int
    flags: int = 0


@dataclass(slots=True)
class ThreadState:
    """What a thread has beyond other channels.

    `message_count` leaves the starter out and falls on deletion; `total_message_sent` never falls.
    """

    owner_id: int
    created_ms: int
    archive_changed_ms: int
    archived: bool = False
    locked: bool = False
    invitable: bool = True
    auto_archive_minutes: int = 1440
    message_count: int = 0
    total_message_sent: int = 0
    members: dict[int, ThreadMember] = field(default_factory=dict)
    applied_tags: list[int] = field(default_factory=list)


@dataclass(slots=True)
class ForumTag:
    """A tag that posts of a forum may carry."""

    id: int
    name: str
    moderated: bool = False
    emoji_name: str | None = None


@dataclass(slots=True)
class Channel:
    """A channel, category, forum, thread (`thread` is set) or DM (`guild_id` is None, `recipients` is set)."""

    id: int
    type: ChannelType
    guild_id: int | None
    name: str = ""
    parent_id: int | None = None
    position: int = 0
    topic: str | None = None
    nsfw: bool = False
    rate_limit_per_user: int = 0
    last_message_id: int | None = None
    overwrites: dict[int, Overwrite] = field(default_factory=dict)
    available_tags: list[ForumTag] = field(default_factory=list)
    thread: ThreadState | None = None
    recipients: list[int] = field(default_factory=list)

    @property
    def is_thread(self) -> bool:
        """True for the types 10, 11 and 12."""
        return self.thread is not None


@dataclass(slots=True)
class Guild:
    """A server. `channels` holds everything but threads, `threads` active and archived ones, both by id."""

    id: int
    name: str
    owner_id: int
    roles: dict[int, Role] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    threads: dict[int, Channel] = field(default_factory=dict)
    unavailable: bool = False


@dataclass(slots=True)
class Reaction:
    """One emoji under a message and who put it there, in order."""

    emoji: Payload
    user_ids: list[int] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class MessageParts:
    """The seldom parts of a message, kept apart so that a million plain messages stay small."""

    attachments: Sequence[Payload] = ()
    embeds: Sequence[Payload] = ()
    components: Sequence[Payload] = ()
    sticker_items: Sequence[Payload] = ()
    poll: Payload | None = None
    tts: bool = False
    pinned: bool = False
    mention_everyone: bool = False
    mention_roles: tuple[int, ...] = ()
    webhook_id: int | None = None
    webhook_name: str | None = None
    application_id: int | None = None
    interaction_metadata: Payload | None = None
    snapshots: Sequence[Payload] = ()
    """Of a forward: the messages as they were."""
    reactions: dict[str, Reaction] = field(default_factory=dict)
    """By emoji key: the name of a standard emoji, `name:id` of a custom one."""


NO_PARTS = MessageParts()
"""Shared by all plain messages; never changed (see `Message.own_parts`)."""


@dataclass(slots=True)
class Message:
    """A message. Its creation time is in its id; `mentions` are user ids; `reply_to` is (channel id, message id).

    A THREAD_CREATED message points at its thread: the message id is 0 then.
    """

    id: int
    channel_id: int
    author_id: int
    content: str
    type: int = MessageType.DEFAULT
    flags: int = 0
    edited_ms: int | None = None
    mentions: tuple[int, ...] = ()
    reply_to: tuple[int, int] | None = None
    parts: MessageParts = NO_PARTS

    def own_parts(self) -> MessageParts:
        """The parts, made this message's own first: use it to change them."""
        if self.parts is NO_PARTS:
            self.parts = MessageParts()
        return self.parts


@dataclass(slots=True)
class Webhook:
    """An incoming webhook."""

    id: int
    channel_id: int
    guild_id: int
    name: str
    token: str
    creator_id: int


@dataclass(slots=True)
class Command:
    """A registered application command: `payload` is what the bot registered (name, description, options, ...)."""

    id: int
    application_id: int
    guild_id: int | None
    version: int
    payload: Payload

    @property
    def name(self) -> str:
        """The name users type after the slash."""
        return str(self.payload["name"])


@dataclass(frozen=True, slots=True)
class Event:
    """A gateway dispatch.

    A session gets it when it has `intent` (0: always) or is `always_for`'s, its bot is in `guild_id` (if set) and may
    view `channel_id` (if set). With `only_user` it goes to that bot and nothing else is looked at.
    """

    name: str
    data: Mapping[str, Any]
    guild_id: int | None = None
    channel_id: int | None = None
    intent: int = 0
    only_user: int | None = None
    always_for: int | None = None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What an audit compares about one message; `edited_timestamp` is ISO 8601 as on the wire."""

    id: int
    channel_id: int
    guild_id: int | None
    author_id: int
    content: str
    edited_timestamp: str | None


@dataclass(frozen=True, slots=True)
class Ledger:
    """The truth about messages: what exists, and the ids of all that ever existed and are gone."""

    messages: dict[int, LedgerEntry]
    deleted: frozenset[int]
