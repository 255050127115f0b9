"""Discord's JSON of everything in the world, used by gateway and REST alike.

Source of the shapes: https://discord.com/developers/docs/resources
"""

from __future__ import annotations

from .entities import (
    Application,
    Channel,
    ChannelType,
    Command,
    Guild,
    Message,
    Payload,
    Reaction,
    User,
    Webhook,
)
from .entity_payloads import (
    channel_payload,
    dm_payload,
    guild_channel_payload,
    member_event_payload,
    member_payload,
    overwrite_payload,
    own_user_payload,
    partial_member_payload,
    role_payload,
    tag_payload,
    thread_member_payload,
    thread_members_update_payload,
    thread_metadata_payload,
    thread_payload,
    user_payload,
)
from .snowflake import iso, snowflake_ms
from .state import WorldState

__all__ = [
    "LARGE_GUILD_MEMBERS",
    "active_threads",
    "application_flags",
    "application_payload",
    "attachment_payload",
    "author_payload",
    "channel_payload",
    "command_payload",
    "dm_payload",
    "guild_channel_payload",
    "guild_create_payload",
    "guild_payload",
    "joined_thread_payload",
    "member_event_payload",
    "member_payload",
    "message_event_payload",
    "message_payload",
    "overwrite_payload",
    "own_user_payload",
    "partial_member_payload",
    "reaction_payload",
    "role_payload",
    "snapshot_payload",
    "tag_payload",
    "thread_member_payload",
    "thread_members_update_payload",
    "thread_metadata_payload",
    "thread_payload",
    "unavailable_guild_payload",
    "user_payload",
    "webhook_payload",
]


# -- guilds


def unavailable_guild_payload(guild_id: int) -> Payload:
    """An unavailable guild object."""
    return {"id": str(guild_id), "unavailable": True}


def guild_payload(world: WorldState, guild: Guild) -> Payload:
    """A guild object as REST and GUILD_UPDATE give it (no members, channels or threads)."""
    return {
        "id": str(guild.id),
        "name": guild.name,
        "owner_id": str(guild.owner_id),
        "roles": [role_payload(role) for role in guild.roles.values()],
        "emojis": [],
        "stickers": [],
        "features": [],
        **_GUILD_CONSTANTS,
    }


_GUILD_CONSTANTS: Payload = {
    "icon": None,
    "splash": None,
    "discovery_splash": None,
    "banner": None,
    "description": None,
    "afk_channel_id": None,
    "afk_timeout": 300,
    "application_id": None,
    "default_message_notifications": 1,
    "explicit_content_filter": 0,
    "max_members": 500_000,
    "mfa_level": 0,
    "nsfw_level": 0,
    "preferred_locale": "en-US",
    "premium_progress_bar_enabled": False,
    "premium_subscription_count": 0,
    "premium_tier": 0,
    "public_updates_channel_id": None,
    "rules_channel_id": None,
    "safety_alerts_channel_id": None,
    "system_channel_flags": 0,
    "system_channel_id": None,
    "vanity_url_code": None,
    "verification_level": 0,
    "widget_enabled": False,
}
LARGE_GUILD_MEMBERS = 250
"""Above this GUILD_CREATE says `large` and names no members but the bot."""


