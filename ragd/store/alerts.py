"""The outbox of alerts: written by the watchdog, delivered by capture; an alert outlives the failure it reports."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from ragd.alerts import Alert, Kind, Notice, Severity
from ragd.store.database import Queries, Row

TEST_KEY = "test"
"""Of alerts that report nothing (`ragdctl alert test`)."""

STALE_SECONDS = 2 * 86_400
"""An alert that ended so long ago without having been told is history: who names a channel today is not told it."""

KEPT_SECONDS = 90 * 86_400
"""How long ended alerts are kept."""

A_ROUND = 20
"""Notices handed out at a time."""

Delivery = Literal["delivered", "waiting", "failed"]

_COLUMNS = (
    "id, severity, key, text, raised_at, last_at, count, reminders, reminded_at,"
    " resolved_at, announced_at, announced_reminders, resolution_announced_at, problem"
)


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert, and how far its telling in Discord has come. Times in Unix seconds."""

    id: int
    alert: Alert
    resolved_at: int | None
    announced_at: int | None
    announced_reminders: int
    resolution_announced_at: int | None
    problem: str
    """Why the last try to tell it failed; empty if it did not."""

    @property
    def delivery(self) -> Delivery:
        """Whether Discord has the newest notice of it."""
        if self.pending() is None:
            return "delivered"
        return "failed" if self.problem else "waiting"

    def pending(self) -> Notice | None:
        """What is to be told next. An alert that ended before it was told is told as ended."""
        alert = self.alert
        if alert.key == TEST_KEY:
            return None if self.announced_at else Notice(Kind.TEST, alert, alert.first_at)
        if self.resolved_at is not None:
            return None if self.resolution_announced_at else Notice(Kind.ENDED, alert, self.resolved_at)
        if self.announced_at is None:
            return Notice(Kind.RAISED, alert, alert.first_at)
        return Notice(Kind.REMINDED, alert, alert.told_at) if self.announced_reminders < alert.reminders else None


class AlertStore(Queries):
    """One open alert a key. Safe to call again with the same notice."""

    def record(self, notice: Notice) -> None:
        """Put the state that a notice tells of into the outbox."""
        with self._transaction():
            if notice.kind is Kind.ENDED:
                self._end(notice)
            else:
                self._put(notice.alert)

    def _put(self, alert: Alert) -> None:
        self._execute(
            "INSERT INTO alert (key, severity, text, raised_at, last_at, count, reminders, reminded_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (key) WHERE resolved_at IS NULL DO UPDATE SET severity = excluded.severity,"
            " text = excluded.text, last_at = excluded.last_at, count = max(count, excluded.count),"
            " reminders = max(reminders, excluded.reminders), reminded_at = excluded.reminded_at",
            alert.key,
            alert.severity.value,
            alert.text,
            int(alert.first_at),
            int(alert.last_at),
            alert.count,
            alert.reminders,
            int(alert.told_at),
        )

    def _end(self, notice: Notice) -> None:
        alert = notice.alert
        self._execute(
            "UPDATE alert SET resolved_at = ?, text = ?, last_at = ?, count = max(count, ?)"
            " WHERE key = ? AND resolved_at IS NULL",
            int(notice.at),
            alert.text,
            int(alert.last_at),
            alert.count,
            alert.key,
        )
        self._execute("DELETE FROM alert WHERE resolved_at < ?", int(notice.at) - KEPT_SECONDS)

    def add_test(self, severity: Severity, text: str) -> int:
        """Put a test into the outbox, which is no open alert; returns its id."""
        now = int(time.time())
        with self._transaction():
            self._execute(
                "INSERT INTO alert (key, severity, text, raised_at, last_at, resolved_at) VALUES (?, ?, ?, ?, ?, ?)",
                TEST_KEY,
                severity.value,
                text,
                now,
                now,
                now,
            )
            return int(self._one("SELECT last_insert_rowid()")[0])

    def withdraw(self, alert_id: int) -> None:
        """Take a test back that nobody fetched."""
        with self._transaction():
            self._execute("DELETE FROM alert WHERE id = ? AND key = ? AND announced_at IS NULL", alert_id, TEST_KEY)

    def open_alerts(self) -> list[StoredAlert]:
        """The oldest first."""
        return self._stored("resolved_at IS NULL ORDER BY id")

    def ended_alerts(self, limit: int) -> list[StoredAlert]:
        """The last one to end first."""
        return self._stored("resolved_at IS NOT NULL ORDER BY resolved_at DESC, id DESC LIMIT ?", limit)

    def find(self, alert_id: int) -> StoredAlert | None:
        found = self._stored("id = ?", alert_id)
        return found[0] if found else None

    def unannounced(self) -> list[StoredAlert]:
        """Alerts with a notice that Discord has not had, oldest first; A_ROUND at most."""
        return self._stored(
            "(resolved_at IS NULL AND (announced_at IS NULL OR announced_reminders < reminders))"
            " OR (resolved_at > ? AND resolution_announced_at IS NULL) ORDER BY id LIMIT ?",
            int(time.time()) - STALE_SECONDS,
            A_ROUND,
        )

    def mark_announced(self, stored: StoredAlert) -> None:
        """Note that it was delivered in the state it had then."""
        now = int(time.time())
        with self._transaction():
            self._execute(
                "UPDATE alert SET announced_at = coalesce(announced_at, ?), announced_reminders = ?,"
                " resolution_announced_at = ?, problem = '' WHERE id = ?",
                now,
                stored.alert.reminders,
                now if stored.resolved_at is not None else None,
                stored.id,
            )

    def mark_failed(self, stored: StoredAlert, problem: str) -> None:
        """Note why it could not be delivered; writes only what is news."""
        if problem != stored.problem:
            with self._transaction():
                self._execute("UPDATE alert SET problem = ? WHERE id = ?", problem, stored.id)

    def close_all(self) -> None:
        """End every open alert without telling anybody: after a restore they are judged anew."""
        now = int(time.time())
        with self._transaction():
            self._execute(
                "UPDATE alert SET resolved_at = ?, resolution_announced_at = ? WHERE resolved_at IS NULL", now, now
            )

    def _stored(self, where: str, *parameters: object) -> list[StoredAlert]:
        return [_stored_alert(row) for row in self._all(f"SELECT {_COLUMNS} FROM alert WHERE {where}", *parameters)]


def _stored_alert(row: Row) -> StoredAlert:
    alert_id, severity, key, text, raised_at, last_at, count, reminders, reminded_at, *telling = row
    # rows of an earlier ragd have neither of the two times
    alert = Alert(
        Severity(severity), key, text, raised_at, last_at or raised_at, count, reminders, reminded_at or raised_at
    )
    return StoredAlert(alert_id, alert, *telling)
