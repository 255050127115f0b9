"""Interactions: what a user triggered and all the bot said to it, and their JSON.

Source: https://discord.com/developers/docs/interactions/receiving-and-responding
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import IntEnum

from . import payloads
from .entities import Message, Payload
from .permissions import guild_permissions, permissions_for
from .state import WorldState


class InteractionKind(IntEnum):
    """Interaction types."""

    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4


class CallbackType(IntEnum):
    """How a bot may answer an interaction first."""

    MESSAGE = 4
    DEFERRED_MESSAGE = 5
    DEFERRED_UPDATE = 6
    UPDATE = 7
    AUTOCOMPLETE = 8
    MODAL = 9


@dataclass(slots=True)
class Interaction:
    """One interaction and all the bot said to it.

    `message_ids` lists its answers in order, the original first; ephemeral ones live only here, in `hidden`.
    """

    id: int
    kind: InteractionKind
    application_id: int
    token: str
    guild_id: int | None
    channel_id: int
    user_id: int
    created_ms: int
    data: Payload
    source_message_id: int | None = None
    callback_type: int | None = None
    callback_ms: int | None = None
    callback_data: Payload | None = None
    original_id: int | None = None
    message_ids: list[int] = field(default_factory=list)
    hidden: dict[int, Message] = field(default_factory=dict)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the user sees an answer: a message that is no longer 'thinking', or any other callback."""

    @property
    def deferred(self) -> bool:
        """True when the bot first asked for time."""
        return self.callback_type in (CallbackType.DEFERRED_MESSAGE, CallbackType.DEFERRED_UPDATE)


_RESOLVED_KINDS = {6: "users", 7: "channels", 8: "roles"}


def _resolved(world: WorldState, interaction: Interaction) -> Payload:
    """The `resolved` objects of user, channel and role options."""
    resolved: Payload = {}
    for option in _flat_options(interaction.data.get("options") or []):
        kind = _RESOLVED_KINDS.get(option["type"])
        if kind is None:
            continue
        key = int(option["value"])
        option["value"] = str(key)
        for table, payload in _resolved_entries(world, interaction.guild_id, kind, key):
            resolved.setdefault(table, {})[str(key)] = payload
    return resolved


def _flat_options(options: list[Payload]) -> list[Payload]:
    flat: list[Payload] = []
    for option in options:
        flat += _flat_options(option["options"]) if "options" in option else [option]
    return flat


def _resolved_entries(world: WorldState, guild_id: int | None, kind: str, key: int) -> list[tuple[str, Payload]]:
    if kind == "channels":
        payload = payloads.channel_payload(world, world.channel(key))
        return [("channels", {**payload, "permissions": "0"})]
    if kind == "roles":
        return [] if guild_id is None else [("roles", payloads.role_payload(world.role(guild_id, key)))]
    entries = [("users", payloads.user_payload(world.user(key)))]
    guild = None if guild_id is None else world.guild(guild_id)
    if guild is not None and (member := guild.members.get(key)) is not None:
        allowed = guild_permissions(guild, key)
        entries.append(("members", {**payloads.partial_member_payload(member), "permissions": str(allowed)}))
    return entries


def interaction_metadata_payload(world: WorldState, interaction: Interaction) -> Payload:
    """The `interaction_metadata` that answers carry; `name` for commands."""
    name = {"name": str(interaction.data["name"])} if interaction.kind == InteractionKind.COMMAND else {}
    return {
        **name,
        "id": str(interaction.id),
        "type": int(interaction.kind),
        "user": payloads.user_payload(world.user(interaction.user_id)),
        "authorizing_integration_owners": {"0": str(interaction.guild_id or 0)},
    }


def interaction_payload(world: WorldState, interaction: Interaction) -> Payload:
    """The data of INTERACTION_CREATE."""
    data = dict(interaction.data)
    if resolved := _resolved(world, interaction):
        data["resolved"] = resolved
    user = payloads.user_payload(world.user(interaction.user_id))
    payload: Payload = {
        "id": str(interaction.id),
        "application_id": str(interaction.application_id),
        "type": int(interaction.kind),
        "token": interaction.token,
        "version": 1,
        "data": data,
        "channel_id": str(interaction.channel_id),
        "channel": payloads.channel_payload(world, world.channel(interaction.channel_id)),
        "locale": "en-US",
        "entitlements": [],
        "authorizing_integration_owners": {"0": str(interaction.guild_id or 0)},
        "attachment_size_limit": 10 * 1024 * 1024,
        "app_permissions": "0",
    }
    if interaction.source_message_id is not None:
        payload["message"] = payloads.message_payload(world, world.message(interaction.source_message_id))
    guild_id = interaction.guild_id
    if guild_id is None:
        return {**payload, "user": user, "context": 1}
    bot_id = world.application(interaction.application_id).bot_id
    allowed = permissions_for(world, guild_id, interaction.user_id, interaction.channel_id)
    own = permissions_for(world, guild_id, bot_id, interaction.channel_id)
    member = payloads.partial_member_payload(world.member(guild_id, interaction.user_id))
    return {
        **payload,
        "guild_id": str(guild_id),
        "guild": {"id": str(guild_id), "locale": "en-US", "features": []},
        "guild_locale": "en-US",
        "context": 0,
        "app_permissions": str(own),
        "member": {**member, "user": user, "permissions": str(allowed)},
    }
