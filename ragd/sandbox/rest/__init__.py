"""Discord's REST API, version 10, over the sandbox's world.

`add_routes` mounts it on an aiohttp application. One module a resource; `call` is what handlers get, `middleware`
what every request passes, `limits` the rate limits and their settings.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from ragd.sandbox.faults import Faults
from ragd.sandbox.world import World

from . import channels, commands, guilds, interactions, messages, search, threads, users, webhooks
from .call import API, Api, Call, Handler
from .limits import Limit, LimitSettings, RateLimits
from .middleware import MIDDLEWARES, PREFIX

__all__ = ["RESOURCES", "Api", "Limit", "LimitSettings", "RateLimits", "add_routes"]

RESOURCES = (users, guilds, channels, messages, threads, search, webhooks, commands, interactions)
_BODY_MAX_BYTES = 25 * 1024 * 1024


def add_routes(
    app: web.Application,
    world: World,
    faults: Faults,
    gateway_url: str | Callable[[], str],
    *,
    limits: LimitSettings | None = None,
) -> Api:
    """Mount the API under /api/v10 of `app`, its middlewares with it; returns its shared state.

    `gateway_url` may be a function for when the port is not known yet. Without `limits` the rate limits are generous.
    """
    url = (lambda: gateway_url) if isinstance(gateway_url, str) else gateway_url
    api = Api(world, faults, RateLimits(limits or LimitSettings()), url)
    mounted = web.Application(middlewares=MIDDLEWARES, client_max_size=_BODY_MAX_BYTES)
    mounted[API] = api
    for resource in RESOURCES:
        for route in resource.ROUTES:
            mounted.router.add_route(route.method, route.path, _adapted(route.handler, api))
    app.add_subapp(PREFIX, mounted)
    return api


def _adapted(handler: Handler, api: Api) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await handler(Call(request, api))

    return handle
