"""Answers on capture's UNIX socket what a member may read now; ragd/reach_client.py asks.

Who may use the socket is the operator, as with the searcher's: nobody else can ask about anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

import orjson
from aiohttp import web

from ragd.access import socket_mode
from ragd.admission import admission
from ragd.bot.client import CaptureClient
from ragd.bot.member_reach import InStore, reach_of
from ragd.errors import RagdError, UnavailableError, UsageError
from ragd.snowflake import read_snowflake

_log = logging.getLogger(__name__)

ANSWER_SECONDS = 12.0
"""Less than who asks waits: so it is told why."""

MAX_REQUEST_BYTES = 4_096


class ReachServer:
    """The socket. Belongs to the event loop."""

    def __init__(self, path: Path, client: CaptureClient, in_store: InStore) -> None:
        self._path = path
        self._client = client
        self._in_store = in_store
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. A socket that cannot be made is a warning: capture is there to capture."""
        application = web.Application(
            client_max_size=MAX_REQUEST_BYTES, middlewares=[admission(self._path, MAX_REQUEST_BYTES)]
        )
        application.router.add_post("/reach", self._answer)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=0.2)
        await self._runner.setup()
        try:
            self._path.unlink(missing_ok=True)  # of a capture that was killed; supervisord runs only one
            await web.UnixSite(self._runner, str(self._path)).start()
            self._path.chmod(socket_mode(self._path.parent))
        except OSError as error:
            _log.warning("cannot listen on %s, so --as is answered to nobody: %s", self._path, error)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            user_id, guild = _read(await request.read())
            async with asyncio.timeout(ANSWER_SECONDS):
                channels = await reach_of(self._client, self._in_store, user_id, guild)
        except TimeoutError:
            return _refuse(UnavailableError("Discord does not answer in time who the member is"), 503)
        except UsageError as error:
            return _refuse(error, 404)
        except RagdError as error:
            return _refuse(error, 400 if error.permanent else 503)
        return _json({"channels": channels})


def _read(body: bytes) -> tuple[int, str | None]:
    """User id, and guild. Raises RagdError."""
    try:
        asked = orjson.loads(body)
        user, guild = asked["user"], asked.get("guild")
    except (ValueError, TypeError, LookupError, AttributeError):
        user = guild = None
    if not isinstance(user, str | int) or not isinstance(guild, str | int | None):
        raise RagdError('the request must be {"user": ID, "guild": ID, name or null}')
    user_id = read_snowflake(user := str(user))
    if not user_id:
        raise UsageError(f"{user[:24]!r} is no id of a user")
    return user_id, None if guild is None else str(guild)


def _refuse(error: RagdError, status: int) -> web.Response:
    return _json({"error": str(error), "hint": error.hint}, status)


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")
