"""The watchdog's way into the store: for the lag, and as a sink for alerts. Opened when needed, never created here."""

from __future__ import annotations

from pathlib import Path

from ragd.alerts import Alert, Severity
from ragd.errors import RagdError, UnavailableError
from ragd.store import Store

BUSY_SECONDS = 1.5
"""Less than ragd.health.STORE_SECONDS: a locked database must not hold up the pass that feeds systemd."""


class StoreLink:
    """A StoreProbe and an AlertSink (ragd/health.py, ragd/alerts.py). For one thread.

    A connection that failed is dropped and made anew at the next call, so that a database that comes back, or is
    restored under another inode, is found again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store: Store | None = None

    def lag(self) -> int:
        """Messages that are captured and not yet searchable; 0 before there is a database. Raises RagdError."""
        if not self._path.exists():
            return 0  # the first start: capture makes it in a moment
        try:
            return self._opened().chunks.lag()
        except RagdError:
            self.close()
            raise

    def raise_alert(self, severity: Severity, key: str, text: str) -> None:
        try:
            self._opened().alerts.raise_alert(severity, key, text)
        except RagdError:
            self.close()
            raise

    def resolve(self, key: str) -> None:
        try:
            self._opened().alerts.resolve(key)
        except RagdError:
            self.close()
            raise

    def open_alerts(self) -> list[Alert]:
        """What an earlier watchdog left open; nothing while the store does not answer."""
        try:
            found = self._opened().alerts.open_alerts()
        except RagdError:
            self.close()
            return []
        return [Alert(Severity(alert.severity), alert.key, alert.text) for alert in found]

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store = None

    def _opened(self) -> Store:
        if self._store is None:
            if not self._path.exists():
                raise UnavailableError(f"no database at {self._path} yet")
            self._store = Store.open(self._path, busy_seconds=BUSY_SECONDS)
        return self._store
