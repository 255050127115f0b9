"""Application commands, global and per guild."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from ragd.sandbox.entities import Command, Payload
from ragd.sandbox.payloads import command_payload

from .call import Call, Route
from .errors import ApiError, bad_request, invalid_form, missing_access, unknown
from .request import no_content, read_body, read_fields, reply, text_field

_CHAT_INPUT = 1
_SLASH_NAME = re.compile(r"[-_'\w]{1,32}")
_NAME_MAX, _DESCRIPTION_MAX, _OPTIONS_MAX, _COMMANDS_MAX = 32, 100, 25, 100


def _scope(call: Call) -> tuple[int, int | None]:
    """Application and guild of the path: the caller's own application, a guild it is in."""
    if call.path_id("application_id") != call.application.id:
        raise ApiError(403, 20012, "You are not authorized to perform this action on this application")
    if "guild_id" not in call.request.match_info:
        return call.application.id, None
    guild = call.world.guilds.get(call.path_id("guild_id"))
    if guild is None or call.bot_id not in guild.members:
        raise missing_access()
    return call.application.id, guild.id


def _command(call: Call) -> Command:
    scope = _scope(call)
    command = call.world.commands.get(call.path_id("command_id"))
    if command is None or (command.application_id, command.guild_id) != scope:
        raise unknown("application command")
    return command


async def list_commands(call: Call) -> web.Response:
    return reply([command_payload(command) for command in call.world.commands_of(*_scope(call))])


async def replace_commands(call: Call) -> web.Response:
    """Bulk overwrite: what is not in the list is gone afterwards."""
    scope = _scope(call)
    wanted = (await read_body(call.request)).json
    if not isinstance(wanted, list):
        raise invalid_form("_", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    if len(wanted) > _COMMANDS_MAX:
        raise bad_request(30032, f"Maximum number of application commands reached ({_COMMANDS_MAX})")
    for index, payload in enumerate(wanted):
        _check(payload, f"{index}.")
    return reply([command_payload(command) for command in call.world.set_commands(*scope, wanted)])


async def create_command(call: Call) -> web.Response:
    """201 for a new command, 200 when it replaced the one of that name."""
    scope = _scope(call)
    payload = await read_fields(call.request)
    _check(payload, "")
    known = {command.id for command in call.world.commands_of(*scope)}
    command = call.world.put_command(*scope, payload)
    return reply(command_payload(command), 200 if command.id in known else 201)


async def get_command(call: Call) -> web.Response:
    return reply(command_payload(_command(call)))


async def edit_command(call: Call) -> web.Response:
    command = _command(call)
    payload = {**command.payload, **await read_fields(call.request)}
    _check(payload, "")
    command.payload, command.version = payload, call.world.clock.fresh()
    return reply(command_payload(command))


async def delete_command(call: Call) -> web.Response:
    call.world.delete_command(_command(call).id)
    return no_content()


def _check(payload: Payload, prefix: str) -> None:
    """Name, description and options within Discord's limits; `prefix` leads to the command in the body."""
    name = text_field(payload, "name", _NAME_MAX, path=prefix + "name")
    if payload.get("type", _CHAT_INPUT) != _CHAT_INPUT:
        return
    if _SLASH_NAME.fullmatch(name) is None or name != name.lower():
        message = "Command name is invalid"
        raise invalid_form(prefix + "name", "APPLICATION_COMMAND_INVALID_NAME", message)
    text_field(payload, "description", _DESCRIPTION_MAX, path=prefix + "description")
    _check_options(payload.get("options"), prefix)


def _check_options(options: Any, prefix: str) -> None:
    if not options:
        return
    if not isinstance(options, list):
        raise invalid_form(prefix + "options", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    if len(options) > _OPTIONS_MAX:
        message = f"Must be {_OPTIONS_MAX} or fewer in length."
        raise invalid_form(prefix + "options", "BASE_TYPE_MAX_LENGTH", message)
    for index, option in enumerate(options):
        where = f"{prefix}options.{index}."
        text_field(option, "name", _NAME_MAX, path=where + "name")
        text_field(option, "description", _DESCRIPTION_MAX, path=where + "description")
        _check_options(option.get("options"), where)


def _routes(base: str) -> tuple[Route, ...]:
    one = base + "/{command_id}"
    return (
        Route("GET", base, list_commands),
        Route("PUT", base, replace_commands),
        Route("POST", base, create_command),
        Route("GET", one, get_command),
        Route("PATCH", one, edit_command),
        Route("DELETE", one, delete_command),
    )


ROUTES = (
    *_routes("/applications/{application_id}/commands"),
    *_routes("/applications/{application_id}/guilds/{guild_id}/commands"),
)
