"""Asks capture what a member may read now (ragd/bot/reach_server.py is the other side). JSON over its UNIX socket.

The request is `{"user": ID, "guild": ID or name or null}`; the answer `{"channels": [ids]}`, or `{"error", "hint"}`
with HTTP status 404 for a user or guild that there is not, 503 for what may work later.
"""

from __future__ import annotations

import http.client
import json
from pathlib import Path

from ragd.errors import RagdError, UnavailableError, UsageError
from ragd.unix_http import UnixConnection

REACH_SECONDS = 15.0
"""Discord is asked who the member is, and which private threads the member is in."""

_STATUS_HINT = "see `ragdctl status`"


def ask_reach(path: Path, user_id: int, guild: str | None = None, timeout_seconds: float = REACH_SECONDS) -> list[int]:
    """Ids of the channels and threads that a user may read; `guild` is an id or a name, None for every server that ragd
    and the user share.

    Raises UsageError for who is no member and for a guild that ragd is not in, UnavailableError when nobody can tell
    now, RagdError for anything else.
    """
    request = json.dumps({"user": str(user_id), "guild": guild}).encode()
    status, body = _post(path, request, timeout_seconds)
    try:
        document = json.loads(body)
        if status == http.client.OK:
            return [int(channel_id) for channel_id in document["channels"]]
        message, hint = str(document["error"]), str(document.get("hint", ""))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise RagdError(f"capture's answer makes no sense (HTTP status {status}): {error!r}") from None
    if status == http.client.NOT_FOUND:
        raise UsageError(message, hint=hint)
    if status >= http.client.INTERNAL_SERVER_ERROR:
        raise UnavailableError(message, hint=hint or _STATUS_HINT)
    raise RagdError(message, hint=hint)


def _post(path: Path, body: bytes, timeout_seconds: float) -> tuple[int, bytes]:
    connection = UnixConnection(path, timeout_seconds)
    try:
        connection.request("POST", "/reach", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    except TimeoutError:
        raise UnavailableError(f"capture does not answer within {timeout_seconds:g} s", hint=_STATUS_HINT) from None
    except PermissionError:
        raise UnavailableError(f"{path} may not be used", hint="ask as the user that runs ragd") from None
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(
            f"no capture answers at {path} ({getattr(error, 'strerror', None) or error!r}), and only it knows what a"
            " member may read",
            hint=f"start ragd: {_STATUS_HINT}",
        ) from None
    finally:
        connection.close()
