"""A small HTTP server in threads of its own, for a few documents that are already there. It asks nobody anything."""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from ragd.errors import CannotCreateError

_log = logging.getLogger(__name__)

REQUEST_SECONDS = 5.0
"""How long a client may take over its request and its answer."""

MAX_REQUESTS = 16
"""Answered at a time. Who comes when there are so many takes the place of the one that has been at it the longest: an
answer takes milliseconds, and who does not ask for one must not keep others from it."""

SAFE_SECONDS = 0.25
"""But not before it has had so long."""

ROOM_SECONDS = 0.5
"""How long its end takes at most; if there is no room even then, who came is closed unanswered."""

POLL_SECONDS = 0.5
"""How long closing may take."""


@dataclass(frozen=True, slots=True)
class Document:
    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


Answer = Callable[[str, str, str], Document | None]
"""From path and the headers Accept and Authorization to a document, None for a path there is none for. Called in any
thread."""


class Httpd:
    """Answers GET and HEAD on one address while it is open."""

    def __init__(self, host: str, port: int, answer: Answer) -> None:
        """Listen at once; port 0 for a free one. Raises CannotCreateError."""
        try:
            self._server = _Server(host, port, answer)
        except OSError as error:
            raise CannotCreateError(f"cannot listen on {host}:{port}: {error.strerror}") from None
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), name="httpd", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening, within POLL_SECONDS. Answers under way end with the process."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    # not http.server's own class, which asks the name service for our name while it binds
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: str, port: int, answer: Answer) -> None:
        self.answer = answer
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._room = threading.BoundedSemaphore(MAX_REQUESTS)
        self._open: dict[socket.socket, float] = {}
        """Connections with a thread, the oldest first, and when they began."""
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._has_room():
            self.shutdown_request(request)
            return
        self._open[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._forget(request)
            raise

    def _has_room(self) -> bool:
        """Waits for a place if there is none, and makes one then; the others wait in the kernel's queue meanwhile."""
        if self._room.acquire(blocking=False):
            return True
        for oldest, begun in [*self._open.items()][:1]:
            if self._room.acquire(timeout=max(0.0, begun + SAFE_SECONDS - time.monotonic())):
                return True
            _hang_up(oldest)
        return self._room.acquire(timeout=ROOM_SECONDS)

    def _forget(self, request: socket.socket) -> None:
        del self._open[request]
        self._room.release()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # the socket's own timeout begins anew with each byte
        deadline = threading.Timer(REQUEST_SECONDS, _hang_up, (request,))
        deadline.daemon = True
        try:
            deadline.start()
            super().process_request_thread(request, client_address)
        finally:
            deadline.cancel()
            self._forget(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a request was not answered", exc_info=True)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_SECONDS
    server_version, sys_version = "ragd", ""

    def do_GET(self) -> None:
        self._send(with_body=True)

    def do_HEAD(self) -> None:
        self._send(with_body=False)

    def _send(self, *, with_body: bool) -> None:
        asked = (self.headers.get(name, "") for name in ("Accept", "Authorization"))
        document = self.server.answer(self.path.partition("?")[0], *asked)
        if document is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(document.status)
        self.send_header("Content-Type", document.content_type)
        self.send_header("Content-Length", str(len(document.body)))
        self.send_header("Cache-Control", "no-store")
        for name, value in document.headers:
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(document.body)

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug("%s " + format, self.address_string(), *args)
