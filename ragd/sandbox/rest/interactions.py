"""The bot's first answer to an interaction, and its later ones through the interaction's webhook.

Source: https://discord.com/developers/docs/interactions/receiving-and-responding
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ragd.sandbox.entities import Message, MessageFlags, Payload
from ragd.sandbox.interactions import CallbackType, Interaction, InteractionKind
from ragd.sandbox.payloads import message_payload

from .call import Call, Route
from .drafts import Draft, read_draft, refuse_empty
from .errors import ApiError, bad_request, invalid_form, unknown
from .request import Body, no_content, query_flag, read_body, reply, snowflake

ANSWER_WITHIN_MS = 3_000
TOKEN_LIVES_MS = 15 * 60_000

_MESSAGES = {CallbackType.MESSAGE, CallbackType.DEFERRED_MESSAGE}
_ALLOWED = {
    InteractionKind.COMMAND: _MESSAGES | {CallbackType.MODAL},
    InteractionKind.COMPONENT: _MESSAGES | {CallbackType.DEFERRED_UPDATE, CallbackType.UPDATE, CallbackType.MODAL},
    InteractionKind.AUTOCOMPLETE: {CallbackType.AUTOCOMPLETE},
}


# -- the callback


async def create_callback(call: Call) -> web.Response:
    """The one first answer, due within three seconds."""
    interaction = _unanswered(call)
    body = await read_body(call.request)
    kind = _callback_type(interaction, body.fields.get("type"))
    data: Payload = body.fields.get("data") or {}
    message = _acknowledge(call, interaction, kind, data, body)
    if not query_flag(call.request, "with_response"):
        return no_content()
    return reply(_callback_payload(call, interaction, kind, message))


def _unanswered(call: Call) -> Interaction:
    """The interaction of the path: 10062 when unknown or too old, 40060 when it has its answer."""
    interaction = call.world.interactions.get(call.path_id("interaction_id"))
    if interaction is None or interaction.token != call.request.match_info["token"]:
        raise unknown("interaction")
    if interaction.callback_type is not None:
        raise bad_request(40060, "Interaction has already been acknowledged.")
    if _age_ms(call, interaction) > ANSWER_WITHIN_MS:
        raise unknown("interaction")
    return interaction


def _age_ms(call: Call, interaction: Interaction) -> int:
    return call.world.clock.now_ms() - interaction.created_ms


def _callback_type(interaction: Interaction, value: Any) -> CallbackType:
    allowed = _ALLOWED[interaction.kind]
    if value not in allowed:
        names = ", ".join(str(int(kind)) for kind in sorted(allowed))
        raise invalid_form("type", "BASE_TYPE_CHOICES", f"Value must be one of {{{names}}}.")
    return CallbackType(value)


def _acknowledge(call: Call, interaction: Interaction, kind: CallbackType, data: Payload, body: Body) -> Message | None:
    """Check the answer, then note it; returns the message that it made or changed."""
    world, channel_id = call.world, interaction.channel_id
    if kind == CallbackType.MESSAGE:
        draft = read_draft(world, channel_id, body, of=data)
        refuse_empty(draft)
        world.acknowledge(interaction.id, kind, data)
        return world.answer(interaction.id, draft.content, flags=draft.flags, **draft.parts())
    if kind == CallbackType.UPDATE:
        source = world.message(_source_id(interaction))
        draft = read_draft(world, channel_id, body, of=data, edited=source)
        world.acknowledge(interaction.id, kind, data)
        return world.edit(source.id, **draft.changes())
    world.acknowledge(interaction.id, kind, data)
    return world.answer_message(interaction, None) if kind == CallbackType.DEFERRED_MESSAGE else None


def _source_id(interaction: Interaction) -> int:
    if interaction.source_message_id is None:
        raise unknown("Message")
    return interaction.source_message_id


def _callback_payload(call: Call, interaction: Interaction, kind: CallbackType, message: Message | None) -> Payload:
    state: Payload = {"id": str(interaction.id), "type": int(interaction.kind)}
    if message is None:
        return {"interaction": state}
    state |= {
        "response_message_id": str(message.id),
        "response_message_loading": bool(message.flags & MessageFlags.LOADING),
        "response_message_ephemeral": bool(message.flags & MessageFlags.EPHEMERAL),
    }
    return {"interaction": state, "resource": {"type": int(kind), "message": message_payload(call.world, message)}}


# -- later answers, by way of /webhooks/{application id}/{interaction token}


def open_interaction(call: Call) -> Interaction:
    """The acknowledged interaction that the path's token names; 10015 when there is none, 50027 after 15 minutes."""
    token = call.request.match_info["token"]
    found = [one for one in call.world.interactions.values() if one.token == token]
    if not found or found[0].application_id != call.path_id("webhook_id") or found[0].callback_type is None:
        raise unknown("Webhook")
    if _age_ms(call, found[0]) > TOKEN_LIVES_MS:
        raise ApiError(401, 50027, "Invalid Webhook Token")
    return found[0]


async def follow_up(call: Call) -> web.Response:
    interaction = open_interaction(call)
    draft = await _draft(call, interaction)
    refuse_empty(draft)
    message = call.world.answer(interaction.id, draft.content, flags=draft.flags, **draft.parts())
    return reply(message_payload(call.world, message))


async def get_answer(call: Call) -> web.Response:
    return reply(message_payload(call.world, _answer(call, open_interaction(call))))


async def edit_answer(call: Call) -> web.Response:
    interaction = open_interaction(call)
    message = _answer(call, interaction)
    changes = (await _draft(call, interaction, message)).changes()
    if message.id == interaction.source_message_id:
        return reply(message_payload(call.world, call.world.edit(message.id, **changes)))
    return reply(message_payload(call.world, call.world.edit_answer(interaction.id, message.id, **changes)))


async def delete_answer(call: Call) -> web.Response:
    interaction = open_interaction(call)
    message = _answer(call, interaction)
    if message.id == interaction.source_message_id:
        call.world.delete(message.id)
    else:
        call.world.delete_answer(interaction.id, message.id)
    return no_content()


async def _draft(call: Call, interaction: Interaction, edited: Message | None = None) -> Draft:
    return read_draft(call.world, interaction.channel_id, await read_body(call.request), edited=edited)


def _answer(call: Call, interaction: Interaction) -> Message:
    """The message of the path; `@original` of an update is the message whose component was used."""
    text = call.request.match_info["message_id"]
    if text != "@original":
        return call.world.answer_message(interaction, snowflake(text, "message_id"))
    if interaction.callback_type in (CallbackType.UPDATE, CallbackType.DEFERRED_UPDATE):
        return call.world.message(_source_id(interaction))
    return call.world.answer_message(interaction, None)


ROUTES = (Route("POST", "/interactions/{interaction_id}/{token}/callback", create_callback),)
