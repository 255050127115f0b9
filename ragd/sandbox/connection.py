"""One websocket of the gateway: decodes what a client sends, keeps its heartbeat, carries its session's events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import orjson
from aiohttp import WSMsgType, web

from ragd.errors import RagdError

from .entities import Payload
from .faults import Faults
from .protocol import CloseCode, CloseError, Op
from .session import Session
from .wire import BatchWriter

_MAX_PAYLOAD_CHARS = 4096
_MAX_SENDS, _SEND_WINDOW_SECONDS = 120, 60.0
_GONE_CODES = frozenset({1000, 1001})
"""A client that closes with one of these gives its session up."""


class Host(Protocol):
    """What a connection needs from the gateway."""

    faults: Faults
    heartbeats: int

    def identify(self, connection: Connection, request: Payload) -> Session:
        """Begin a session for an IDENTIFY; raises CloseError."""

    def resume(self, connection: Connection, request: Payload) -> Session | None:
        """The session of a RESUME, or None when it cannot be resumed; raises CloseError."""

    def leave(self, connection: Connection, *, for_good: bool) -> None:
        """The connection has ended."""


class Connection:
    """Lives as long as its websocket. Methods are for the event loop the gateway runs on."""

    def __init__(
        self, host: Host, socket: web.WebSocketResponse, writer: BatchWriter, *, heartbeat_interval_ms: int
    ) -> None:
        self.session: Session | None = None
        self._host = host
        self._socket = socket
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._interval_seconds = heartbeat_interval_ms / 1000
        self._timer: asyncio.TimerHandle | None = None
        self._received_at: deque[float] = deque(maxlen=_MAX_SENDS)
        self._closing: asyncio.Task[Any] | None = None
        self._handlers: dict[Op, Callable[[Any], None]] = {
            Op.HEARTBEAT: self._on_heartbeat,
            Op.IDENTIFY: self._on_identify,
            Op.RESUME: self._on_resume,
            Op.REQUEST_GUILD_MEMBERS: self._on_request_members,
            Op.PRESENCE_UPDATE: self._on_ignored,
            Op.VOICE_STATE_UPDATE: self._on_ignored,
        }

    # -- sending

    def send(self, message: bytes) -> None:
        """Send one JSON message."""
        self._writer.send(message)

    def send_op(self, op: Op, data: object = None) -> None:
        """Send anything but a dispatch."""
        self.send(orjson.dumps({"op": int(op), "d": data, "s": None, "t": None}))

    def abort(self) -> None:
        """Break the connection without a close frame."""
        self._writer.abort()

    def close(self, code: int) -> None:
        """Send what is queued and a close frame; returns at once."""
        if self._closing is None:
            self._writer.flush()
            self._closing = self._loop.create_task(self._socket.close(code=code))

    # -- receiving

    async def run(self) -> None:
        """Say HELLO, then serve until the connection ends, however it ends."""
        self.send_op(Op.HELLO, {"heartbeat_interval": round(self._interval_seconds * 1000), "_trace": ["sandbox"]})
        self._expect_heartbeat()
        try:
            async for message in self._socket:
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY) or not self._serve(message.data):
                    break
        finally:
            await self._end()

    async def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        gone = self._closing is None and self._socket.close_code in _GONE_CODES
        self._host.leave(self, for_good=gone)
        if self._closing is not None:
            await asyncio.wait([self._closing])

    def _serve(self, text: str | bytes) -> bool:
        """Handle one message; False ends the connection."""
        try:
            self._check_rate()
            self._handle(_decoded(text))
        except CloseError as error:
            self.close(error.code)
            return False
        return True

    def _check_rate(self) -> None:
        now = self._loop.time()
        if len(self._received_at) == _MAX_SENDS and now - self._received_at[0] < _SEND_WINDOW_SECONDS:
            raise CloseError(CloseCode.RATE_LIMITED)
        self._received_at.append(now)

    def _handle(self, message: Payload) -> None:
        try:
            handler = self._handlers[Op(message["op"])]
        except (KeyError, ValueError):
            raise CloseError(CloseCode.UNKNOWN_OPCODE) from None
        try:
            handler(message.get("d"))
        except (KeyError, TypeError, ValueError, AttributeError, RagdError):
            raise CloseError(CloseCode.DECODE_ERROR) from None

    def _on_heartbeat(self, _sequence: object) -> None:
        self._host.heartbeats += 1
        self._expect_heartbeat()
        if not self._host.faults.zombie:
            self.send_op(Op.HEARTBEAT_ACK)

    def _expect_heartbeat(self) -> None:
        """Discord lets a client go that misses its heartbeats."""
        if self._timer is not None:
            self._timer.cancel()
        patience = 1.5 * self._interval_seconds + 1
        self._timer = self._loop.call_later(patience, self.close, CloseCode.SESSION_TIMED_OUT)

    def _on_identify(self, request: Payload) -> None:
        if self.session is not None:
            raise CloseError(CloseCode.ALREADY_AUTHENTICATED)
        self.session = self._host.identify(self, request)

    def _on_resume(self, request: Payload) -> None:
        if self.session is not None:
            raise CloseError(CloseCode.ALREADY_AUTHENTICATED)
        self.session = self._host.resume(self, request)
        if self.session is None:
            self.send_op(Op.INVALID_SESSION, False)

    def _on_request_members(self, request: Payload) -> None:
        self._known_session().send_member_chunks(request)

    def _on_ignored(self, _data: object) -> None:
        self._known_session()

    def _known_session(self) -> Session:
        if self.session is None:
            raise CloseError(CloseCode.NOT_AUTHENTICATED)
        return self.session


def _decoded(text: str | bytes) -> Payload:
    if len(text) > _MAX_PAYLOAD_CHARS:
        raise CloseError(CloseCode.DECODE_ERROR)
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise CloseError(CloseCode.DECODE_ERROR) from None
    if not isinstance(message, dict):
        raise CloseError(CloseCode.DECODE_ERROR)
    return message
