"""Webhooks of channels, and the paths they share with interactions."""

from __future__ import annotations

import secrets

from aiohttp import web

from ragd.sandbox.entities import FORUM_TYPES, Channel, Message, Payload, Webhook
from ragd.sandbox.payloads import message_payload, webhook_payload
from ragd.sandbox.permissions import Permission, channel_permissions

from . import interactions
from .call import Call, Handler, Route, need
from .drafts import read_draft, refuse_empty
from .errors import ApiError, bad_request, unknown
from .messages import mentioned_users, refuse_locked
from .request import no_content, query_flag, query_snowflake, read_body, read_fields, reply, snowflake, text_field

_NAME_MAX = 80
_PER_CHANNEL_MAX = 15


# -- managing


async def create_webhook(call: Call) -> web.Response:
    channel, bits = call.channel()
    need(bits, Permission.MANAGE_WEBHOOKS)
    if channel.guild_id is None or channel.is_thread:
        raise bad_request(50024, "Cannot execute action on this channel type")
    name = text_field(await read_fields(call.request), "name", _NAME_MAX)
    if len(_webhooks_of(call, {channel.id})) >= _PER_CHANNEL_MAX:
        raise bad_request(30007, f"Maximum number of webhooks reached ({_PER_CHANNEL_MAX})")
    return reply(_view(call, call.world.create_webhook(channel.id, name, call.bot_id)))


async def list_channel_webhooks(call: Call) -> web.Response:
    channel, bits = call.channel()
    need(bits, Permission.MANAGE_WEBHOOKS)
    return reply([_view(call, hook) for hook in _webhooks_of(call, {channel.id})])


async def list_guild_webhooks(call: Call) -> web.Response:
    guild = call.guild()
    call.need_in_guild(guild, Permission.MANAGE_WEBHOOKS)
    return reply([_view(call, hook) for hook in _webhooks_of(call, set(guild.channels))])


def _webhooks_of(call: Call, channel_ids: set[int]) -> list[Webhook]:
    return [hook for hook in call.world.webhooks.values() if hook.channel_id in channel_ids]


async def get_webhook(call: Call) -> web.Response:
    return reply(_view(call, _managed_webhook(call)))


async def delete_webhook(call: Call) -> web.Response:
    call.world.delete_webhook(_managed_webhook(call).id)
    return no_content()


def _managed_webhook(call: Call) -> Webhook:
    hook = call.world.webhook(call.path_id("webhook_id"))
    need(channel_permissions(call.world, call.bot_id, call.world.channel(hook.channel_id)), Permission.MANAGE_WEBHOOKS)
    return hook


def _view(call: Call, hook: Webhook) -> Payload:
    return webhook_payload(hook, call.world.users.get(hook.creator_id))


# -- by token, without a bot


def _by_token(call: Call) -> Webhook:
    """The webhook of the path, its token checked (50027)."""
    hook = call.world.webhook(call.path_id("webhook_id"))
    if not secrets.compare_digest(hook.token.encode(), call.request.match_info["token"].encode()):
        raise ApiError(401, 50027, "Invalid Webhook Token")
    return hook


async def get_by_token(call: Call) -> web.Response:
    payload = _view(call, _by_token(call))
    del payload["user"]
    return reply(payload)


async def delete_by_token(call: Call) -> web.Response:
    call.world.delete_webhook(_by_token(call).id)
    return no_content()


async def execute(call: Call) -> web.Response:
    """Post under the webhook's name or the one given; the message comes back with `wait` only."""
    hook = _by_token(call)
    target = _target(call, hook)
    body = await read_body(call.request)
    draft = read_draft(call.world, target.id, body)
    refuse_empty(draft)
    refuse_locked(target)
    name = str(body.fields.get("username") or "") or None
    pings = draft.pings(mentioned_users(call, draft.content))
    parts = draft.parts()
    parts["webhook_id"], parts["webhook_name"] = hook.id, name
    message = call.world.post(target.id, hook.id, draft.content, flags=draft.flags, mentions=pings, **parts)
    return reply(message_payload(call.world, message)) if query_flag(call.request, "wait") else no_content()


def _target(call: Call, hook: Webhook) -> Channel:
    """The webhook's channel, or the thread of it that the query names; a forum takes posts in threads only."""
    thread_id = query_snowflake(call.request, "thread_id")
    channel = call.world.channel(hook.channel_id if thread_id is None else thread_id)
    if thread_id is not None and channel.parent_id != hook.channel_id:
        raise unknown("Channel")
    if channel.type in FORUM_TYPES:
        raise bad_request(220001, "Webhooks posted to forum channels must have a thread_name or thread_id")
    return channel


def _own_message(call: Call, hook: Webhook) -> Message:
    message = call.world.message(snowflake(call.request.match_info["message_id"], "message_id"))
    if message.parts.webhook_id != hook.id:
        raise unknown("Message")
    return message


async def get_message(call: Call) -> web.Response:
    return reply(message_payload(call.world, _own_message(call, _by_token(call))))


async def edit_message(call: Call) -> web.Response:
    message = _own_message(call, _by_token(call))
    draft = read_draft(call.world, message.channel_id, await read_body(call.request), edited=message)
    return reply(message_payload(call.world, call.world.edit(message.id, **draft.changes())))


async def delete_message(call: Call) -> web.Response:
    call.world.delete(_own_message(call, _by_token(call)).id)
    return no_content()


def _either(for_webhook: Handler, for_interaction: Handler) -> Handler:
    """One path, two owners: an application's id in it means an interaction's token, any other id a webhook's."""

    async def handle(call: Call) -> web.Response:
        is_interaction = call.path_id("webhook_id") in call.world.applications
        return await (for_interaction if is_interaction else for_webhook)(call)

    return handle


_WEBHOOK = "/webhooks/{webhook_id}"
_TOKEN = _WEBHOOK + "/{token}"
_MESSAGE = _TOKEN + "/messages/{message_id}"

ROUTES = (
    Route("POST", "/channels/{channel_id}/webhooks", create_webhook),
    Route("GET", "/channels/{channel_id}/webhooks", list_channel_webhooks),
    Route("GET", "/guilds/{guild_id}/webhooks", list_guild_webhooks),
    Route("GET", _WEBHOOK, get_webhook),
    Route("DELETE", _WEBHOOK, delete_webhook),
    Route("GET", _TOKEN, get_by_token),
    Route("DELETE", _TOKEN, delete_by_token),
    Route("POST", _TOKEN, _either(execute, interactions.follow_up)),
    Route("GET", _MESSAGE, _either(get_message, interactions.get_answer)),
    Route("PATCH", _MESSAGE, _either(edit_message, interactions.edit_answer)),
    Route("DELETE", _MESSAGE, _either(delete_message, interactions.delete_answer)),
)
