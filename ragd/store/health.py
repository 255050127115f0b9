"""The history of health checks, how far search is behind, and SQLite's own look at its file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ragd.store.database import Queries

SLOT_SECONDS = 600
"""Runs are added up over so long: a row a check and slot, however often the check ran."""

KEPT_SECONDS = 7 * 86_400
DAY_SECONDS = 86_400

_DEADLINE_CHECK_STEPS = 20_000
"""Steps of SQLite's virtual machine between two looks at the clock: a few milliseconds."""


@dataclass(frozen=True, slots=True)
class CheckState:
    """What a check said last. Times in Unix seconds; `changed_at` is since when the verdict has been this one."""

    name: str
    verdict: str
    figure: float | None
    unit: str
    text: str
    hint: str
    checked_at: int
    changed_at: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a check ran in one slot, which begins at `slot` (Unix seconds), and what came of it."""

    name: str
    slot: int
    runs: int
    warnings: int
    failures: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far search has followed the messages."""

    lag_messages: int
    newest_change: int
    """Of all messages."""
    followed_change: int
    """Up to which every strategy knows what it has to make anew; equals the newest without a strategy."""
    oldest_mark: int | None
    """Since when the longest waiting piece of work has been known, Unix ms; None when there is none."""


def slot_of(unix_seconds: float) -> int:
    """The beginning of the slot that a moment falls into."""
    return int(unix_seconds) // SLOT_SECONDS * SLOT_SECONDS


class HealthStore(Queries):
    """Written by the watchdog alone."""

    def record(self, states: Sequence[CheckState], tallies: Sequence[Tally]) -> None:
        """Add to the history and forget what is older than KEPT_SECONDS, in one transaction."""
        with self._transaction():
            self._execute_many(
                "INSERT INTO health_check (name, verdict, figure, unit, text, hint, checked_at, changed_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET verdict = excluded.verdict, figure = excluded.figure,"
                " unit = excluded.unit, text = excluded.text, hint = excluded.hint, checked_at = excluded.checked_at,"
                # of an earlier watchdog's verdict too
                " changed_at = CASE WHEN verdict = excluded.verdict THEN changed_at ELSE excluded.changed_at END",
                ((s.name, s.verdict, s.figure, s.unit, s.text, s.hint, s.checked_at, s.changed_at) for s in states),
            )
            self._execute_many(
                "INSERT INTO health_history (name, slot, runs, warnings, failures) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (name, slot) DO UPDATE SET runs = runs + excluded.runs,"
                " warnings = warnings + excluded.warnings, failures = failures + excluded.failures",
                ((t.name, t.slot, t.runs, t.warnings, t.failures) for t in tallies),
            )
            self._prune(int(time.time()) - KEPT_SECONDS)

    def _prune(self, before: int) -> None:
        self._execute("DELETE FROM health_history WHERE slot < ?", before)
        self._execute("DELETE FROM health_check WHERE checked_at < ?", before)

    def states(self) -> list[CheckState]:
        """By name."""
        rows = self._all(
            "SELECT name, verdict, figure, unit, text, hint, checked_at, changed_at FROM health_check ORDER BY name"
        )
        return [CheckState(*row) for row in rows]

    def tallies(self, since: float) -> list[Tally]:
        """Slots that were not over at `since` (Unix seconds), by name, then time."""
        rows = self._all(
            "SELECT name, slot, runs, warnings, failures FROM health_history WHERE slot > ? ORDER BY name, slot",
            int(since) - SLOT_SECONDS,
        )
        return [Tally(*row) for row in rows]

    def progress(self, lag_messages: int) -> Progress:
        """How far search is; the lag is ChunkStore's to count."""
        (newest,) = self._one("SELECT value FROM counter WHERE name = 'message_change'")
        (followed,) = self._one("SELECT min(position) FROM sync_state")
        (oldest,) = self._one("SELECT min(marked_at) FROM dirty_cell WHERE marked_at > 0")
        return Progress(lag_messages, newest, newest if followed is None else followed, oldest)

    def quick_check(self, deadline: float, stopped: Callable[[], bool] = lambda: False) -> list[str]:
        """What `PRAGMA quick_check` finds wrong, one table after another; empty if nothing.

        One statement a table, so that no read transaction keeps the write-ahead log from being emptied for longer than
        one table takes. Raises TimeoutError at `deadline` (monotonic) or when `stopped`.
        """
        connection = self._database.connection()
        connection.set_progress_handler(lambda: stopped() or time.monotonic() > deadline, _DEADLINE_CHECK_STEPS)
        try:
            tables = [row[0] for row in self._all("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
            found = [row[0] for table in tables for row in self._all(f'PRAGMA quick_check("{table}")')]
        except Exception:
            if stopped() or time.monotonic() > deadline:
                raise TimeoutError("quick_check was not finished in time") from None
            raise
        finally:
            connection.set_progress_handler(None)
        return [line for line in found if line != "ok"]
