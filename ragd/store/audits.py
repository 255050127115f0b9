"""Audits: asked for by ragdctl or due once a day, done by capture; the table is their queue and their history."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ragd.store.coverage import Interval
from ragd.store.database import Queries, Row
from ragd.store.withholding import ERASED

Kind = Literal["asked", "daily"]
State = Literal["waiting", "running", "done", "failed"]

ATTEMPTS = 2
"""An audit during which capture ended so often is not tried again: it may be what ends it."""

LEASE_SECONDS = 120
"""An audit that has not moved for so long is nobody's any more, whatever process has the number of who took it."""

FINDINGS_KEPT = 100
"""Of one audit; their number is kept whole."""

KEPT_SECONDS = 90 * 86_400

WITHDRAWN = "withdrawn"

_COLUMNS = (
    "id, kind, sample, channels, state, asked_at, started_at, ended_at, pid, attempts, touched_at, checked, present,"
    " deleted, found, unmended, findings, details, problem"
)


@dataclass(frozen=True, slots=True)
class Audit:
    """One row; times in Unix seconds. `findings` and `details` as ragd/auditing.py writes them."""

    id: int
    kind: Kind
    sample: int
    channels: tuple[int, ...]
    state: State
    asked_at: int
    started_at: int | None
    ended_at: int | None
    pid: int | None
    attempts: int
    touched_at: int
    checked: int
    present: int
    deleted: int
    found: int
    unmended: int
    findings: tuple[dict[str, Any], ...]
    details: dict[str, Any]
    problem: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How far an audit is, or what it came to; see the columns of the table."""

    checked: int = 0
    present: int = 0
    deleted: int = 0
    found: int = 0
    unmended: int = 0


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """What an audit compares of a row."""

    id: int
    author_id: int
    content: str
    edited_at: int
    deleted: bool
    withheld: bool = False
    """It was erased here on purpose, or never stored: Discord may well have it."""


@dataclass(frozen=True, slots=True)
class LastAudits:
    """What health is judged by."""

    done: Audit | None
    """The newest that ended well and says something about everything: of all channels, or with findings."""
    failed: Audit | None
    """The newest daily one, if it failed after that."""
    since: int
    """Since when audits could have been made, Unix seconds."""


class AuditStore(Queries):
    """Requests are written by whoever asks, everything else by the capture that has taken the audit."""

    # Asking

    def ask(self, sample: int, channels: Sequence[int], now: float) -> int:
        """Ask for an audit of so many messages, of just these channels if any are named; returns its id."""
        with self._transaction():
            return self._add("asked", sample, channels, now)

    def _add(self, kind: Kind, sample: int, channels: Sequence[int], at: float) -> int:
        self._execute(
            "INSERT INTO audit (kind, sample, channels, state, asked_at) VALUES (?, ?, ?, 'waiting', ?)",
            kind,
            sample,
            json.dumps(list(channels)),
            int(at),
        )
        return int(self._one("SELECT last_insert_rowid()")[0])

    def find(self, audit_id: int) -> Audit | None:
        found = self._select("id = ?", audit_id)
        return found[0] if found else None

    def withdraw(self, audit_id: int, now: float) -> None:
        """Take a request back: one that nobody took is forgotten, one that runs ends soon. A result stays."""
        with self._transaction():
            self._execute("DELETE FROM audit WHERE id = ? AND state = 'waiting'", audit_id)
            self._end(audit_id, "failed", WITHDRAWN, now)

    # Doing

    def due(self, pid: int, now: float, lives: Callable[[int], bool]) -> Audit | None:
        """What `pid`, which has none at hand, is to do next: a person's wish first, then what is due.

        One that was running is due again when the process that took it is gone. Reads only.
        """
        waiting = self._select("state = 'waiting' AND asked_at <= ? ORDER BY kind, asked_at, id LIMIT 1", int(now))
        left = [audit for audit in self._select("state = 'running'") if _is_left(audit, pid, now, lives)]
        found = sorted([*left, *waiting], key=lambda audit: (audit.kind, audit.asked_at, audit.id))
        return found[0] if found else None

    def take(self, audit: Audit, pid: int, now: float) -> bool:
        """Claim one that is due; False if somebody else did, or if it has been tried too often and counts as failed."""
        with self._transaction():
            if audit.attempts >= ATTEMPTS:
                self._end(audit.id, "failed", "capture ended while it ran, more than once", now)
                return False
            claimed = self._execute(
                "UPDATE audit SET state = 'running', pid = ?, attempts = attempts + 1, started_at = ?, touched_at = ?,"
                " checked = 0, present = 0, deleted = 0, found = 0, unmended = 0"
                " WHERE id = ? AND state = ? AND attempts = ?",
                pid,
                int(now),
                int(now),
                audit.id,
                audit.state,
                audit.attempts,
            )
        return claimed == 1

    def touch(self, audit_id: int, pid: int, tally: Tally, now: float) -> bool:
        """Write how far it is; False when it is not ours any more."""
        with self._transaction():
            return self._put(audit_id, pid, tally, now)

    def finish(
        self,
        audit_id: int,
        pid: int,
        tally: Tally,
        findings: Sequence[dict[str, Any]],
        details: dict[str, Any],
        now: float,
    ) -> bool:
        """Write the result; False when it is not ours any more."""
        with self._transaction():
            if not self._put(audit_id, pid, tally, now):
                return False
            self._execute(
                "UPDATE audit SET findings = ?, details = ? WHERE id = ?",
                json.dumps(findings[:FINDINGS_KEPT]),
                json.dumps(details),
                audit_id,
            )
            self._end(audit_id, "done", "", now)
            self._execute(
                "DELETE FROM audit WHERE state IN ('done', 'failed') AND ended_at < ?", int(now) - KEPT_SECONDS
            )
        return True

    def fail(self, audit_id: int, problem: str, now: float) -> None:
        """End one that waits or runs, and say why."""
        with self._transaction():
            self._execute("UPDATE audit SET state = 'running' WHERE id = ? AND state = 'waiting'", audit_id)
            self._end(audit_id, "failed", problem, now)

    def _put(self, audit_id: int, pid: int, tally: Tally, now: float) -> bool:
        columns = asdict(tally)
        changed = self._execute(
            f"UPDATE audit SET touched_at = ?, {', '.join(f'{name} = ?' for name in columns)}"
            " WHERE id = ? AND state = 'running' AND pid = ?",
            int(now),
            *columns.values(),
            audit_id,
            pid,
        )
        return changed == 1

    def _end(self, audit_id: int, state: State, problem: str, now: float) -> None:
        self._execute(
            "UPDATE audit SET state = ?, problem = ?, ended_at = ? WHERE id = ? AND state = 'running'",
            state,
            problem,
            int(now),
            audit_id,
        )

    # Every day

    def next_daily(self) -> Audit | None:
        """The daily one that waits or runs."""
        found = self._select("kind = 'daily' AND state IN ('waiting', 'running') ORDER BY id LIMIT 1")
        return found[0] if found else None

    def last_daily(self) -> Audit | None:
        """The newest daily one that ended."""
        found = self._select("kind = 'daily' AND state IN ('done', 'failed') ORDER BY ended_at DESC, id DESC LIMIT 1")
        return found[0] if found else None

    def schedule_daily(self, sample: int, at: float) -> None:
        """Have one made at that time, and at no other."""
        with self._transaction():
            self._execute("DELETE FROM audit WHERE kind = 'daily' AND state = 'waiting'")
            self._add("daily", sample, (), at)

    # What there is to compare

    def messages(self, channel_id: int, span: Interval) -> list[StoredMessage]:
        """What the store has in a span of ids, tombstones too, ascending."""
        rows = self._all(
            f"SELECT id, author_id, content, edited_at, deleted, deleted AND source = '{ERASED}' FROM message"
            " WHERE channel_id = ? AND id BETWEEN ? AND ? ORDER BY id",
            channel_id,
            *span,
        )
        return [StoredMessage(row[0], row[1], row[2], row[3], bool(row[4]), bool(row[5])) for row in rows]

    def any_message(self, at: float) -> tuple[int, int] | None:
        """Channel and id of one message, every one as likely as any other for an evenly spread `at` of 0 to 1.

        By change numbers, which are nearly dense: edits and deletions leave gaps, which favours what comes after them.
        """
        rows = self._all(
            "SELECT channel_id, id FROM message WHERE change >="
            " (SELECT min(change) + CAST((max(change) - min(change)) * ? AS INTEGER) FROM message)"
            " ORDER BY change LIMIT 1",
            at,
        )
        return (rows[0][0], rows[0][1]) if rows else None

    def count_messages(self, most: int) -> int:
        """How many messages the store has that are not deleted; no more than `most` are counted."""
        return int(self._one("SELECT count(*) FROM (SELECT 1 FROM message WHERE NOT deleted LIMIT ?)", most)[0])

    def count_in(self, channel_id: int, *, thread: bool) -> int:
        """Messages of a channel that Discord should have, those that are withheld here too; of a thread without what
        Discord leaves out of its count."""
        of_thread = "AND id <> channel_id AND type <> 21" if thread else ""
        there = f"(NOT deleted OR source = '{ERASED}')"
        query = f"SELECT count(*) FROM message WHERE channel_id = ? AND {there} {of_thread}"
        return int(self._one(query, channel_id)[0])

    # What came of it

    def last(self) -> LastAudits:
        done = self._select("state = 'done' AND (channels = '[]' OR found > 0) ORDER BY ended_at DESC, id DESC LIMIT 1")
        daily = self.last_daily()
        newest = done[0] if done else None
        failed = daily if daily and daily.state == "failed" and (newest is None or daily.id > newest.id) else None
        since = self._one("SELECT coalesce(min(applied_at), 0) FROM migration WHERE number >= 4")[0]
        return LastAudits(newest, failed, int(since))

    def _select(self, rest: str, *parameters: object) -> list[Audit]:
        return [_audit(row) for row in self._all(f"SELECT {_COLUMNS} FROM audit WHERE {rest}", *parameters)]


def _is_left(audit: Audit, pid: int, now: float, lives: Callable[[int], bool]) -> bool:
    """Whether the process that took it is gone. In a container the next one may well have the same number."""
    return audit.pid in (None, pid) or not lives(audit.pid or 0) or audit.touched_at < now - LEASE_SECONDS


def _audit(row: Row) -> Audit:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    values.update({name: json.loads(values[name]) for name in ("channels", "findings", "details")})
    return Audit(**{**values, "channels": tuple(values["channels"]), "findings": tuple(values["findings"])})
