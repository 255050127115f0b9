"""A whole sandbox: REST and gateway on one port, the control side on another, around one world."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field

from aiohttp import web

from ragd.errors import CannotCreateError

from . import control, rest
from .faults import Faults
from .gateway import Gateway, GatewayOptions
from .world import World

_SHUTDOWN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """Where the sandbox listens (port 0: a free one) and how its gateway and rate limits behave."""

    host: str = "127.0.0.1"
    port: int = 0
    control_port: int = 0
    gateway: GatewayOptions = field(default_factory=GatewayOptions)
    limits: rest.LimitSettings = field(default_factory=rest.LimitSettings)


class Listener:
    """A web application on a port that it keeps while it is closed for a time."""

    def __init__(self, app: web.Application, host: str, port: int) -> None:
        self._socket: socket.socket | None = _bound(host, port)
        self.host, self.port = self._socket.getsockname()[:2]
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        self._site: web.SockSite | None = None

    async def start(self) -> None:
        """Begin to listen."""
        await self._runner.setup()
        await self.open()

    async def open(self) -> None:
        """Listen on the port; nothing happens when it does already."""
        if self._site is not None:
            return
        sock = self._socket or _bound(self.host, self.port)
        self._socket = None
        self._site = web.SockSite(self._runner, sock)
        await self._site.start()

    async def close(self) -> None:
        """Refuse new connections and break those there are."""
        if self._site is not None:
            await self._site.stop()
            self._site = None
        server = self._runner.server
        for connection in server.connections if server else ():
            if connection.transport is not None:
                connection.transport.abort()

    async def stop(self) -> None:
        """End for good."""
        await self.close()
        await self._runner.cleanup()
        if self._socket is not None:
            self._socket.close()


class Sandbox:
    """Use on one event loop: `await start()`, ..., `await stop()`. The URLs are known from the beginning."""

    def __init__(self, options: SandboxOptions | None = None, world: World | None = None) -> None:
        self.options = options or SandboxOptions()
        self.world = world or World()
        self.faults = Faults()
        app = web.Application()
        self._public = Listener(app, self.options.host, self.options.port)
        self.gateway = Gateway(self.world, self.faults, self.options.gateway, self.gateway_url)
        app.router.add_get("/gateway", self.gateway.handle)
        app.router.add_get("/gateway/", self.gateway.handle)
        self.rest = rest.add_routes(app, self.world, self.faults, self.gateway_url, limits=self.options.limits)
        self._control = Listener(control.application(self), self.options.host, self.options.control_port)

    @property
    def api_url(self) -> str:
        """What `discord.http.Route.BASE` has to be."""
        return f"http://{self._public.host}:{self._public.port}/api/v10"

    @property
    def gateway_url(self) -> str:
        """What `discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY` has to be (as a yarl.URL)."""
        return f"ws://{self._public.host}:{self._public.port}/gateway"

    @property
    def control_url(self) -> str:
        """Where `client.ControlClient` connects to."""
        return f"http://{self._control.host}:{self._control.port}"

    def urls(self) -> dict[str, str]:
        """The three URLs, as printed for scripts."""
        return {"api_url": self.api_url, "gateway_url": self.gateway_url, "control_url": self.control_url}

    async def start(self) -> None:
        """Serve until `stop()`."""
        await self._public.start()
        await self._control.start()

    async def stop(self) -> None:
        """Break all connections and end."""
        self.gateway.stop()
        await asyncio.gather(self._public.stop(), self._control.stop())

    async def set_network(self, *, up: bool) -> None:
        """Take REST and gateway off the network (connections break, new ones are refused) or put them back."""
        await (self._public.open() if up else self._public.close())


def _bound(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise CannotCreateError(f"cannot listen on {host}:{port}: {error.strerror}") from error
