"""Client of the searcher: HTTP with JSON over its UNIX socket (ragd/searcher.py is the other side)."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ragd.answers import PassageLine, SearchAnswer, SearchRequest, SearchResult
from ragd.errors import RagdError, UnavailableError
from ragd.unix_http import UnixConnection

ANSWER_SECONDS = 15.0
"""A query takes milliseconds; one that meets an index being compacted may wait a few seconds."""

_STATUS_HINT = "see `ragdctl status`"


def ask_searcher(path: Path, request: SearchRequest, timeout_seconds: float = ANSWER_SECONDS) -> SearchAnswer:
    """Ask the searcher at a socket.

    Raises UnavailableError if it does not answer in time or cannot now, RagdError with its word if it refuses.
    """
    return read_answer(*_post(path, write_request(request), timeout_seconds))


def write_request(request: SearchRequest) -> bytes:
    """The body of a POST to `/search`. Half characters, which no JSON may hold, become question marks."""
    return json.dumps(asdict(request), ensure_ascii=False).encode("utf-8", "replace")


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
    connection = UnixConnection(path, timeout_seconds)
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
        indexed_to=str(document.get("indexed_to", "")),
        holes=int(document.get("holes", 0)),
        why=str(document.get("why", "")),
        remarks=_texts(document.get("remarks")),
    )


def _result(raw: Mapping[str, Any]) -> SearchResult:
    return SearchResult(
        score=float(raw["score"]),
        message_ids=_texts(raw["message_ids"]),
        before=_texts(raw.get("before")),
        after=_texts(raw.get("after")),
        lines=[_line(line) for line in raw.get("lines") or ()],
        **{name: str(raw[name]) for name in _TEXTS},
        **{name: str(raw.get(name, "")) for name in _LATER_TEXTS},
    )


def _line(raw: Mapping[str, Any]) -> PassageLine:
    return PassageLine(str(raw["message_id"]), str(raw["author"]), str(raw["text"]))


def _texts(values: Iterable[object] | None) -> list[str]:
    return [str(value) for value in values or ()]


_TEXTS = ("strategy", "guild_id", "channel_id", "channel", "author", "time", "text", "url")
_LATER_TEXTS = ("best_message_id", "highlight", "found_by")
"""What a searcher of an older version, still running during an upgrade, does not tell."""
