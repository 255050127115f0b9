"""Which mutations of the world the control side offers, and how records look in its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import payloads
from .entities import (
    Application,
    Channel,
    Command,
    Guild,
    Ledger,
    LedgerEntry,
    Member,
    Message,
    Role,
    User,
    Webhook,
)
from .state import WorldState

CHANGES = frozenset(
    {
        "add_member",
        "archive_thread",
        "bulk_delete",
        "clear_reactions",
        "create_application",
        "create_channel",
        "create_dm",
        "create_forum_post",
        "create_guild",
        "create_role",
        "create_thread",
        "create_user",
        "create_webhook",
        "delete",
        "delete_channel",
        "delete_guild",
        "delete_overwrite",
        "delete_role",
        "edit",
        "forward",
        "invite_bot",
        "join_thread",
        "leave_thread",
        "post",
        "react",
        "remove_member",
        "reset_token",
        "set_guild_unavailable",
        "set_member_roles",
        "set_nick",
        "set_overwrite",
        "set_pinned",
        "set_role_permissions",
        "time_out",
        "unarchive_thread",
        "unreact",
        "update_channel",
        "update_guild",
        "update_thread",
    }
)


def rendered(world: WorldState, record: Any) -> Any:
    """A record as JSON-ready values with ids as strings: Discord's payload where there is one."""
    if record is None:
        return {}
    if isinstance(record, list):
        return [str(item) for item in record]
    return _RENDERERS[type(record)](world, record)


def _application(world: WorldState, application: Application) -> dict[str, Any]:
    owner = world.users.get(application.owner_id)
    more = {"bot_id": str(application.bot_id), "token": application.token}
    return {**payloads.application_payload(application, owner), **more}


def _ledger(_world: WorldState, ledger: Ledger) -> dict[str, Any]:
    return {
        "messages": [_ledger_entry(entry) for entry in ledger.messages.values()],
        "deleted": [str(message_id) for message_id in sorted(ledger.deleted)],
    }


def _ledger_entry(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "id": str(entry.id),
        "channel_id": str(entry.channel_id),
        "guild_id": None if entry.guild_id is None else str(entry.guild_id),
        "author_id": str(entry.author_id),
        "content": entry.content,
        "edited_timestamp": entry.edited_timestamp,
    }


_RENDERERS: dict[type, Callable[[WorldState, Any], Any]] = {
    Application: _application,
    Channel: payloads.channel_payload,
    Command: lambda _world, command: payloads.command_payload(command),
    Guild: payloads.guild_payload,
    Ledger: _ledger,
    Member: payloads.member_payload,
    Message: payloads.message_payload,
    Role: lambda _world, role: payloads.role_payload(role),
    User: lambda _world, user: payloads.user_payload(user),
    Webhook: lambda world, webhook: payloads.webhook_payload(webhook, world.users.get(webhook.creator_id)),
}
