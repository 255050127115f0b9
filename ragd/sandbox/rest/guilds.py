"""Guilds, their channels, roles and members."""

from __future__ import annotations

from aiohttp import web

from ragd.sandbox.entities import Guild, Intents, Member, Payload
from ragd.sandbox.payloads import guild_channel_payload, guild_payload, member_payload, role_payload

from .call import Call, Route
from .errors import unknown
from .request import query_flag, query_int, query_snowflake, reply


async def get_guild(call: Call) -> web.Response:
    guild = call.guild()
    payload = guild_payload(call.world, guild)
    if query_flag(call.request, "with_counts"):
        payload |= {"approximate_member_count": len(guild.members), "approximate_presence_count": 0}
    return reply(payload)


async def list_channels(call: Call) -> web.Response:
    """All channels without threads: Discord names hidden ones too."""
    return reply([guild_channel_payload(channel) for channel in call.guild().channels.values()])


async def list_roles(call: Call) -> web.Response:
    return reply([role_payload(role) for role in call.guild().roles.values()])


async def get_role(call: Call) -> web.Response:
    role = call.guild().roles.get(call.path_id("role_id"))
    if role is None:
        raise unknown("Role")
    return reply(role_payload(role))


async def list_members(call: Call) -> web.Response:
    call.need_intent(Intents.GUILD_MEMBERS)
    limit = query_int(call.request, "limit", 1, 1, 1000)
    after = query_snowflake(call.request, "after") or 0
    guild = call.guild()
    return reply(_members(call, guild, sorted(user_id for user_id in guild.members if user_id > after)[:limit]))


async def search_members(call: Call) -> web.Response:
    """Members whose username or nickname starts with `query`."""
    limit = query_int(call.request, "limit", 1, 1, 1000)
    prefix = call.request.query.get("query", "").casefold()
    guild = call.guild()
    found = [member.user_id for member in guild.members.values() if _is_called(call, member, prefix)]
    return reply(_members(call, guild, found[:limit]))


def _is_called(call: Call, member: Member, prefix: str) -> bool:
    user = call.world.user(member.user_id)
    return any(name.casefold().startswith(prefix) for name in (user.username, user.global_name, member.nick) if name)


def _members(call: Call, guild: Guild, user_ids: list[int]) -> list[Payload]:
    return [member_payload(call.world, guild.members[user_id]) for user_id in user_ids]


async def get_member(call: Call) -> web.Response:
    user_id = call.user_id()
    if user_id not in call.world.users:
        raise unknown("User")
    member = call.guild().members.get(user_id)
    if member is None:
        raise unknown("Member")
    return reply(member_payload(call.world, member))


ROUTES = (
    Route("GET", "/guilds/{guild_id}", get_guild),
    Route("GET", "/guilds/{guild_id}/channels", list_channels),
    Route("GET", "/guilds/{guild_id}/roles", list_roles),
    Route("GET", "/guilds/{guild_id}/roles/{role_id}", get_role),
    Route("GET", "/guilds/{guild_id}/members", list_members),
    Route("GET", "/guilds/{guild_id}/members/search", search_members),
    Route("GET", "/guilds/{guild_id}/members/{user_id}", get_member),
)
