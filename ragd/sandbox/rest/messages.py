"""Messages of a channel: pages, single ones, posting, editing, deleting."""

from __future__ import annotations

import re

from aiohttp import web

from ragd.sandbox.entities import FORUM_TYPES, Channel, ChannelType, Message, Payload
from ragd.sandbox.permissions import Permission
from ragd.sandbox.snowflake import snowflake_ms

from .call import Call, Route, need
from .drafts import Draft, read_draft, refuse_empty
from .errors import ApiError, bad_request, forbidden, invalid_form, missing_permissions
from .request import no_content, query_int, query_snowflake, read_body, read_fields, reply, snowflake
from .views import message_view

_TEXTLESS = frozenset({ChannelType.CATEGORY, *FORUM_TYPES})
_BULK_MIN, _BULK_MAX = 2, 100
_BULK_AGE_MS = 14 * 86_400_000
_USER_MENTION = re.compile(r"<@!?(\d{1,20})>")


# -- reading


async def list_messages(call: Call) -> web.Response:
    """A page, newest first whatever was asked; empty without READ_MESSAGE_HISTORY, as on Discord."""
    channel, bits = call.channel()
    refuse_textless(channel)
    limit = query_int(call.request, "limit", 50, 1, 100)
    bounds = {name: query_snowflake(call.request, name) for name in ("before", "after", "around")}
    if not bits & Permission.READ_MESSAGE_HISTORY:
        return reply([])
    page = call.world.messages.page(channel.id, limit=limit, **bounds)
    return reply([message_view(call.world, call.application, channel, message) for message in page])


async def get_message(call: Call) -> web.Response:
    channel, bits = call.channel()
    need(bits, Permission.READ_MESSAGE_HISTORY)
    return reply(message_view(call.world, call.application, channel, call.message(channel)))


def refuse_textless(channel: Channel) -> None:
    """50024 for categories and forums, which hold no messages."""
    if channel.type in _TEXTLESS:
        raise bad_request(50024, "Cannot execute action on this channel type")


# -- posting


async def post_message(call: Call) -> web.Response:
    channel, bits = call.channel()
    refuse_textless(channel)
    draft = read_draft(call.world, channel.id, await read_body(call.request))
    check_may_post(call, channel, bits, draft)
    refuse_empty(draft)
    message = _posted_before(call, draft) or _post(call, channel, bits, draft)
    return reply(_with_nonce(message_view(call.world, call.application, channel, message), draft))


def check_may_post(call: Call, channel: Channel, bits: int, draft: Draft) -> None:
    """The permissions that the draft needs, and a channel that takes messages."""
    need(bits, Permission.SEND_MESSAGES_IN_THREADS if channel.is_thread else Permission.SEND_MESSAGES)
    if draft.embeds:
        need(bits, Permission.EMBED_LINKS)
    if draft.attachments:
        need(bits, Permission.ATTACH_FILES)
    if channel.guild_id is None:
        _check_shared_guild(call, channel)
    refuse_locked(channel)


def refuse_locked(channel: Channel) -> None:
    """50083 for a locked, archived thread; one that is only archived wakes up when posted to."""
    if channel.thread is not None and channel.thread.archived and channel.thread.locked:
        raise bad_request(50083, "Thread is archived")


def _check_shared_guild(call: Call, channel: Channel) -> None:
    """50007 unless bot and user share a guild."""
    wanted = set(channel.recipients)
    if not any(wanted <= guild.members.keys() for guild in call.world.guilds.values()):
        raise forbidden(50007, "Cannot send messages to this user")


def _posted_before(call: Call, draft: Draft) -> Message | None:
    """The message that an earlier post with the same enforced nonce made."""
    if not draft.enforce_nonce or draft.nonce is None:
        return None
    return call.world.messages.get(call.api.nonces.get((call.bot_id, draft.nonce), 0))


def _post(call: Call, channel: Channel, bits: int, draft: Draft) -> Message:
    _check_reply(call, channel, bits, draft)
    parts = draft.parts()
    if not bits & Permission.MENTION_EVERYONE:
        parts["mention_everyone"] = False
    message = call.world.post(
        channel.id,
        call.bot_id,
        draft.content,
        reply_to=draft.reply_to,
        ping_reply=draft.pings_replied,
        flags=draft.flags,
        mentions=draft.pings(mentioned_users(call, draft.content)),
        **parts,
    )
    if draft.enforce_nonce and draft.nonce is not None:
        call.api.nonces[call.bot_id, draft.nonce] = message.id
    return message


def _check_reply(call: Call, channel: Channel, bits: int, draft: Draft) -> None:
    """A reply needs the history permission and a message to reply to, unless it may do without."""
    if draft.reply_to is None:
        return
    if not bits & Permission.READ_MESSAGE_HISTORY:
        raise forbidden(160002, "Cannot reply without permission to read message history")
    target = call.world.messages.get(draft.reply_to)
    if target is not None and target.channel_id == channel.id:
        return
    if draft.must_find_reply:
        raise invalid_form("message_reference", "MESSAGE_REFERENCE_UNKNOWN_MESSAGE", "Unknown message")
    draft.reply_to = None


def mentioned_users(call: Call, content: str) -> list[int]:
    """The known users that `content` mentions, each once."""
    found = dict.fromkeys(int(user_id) for user_id in _USER_MENTION.findall(content))
    return [user_id for user_id in found if user_id in call.world.users]


def _with_nonce(payload: Payload, draft: Draft) -> Payload:
    return payload if draft.nonce is None else {**payload, "nonce": draft.nonce}


