"""Sends one notice through apprise: a program of its own that reads an order on standard input and answers on standard
output, both JSON (ragd/notices.py writes the one and reads the other).

A process, because apprise's services bound neither a resolver that hangs nor a server that dribbles, a thread cannot
be killed, and some 20 MB of plugins are of use for a second a month. It gets the URL on standard input, for arguments
and environment can be read by others; and it says nothing of what apprise logs, which may quote parts of the URL.
"""

from __future__ import annotations

import json
import logging
import re
import signal
import sys
from typing import Any, TypedDict

CONNECT_SECONDS = 10.0
READ_SECONDS = 15.0
"""apprise's own 4 seconds are less than many a mail server takes."""

LONGEST_SECONDS = 45
"""A sender whose watchdog has died ends by itself."""


class Order(TypedDict):
    """`body` is None to have the URL looked at and nothing sent."""

    url: str
    title: str
    body: str | None
    type: str


class Outcome(TypedDict):
    ok: bool
    permanent: bool
    why: str


class _Listener(logging.Handler):
    """Makes of what apprise logs a reason in words of our own."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.why = "the service did not take it"

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if status := re.search(r"error=(\d{3})\b", text):
            self.why = f"the service answered with HTTP status {status[1]}"
        elif re.search(r"connection error|socket|timed? ?out|refused", text, re.IGNORECASE):
            self.why = "the service cannot be reached"


def carry_out(order: Order) -> Outcome:
    """Send, or look only. Never raises: what a plugin raises is told by its type."""
    listener = _Listener()
    _listen(listener)
    try:
        service = _service(order["url"])
        if service is None:
            return Outcome(ok=False, permanent=True, why="apprise does not understand the URL")
        if order["body"] is None:
            return Outcome(ok=True, permanent=False, why="")
        sent = bool(service.notify(title=order["title"], body=order["body"], notify_type=order["type"]))
    except Exception as error:  # noqa: BLE001 - a hundred plugins; their messages may quote the URL
        return Outcome(ok=False, permanent=False, why=f"the service's plugin failed with {type(error).__name__}")
    return Outcome(ok=sent, permanent=False, why="" if sent else listener.why)


def _listen(listener: _Listener) -> None:
    logger = logging.getLogger("apprise")
    logger.handlers[:] = [listener]
    logger.propagate = False


def _service(url: str) -> Any:
    """The service as apprise has it, or None."""
    from apprise import Apprise, AppriseAsset

    asset = AppriseAsset(app_id="ragd", app_desc="ragd", async_mode=False, plugin_paths=[])
    service = Apprise.instantiate(url, asset=asset)
    if service is not None:
        service.socket_connect_timeout = max(CONNECT_SECONDS, service.socket_connect_timeout)
        service.socket_read_timeout = max(READ_SECONDS, service.socket_read_timeout)
    return service


def main() -> None:
    signal.alarm(LONGEST_SECONDS)
    json.dump(carry_out(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
