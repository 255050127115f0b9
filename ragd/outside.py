"""What ragd shows to whoever watches it from outside: `/healthz`, `/readyz` and `/metrics`, of the last pass."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass

from ragd.config import Settings
from ragd.errors import CannotCreateError
from ragd.health import Outcome
from ragd.httpd import Document, Httpd
from ragd.metrics import Sample, render

_log = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
"""Until a port that could not be had is tried again."""

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Report:
    """One pass. Immutable: the threads that answer read it while the next one is made."""

    state: str
    """`healthy`, `starting` or `degraded`."""
    reasons: tuple[str, ...]
    """Why it is not ready; empty if it is. What somebody should hear of without being unready is no reason."""
    whole_at: float
    """When the last whole pass ended, monotonic; one in which supervisord answered."""
    sample: Sample


class Outside:
    """Holds the newest report and the server that shows it.

    A port that cannot be had is no reason to stop watching: the watchdog would be started again and again, and with it
    nobody would replace the workers. It is said once, noted as a check, and tried again.
    """

    def __init__(self, settings: Settings, alive_seconds: float) -> None:
        """`alive_seconds`: a whole pass that long ago still counts as recent."""
        self._host, self._port = settings.http_host, settings.http_port
        self._alive_seconds = alive_seconds
        self._report: Report | None = None
        self._server: Httpd | None = None
        self._listen_due = 0.0
        self.problem = ""
        """Why nothing listens although it should."""

    @property
    def port(self) -> int | None:
        """The one that is listened on."""
        return self._server.port if self._server else None

    def listen(self, now: float) -> None:
        """Begin to serve if that is due; never raises."""
        if not self._port or self._server is not None or now < self._listen_due:
            return
        self._listen_due = now + RETRY_SECONDS
        try:
            self._server = Httpd(self._host, self._port, self.answer)
        except CannotCreateError as error:
            if str(error) != self.problem:
                _log.warning("%s: no /healthz, /readyz and /metrics until it can be had", error)
            self.problem = str(error)
            return
        self.problem = ""
        _log.info("serving /healthz, /readyz and /metrics on %s:%d", self._host, self._server.port)

    def publish(self, report: Report) -> None:
        self._report = report

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def answer(self, path: str, accept: str) -> Document | None:
        """For the server's threads."""
        report = self._report
        match path:
            case "/healthz":
                return self._healthz(report)
            case "/readyz":
                return self._readyz(report)
            case "/metrics" if report is not None:
                body, content_type = render(report.sample, accept)
                return Document(200, content_type, body)
        return None

    def _healthz(self, report: Report | None) -> Document:
        problem = self._stale(report)
        return Document(503, "text/plain", f"{problem}\n".encode()) if problem else Document(200, "text/plain", b"ok\n")

    def _readyz(self, report: Report | None) -> Document:
        stale = self._stale(report)
        reasons = [*([stale] if stale else []), *(report.reasons if report else ())]
        document = {
            "ready": not reasons,
            "state": "degraded" if stale or report is None else report.state,
            "reasons": reasons,
            "checks": {outcome.name: _shown(outcome) for outcome in report.sample.outcomes} if report else {},
        }
        return Document(503 if reasons else 200, JSON, json.dumps(document).encode() + b"\n")

    def _stale(self, report: Report | None) -> str:
        if report is None:
            return "the watchdog has not made a pass yet"
        age = time.monotonic() - report.whole_at
        return f"the last whole pass of the watchdog was {age:.0f} s ago" if age > self._alive_seconds else ""


def _shown(outcome: Outcome) -> dict[str, object]:
    return {
        "verdict": outcome.verdict.value,
        "figure": outcome.figure,
        "unit": outcome.unit,
        "text": outcome.text,
        "hint": outcome.hint,
    }
