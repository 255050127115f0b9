"""The control side: changes, faults, interactions and the ledger over HTTP and JSON, on a port of its own.

    GET  /state               connections, counts, faults, URLs
    GET  /world               guilds, channels, users, applications
    GET  /ledger[?guild_id=]  what truly exists, and what is gone
    POST /world/<change>      a mutation of `World`, arguments as JSON object; "silent": true emits no event
    POST /batch               a list of {"change": ..., other arguments}; all or up to the first that fails
    POST /faults/<fault>      a method of `orders.FaultOrders`
    POST /interactions        a user runs a command, presses a component or writes a prefix command; waits for the bot
    GET  /interactions/<id>   that interaction's answers by now

Ids are strings in answers, numbers or strings in requests. Errors are one line: {"error": ...} with 400 (malformed),
404 (no such thing), 409 (against the rules of the world) or 504 (the bot has not answered).
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web
from pydantic import ConfigDict, ValidationError, validate_call

from .asking import Ask, NoAnswerError, ask, interaction_report
from .changes import CHANGES, rendered
from .orders import FaultOrders
from .state import UnknownEntityError, WorldRuleError

if TYPE_CHECKING:
    from .server import Sandbox

_MAX_BODY_BYTES = 64 * 1024 * 1024
_checked = validate_call(config=ConfigDict(extra="forbid"))
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class MalformedError(Exception):
    """A request that makes no sense; its text goes to the caller."""


def application(sandbox: Sandbox) -> web.Application:
    """The control side as a web application."""
    desk = ControlDesk(sandbox)
    app = web.Application(middlewares=[_answer_errors], client_max_size=_MAX_BODY_BYTES)
    app.router.add_get("/", desk.help)
    app.router.add_get("/state", desk.state)
    app.router.add_get("/world", desk.world)
    app.router.add_get("/ledger", desk.ledger)
    app.router.add_post("/world/{change}", desk.change)
    app.router.add_post("/batch", desk.batch)
    app.router.add_post("/faults/{fault}", desk.fault)
    app.router.add_post("/interactions", desk.ask)
    app.router.add_get("/interactions/{interaction_id}", desk.interaction)
    return app


class ControlDesk:
    """The handlers."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._world = sandbox.world
        self._orders = FaultOrders(sandbox)
        self._changes = {name: _checked(getattr(sandbox.world, name)) for name in CHANGES}

    async def help(self, _request: web.Request) -> web.Response:
        """What there is."""
        faults = sorted(name for name in vars(FaultOrders) if not name.startswith("_"))
        return _json({"changes": sorted(CHANGES), "faults": faults, "more": (__doc__ or "").splitlines()})

    async def state(self, _request: web.Request) -> web.Response:
        """Connections, counts and faults."""
        world = self._world
        counts = {"guilds": len(world.guilds), "channels": len(world.channels), "messages": len(world.messages)}
        return _json(
            {
                **self._sandbox.urls(),
                "gateway": self._sandbox.gateway.report(),
                "faults": self._sandbox.faults.report(),
                "rest": self._sandbox.rest.limits.report(),
                "world": counts,
            }
        )

    async def world(self, _request: web.Request) -> web.Response:
        """The guilds and all in them but the messages."""
        world = self._world
        tables: dict[str, dict[int, Any]] = {
            "guilds": dict(world.guilds),
            "channels": dict(world.channels),
            "users": dict(world.users),
            "applications": dict(world.applications),
        }
        return _json({name: [rendered(world, record) for record in table.values()] for name, table in tables.items()})

    async def ledger(self, request: web.Request) -> web.Response:
        """The truth about messages."""
        guild_id = request.query.get("guild_id")
        try:
            ledger = self._world.ledger(int(guild_id) if guild_id else None)
        except ValueError:
            raise MalformedError("guild_id is not a number") from None
        return _json(rendered(self._world, ledger))

    async def change(self, request: web.Request) -> web.Response:
        """A mutation."""
        return _json(self._changed(request.match_info["change"], await _body(request, dict)))

    async def batch(self, request: web.Request) -> web.Response:
        """Several mutations in order."""
        answers = []
        for item in await _body(request, list):
            if not isinstance(item, dict) or not isinstance(item.get("change"), str):
                raise MalformedError('each item must be an object with a "change"')
            answers.append(self._changed(item.pop("change"), item))
        return _json(answers)

    def _changed(self, name: str, arguments: dict[str, Any]) -> Any:
        if name not in CHANGES:
            raise UnknownEntityError("change", name)
        method = self._changes[name]
        if not arguments.pop("silent", False):
            return rendered(self._world, method(**arguments))
        with self._world.silence():
            return rendered(self._world, method(**arguments))

    async def fault(self, request: web.Request) -> web.Response:
        """A fault."""
        name = request.match_info["fault"]
        if name.startswith("_") or name not in vars(FaultOrders):
            raise UnknownEntityError("fault", name)
        answer = _checked(getattr(self._orders, name))(**await _body(request, dict))
        return _json(await answer if inspect.isawaitable(answer) else answer)

    async def ask(self, request: web.Request) -> web.Response:
        """A user turns to the bot; its answer."""
        return _json(await ask(self._world, Ask.model_validate(await _body(request, dict))))

    async def interaction(self, request: web.Request) -> web.Response:
        """What the bot has answered by now."""
        try:
            interaction_id = int(request.match_info["interaction_id"])
        except ValueError:
            raise MalformedError("interaction id is not a number") from None
        return _json(interaction_report(self._world, self._world.interaction(interaction_id)))


async def _body(request: web.Request, kind: type) -> Any:
    """The request's JSON, which must be of that kind; no body at all counts as an empty one."""
    text = await request.read()
    if not text:
        return kind()
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"not JSON: {error}") from None
    if not isinstance(body, kind):
        raise MalformedError(f"body must be a JSON {'object' if kind is dict else 'array'}")
    return body


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (MalformedError, TypeError) as error:
        return _error(400, str(error))
    except ValidationError as error:
        return _error(400, _first_problem(error))
    except UnknownEntityError as error:
        return _error(404, str(error))
    except WorldRuleError as error:
        return _error(409, str(error))
    except NoAnswerError as error:
        return _error(504, str(error))
    except web.HTTPException as error:
        return _error(error.status, error.reason)


def _error(status: int, text: str) -> web.Response:
    return _json({"error": " ".join(text.split())}, status)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else problem["msg"]
