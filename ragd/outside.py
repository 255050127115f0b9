"""What ragd shows to whoever watches it from outside: `/healthz`, `/readyz` and `/metrics`, of the last pass."""

from __future__ import annotations

import hmac
import ipaddress
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

_READY = b'{"ready": true, "reasons": []}\n'
_NOT_READY = b'{"ready": false, "reasons": ["see `ragdctl health`"]}\n'
"""For who is not to know why."""

_WHO_ARE_YOU = Document(401, "text/plain", b"the bearer token is wanted\n", (("WWW-Authenticate", "Bearer"),))
_NOBODY = Document(403, "text/plain", b"for nobody beyond loopback while RAGD_HTTP_TOKEN is not set\n")


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
        self._token = settings.http_token.get_secret_value() if settings.http_token else ""
        self._guarded = bool(self._token) or not is_loopback(self._host)
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
        if self._guarded and not self._token:
            _log.warning("beyond loopback and without RAGD_HTTP_TOKEN there are no /metrics, and no reasons at /readyz")

    def publish(self, report: Report) -> None:
        self._report = report

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def answer(self, path: str, accept: str = "", authorization: str = "") -> Document | None:
        """For the server's threads. A platform's probe can send no token, so all may know whether we live and work."""
        report = self._report
        trusted = not self._guarded or self._knows_token(authorization)
        match path:
            case "/healthz":
                return self._healthz(report)
            case "/readyz":
                return self._readyz(report, in_detail=trusted)
            case "/metrics" if not trusted:
                return _WHO_ARE_YOU if self._token else _NOBODY
            case "/metrics" if report is not None:
                body, content_type = render(report.sample, accept)
                return Document(200, content_type, body)
        return None

    def _knows_token(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        known = hmac.compare_digest(token.strip().encode(errors="replace"), self._token.encode())
        return bool(self._token) and scheme.lower() == "bearer" and known

    def _healthz(self, report: Report | None) -> Document:
        problem = self._stale(report)
        return Document(503, "text/plain", f"{problem}\n".encode()) if problem else Document(200, "text/plain", b"ok\n")

    def _readyz(self, report: Report | None, *, in_detail: bool) -> Document:
        stale = self._stale(report)
        reasons = [*([stale] if stale else []), *(report.reasons if report else ())]
        if not in_detail:
            return Document(503, JSON, _NOT_READY) if reasons else Document(200, JSON, _READY)
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


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there; a name other than localhost may mean anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _shown(outcome: Outcome) -> dict[str, object]:
    return {
        "verdict": outcome.verdict.value,
        "figure": outcome.figure,
        "unit": outcome.unit,
        "text": outcome.text,
        "hint": outcome.hint,
    }
