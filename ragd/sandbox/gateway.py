"""Discord's gateway, version 10: sessions over websockets, and the faults that act on them at once.

Source: https://discord.com/developers/docs/events/gateway
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from .connection import Connection
from .entities import PRIVILEGED_INTENTS, Application, Event, Payload
from .faults import Faults
from .protocol import API_VERSION, KNOWN_INTENTS, CloseCode, CloseError, Op
from .session import Session
from .wire import ENCODERS, BatchWriter
from .world import World


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """How the gateway behaves when nothing is wrong."""

    heartbeat_interval_ms: int = 41_250
    resume_window_seconds: float = 180.0
    buffer_events: int = 10_000
    required_shards: int = 1
    """Fewer shards in IDENTIFY than this: close 4011."""


class Gateway:
    """All sessions and connections. Lives on one event loop, the world's."""

    def __init__(self, world: World, faults: Faults, options: GatewayOptions, url: str) -> None:
        self.faults = faults
        self.sessions: dict[str, Session] = {}
        self.connections: set[Connection] = set()
        self.identifies = 0
        self.first_identify = asyncio.Event()
        """Set once a bot has connected."""
        self.resumes = 0
        self.failed_resumes = 0
        self.replayed_events = 0
        self.heartbeats = 0
        self.sent_events = 0
        self._world = world
        self._options = options
        self._url = url
        self._unsubscribe = world.subscribe(self._on_event)

    # -- serving

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The handler of the websocket route."""
        transport = request.transport
        encoder = ENCODERS.get(request.query.get("compress", ""))
        if transport is None or self.faults.refuse_gateway:
            return reset(request)
        if encoder is None or request.query.get("encoding", "json") != "json":
            return web.json_response({"message": "unknown encoding or compression"}, status=400)
        socket = web.WebSocketResponse(compress=False, timeout=1.0)
        await socket.prepare(request)
        writer = BatchWriter(transport, encoder())
        connection = Connection(self, socket, writer, heartbeat_interval_ms=self._options.heartbeat_interval_ms)
        self.connections.add(connection)
        if request.query.get("v", API_VERSION) != API_VERSION:
            connection.close(CloseCode.INVALID_API_VERSION)
        await connection.run()
        return socket

    def stop(self) -> None:
        """Break all connections and stop listening to the world."""
        self._unsubscribe()
        self.cut()

    def _on_event(self, event: Event) -> None:
        for session in self.sessions.values():
            session.hear(event)

    # -- what connections ask

    def identify(self, connection: Connection, request: Payload) -> Session:
        """Begin a session; raises CloseError with the code Discord would use."""
        application = self._authenticated(request)
        intents = _checked_intents(request["intents"], application)
        shard = self._checked_shard(request.get("shard", [0, 1]))
        # A bot that overdraws its budget gets its token reset.
        if not self.faults.identify_budget.spend():
            raise CloseError(CloseCode.AUTHENTICATION_FAILED)
        self._forget_expired()
        session = Session(
            self._world, self.faults, application, intents, shard, buffer_events=self._options.buffer_events
        )
        self.sessions[session.id] = session
        session.outlet = connection
        self.identifies += 1
        self.first_identify.set()
        session.start(self._url)
        return session

    def resume(self, connection: Connection, request: Payload) -> Session | None:
        """Take a session up again and replay what it missed; None when that cannot be."""
        application = self._authenticated(request)
        self._forget_expired()
        session = self.sessions.get(str(request["session_id"]))
        sequence = int(request["seq"])
        if session is not None and sequence > session.sequence:
            raise CloseError(CloseCode.INVALID_SEQ)
        refused = self.faults.refuse_resume or session is None or session.application is not application
        if session is None or refused or session.expired or not session.can_replay(sequence):
            self.failed_resumes += 1
            return None
        self._attach(connection, session)
        self.resumes += 1
        self.replayed_events += session.replay(sequence)
        return session

    def leave(self, connection: Connection, *, for_good: bool) -> None:
        """A connection has ended; its session waits for RESUME unless it was given up."""
        self.connections.discard(connection)
        session = connection.session
        if session is None or session.outlet is not connection:
            return
        session.outlet = None
        session.disconnected_at = time.monotonic()
        if for_good or session.expired:
            self._drop(session)

    def _attach(self, connection: Connection, session: Session) -> None:
        old = session.outlet
        session.outlet, session.disconnected_at = connection, None
        if isinstance(old, Connection):
            old.close(CloseCode.UNKNOWN_ERROR)

    def _authenticated(self, request: Payload) -> Application:
        application = self._world.application_by_token(str(request["token"]).removeprefix("Bot "))
        if application is None:
            raise CloseError(CloseCode.AUTHENTICATION_FAILED)
        return application

    def _checked_shard(self, shard: Any) -> tuple[int, int]:
        if not (isinstance(shard, list) and len(shard) == 2 and all(isinstance(part, int) for part in shard)):
            raise CloseError(CloseCode.INVALID_SHARD)
        shard_id, shards = shard
        if not 0 <= shard_id < shards:
            raise CloseError(CloseCode.INVALID_SHARD)
        if shards < max(self._options.required_shards, self.faults.sharding.required):
            raise CloseError(CloseCode.SHARDING_REQUIRED)
        return shard_id, shards

    def _forget_expired(self) -> None:
        oldest = time.monotonic() - self._options.resume_window_seconds
        for session in list(self.sessions.values()):
            since = session.disconnected_at
            if since is not None and (session.expired or since < oldest):
                self._drop(session)

    def _drop(self, session: Session) -> None:
        self.sent_events += session.sent_events
        del self.sessions[session.id]

    # -- faults that act at once; `session_id` None means all; each returns how many it hit

    def cut(self, code: int | None = None, session_id: str | None = None) -> int:
        """End connections: with a close code, or by breaking them without a close frame."""
        hit = self._chosen(session_id)
        for connection in hit:
            if code is None:
                connection.abort()
            else:
                connection.close(code)
        return len(hit)

    def request_reconnect(self, session_id: str | None = None) -> int:
        """Op 7: ask clients to reconnect and resume."""
        return self._send_op(Op.RECONNECT, None, session_id)

    def request_heartbeat(self, session_id: str | None = None) -> int:
        """Op 1: ask clients for a heartbeat now."""
        return self._send_op(Op.HEARTBEAT, None, session_id)

    def invalidate(self, *, resumable: bool, session_id: str | None = None) -> int:
        """Op 9; not `resumable`: the session is gone."""
        hit = self._chosen(session_id)
        for connection in hit:
            connection.send_op(Op.INVALID_SESSION, resumable)
            session, connection.session = connection.session, None
            if session is not None:
                self._detach(session, resumable=resumable)
        return len(hit)

    def _detach(self, session: Session, *, resumable: bool) -> None:
        session.outlet = None
        session.disconnected_at = time.monotonic()
        if not resumable:
            self._drop(session)

    def expire_sessions(self, session_id: str | None = None) -> int:
        """Forget sessions, as if their resume window were over: connections stay, the next RESUME gets op 9 false."""
        hit = [session for session in self.sessions.values() if session_id in (None, session.id)]
        for session in hit:
            session.expired = True
        self._forget_expired()
        return len(hit)

    def _chosen(self, session_id: str | None) -> list[Connection]:
        if session_id is None:
            return list(self.connections)
        return [found for found in self.connections if found.session is not None and found.session.id == session_id]

    def _send_op(self, op: Op, data: object, session_id: str | None) -> int:
        hit = self._chosen(session_id)
        for connection in hit:
            connection.send_op(op, data)
        return len(hit)

    # -- report

    def report(self) -> dict[str, Any]:
        """Counts since the start and every session, JSON-ready."""
        live = sum(session.sent_events for session in self.sessions.values())
        return {
            "connections": len(self.connections),
            "identifies": self.identifies,
            "resumes": self.resumes,
            "failed_resumes": self.failed_resumes,
            "replayed_events": self.replayed_events,
            "heartbeats": self.heartbeats,
            "sent_events": self.sent_events + live,
            "dropped_events": self.faults.dropped_events,
            "sessions": [_session_report(session) for session in self.sessions.values()],
        }


def _session_report(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "bot_id": str(session.bot_id),
        "intents": session.intents,
        "shard": list(session.shard),
        "sequence": session.sequence,
        "connected": session.outlet is not None,
        "sent_events": session.sent_events,
    }


def _checked_intents(intents: Any, application: Application) -> int:
    if not isinstance(intents, int) or intents & ~KNOWN_INTENTS:
        raise CloseError(CloseCode.INVALID_INTENTS)
    if intents & PRIVILEGED_INTENTS & ~application.granted_intents:
        raise CloseError(CloseCode.DISALLOWED_INTENTS)
    return intents


def reset(request: web.Request) -> web.Response:
    """Break the connection a request came on; the response returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
