"""What every request passes, outermost first: error answers, faults on order, the token, rate limits.

Discord's order, as far as it shows: a wrong token is refused before any bucket counts the request.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections.abc import Awaitable, Callable

from aiohttp import web

from ragd.sandbox.faults import Fault
from ragd.sandbox.world import UnknownEntityError, WorldRuleError

from .call import API, CALLER
from .errors import ApiError, bad_request, unauthorized, unknown
from .limits import Verdict
from .request import reply

PREFIX = "/api/v10"
_LIMIT_HEADERS = web.RequestKey("ragd.sandbox.limit_headers", dict[str, str])
_TOKEN_PREFIX = "Bot "  # noqa: S105  not a token
_MAJOR_PARAMETERS = ("channel_id", "guild_id", "webhook_id", "token")
_OPEN_PATHS = ("/interactions/{interaction_id}/{token}", "/webhooks/{webhook_id}/{token}")
_LINGER_NONE = struct.pack("ii", 1, 0)

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


# -- errors


@web.middleware
async def answer_errors(request: web.Request, handler: Next) -> web.StreamResponse:
    """Turn every error into Discord's JSON, put the bucket's headers on the answer, count it."""
    try:
        response = await handler(request)
    except (ApiError, web.HTTPException, UnknownEntityError, WorldRuleError) as error:
        answer = _api_error(error)
        response = reply(answer.payload(), answer.status)
    response.headers.update(request.get(_LIMIT_HEADERS, {}))
    scope = response.headers.get("X-RateLimit-Scope", "")
    request.app[API].limits.record(response.status, scope)
    return response


_KINDS = {
    "application": "Application",
    "channel": "Channel",
    "command": "application command",
    "guild": "Guild",
    "interaction": "interaction",
    "member": "Member",
    "message": "Message",
    "reaction": "Emoji",
    "role": "Role",
    "thread": "Channel",
    "thread member": "Member",
    "user": "User",
    "webhook": "Webhook",
}


def _api_error(error: ApiError | web.HTTPException | UnknownEntityError | WorldRuleError) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, UnknownEntityError):
        return unknown(_KINDS[error.kind])
    if isinstance(error, WorldRuleError):
        return bad_request(50024, "Cannot execute action on this channel type")
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return ApiError(413, 40005, "Request entity too large")
    return ApiError(error.status, 0, f"{error.status}: {error.reason}")


# -- faults


@web.middleware
async def inject_faults(request: web.Request, handler: Next) -> web.StreamResponse:
    """Do what `Faults` orders for this request, if anything."""
    fault = request.app[API].faults.rest_fault(request.method, request.path.removeprefix(PREFIX))
    if fault is None:
        return await handler(request)
    if fault.delay_seconds > 0:
        await asyncio.sleep(fault.delay_seconds)
    if fault.reset:
        return _reset(request)
    if fault.status is None:
        return await handler(request)
    return _faulty_answer(fault, fault.status)


def _faulty_answer(fault: Fault, status: int) -> web.Response:
    if status != 429:
        return reply({"message": f"{status}: Sandbox fault", "code": 0}, status)
    scope = "global" if fault.is_global else "user"
    headers = {"X-RateLimit-Global": "true"} if fault.is_global else {}
    return too_many(Verdict(headers, scope, fault.retry_after_seconds))


def _reset(request: web.Request) -> web.Response:
    """Break the connection with a TCP RST, so that the client sees ECONNRESET and not a tidy end."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        transport.abort()
    return web.Response(status=499)


# -- rate limits


@web.middleware
async def limit_rate(request: web.Request, handler: Next) -> web.StreamResponse:
    """Count the request against its bucket, the global limit and the edge; 429 when one is full."""
    path = template(request)
    major = "+".join(request.match_info[name] for name in _MAJOR_PARAMETERS if name in request.match_info)
    caller = request.headers.get("Authorization", "")
    verdict = request.app[API].limits.check(
        caller, f"{request.method} {path}", major, counts_globally=not path.startswith("/interactions/")
    )
    request[_LIMIT_HEADERS] = verdict.headers
    return too_many(verdict) if verdict.scope else await handler(request)


def too_many(verdict: Verdict) -> web.Response:
    """The 429 of a verdict. Without `Via` discord.py takes it for a ban at the edge, which is what "edge" plays."""
    wait = verdict.retry_after_seconds
    if verdict.scope == "edge":
        return web.Response(status=429, text="error code: 1015", headers={"Retry-After": str(math.ceil(wait))})
    body = {
        "message": "You are being rate limited.",
        "retry_after": round(wait, 3),
        "global": verdict.scope == "global",
    }
    response = reply(body, 429)
    response.headers["Retry-After"] = str(math.ceil(wait))
    response.headers["Via"] = "1.1 sandbox"
    response.headers["X-RateLimit-Scope"] = verdict.scope
    response.headers.update(verdict.headers)
    return response


# -- token


@web.middleware
async def authenticate(request: web.Request, handler: Next) -> web.StreamResponse:
    """Find the application of the token; 401 without one, but for paths that carry their own token."""
    text = request.headers.get("Authorization", "")
    application = request.app[API].world.application_by_token(text.removeprefix(_TOKEN_PREFIX))
    if application is not None and text.startswith(_TOKEN_PREFIX):
        request[CALLER] = application
    elif _needs_token(template(request)):
        raise unauthorized()
    return await handler(request)


def _needs_token(path: str) -> bool:
    return path != "/gateway" and not path.startswith(_OPEN_PATHS)


def template(request: web.Request) -> str:
    """The path template of the request's route, without the prefix; "" for a path that is no route."""
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical.removeprefix(PREFIX)


MIDDLEWARES = (answer_errors, inject_faults, authenticate, limit_rate)
