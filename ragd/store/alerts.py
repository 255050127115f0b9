"""The outbox of alerts: written by the watchdog, delivered by capture; an alert outlives the failure it reports."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ragd.store.database import Queries


@dataclass(frozen=True, slots=True)
class Announcement:
    """Something to tell: an alert that is new, or one that has ended. Times in Unix seconds."""

    id: int
    key: str
    severity: str
    text: str
    raised_at: int
    resolved_at: int | None


class AlertStore(Queries):
    """One open alert a key; raising it again only counts."""

    def raise_alert(self, severity: str, key: str, text: str) -> None:
        with self._transaction():
            self._execute(
                "INSERT INTO alert (key, severity, text, raised_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (key) WHERE resolved_at IS NULL DO UPDATE SET"
                " count = count + 1, text = excluded.text, severity = excluded.severity",
                key,
                severity,
                text,
                int(time.time()),
            )

    def resolve(self, key: str) -> None:
        with self._transaction():
            self._execute(
                "UPDATE alert SET resolved_at = ? WHERE key = ? AND resolved_at IS NULL", int(time.time()), key
            )

    def open_alerts(self) -> list[Announcement]:
        return self._announcements("resolved_at IS NULL ORDER BY id")

    def unannounced(self) -> list[Announcement]:
        """What a person has not been told yet, oldest first. One that ended before it was told is told as ended."""
        return self._announcements(
            "announced_at IS NULL OR (resolved_at IS NOT NULL AND resolution_announced_at IS NULL) ORDER BY id"
        )

    def mark_announced(self, announcement: Announcement) -> None:
        """Note that it was delivered in the state it had then."""
        now = int(time.time())
        with self._transaction():
            self._execute(
                "UPDATE alert SET announced_at = coalesce(announced_at, ?), resolution_announced_at = ? WHERE id = ?",
                now,
                now if announcement.resolved_at is not None else None,
                announcement.id,
            )

    def _announcements(self, where: str) -> list[Announcement]:
        rows = self._all(f"SELECT id, key, severity, text, raised_at, resolved_at FROM alert WHERE {where}")
        return [Announcement(*row) for row in rows]
