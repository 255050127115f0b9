"""Client of the searcher: HTTP with JSON over its UNIX socket (ragd/searcher.py is the other side)."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ragd.answers import SearchAnswer, SearchRequest, SearchResult
from ragd.errors import RagdError, UnavailableError

ANSWER_SECONDS = 15.0
"""A query takes milliseconds; one that meets an index being compacted may wait a few seconds."""

_STATUS_HINT = "see `ragdctl status`"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP to a UNIX socket."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask_searcher(path: Path, request: SearchRequest, timeout_seconds: float = ANSWER_SECONDS) -> SearchAnswer:
    """Ask the searcher at a socket.

    Raises UnavailableError if it does not answer in time or cannot now, RagdError with its word if it refuses.
    """
    return read_answer(*_post(path, write_request(request), timeout_seconds))


def write_request(request: SearchRequest) -> bytes:
    """The body of a POST to `/search`."""
    return json.dumps(asdict(request)).encode()


def read_answer(status: int, body: bytes) -> SearchAnswer:
    """What the searcher's HTTP answer says. Raises as ask_searcher does."""
    document = _read_document(status, body)
    try:
        return _parse(document)
    except (ValueError, TypeError, LookupError) as error:
        raise _senseless(status, error) from None


def _read_document(status: int, body: bytes) -> Any:
    """The JSON of an answer that is no error; raises as ask_searcher does for one that is."""
    try:
        document = json.loads(body)
        if status == http.client.OK:
            return document
        message = str(document["error"])
    except (ValueError, TypeError, LookupError) as error:
        raise _senseless(status, error) from None
    if status >= http.client.INTERNAL_SERVER_ERROR:
        raise UnavailableError(f"the searcher cannot answer: {message}", hint=_STATUS_HINT)
    raise RagdError(message)


def _senseless(status: int, error: Exception) -> RagdError:
    return RagdError(f"the searcher's answer makes no sense (HTTP status {status}): {error!r}")


def ask_for_canaries(path: Path, words: str, timeout_seconds: float) -> list[int]:
    """Ids of canaries (ragd/store/canary.py) that the searcher finds for these words. Raises as ask_searcher does."""
    status, body = _post(path, json.dumps({"words": words}).encode(), timeout_seconds, "/canary")
    try:
        document = json.loads(body)
        if status == http.client.OK:
            return [int(message_id) for message_id in document["found"]]
        raise UnavailableError(f"the searcher cannot answer: {document['error']}", hint=_STATUS_HINT)
    except (ValueError, TypeError, LookupError) as error:
        raise RagdError(f"the searcher's answer makes no sense (HTTP status {status}): {error!r}") from None


def ask_about_indexes(
    path: Path, action: str, strategy: str | None = None, timeout_seconds: float = ANSWER_SECONDS
) -> list[dict[str, Any]]:
    """How each index of the searcher is (ragd/indexes.py); actions `check` and `rebuild` do as they say first.

    Raises UnavailableError if it does not answer in time or cannot now, RagdError with its word if it refuses.
    """
    status, body = _post(path, json.dumps({"action": action, "strategy": strategy}).encode(), timeout_seconds, "/index")
    document = _read_document(status, body)
    try:
        return [dict(index) for index in document["indexes"]]
    except (ValueError, TypeError, LookupError) as error:
        raise _senseless(status, error) from None


def _post(path: Path, body: bytes, timeout_seconds: float, route: str = "/search") -> tuple[int, bytes]:
    connection = _UnixConnection(path, timeout_seconds)
    try:
        connection.request("POST", route, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    except TimeoutError:
        raise UnavailableError(
            f"the searcher does not answer within {timeout_seconds:g} s", hint=_STATUS_HINT
        ) from None
    except PermissionError:
        raise UnavailableError(f"{path} may not be used", hint="ask as the user that runs ragd") from None
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(
            f"no searcher answers at {path} ({getattr(error, 'strerror', None) or error!r})",
            hint=f"start ragd, or wait until its index is loaded: {_STATUS_HINT}",
        ) from None
    finally:
        connection.close()


def _parse(document: Mapping[str, Any]) -> SearchAnswer:
    """A newer searcher may tell more than is known here: what is not known is left out."""
    return SearchAnswer(
        results=[_result(raw) for raw in document["results"]],
        indexed=int(document["indexed"]),
        lag_messages=int(document["lag_messages"]),
        took_ms=float(document["took_ms"]),
    )


def _result(raw: Mapping[str, Any]) -> SearchResult:
    return SearchResult(
        score=float(raw["score"]),
        message_ids=[str(message_id) for message_id in raw["message_ids"]],
        **{name: str(raw[name]) for name in _TEXTS},
    )


_TEXTS = ("strategy", "guild_id", "channel_id", "channel", "author", "time", "text", "url")
