"""Lists of threads, active and archived, and making new ones."""

from __future__ import annotations

from aiohttp import web

from ragd.sandbox.entities import FORUM_TYPES, Channel, ChannelType, Payload
from ragd.sandbox.payloads import joined_thread_payload, thread_member_payload
from ragd.sandbox.permissions import Permission, can_view
from ragd.sandbox.snowflake import parse_iso

from .call import Call, Route, need
from .drafts import read_draft, refuse_empty
from .errors import bad_request, invalid_form
from .request import Body, query_int, query_snowflake, read_body, reply, text_field
from .views import message_view

_NAME_MAX = 100
_PAGE_MIN, _PAGE_MAX = 2, 100
_PARENTS = frozenset({ChannelType.TEXT, ChannelType.NEWS, *FORUM_TYPES})
_PUBLIC = frozenset({ChannelType.PUBLIC_THREAD, ChannelType.NEWS_THREAD})


# -- lists


async def list_active_threads(call: Call) -> web.Response:
    """All active threads of the guild that the bot may see, newest first."""
    guild = call.guild()
    active = [thread for thread in guild.threads.values() if thread.thread and not thread.thread.archived]
    visible = [thread for thread in active if can_view(call.world, call.bot_id, thread.id)]
    return reply(_listing(call, sorted(visible, key=_id, reverse=True)))


async def list_public_archived(call: Call) -> web.Response:
    parent, _ = _parent(call, Permission.READ_MESSAGE_HISTORY)
    return reply(_archive_page(call, [thread for thread in _archived(call, parent) if thread.type in _PUBLIC]))


async def list_private_archived(call: Call) -> web.Response:
    parent, _ = _parent(call, Permission.READ_MESSAGE_HISTORY | Permission.MANAGE_THREADS)
    return reply(_archive_page(call, _private(_archived(call, parent))))


async def list_joined_private_archived(call: Call) -> web.Response:
    """Private archived threads that the bot is in, newest first by id."""
    parent, _ = _parent(call, Permission.READ_MESSAGE_HISTORY)
    before = query_snowflake(call.request, "before")
    limit = query_int(call.request, "limit", 50, _PAGE_MIN, _PAGE_MAX)
    joined = [
        thread
        for thread in _private(_archived(call, parent))
        if thread.thread is not None and call.bot_id in thread.thread.members and (before is None or thread.id < before)
    ]
    joined.sort(key=_id, reverse=True)
    return reply({**_listing(call, joined[:limit]), "has_more": len(joined) > limit})


def _parent(call: Call, permission: Permission) -> tuple[Channel, int]:
    channel, bits = call.channel()
    if channel.type not in _PARENTS:
        raise bad_request(50024, "Cannot execute action on this channel type")
    need(bits, permission)
    return channel, bits


def _archived(call: Call, parent: Channel) -> list[Channel]:
    threads = call.world.guild(parent.guild_id or 0).threads.values()
    return [t for t in threads if t.parent_id == parent.id and t.thread is not None and t.thread.archived]


def _private(threads: list[Channel]) -> list[Channel]:
    return [thread for thread in threads if thread.type == ChannelType.PRIVATE_THREAD]


def _archive_page(call: Call, threads: list[Channel]) -> Payload:
    """Threads by the time of archiving, last archived first; `before` leaves out its own instant, ties included."""
    before_ms = _before_ms(call)
    limit = query_int(call.request, "limit", 50, _PAGE_MIN, _PAGE_MAX)
    earlier = [thread for thread in threads if before_ms is None or _archived_ms(thread) < before_ms]
    earlier.sort(key=lambda thread: (_archived_ms(thread), thread.id), reverse=True)
    return {**_listing(call, earlier[:limit]), "has_more": len(earlier) > limit}


def _before_ms(call: Call) -> int | None:
    text = call.request.query.get("before")
    if text is None:
        return None
    try:
        return parse_iso(text)
    except ValueError:
        message = f"Could not parse {text}. Should be ISO8601."
        raise invalid_form("before", "DATE_TIME_TYPE_PARSE", message) from None


def _archived_ms(thread: Channel) -> int:
    return thread.thread.archive_changed_ms if thread.thread is not None else 0


def _id(thread: Channel) -> int:
    return thread.id


def _listing(call: Call, threads: list[Channel]) -> Payload:
    """Threads, and the bot's membership in those it is in."""
    members = [
        thread_member_payload(thread.id, thread.thread.members[call.bot_id])
        for thread in threads
        if thread.thread is not None and call.bot_id in thread.thread.members
    ]
    return {"threads": [joined_thread_payload(thread, call.bot_id) for thread in threads], "members": members}


# -- making threads


async def start_thread(call: Call) -> web.Response:
    """A thread without a message, or a post in a forum."""
    parent, bits = call.channel()
    body = await read_body(call.request)
    if parent.type in FORUM_TYPES:
        return _start_post(call, parent, bits, body)
    fields = body.fields
    private = fields.get("type", ChannelType.PRIVATE_THREAD) == ChannelType.PRIVATE_THREAD
    need(bits, Permission.CREATE_PRIVATE_THREADS if private else Permission.CREATE_PUBLIC_THREADS)
    name = text_field(fields, "name", _NAME_MAX)
    minutes = int(fields.get("auto_archive_duration") or 1440)
    thread = call.world.create_thread(parent.id, call.bot_id, name, private=private, auto_archive_minutes=minutes)
    return reply(joined_thread_payload(thread, call.bot_id), 201)


async def start_thread_on_message(call: Call) -> web.Response:
    parent, bits = call.channel()
    message = call.message(parent)
    need(bits, Permission.CREATE_PUBLIC_THREADS)
    fields = (await read_body(call.request)).fields
    name = text_field(fields, "name", _NAME_MAX)
    if message.id in call.world.channels:
        raise bad_request(160004, "A thread has already been created for this message")
    minutes = int(fields.get("auto_archive_duration") or 1440)
    thread = call.world.create_thread(parent.id, call.bot_id, name, message_id=message.id, auto_archive_minutes=minutes)
    return reply(joined_thread_payload(thread, call.bot_id), 201)


def _start_post(call: Call, forum: Channel, bits: int, body: Body) -> web.Response:
    need(bits, Permission.SEND_MESSAGES)
    name = text_field(body.fields, "name", _NAME_MAX)
    draft = read_draft(call.world, forum.id, body, of=body.fields.get("message") or {})
    refuse_empty(draft)
    tags = [int(tag_id) for tag_id in body.fields.get("applied_tags") or ()]
    thread = call.world.create_forum_post(
        forum.id, call.bot_id, name, draft.content, applied_tags=tags, **draft.parts()
    )
    starter = message_view(call.world, call.application, thread, call.world.message(thread.id))
    return reply({**joined_thread_payload(thread, call.bot_id), "message": starter}, 201)


_THREADS = "/channels/{channel_id}/threads"

ROUTES = (
    Route("GET", "/guilds/{guild_id}/threads/active", list_active_threads),
    Route("GET", _THREADS + "/archived/public", list_public_archived),
    Route("GET", _THREADS + "/archived/private", list_private_archived),
    Route("GET", "/channels/{channel_id}/users/@me/threads/archived/private", list_joined_private_archived),
    Route("POST", _THREADS, start_thread),
    Route("POST", "/channels/{channel_id}/messages/{message_id}/threads", start_thread_on_message),
)
