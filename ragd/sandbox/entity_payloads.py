"""Discord's JSON of users, roles, members, channels and threads; import it from `payloads`.

Source of the shapes: https://discord.com/developers/docs/resources
"""

from __future__ import annotations

from .entities import (
    FORUM_TYPES,
    VOICE_TYPES,
    Channel,
    ChannelType,
    ForumTag,
    Guild,
    Member,
    Overwrite,
    Payload,
    Role,
    ThreadMember,
    ThreadState,
    User,
)
from .snowflake import iso
from .state import WorldState


def _opt(snowflake: int | None) -> str | None:
    return None if snowflake is None else str(snowflake)


def user_payload(user: User) -> Payload:
    """A user object."""
    return {
        "id": str(user.id),
        "username": user.username,
        "global_name": user.global_name,
        "discriminator": user.discriminator,
        "avatar": user.avatar,
        "bot": user.bot,
        "public_flags": 0,
    }


def own_user_payload(user: User) -> Payload:
    """The user object as a bot sees itself in READY and `/users/@me`."""
    return {**user_payload(user), "mfa_enabled": False, "verified": True, "email": None, "flags": 0, "locale": "en-US"}


def role_payload(role: Role) -> Payload:
    """A role object."""
    payload: Payload = {
        "id": str(role.id),
        "name": role.name,
        "description": None,
        "permissions": str(role.permissions),
        "position": role.position,
        "color": role.color,
        "colors": {"primary_color": role.color, "secondary_color": None, "tertiary_color": None},
        "hoist": role.hoist,
        "managed": role.managed,
        "mentionable": role.mentionable,
        "icon": None,
        "unicode_emoji": None,
        "flags": 0,
    }
    if role.bot_id is not None:
        payload["tags"] = {"bot_id": str(role.bot_id)}
    return payload


def partial_member_payload(member: Member) -> Payload:
    """A guild member object without its user, as in MESSAGE_CREATE."""
    return {
        "nick": member.nick,
        "avatar": None,
        "banner": None,
        "roles": [str(role_id) for role_id in member.roles],
        "joined_at": iso(member.joined_ms),
        "premium_since": None,
        "deaf": False,
        "mute": False,
        "flags": 0,
        "pending": False,
        "communication_disabled_until": None if member.timed_out_until_ms is None else iso(member.timed_out_until_ms),
    }


def member_payload(world: WorldState, member: Member) -> Payload:
    """A guild member object with its user."""
    return {**partial_member_payload(member), "user": user_payload(world.user(member.user_id))}


def member_event_payload(world: WorldState, guild: Guild, member: Member) -> Payload:
    """The data of GUILD_MEMBER_ADD and GUILD_MEMBER_UPDATE."""
    return {**member_payload(world, member), "guild_id": str(guild.id)}


# -- channels


def overwrite_payload(overwrite: Overwrite) -> Payload:
    """A permission overwrite object."""
    return {
        "id": str(overwrite.id),
        "type": int(overwrite.target),
        "allow": str(overwrite.allow),
        "deny": str(overwrite.deny),
    }


def channel_payload(world: WorldState, channel: Channel) -> Payload:
    """A channel object of any type, threads included."""
    if channel.thread is not None:
        return thread_payload(channel, channel.thread)
    if channel.guild_id is None:
        return dm_payload(world, channel)
    return guild_channel_payload(channel)


def guild_channel_payload(channel: Channel) -> Payload:
    """A channel object of a guild channel that is not a thread."""
    payload: Payload = {
        "id": str(channel.id),
        "type": int(channel.type),
        "guild_id": _opt(channel.guild_id),
        "name": channel.name,
        "parent_id": _opt(channel.parent_id),
        "position": channel.position,
        "permission_overwrites": [overwrite_payload(overwrite) for overwrite in channel.overwrites.values()],
        "flags": 0,
    }
    if channel.type == ChannelType.CATEGORY:
        return payload
    payload |= {
        "topic": channel.topic,
        "nsfw": channel.nsfw,
        "last_message_id": _opt(channel.last_message_id),
        "rate_limit_per_user": channel.rate_limit_per_user,
    }
    if channel.type in VOICE_TYPES:
        payload |= {"bitrate": 64000, "user_limit": 0, "rtc_region": None}
    if channel.type in FORUM_TYPES:
        payload |= {
            "available_tags": [tag_payload(tag) for tag in channel.available_tags],
            "default_reaction_emoji": None,
            "default_sort_order": None,
            "default_forum_layout": 0,
        }
    return payload


def tag_payload(tag: ForumTag) -> Payload:
    """A forum tag object."""
    return {
        "id": str(tag.id),
        "name": tag.name,
        "moderated": tag.moderated,
        "emoji_id": None,
        "emoji_name": tag.emoji_name,
    }


def thread_payload(channel: Channel, state: ThreadState) -> Payload:
    """A channel object of a thread."""
    return {
        "id": str(channel.id),
        "type": int(channel.type),
        "guild_id": _opt(channel.guild_id),
        "parent_id": _opt(channel.parent_id),
        "owner_id": str(state.owner_id),
        "name": channel.name,
        "last_message_id": _opt(channel.last_message_id),
        "rate_limit_per_user": channel.rate_limit_per_user,
        "message_count": state.message_count,
        "member_count": min(len(state.members), 50),
        "total_message_sent": state.total_message_sent,
        "applied_tags": [str(tag_id) for tag_id in state.applied_tags],
        "flags": 0,
        "thread_metadata": thread_metadata_payload(channel, state),
    }


def thread_metadata_payload(channel: Channel, state: ThreadState) -> Payload:
    """A thread metadata object."""
    metadata: Payload = {
        "archived": state.archived,
        "archive_timestamp": iso(state.archive_changed_ms),
        "auto_archive_duration": state.auto_archive_minutes,
        "locked": state.locked,
        "create_timestamp": iso(state.created_ms),
    }
    if channel.type == ChannelType.PRIVATE_THREAD:
        metadata["invitable"] = state.invitable
    return metadata


def thread_member_payload(thread_id: int, member: ThreadMember) -> Payload:
    """A thread member object."""
    return {
        "id": str(thread_id),
        "user_id": str(member.user_id),
        "join_timestamp": iso(member.joined_ms),
        "flags": member.flags,
    }


def thread_members_update_payload(thread: Channel, added: list[int], removed: list[int]) -> Payload:
    """The data of THREAD_MEMBERS_UPDATE."""
    members = thread.thread.members if thread.thread is not None else {}
    return {
        "id": str(thread.id),
        "guild_id": _opt(thread.guild_id),
        "member_count": min(len(members), 50),
        "added_members": [thread_member_payload(thread.id, members[user_id]) for user_id in added],
        "removed_member_ids": [str(user_id) for user_id in removed],
    }


def dm_payload(world: WorldState, channel: Channel) -> Payload:
    """A DM channel object with both users as recipients (Discord leaves the asking user out: REST does that)."""
    return {
        "id": str(channel.id),
        "type": int(channel.type),
        "last_message_id": _opt(channel.last_message_id),
        "recipients": [user_payload(world.user(user_id)) for user_id in channel.recipients],
        "flags": 0,
    }
