"""Single channels and the threads below them."""

from __future__ import annotations

from aiohttp import web

from ragd.sandbox.channels import ThreadChanges
from ragd.sandbox.entities import Channel, Intents, Payload
from ragd.sandbox.payloads import channel_payload, joined_thread_payload, thread_member_payload
from ragd.sandbox.permissions import Permission

from .call import Call, Route, need
from .errors import bad_request, missing_permissions, unknown
from .request import no_content, read_fields, reply
from .users import own_dm_payload


async def get_channel(call: Call) -> web.Response:
    channel, _ = call.channel()
    return reply(channel_view(call, channel))


def channel_view(call: Call, channel: Channel) -> Payload:
    """A channel as the bot sees it: a thread with its own membership, a DM without itself."""
    if channel.is_thread:
        return joined_thread_payload(channel, call.bot_id)
    if channel.guild_id is None:
        return own_dm_payload(call, channel.id)
    return channel_payload(call.world, channel)


async def edit_channel(call: Call) -> web.Response:
    """Name, topic and the like of a channel; a thread's archiving and locking too."""
    channel, bits = call.channel()
    fields = await read_fields(call.request)
    if channel.thread is not None:
        _check_thread_edit(call, channel, bits, fields)
        call.world.update_thread(channel.id, **_thread_changes(fields))
    else:
        need(bits, Permission.MANAGE_CHANNELS)
        _edit_guild_channel(call, channel, fields)
    return reply(channel_view(call, channel))


def _check_thread_edit(call: Call, channel: Channel, bits: int, fields: Payload) -> None:
    """The starter may rename, archive and reopen; locking, or a locked thread, takes MANAGE_THREADS."""
    if bits & Permission.MANAGE_THREADS or channel.thread is None:
        return
    if channel.thread.owner_id != call.bot_id or channel.thread.locked or "locked" in fields:
        raise missing_permissions()


def _thread_changes(fields: Payload) -> ThreadChanges:
    changes: ThreadChanges = {}
    if "name" in fields:
        changes["name"] = str(fields["name"])
    if "archived" in fields:
        changes["archived"] = bool(fields["archived"])
    if "locked" in fields:
        changes["locked"] = bool(fields["locked"])
    if "auto_archive_duration" in fields:
        changes["auto_archive_minutes"] = int(fields["auto_archive_duration"])
    return changes


def _edit_guild_channel(call: Call, channel: Channel, fields: Payload) -> None:
    if channel.guild_id is None:
        raise bad_request(50003, "Cannot execute action on a DM channel")
    topic = fields.get("topic", channel.topic)
    call.world.update_channel(channel.id, name=str(fields.get("name", channel.name)), topic=topic)


async def delete_channel(call: Call) -> web.Response:
    channel, bits = call.channel()
    if channel.guild_id is None:
        return reply(own_dm_payload(call, channel.id))
    need(bits, Permission.MANAGE_THREADS if channel.is_thread else Permission.MANAGE_CHANNELS)
    payload = channel_view(call, channel)
    call.world.delete_channel(channel.id)
    return reply(payload)


# -- membership of threads


def _thread(call: Call) -> tuple[Channel, int]:
    channel, bits = call.channel()
    if not channel.is_thread:
        raise bad_request(50024, "Cannot execute action on this channel type")
    return channel, bits


async def list_thread_members(call: Call) -> web.Response:
    call.need_intent(Intents.GUILD_MEMBERS)
    thread, _ = _thread(call)
    members = thread.thread.members.values() if thread.thread else ()
    return reply([thread_member_payload(thread.id, member) for member in members])


async def get_thread_member(call: Call) -> web.Response:
    thread, _ = _thread(call)
    member = thread.thread.members.get(call.user_id()) if thread.thread else None
    if member is None:
        raise unknown("Member")
    return reply(thread_member_payload(thread.id, member))


async def add_thread_member(call: Call) -> web.Response:
    """Join, or bring somebody along; an archived thread takes nobody."""
    thread, bits = _thread(call)
    if thread.thread is not None and thread.thread.archived:
        raise bad_request(50083, "Thread is archived")
    if call.user_id() != call.bot_id:
        need(bits, Permission.SEND_MESSAGES_IN_THREADS)
    call.world.join_thread(thread.id, call.user_id())
    return no_content()


async def remove_thread_member(call: Call) -> web.Response:
    thread, bits = _thread(call)
    if call.user_id() != call.bot_id:
        need(bits, Permission.MANAGE_THREADS)
    call.world.leave_thread(thread.id, call.user_id())
    return no_content()


_CHANNEL = "/channels/{channel_id}"
_MEMBER = _CHANNEL + "/thread-members/{user_id}"

ROUTES = (
    Route("GET", _CHANNEL, get_channel),
    Route("PATCH", _CHANNEL, edit_channel),
    Route("DELETE", _CHANNEL, delete_channel),
    Route("GET", _CHANNEL + "/thread-members", list_thread_members),
    Route("GET", _MEMBER, get_thread_member),
    Route("PUT", _MEMBER, add_thread_member),
    Route("DELETE", _MEMBER, remove_thread_member),
)
