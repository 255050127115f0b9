"""Who may do what where, computed as Discord computes it from roles and channel overwrites.

Source: https://discord.com/developers/docs/topics/permissions, sections "Permission Hierarchy", "Permission
Overwrites" and "Implicit Permissions". A channel carries its own overwrites; those of its category were copied when
the two were in sync and are not looked at again. A timed-out member keeps View Channel and Read Message History.
"""

from __future__ import annotations

from enum import IntFlag

from .entities import VOICE_TYPES, Channel, ChannelType, Guild, Member, Overwrite, OverwriteTarget
from .state import WorldState


class Permission(IntFlag):
    """Permission bits under Discord's own names."""

    CREATE_INSTANT_INVITE = 1 << 0
    KICK_MEMBERS = 1 << 1
    BAN_MEMBERS = 1 << 2
    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_AUDIT_LOG = 1 << 7
    PRIORITY_SPEAKER = 1 << 8
    STREAM = 1 << 9
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    SEND_TTS_MESSAGES = 1 << 12
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    USE_EXTERNAL_EMOJIS = 1 << 18
    VIEW_GUILD_INSIGHTS = 1 << 19
    CONNECT = 1 << 20
    SPEAK = 1 << 21
    MUTE_MEMBERS = 1 << 22
    DEAFEN_MEMBERS = 1 << 23
    MOVE_MEMBERS = 1 << 24
    USE_VAD = 1 << 25
    CHANGE_NICKNAME = 1 << 26
    MANAGE_NICKNAMES = 1 << 27
    MANAGE_ROLES = 1 << 28
    MANAGE_WEBHOOKS = 1 << 29
    MANAGE_GUILD_EXPRESSIONS = 1 << 30
    USE_APPLICATION_COMMANDS = 1 << 31
    REQUEST_TO_SPEAK = 1 << 32
    MANAGE_EVENTS = 1 << 33
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    USE_EXTERNAL_STICKERS = 1 << 37
    SEND_MESSAGES_IN_THREADS = 1 << 38
    USE_EMBEDDED_ACTIVITIES = 1 << 39
    MODERATE_MEMBERS = 1 << 40
    VIEW_CREATOR_MONETIZATION_ANALYTICS = 1 << 41
    USE_SOUNDBOARD = 1 << 42
    CREATE_GUILD_EXPRESSIONS = 1 << 43
    CREATE_EVENTS = 1 << 44
    USE_EXTERNAL_SOUNDS = 1 << 45
    SEND_VOICE_MESSAGES = 1 << 46
    SET_VOICE_CHANNEL_STATUS = 1 << 48
    SEND_POLLS = 1 << 49
    USE_EXTERNAL_APPS = 1 << 50
    PIN_MESSAGES = 1 << 51
    BYPASS_SLOWMODE = 1 << 52


ALL = sum(Permission)
"""What an owner or administrator may do: every bit there is."""

# Plain ints below: IntFlag arithmetic makes an object per operation, and the gateway asks for every event.
_VIEW = int(Permission.VIEW_CHANNEL)
_HISTORY = int(Permission.READ_MESSAGE_HISTORY)
_ADMINISTRATOR = int(Permission.ADMINISTRATOR)
_SEND = int(Permission.SEND_MESSAGES)
_SEND_IN_THREADS = int(Permission.SEND_MESSAGES_IN_THREADS)
_CONNECT = int(Permission.CONNECT)
_MANAGE_THREADS = int(Permission.MANAGE_THREADS)

_GUILD_ONLY = int(
    Permission.KICK_MEMBERS
    | Permission.BAN_MEMBERS
    | Permission.ADMINISTRATOR
    | Permission.MANAGE_GUILD
    | Permission.VIEW_AUDIT_LOG
    | Permission.VIEW_GUILD_INSIGHTS
    | Permission.CHANGE_NICKNAME
    | Permission.MANAGE_NICKNAMES
    | Permission.MANAGE_GUILD_EXPRESSIONS
    | Permission.MANAGE_EVENTS
    | Permission.MODERATE_MEMBERS
    | Permission.VIEW_CREATOR_MONETIZATION_ANALYTICS
    | Permission.CREATE_GUILD_EXPRESSIONS
    | Permission.CREATE_EVENTS
)
_NEED_SENDING = int(
    Permission.SEND_TTS_MESSAGES | Permission.MENTION_EVERYONE | Permission.EMBED_LINKS | Permission.ATTACH_FILES
)
_NEED_CONNECTING = int(
    Permission.PRIORITY_SPEAKER
    | Permission.STREAM
    | Permission.SPEAK
    | Permission.MUTE_MEMBERS
    | Permission.DEAFEN_MEMBERS
    | Permission.MOVE_MEMBERS
    | Permission.USE_VAD
    | Permission.USE_EMBEDDED_ACTIVITIES
    | Permission.USE_SOUNDBOARD
    | Permission.USE_EXTERNAL_SOUNDS
    | Permission.SET_VOICE_CHANNEL_STATUS
    | Permission.MANAGE_CHANNELS
    | Permission.MANAGE_ROLES
)
IN_DM = int(
    Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.ADD_REACTIONS
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.MENTION_EVERYONE
    | Permission.USE_EXTERNAL_EMOJIS
    | Permission.USE_EXTERNAL_STICKERS
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.SEND_VOICE_MESSAGES
    | Permission.SEND_POLLS
    | Permission.PIN_MESSAGES
)
"""What both users of a DM may do in it."""


