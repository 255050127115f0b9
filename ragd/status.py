"""How ragd is, seen from outside: supervisord, heartbeat files and the store, any of which may be dead or damaged.

Nothing is written, nothing is waited for longer than about two seconds, and nothing raises: what cannot be seen
becomes a reason. Safe in any thread.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import apsw
from peewee import DatabaseError

from ragd.config import Settings
from ragd.errors import RagdError
from ragd.health.history import CheckHistory, read_history
from ragd.heartbeat import PROCESSES, Heartbeat
from ragd.process_status import (
    ProcessStatus,
    SupervisorStatus,
    ask_supervisord,
    count_restarts,
    describe,
    down_reasons,
    look,
    process_reasons,
)
from ragd.store import Store
from ragd.store.alerts import Delivery, StoredAlert
from ragd.store.database import open_database, require_safe_sqlite

STORE_SECONDS = 1.0
"""How long a lock on the database is waited for."""

DEMO_MARKER = "demo"
"""A file that `ragd` without a token leaves in its data directory (ragd/cli/demo.py)."""

Health = Literal["healthy", "degraded", "down"]


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What the database holds; `holes` are spans of message ids that are still being fetched."""

    messages: int
    deleted: int
    channels: int
    chunks: int
    vectors: int
    holes: int
    unreadable_channels: int
    lag_messages: int
    database_bytes: int
    wal_bytes: int
    sqlite_version: str
    refused_channels: int = 0


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """Times in Unix seconds."""

    severity: str
    text: str
    raised_at: int
    key: str = ""
    last_at: int = 0
    count: int = 1
    """How often it has occurred since `raised_at`."""
    delivery: Delivery | Literal["off"] = "off"
    """Whether Discord has its newest notice; `off` without ALERT_CHANNEL_ID."""
    delivery_problem: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """The whole picture. `reasons` are why it is not healthy, each a sentence that says what to do."""

    state: Health
    reasons: tuple[str, ...]
    processes: Mapping[str, ProcessStatus]
    supervisor: SupervisorStatus
    store: StoreStatus | None
    alerts: tuple[OpenAlert, ...]
    demo: bool
    data_dir: str
    checks: tuple[CheckHistory, ...] = ()
    """What every health check said last, and its last 24 hours; empty without a store or a history."""

    @property
    def checks_run_24h(self) -> int | None:
        """None without a history."""
        return sum(check.runs_24h for check in self.checks) if self.checks else None

    @property
    def checks_failed_24h(self) -> int | None:
        return sum(check.failures_24h for check in self.checks) if self.checks else None

    def document(self) -> dict[str, Any]:
        """As `ragdctl status --json` prints it: documented in README.md, names are kept."""
        lag = self.store.lag_messages if self.store else None
        return {
            **asdict(self),
            "lag_messages": lag,
            "checks_run_24h": self.checks_run_24h,
            "checks_failed_24h": self.checks_failed_24h,
        }


def collect_status(settings: Settings) -> Status:
    """Look at everything once. Never raises for anything that is dead, missing, damaged or locked."""
    supervisor, infos = ask_supervisord(settings)
    sights = {name: look(settings, name, infos.get(name)) for name in PROCESSES}
    restarts = count_restarts(sights["watchdog"].beat, supervisor.pid)
    processes = {name: describe(settings, sight, name, restarts.get(name, 0)) for name, sight in sights.items()}
    inside = _look_into_store(settings)
    blind = any(sight.forbidden for sight in sights.values())
    lives = supervisor.state != "unreachable" or any(process.pid for process in processes.values())
    reasons = [
        *(process_reasons(supervisor, processes.values()) if lives else down_reasons(settings, sights.values())),
        *([inside.problem] if inside.problem else []),
        *(f"alert: {alert.text}" for alert in inside.alerts),
        *_delivery_reasons(inside.alerts, sights["watchdog"].beat),
        *_answer_reasons(processes["capture"]),
    ]
    state: Health = "healthy" if not reasons else "degraded" if lives or blind else "down"
    return Status(
        state,
        tuple(reasons),
        processes,
        supervisor,
        inside.store,
        inside.alerts,
        _is_demo(settings),
        str(settings.data_dir),
        inside.checks,
    )


def _is_demo(settings: Settings) -> bool:
    # not Settings.is_demo: a real bot's token need not stand in the environment of whoever asks
    try:
        return (settings.data_dir / DEMO_MARKER).exists()
    except OSError:
        return False


# The store


@dataclass(frozen=True, slots=True)
class _Inside:
    """What the store tells, or why it cannot be seen."""

    store: StoreStatus | None = None
    alerts: tuple[OpenAlert, ...] = ()
    checks: tuple[CheckHistory, ...] = ()
    problem: str = ""


def _look_into_store(settings: Settings) -> _Inside:
    path = settings.database_path
    try:
        with contextlib.closing(Store(open_database(path, read_only=True, busy_seconds=STORE_SECONDS))) as store:
            alerts = tuple(describe_alert(settings, stored) for stored in store.alerts.open_alerts())
            return _Inside(_measure_store(store, path), alerts, read_history(store.health, time.time()))
    except RagdError as error:
        return _Inside(problem=error.one_line())
    except (DatabaseError, apsw.Error, OSError) as error:
        return _Inside(problem=f"{path} cannot be read: {error} - restart ragd, which brings it up to date")


def describe_alert(settings: Settings, stored: StoredAlert) -> OpenAlert:
    alert, off = stored.alert, settings.alert_channel_id is None
    return OpenAlert(
        alert.severity.value,
        alert.text,
        int(alert.first_at),
        alert.key,
        int(alert.last_at),
        alert.count,
        "off" if off else stored.delivery,
        "" if off else stored.problem,
    )


def _delivery_reasons(alerts: Iterable[OpenAlert], watchdog: Heartbeat | None) -> Iterator[str]:
    """Why nobody may have heard of alerts."""
    failed = [alert.delivery_problem for alert in alerts if alert.delivery == "failed"]
    if failed:
        yield f"{len(failed)} alerts are not delivered to Discord: {failed[-1]}"
    counters = watchdog.counters if watchdog else {}
    if counters.get("alerts_undelivered"):
        yield f"{counters['alerts_undelivered']} alerts are not delivered: {counters.get('alerts_problem')}"


def _answer_reasons(capture: ProcessStatus) -> Iterator[str]:
    """Why `/ask` answers with quotes although a language model is there for it."""
    if capture.pid and (problem := capture.counters.get("llm_problem")):
        yield f"written answers are off: {problem}"


def _measure_store(store: Store, path: Path) -> StoreStatus:
    counts = store.counts()
    return StoreStatus(
        messages=counts.messages,
        deleted=counts.deleted,
        channels=counts.channels,
        chunks=counts.chunks,
        vectors=counts.vectors,
        holes=counts.holes,
        unreadable_channels=counts.unreadable_channels,
        lag_messages=counts.lag_messages,
        database_bytes=path.stat().st_size,
        wal_bytes=store.wal_bytes(),
        sqlite_version=require_safe_sqlite(),
        refused_channels=counts.refused_channels,
    )
