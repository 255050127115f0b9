"""Alerts: conditions a person should know of, each told once when it begins and once when it ends."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Protocol

from ragd.errors import RagdError

_log = logging.getLogger(__name__)

LONGEST_QUEUE = 100
"""Undelivered messages kept for a sink; beyond that the oldest are dropped, as the log has them all."""


class Severity(StrEnum):
    """How much an alert matters."""

    WARNING = "warning"
    """Something broke and was mended, or will soon need a person."""
    ERROR = "error"
    """Needs a person."""


_LEVELS = {Severity.WARNING: logging.WARNING, Severity.ERROR: logging.ERROR}


@dataclass(frozen=True, slots=True)
class Alert:
    """An open condition. `key` names it for as long as it lasts, as in `worker.capture.loop`."""

    severity: Severity
    key: str
    text: str


class AlertSink(Protocol):
    """Where alerts go besides the log. A RagdError means "not now": the same call is made again later.

    A call takes at most ragd.health.STORE_SECONDS.
    """

    def raise_alert(self, severity: Severity, key: str, text: str) -> None: ...

    def resolve(self, key: str) -> None: ...


class AlertBook:
    """The open alerts. It is a sink itself: raising an open key or resolving one that is not open does nothing."""

    def __init__(self, sinks: Iterable[AlertSink] = (), known: Iterable[Alert] = ()) -> None:
        """`known` are alerts that an earlier book left open, and that the sinks have been told of."""
        self._queues = [_Queue(sink) for sink in sinks]
        self._open: dict[str, Alert] = {alert.key: alert for alert in known}

    @property
    def open_alerts(self) -> tuple[Alert, ...]:
        """The oldest first."""
        return tuple(self._open.values())

    def raise_alert(self, severity: Severity, key: str, text: str) -> None:
        if key in self._open:
            return
        self._open[key] = Alert(severity, key, text)
        _log.log(_LEVELS[severity], "alert %s: %s", key, text)
        for queue in self._queues:
            queue.add(partial(queue.sink.raise_alert, severity, key, text))

    def resolve(self, key: str) -> None:
        alert = self._open.pop(key, None)
        if alert is None:
            return
        _log.info("resolved %s: %s", key, alert.text)
        for queue in self._queues:
            queue.add(partial(queue.sink.resolve, key))

    def deliver(self) -> None:
        """Hand over what the sinks have not taken yet, in order. Never raises; one failure a sink, then the next."""
        for queue in self._queues:
            queue.deliver()


class _Queue:
    """What one sink has yet to be told."""

    def __init__(self, sink: AlertSink) -> None:
        self.sink = sink
        self._calls: deque[Callable[[], None]] = deque(maxlen=LONGEST_QUEUE)
        self._failing = False

    def add(self, call: Callable[[], None]) -> None:
        self._calls.append(call)

    def deliver(self) -> None:
        while self._calls:
            try:
                self._calls[0]()
            except RagdError as error:
                self._complain(error)
                return
            self._calls.popleft()
        self._failing = False

    def _complain(self, error: RagdError) -> None:
        if not self._failing:
            _log.warning("alerts wait for delivery: %s", error.one_line())
        self._failing = True