def permissions_for(world: WorldState, guild_id: int | None, user_id: int, channel_id: int) -> int:
    """The permission bits of a user in a channel; a thread has its parent's.

    `guild_id` is None for a DM. 0 for a channel that is unknown or of another guild, and for who is not in it.
    Whether a *private* thread is visible is not in the bits: ask `can_view`.
    """
    channel = world.channels.get(channel_id)
    if channel is None or channel.guild_id != guild_id:
        return 0
    return channel_permissions(world, user_id, channel)


def channel_permissions(world: WorldState, user_id: int, channel: Channel) -> int:
    """`permissions_for` of a channel at hand."""
    if channel.guild_id is None:
        return IN_DM if user_id in channel.recipients else 0
    guild = world.guilds.get(channel.guild_id)
    member = guild.members.get(user_id) if guild is not None else None
    if guild is None or member is None:
        return 0
    carrier = channel if channel.thread is None else guild.channels.get(channel.parent_id or 0)
    if carrier is None:
        return 0
    bits = _in_channel(guild, member, carrier, is_thread=channel.thread is not None)
    return bits & (_VIEW | _HISTORY) if _is_timed_out(world, member) and not bits & _ADMINISTRATOR else bits


def _is_timed_out(world: WorldState, member: Member) -> bool:
    return member.timed_out_until_ms is not None and member.timed_out_until_ms > world.clock.now_ms()


def guild_permissions(guild: Guild, user_id: int) -> int:
    """The permission bits of a user in the guild as a whole, before any channel's overwrites."""
    member = guild.members.get(user_id)
    return 0 if member is None else _in_guild(guild, member)


def can_view(world: WorldState, user_id: int, channel_id: int) -> bool:
    """May the user see this channel, thread or DM? Private threads: members and MANAGE_THREADS only."""
    channel = world.channels.get(channel_id)
    return channel is not None and sees(channel, user_id, channel_permissions(world, user_id, channel))


def can_read_history(world: WorldState, user_id: int, channel_id: int) -> bool:
    """May the user see this channel and what was said in it before?"""
    channel = world.channels.get(channel_id)
    if channel is None:
        return False
    bits = channel_permissions(world, user_id, channel)
    return bool(bits & _HISTORY) and sees(channel, user_id, bits)


def sees(channel: Channel, user_id: int, bits: int) -> bool:
    """Is the channel visible to a user who has `bits` in it?"""
    if not bits & _VIEW:
        return False
    if channel.type != ChannelType.PRIVATE_THREAD or channel.thread is None:
        return True
    return user_id in channel.thread.members or bool(bits & _MANAGE_THREADS)


def _in_guild(guild: Guild, member: Member) -> int:
    """Owner, then @everyone and the union of the member's roles; ADMINISTRATOR stands for all."""
    if guild.owner_id == member.user_id:
        return ALL
    bits = guild.roles[guild.id].permissions
    for role_id in member.roles:
        role = guild.roles.get(role_id)
        if role is not None:
            bits |= role.permissions
    return ALL if bits & _ADMINISTRATOR else bits


def _in_channel(guild: Guild, member: Member, channel: Channel, *, is_thread: bool) -> int:
    bits = _in_guild(guild, member)
    if bits & _ADMINISTRATOR:
        return ALL
    return _without_implied(_overwritten(bits, guild, member, channel), channel, is_thread=is_thread)


def _overwritten(bits: int, guild: Guild, member: Member, channel: Channel) -> int:
    """Overwrites in Discord's order: @everyone, then all roles' denials, all roles' grants, then the member's own."""
    overwrites = channel.overwrites
    if not overwrites:
        return bits
    bits = _applied(bits, overwrites.get(guild.id))
    denied = allowed = 0
    for role_id in member.roles:
        overwrite = overwrites.get(role_id)
        if overwrite is not None and overwrite.target == OverwriteTarget.ROLE:
            denied |= overwrite.deny
            allowed |= overwrite.allow
    return _applied((bits & ~denied) | allowed, overwrites.get(member.user_id))


def _applied(bits: int, overwrite: Overwrite | None) -> int:
    return bits if overwrite is None else (bits & ~overwrite.deny) | overwrite.allow


def _without_implied(bits: int, channel: Channel, *, is_thread: bool) -> int:
    """Take away what is worthless without VIEW_CHANNEL, sending or connecting."""
    if not bits & _VIEW:
        return bits & _GUILD_ONLY
    if not bits & (_SEND_IN_THREADS if is_thread else _SEND):
        bits &= ~_NEED_SENDING
    if channel.type in VOICE_TYPES and not bits & _CONNECT:
        bits &= ~_NEED_CONNECTING
    return bits
