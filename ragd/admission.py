"""Who may ask a process over its UNIX socket, and how much at once: the same for every socket that speaks HTTP."""

from __future__ import annotations

import logging
from pathlib import Path

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ragd.peers import is_welcome, peer_of

_log = logging.getLogger(__name__)


def admission(path: Path, max_bytes: int) -> Middleware:
    """Middleware that answers 403 to whom the socket at `path` is not for, and 413 to a request of more bytes, both in
    ragd's own form: `{"error": ...}`."""

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        peer = peer_of(request.get_extra_info("socket"))
        if not is_welcome(peer, path):
            _log.warning("%s may not ask at %s and was refused", peer, path.name)
            return _refuse(403, f"user {peer.uid} may not ask here")
        try:
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return _refuse(413, f"the request is larger than {max_bytes} bytes")

    return admit


def _refuse(status: int, problem: str) -> web.Response:
    return web.Response(body=orjson.dumps({"error": problem}), status=status, content_type="application/json")
