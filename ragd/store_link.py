"""The watchdog's alerts into the store, from where capture delivers them. Opened when needed, never created here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ragd.alerts import Alert, Notice, Outlet
from ragd.errors import RagdError, UnavailableError
from ragd.store import Store

BUSY_SECONDS = 1.5
"""Less than ragd.health.STORE_SECONDS: a locked database must not hold up the pass that feeds systemd."""

Result = TypeVar("Result")


class StoreLink(Outlet):
    """The outbox of alerts as an outlet. For one thread.

    A connection that failed is dropped and made anew at the next call, so that a database that comes back, or is
    restored under another inode, is found again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store: Store | None = None

    def take(self, notice: Notice) -> None:
        self._ask(lambda store: store.alerts.record(notice))

    def open_alerts(self) -> list[Alert]:
        """What an earlier watchdog left open; nothing while the store does not answer."""
        try:
            return self._ask(lambda store: [stored.alert for stored in store.alerts.open_alerts()])
        except RagdError:
            return []

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store = None

    def _ask(self, question: Callable[[Store], Result]) -> Result:
        try:
            return question(self._opened())
        except RagdError:
            self.close()
            raise

    def _opened(self) -> Store:
        if self._store is None:
            if not self._path.exists():
                raise UnavailableError(f"no database at {self._path} yet")
            self._store = Store.open(self._path, busy_seconds=BUSY_SECONDS)
        return self._store