async def trigger_typing(call: Call) -> web.Response:
    channel, bits = call.channel()
    need(bits, Permission.SEND_MESSAGES_IN_THREADS if channel.is_thread else Permission.SEND_MESSAGES)
    return no_content()


# -- changing


async def edit_message(call: Call) -> web.Response:
    channel, _ = call.channel()
    message = call.message(channel)
    if message.author_id != call.bot_id:
        raise forbidden(50005, "Cannot edit a message authored by another user")
    refuse_locked(channel)
    draft = read_draft(call.world, channel.id, await read_body(call.request), edited=message)
    edited = call.world.edit(message.id, **draft.changes())
    return reply(message_view(call.world, call.application, channel, edited))


async def delete_message(call: Call) -> web.Response:
    channel, bits = call.channel()
    message = call.message(channel)
    if message.author_id != call.bot_id and not bits & Permission.MANAGE_MESSAGES:
        raise missing_permissions()
    call.world.delete(message.id)
    return no_content()


async def delete_messages(call: Call) -> web.Response:
    """2 to 100 messages younger than two weeks; ids that are not there are skipped."""
    channel, bits = call.channel()
    need(bits, Permission.MANAGE_MESSAGES)
    fields = await read_fields(call.request)
    wanted = [snowflake(str(text), "messages") for text in fields.get("messages") or ()]
    if not _BULK_MIN <= len(wanted) <= _BULK_MAX:
        raise bad_request(
            50016, "Provided too few or too many messages to delete. Must provide at least 2 and at most 100 messages"
        )
    oldest_ms = call.world.clock.now_ms() - _BULK_AGE_MS
    if any(snowflake_ms(message_id) < oldest_ms for message_id in wanted):
        raise bad_request(50034, "You can only bulk delete messages that are under 14 days old.")
    call.world.bulk_delete(channel.id, wanted)
    return no_content()


# -- pins


def _pinned(call: Call, channel: Channel) -> list[Message]:
    """Pinned messages, newest first (the world does not keep when a message was pinned)."""
    return [message for message in call.world.messages.in_channel(channel.id) if message.parts.pinned][::-1]


async def list_pins(call: Call) -> web.Response:
    """Pins as of 2025: pages of items, here always a single one; `pinned_at` is the message's own time."""
    channel, bits = call.channel()
    need(bits, Permission.READ_MESSAGE_HISTORY)
    views = [message_view(call.world, call.application, channel, message) for message in _pinned(call, channel)]
    items = [{"pinned_at": view["timestamp"], "message": view} for view in views]
    return reply({"items": items, "has_more": False})


async def list_pins_plainly(call: Call) -> web.Response:
    """The older list of pins."""
    channel, bits = call.channel()
    need(bits, Permission.READ_MESSAGE_HISTORY)
    pinned = _pinned(call, channel)
    return reply([message_view(call.world, call.application, channel, message) for message in pinned])


async def pin_message(call: Call) -> web.Response:
    return _set_pinned(call, pinned=True)


async def unpin_message(call: Call) -> web.Response:
    return _set_pinned(call, pinned=False)


def _set_pinned(call: Call, *, pinned: bool) -> web.Response:
    channel, bits = call.channel()
    if not bits & (Permission.PIN_MESSAGES | Permission.MANAGE_MESSAGES):
        raise missing_permissions()
    call.world.set_pinned(call.message(channel).id, pinned)
    return no_content()


# -- reactions


async def add_reaction(call: Call) -> web.Response:
    channel, bits = call.channel()
    message, emoji = call.message(channel), _emoji(call)
    need(bits, Permission.READ_MESSAGE_HISTORY)
    if emoji not in message.parts.reactions:
        need(bits, Permission.ADD_REACTIONS)
    call.world.react(message.id, call.bot_id, emoji)
    return no_content()


async def remove_reaction(call: Call) -> web.Response:
    channel, bits = call.channel()
    message, user_id = call.message(channel), call.user_id()
    if user_id != call.bot_id:
        need(bits, Permission.MANAGE_MESSAGES)
    call.world.unreact(message.id, user_id, _emoji(call))
    return no_content()


def _emoji(call: Call) -> str:
    """A standard emoji, or `name:id` of a custom one (clients also send `:name:id` and `a:name:id`)."""
    emoji = ":".join(call.request.match_info["emoji"].split(":")[-2:])
    if not emoji or (emoji.isascii() and ":" not in emoji):
        raise ApiError(400, 10014, "Unknown Emoji")
    return emoji


_CHANNEL = "/channels/{channel_id}"
_MESSAGE = _CHANNEL + "/messages/{message_id}"
_REACTION = _MESSAGE + "/reactions/{emoji}/{user_id}"

ROUTES = (
    Route("GET", _CHANNEL + "/messages", list_messages),
    Route("POST", _CHANNEL + "/messages", post_message),
    Route("POST", _CHANNEL + "/typing", trigger_typing),
    Route("POST", _CHANNEL + "/messages/bulk-delete", delete_messages),
    Route("GET", _CHANNEL + "/messages/pins", list_pins),
    Route("PUT", _CHANNEL + "/messages/pins/{message_id}", pin_message),
    Route("DELETE", _CHANNEL + "/messages/pins/{message_id}", unpin_message),
    Route("GET", _CHANNEL + "/pins", list_pins_plainly),
    Route("GET", _MESSAGE, get_message),
    Route("PATCH", _MESSAGE, edit_message),
    Route("DELETE", _MESSAGE, delete_message),
    Route("PUT", _REACTION, add_reaction),
    Route("DELETE", _REACTION, remove_reaction),
)
