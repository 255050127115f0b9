"""Gateway address, the bot itself, users, DMs, the application."""

from __future__ import annotations

from aiohttp import web

from ragd.sandbox.entities import Guild, Payload
from ragd.sandbox.payloads import application_payload, dm_payload, own_user_payload, user_payload
from ragd.sandbox.permissions import guild_permissions

from .call import Call, Route
from .errors import bad_request, unknown
from .request import optional_id, query_flag, query_int, query_snowflake, read_fields, reply


async def get_gateway(call: Call) -> web.Response:
    return reply({"url": call.api.gateway_url()})


async def get_gateway_bot(call: Call) -> web.Response:
    faults = call.api.faults
    answer = {"url": call.api.gateway_url(), "shards": faults.sharding.recommended}
    return reply({**answer, "session_start_limit": faults.identify_budget.payload()})


async def get_own_user(call: Call) -> web.Response:
    return reply(own_user_payload(call.world.user(call.bot_id)))


async def get_user(call: Call) -> web.Response:
    return reply(user_payload(call.world.user(call.path_id("user_id"))))


async def list_own_guilds(call: Call) -> web.Response:
    before, after = query_snowflake(call.request, "before"), query_snowflake(call.request, "after") or 0
    limit = query_int(call.request, "limit", 200, 1, 200)
    with_counts = query_flag(call.request, "with_counts")
    mine = [guild for guild in call.world.guilds.values() if call.bot_id in guild.members]
    chosen = sorted((guild for guild in mine if after < guild.id and (before is None or guild.id < before)), key=_id)
    page = chosen[-limit:] if before is not None else chosen[:limit]
    return reply([_own_guild_payload(guild, call.bot_id, with_counts=with_counts) for guild in page])


def _id(guild: Guild) -> int:
    return guild.id


def _own_guild_payload(guild: Guild, bot_id: int, *, with_counts: bool) -> Payload:
    payload: Payload = {
        "id": str(guild.id),
        "name": guild.name,
        "icon": None,
        "banner": None,
        "owner": guild.owner_id == bot_id,
        "permissions": str(guild_permissions(guild, bot_id)),
        "features": [],
    }
    if with_counts:
        payload |= {"approximate_member_count": len(guild.members), "approximate_presence_count": 0}
    return payload


async def create_dm(call: Call) -> web.Response:
    recipient_id = optional_id(await read_fields(call.request), "recipient_id")
    if recipient_id is None or recipient_id not in call.world.users:
        raise unknown("User")
    if recipient_id == call.bot_id:
        raise bad_request(50007, "Cannot send messages to this user")
    return reply(own_dm_payload(call, call.world.create_dm(call.bot_id, recipient_id).id))


def own_dm_payload(call: Call, channel_id: int) -> Payload:
    """A DM channel as the bot sees it: without itself among the recipients."""
    payload = dm_payload(call.world, call.world.channel(channel_id))
    payload["recipients"] = [user for user in payload["recipients"] if user["id"] != str(call.bot_id)]
    return payload


async def get_application(call: Call) -> web.Response:
    world = call.world
    owner = world.users.get(call.application.owner_id) or world.user(call.bot_id)
    return reply(application_payload(call.application, owner))


ROUTES = (
    Route("GET", "/gateway", get_gateway),
    Route("GET", "/gateway/bot", get_gateway_bot),
    Route("GET", "/users/@me", get_own_user),
    Route("GET", "/users/@me/guilds", list_own_guilds),
    Route("POST", "/users/@me/channels", create_dm),
    Route("GET", "/users/{user_id}", get_user),
    Route("GET", "/applications/@me", get_application),
    Route("GET", "/oauth2/applications/@me", get_application),
)
