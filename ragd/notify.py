"""systemd's notification protocol (sd_notify(3)): readiness, status and watchdog pings, for the watchdog alone."""

from __future__ import annotations

import logging
import os

import sdnotify

_log = logging.getLogger(__name__)

STATUS_BYTES = 200
"""systemd keeps any length; `systemctl status` shows one line."""


class SystemdNotifier:
    """Sends to $NOTIFY_SOCKET, or does nothing without one. Never raises and never blocks.

    A failure is logged when it begins and forgotten when a datagram gets through. Each message is a datagram of its
    own: one bad STATUS must not take a WATCHDOG=1 with it.
    """

    def __init__(self) -> None:
        self._enabled = bool(os.environ.get("NOTIFY_SOCKET"))
        self._watchdog_usec = os.environ.get("WATCHDOG_USEC", "")
        self._notifier: sdnotify.SystemdNotifier | None = None
        self._failing = False
        self._status = ""

    @property
    def watchdog_seconds(self) -> float | None:
        """The unit's WatchdogSec=, or None when systemd does not watch."""
        if self._enabled and self._watchdog_usec.isdecimal() and int(self._watchdog_usec):
            return int(self._watchdog_usec) / 1e6
        return None

    def ready(self) -> None:
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Show one line in `systemctl status`; sent only when it changed, as ASCII."""
        if text != self._status and self._send("STATUS=" + _one_ascii_line(text)):
            self._status = text

    def ping(self) -> None:
        """Feed the watchdog of systemd. Only after a whole pass."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def close(self) -> None:
        """Give the socket back; a later message would connect anew."""
        if self._notifier is not None:
            self._notifier.socket.close()
        self._notifier = None

    def _send(self, message: str) -> bool:
        if not self._enabled:
            return False
        try:
            self._connected().notify(message)
        except OSError as error:
            self.close()  # the next message connects anew: systemd may have made another socket
            self._complain(error)
            return False
        self._failing = False
        return True

    def _connected(self) -> sdnotify.SystemdNotifier:
        if self._notifier is None:
            self._notifier = sdnotify.SystemdNotifier(debug=True)  # debug: raise instead of swallowing
            self._notifier.socket.setblocking(False)  # a full queue blocks the sender after some 11 datagrams
        return self._notifier

    def _complain(self, error: OSError) -> None:
        if not self._failing:
            _log.error("cannot notify systemd: %s", error.strerror or error)
        self._failing = True


def _one_ascii_line(text: str) -> str:
    return " ".join(text.split()).encode("ascii", "replace").decode()[:STATUS_BYTES]