def guild_create_payload(
    world: WorldState,
    guild: Guild,
    bot_id: int,
    *,
    threads: list[Channel] | None = None,
    with_members: bool = True,
) -> Payload:
    """The data of GUILD_CREATE for one bot: all channels, and `threads` (default: active ones, private if joined).

    Members other than the bot are left out of large guilds and without `with_members` (Discord ties it to the
    presences intent).
    """
    large = len(guild.members) > LARGE_GUILD_MEMBERS
    joined = guild.members.get(bot_id)
    members = list(guild.members.values()) if with_members and not large else [joined] if joined else []
    shown = active_threads(guild, bot_id) if threads is None else threads
    return {
        **guild_payload(world, guild),
        "joined_at": iso(joined.joined_ms if joined else snowflake_ms(guild.id)),
        "large": large,
        "unavailable": guild.unavailable,
        "member_count": len(guild.members),
        "voice_states": [],
        "members": [member_payload(world, member) for member in members],
        "channels": [guild_channel_payload(channel) for channel in guild.channels.values()],
        "threads": [joined_thread_payload(thread, bot_id) for thread in shown],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


def active_threads(guild: Guild, user_id: int) -> list[Channel]:
    """The guild's active threads, private ones only when the user is in them. Permissions are not looked at."""
    return [thread for thread in guild.threads.values() if _is_active_for(thread, user_id)]


def _is_active_for(thread: Channel, user_id: int) -> bool:
    state = thread.thread
    if state is None or state.archived:
        return False
    return thread.type != ChannelType.PRIVATE_THREAD or user_id in state.members


def joined_thread_payload(thread: Channel, user_id: int) -> Payload:
    """A thread object with the `member` of the user who asks, when they are in it."""
    assert thread.thread is not None
    payload = thread_payload(thread, thread.thread)
    member = thread.thread.members.get(user_id)
    if member is not None:
        payload["member"] = thread_member_payload(thread.id, member)
    return payload


# -- messages


def message_payload(world: WorldState, message: Message, *, viewer_id: int | None = None, depth: int = 1) -> Payload:
    """A message object as REST gives it; `viewer_id` decides `me` of reactions.

    `depth` 1 resolves the message replied to (null when it is gone), 0 leaves it out as Discord does one level down.
    """
    parts = message.parts
    payload: Payload = {
        "id": str(message.id),
        "channel_id": str(message.channel_id),
        "type": int(message.type),
        "content": message.content,
        "author": author_payload(world, message),
        "timestamp": iso(snowflake_ms(message.id)),
        "edited_timestamp": None if message.edited_ms is None else iso(message.edited_ms),
        "tts": parts.tts,
        "mention_everyone": parts.mention_everyone,
        "mentions": [user_payload(world.users[user_id]) for user_id in message.mentions],
        "mention_roles": [str(role_id) for role_id in parts.mention_roles],
        "attachments": list(parts.attachments),
        "embeds": list(parts.embeds),
        "components": list(parts.components),
        "flags": int(message.flags),
        "pinned": parts.pinned,
    }
    if parts.reactions:
        payload["reactions"] = [reaction_payload(reaction, viewer_id) for reaction in parts.reactions.values()]
    if parts.sticker_items:
        payload["sticker_items"] = list(parts.sticker_items)
    if parts.poll is not None:
        payload["poll"] = parts.poll
    if parts.webhook_id is not None:
        payload["webhook_id"] = str(parts.webhook_id)
    if parts.application_id is not None:
        payload["application_id"] = str(parts.application_id)
    if parts.interaction_metadata is not None:
        payload |= _origin_payload(parts.interaction_metadata)
    if parts.snapshots:
        payload["message_snapshots"] = [{"message": snapshot} for snapshot in parts.snapshots]
    thread = world.channels.get(message.id)
    if thread is not None and thread.thread is not None and thread.id != message.channel_id:
        payload["thread"] = thread_payload(thread, thread.thread)
    if message.reply_to is not None:
        payload |= _reference_payload(world, message, message.reply_to, depth)
    return payload


def _reference_payload(world: WorldState, message: Message, reply_to: tuple[int, int], depth: int) -> Payload:
    channel_id, message_id = reply_to
    channel = world.channels.get(channel_id) or world.channels[message.channel_id]
    is_forward = bool(message.parts.snapshots)
    reference: Payload = {"type": int(is_forward), "channel_id": str(channel_id)}
    if message_id:
        reference["message_id"] = str(message_id)
    if channel.guild_id is not None:
        reference["guild_id"] = str(channel.guild_id)
    payload: Payload = {"message_reference": reference}
    if depth > 0 and message_id and not is_forward:
        target = world.messages.get(message_id)
        payload["referenced_message"] = None if target is None else message_payload(world, target, depth=depth - 1)
    return payload


def _origin_payload(metadata: Payload) -> Payload:
    """What a bot's message answers, in both fields: Discord calls the older one deprecated and still sends it."""
    if "name" not in metadata:
        return {"interaction_metadata": metadata}
    older = {key: metadata[key] for key in ("id", "type", "name", "user")}
    return {"interaction_metadata": metadata, "interaction": older}


def snapshot_payload(world: WorldState, message: Message) -> Payload:
    """A message as forwards of it show it: its author is not told."""
    whole = message_payload(world, message, depth=0)
    kept = ("type", "content", "embeds", "attachments", "timestamp", "edited_timestamp", "flags", "mentions")
    more = ("mention_roles", "sticker_items", "components")
    return {key: whole[key] for key in (*kept, *more) if key in whole}


def author_payload(world: WorldState, message: Message) -> Payload:
    """Who a message is by: a user, or a webhook under the name it used (a bot's answers come through its own)."""
    parts = message.parts
    if parts.webhook_id is None or parts.webhook_id == parts.application_id:
        return user_payload(world.users[message.author_id])
    hook = world.webhooks.get(parts.webhook_id)
    name = parts.webhook_name or (hook.name if hook else "webhook")
    return user_payload(User(parts.webhook_id, name, bot=True, discriminator="0000"))


def reaction_payload(reaction: Reaction, viewer_id: int | None) -> Payload:
    """A reaction object."""
    count = len(reaction.user_ids)
    return {
        "emoji": reaction.emoji,
        "count": count,
        "count_details": {"normal": count, "burst": 0},
        "me": viewer_id in reaction.user_ids,
        "me_burst": False,
        "burst_colors": [],
    }


def message_event_payload(world: WorldState, message: Message) -> Payload:
    """The data of MESSAGE_CREATE and MESSAGE_UPDATE: the message with guild id, author's member and channel type."""
    payload = message_payload(world, message)
    channel = world.channels[message.channel_id]
    payload["channel_type"] = int(channel.type)
    if channel.guild_id is None:
        return payload
    payload["guild_id"] = str(channel.guild_id)
    members = world.guilds[channel.guild_id].members
    member = members.get(message.author_id)
    if member is not None and message.parts.webhook_id is None:
        payload["member"] = partial_member_payload(member)
    for mention in payload["mentions"]:
        mentioned = members.get(int(mention["id"]))
        if mentioned is not None:
            mention["member"] = partial_member_payload(mentioned)
    return payload


def attachment_payload(
    attachment_id: int, channel_id: int, filename: str, size: int, content_type: str | None = None
) -> Payload:
    """An attachment object; the URL leads nowhere, the sandbox keeps no files."""
    url = f"https://cdn.discordapp.com/attachments/{channel_id}/{attachment_id}/{filename}"
    return {
        "id": str(attachment_id),
        "filename": filename,
        "size": size,
        "url": url,
        "proxy_url": url,
        **({} if content_type is None else {"content_type": content_type}),
    }


# -- applications


def application_payload(application: Application, owner: User | None) -> Payload:
    """The application object of `/oauth2/applications/@me` and `/applications/@me`.

    The flags say which privileged intents are granted (as for bots in fewer than 100 guilds).
    """
    return {
        "id": str(application.id),
        "name": application.name,
        "icon": None,
        "description": "",
        "summary": "",
        "rpc_origins": [],
        "bot_public": False,
        "bot_require_code_grant": False,
        "verify_key": "0" * 64,
        "flags": application_flags(application),
        "team": None,
        "owner": None if owner is None else user_payload(owner),
    }


def application_flags(application: Application) -> int:
    """The `*_LIMITED` application flags of the granted privileged intents."""
    bits = {1 << 8: 1 << 13, 1 << 1: 1 << 15, 1 << 15: 1 << 19}
    return sum(flag for intent, flag in bits.items() if application.granted_intents & intent)


def command_payload(command: Command) -> Payload:
    """An application command object."""
    return {
        "type": 1,
        "description": "",
        "options": [],
        "default_member_permissions": None,
        "nsfw": False,
        **command.payload,
        "id": str(command.id),
        "application_id": str(command.application_id),
        "version": str(command.version),
        **({} if command.guild_id is None else {"guild_id": str(command.guild_id)}),
    }


def webhook_payload(webhook: Webhook, creator: User | None) -> Payload:
    """A webhook object."""
    return {
        "id": str(webhook.id),
        "type": 1,
        "guild_id": str(webhook.guild_id),
        "channel_id": str(webhook.channel_id),
        "name": webhook.name,
        "avatar": None,
        "token": webhook.token,
        "application_id": None,
        "user": None if creator is None else user_payload(creator),
    }
