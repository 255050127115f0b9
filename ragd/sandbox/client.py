"""The sandbox from tests: `SandboxThread` runs one in a thread, `ControlClient` commands it synchronously."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from .control_client import ControlClient, ControlError
from .server import Sandbox, SandboxOptions
from .world import World

__all__ = ["ControlClient", "ControlError", "SandboxThread"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_GRACE_SECONDS = 5.0


class SandboxThread:
    """A sandbox on an event loop of its own in a thread of this process; a context manager.

    `world` belongs to that loop: change it through `control` or `call`; reading it between calls is fine when
    nothing changes it meanwhile.
    """

    def __init__(self, options: SandboxOptions | None = None, world: World | None = None) -> None:
        self._options = options
        self._given_world = world
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)
        self.sandbox: Sandbox

    def __enter__(self) -> SandboxThread:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def world(self) -> World:
        """The world; see the class."""
        return self.sandbox.world

    @property
    def api_url(self) -> str:
        """See `Sandbox.api_url`."""
        return self.sandbox.api_url

    @property
    def gateway_url(self) -> str:
        """See `Sandbox.gateway_url`."""
        return self.sandbox.gateway_url

    @property
    def control_url(self) -> str:
        """See `Sandbox.control_url`."""
        return self.sandbox.control_url

    @property
    def control(self) -> ControlClient:
        """A client of the control side."""
        return ControlClient(self.control_url)

    def start(self) -> None:
        """Return when it serves."""
        self._thread.start()
        try:
            self.sandbox = self._await(self._build)
        except BaseException:
            self._end()
            raise

    def stop(self) -> None:
        """Break all connections and end the thread."""
        self._await(self.sandbox.stop)
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_GRACE_SECONDS)

    def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a function on the sandbox's loop and return its result: `call(sandbox.world.post, 1, 2, "hi")`."""

        async def run() -> _T:
            return function(*args, **kwargs)

        result: _T = self._await(run)
        return result

    async def _build(self) -> Sandbox:
        sandbox = Sandbox(self._options, self._given_world)
        await sandbox.start()
        return sandbox

    def _await(self, work: Callable[[], Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
