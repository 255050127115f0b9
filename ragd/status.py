"""How ragd is, seen from outside: supervisord, heartbeat files and the store, any of which may be dead or damaged.

Nothing is written, nothing is waited for longer than about two seconds, and nothing raises: what cannot be seen
becomes a reason. Safe in any thread.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import apsw
import psutil
from peewee import DatabaseError

from ragd.config import Settings
from ragd.errors import DamagedError, ExitCode, RagdError
from ragd.health.history import CheckHistory, read_history
from ragd.heartbeat import PROCESSES, Counter, Heartbeat, read_heartbeat
from ragd.liveness import Limits
from ragd.store import Store
from ragd.store.alerts import Delivery, StoredAlert
from ragd.store.database import open_database, require_safe_sqlite
from ragd.supervision import ProcessInfo, ProcessState, ShuttingDownError, SupervisorClient

SUPERVISOR_SECONDS = 1.0
STORE_SECONDS = 1.0
"""How long a lock on the database is waited for."""

DEMO_MARKER = "demo"
"""A file that `ragd` without a token leaves in its data directory (ragd/cli/demo.py)."""

_CLOCK_SLACK_SECONDS = 5.0
"""How much later than its heartbeat a process may seem to have begun: /proc and the wall clock differ a little."""

Health = Literal["healthy", "degraded", "down"]
Condition = Literal[
    "running",
    "starting",
    "degraded",
    "stopping",
    "stale",
    "stopped",
    "backoff",
    "fatal",
    "exited",
    "misconfigured",
    "damaged",
    "unknown",
]

_ADVICE: dict[Condition, str] = {
    "starting": "{name} is starting{why}; look again in a moment",
    "degraded": "{name} is degraded{why}",
    "stopping": "{name} is stopping{why}; look again in a moment",
    "stale": "{name} hangs{why}; the watchdog replaces it",
    "stopped": "{name} is stopped{why}; start it with `ragdctl restart {name}`",
    "backoff": "{name} ended soon after its start{why}; supervisord tries again, the log says why it ended",
    "fatal": "{name} ends at every start{why}; the log says why, the watchdog tries again now and then",
    "exited": "{name} has ended{why}; the log says why",
    "misconfigured": "{name} has a configuration error; mend what its last line in the log names, then restart ragd",
    "damaged": "{name} found a damaged file, which its last line in the log names; if that is the database: stop ragd,"
    " `ragdctl restore`, start ragd",
    "unknown": "nobody can tell how {name} is{why}",
}
_WATCHDOG_HANGS = "watchdog hangs{why}; under systemd it is replaced, else end it with `kill -9 {pid}`"
_OWN_WORD: dict[str, Condition] = {
    "running": "running",
    "starting": "starting",
    "degraded": "degraded",
    "stopping": "stopping",
}
_ABSENT: dict[ProcessState, Condition] = {
    ProcessState.STOPPED: "stopped",
    ProcessState.BACKOFF: "backoff",
    ProcessState.EXITED: "exited",
    ProcessState.FATAL: "fatal",
    ProcessState.STARTING: "starting",
    ProcessState.STOPPING: "stopping",
}


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process of ragd. What is not known is None; `pid` is None for a process that does not live."""

    name: str
    state: Condition
    pid: int | None = None
    uptime_seconds: float | None = None
    restarts: int = 0
    """As counted by the watchdog since supervisord started."""
    rss_bytes: int | None = None
    heartbeat_age_seconds: float | None = None
    """By the wall clock, for people; the watchdog judges by the beat's number."""
    detail: str = ""
    counters: Mapping[str, Counter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SupervisorStatus:
    state: Literal["running", "stopping", "fatal", "unreachable"]
    pid: int | None = None
    detail: str = ""


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
    supervisor, infos = _ask_supervisord(settings)
    sights = {name: _look(settings, name, infos.get(name)) for name in PROCESSES}
    restarts = _count_restarts(sights["watchdog"].beat, supervisor.pid)
    processes = {name: _describe(settings, sight, name, restarts.get(name, 0)) for name, sight in sights.items()}
    inside = _look_into_store(settings)
    blind = any(sight.forbidden for sight in sights.values())
    lives = supervisor.state != "unreachable" or any(process.pid for process in processes.values())
    reasons = [
        *(_process_reasons(supervisor, processes.values()) if lives else _down_reasons(settings, sights.values())),
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


# What is seen


@dataclass(frozen=True, slots=True)
class _Sight:
    """What could be seen of one process; `problem` is why its heartbeat could not be read."""

    info: ProcessInfo | None
    beat: Heartbeat | None = None
    problem: str = ""
    forbidden: bool = False


def _ask_supervisord(settings: Settings) -> tuple[SupervisorStatus, Mapping[str, ProcessInfo]]:
    client = SupervisorClient(settings.supervisor_socket, SUPERVISOR_SECONDS)
    try:
        tree = client.tree()
    except ShuttingDownError as error:
        return SupervisorStatus("stopping", detail=str(error)), {}
    except RagdError as error:
        return SupervisorStatus("unreachable", detail=error.one_line()), {}
    return SupervisorStatus(tree.state.value, tree.pid), tree.processes


def _look(settings: Settings, name: str, info: ProcessInfo | None) -> _Sight:
    try:
        beat = read_heartbeat(settings.heartbeat_dir, name)
    except PermissionError as error:
        return _Sight(info, problem=f"{error.filename} may not be read, ask as the user that runs ragd", forbidden=True)
    except (DamagedError, OSError) as error:
        return _Sight(info, problem=str(error))
    if beat is not None and not (isinstance(beat.pid, int) and beat.pid > 0):
        return _Sight(info, problem=f"the heartbeat of {name} names no process")
    return _Sight(info, beat)


def _measure(pid: int) -> tuple[float | None, int | None]:
    """When a process began, in Unix seconds, and its resident bytes."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return process.create_time(), process.memory_info().rss
    except psutil.Error:
        return None, None


def _lives(beat: Heartbeat) -> bool:
    """Whether the process that wrote a heartbeat is still there, and not another with its number."""
    try:
        process = psutil.Process(beat.pid)
        began, state = float(process.create_time()), str(process.status())
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    return state != psutil.STATUS_ZOMBIE and began <= beat.written_at + _CLOCK_SLACK_SECONDS


def _count_restarts(beat: Heartbeat | None, supervisor_pid: int | None) -> dict[str, int]:
    """By process, from the watchdog's heartbeat; nothing if that is of another supervisord's time."""
    if beat is None or (supervisor_pid and beat.counters.get("supervisor_pid") not in (None, supervisor_pid)):
        return {}
    counts = {name: beat.counters.get(f"restarts_{name}") for name in PROCESSES}
    return {name: count for name, count in counts.items() if isinstance(count, int)}


# What is made of it


def _describe(settings: Settings, sight: _Sight, name: str, restarts: int) -> ProcessStatus:
    beat, info = sight.beat, sight.info
    pid = info.pid if info else beat.pid if beat and _lives(beat) else None
    if pid is None:
        state, detail = _judge_absent(sight)
        return ProcessStatus(name, state, restarts=restarts, heartbeat_age_seconds=_age(beat), detail=detail)
    if beat is not None and beat.pid != pid:
        beat = None
    began, rss_bytes = _measure(pid)
    state, detail = _judge_living(sight, beat, Limits.of(settings))
    return ProcessStatus(
        name,
        state,
        pid=pid,
        uptime_seconds=None if began is None else round(max(0.0, time.time() - began), 1),
        restarts=restarts,
        rss_bytes=rss_bytes,
        heartbeat_age_seconds=_age(beat),
        detail=detail,
        counters=beat.counters if beat else {},
    )


def _age(beat: Heartbeat | None) -> float | None:
    return None if beat is None else round(max(0.0, time.time() - beat.written_at), 1)


def _judge_absent(sight: _Sight) -> tuple[Condition, str]:
    info, beat = sight.info, sight.beat
    if info is None:
        if sight.problem:
            return "unknown", sight.problem
        if beat is None or beat.state == "stopping":
            return "stopped", ""
        return "exited", f"process {beat.pid} is gone without a word"
    if info.exit_status == ExitCode.CONFIG:
        return "misconfigured", ""
    if info.exit_status == ExitCode.DATA:
        return "damaged", ""
    code = "" if info.exit_status is None else f"exit code {info.exit_status}"
    return _ABSENT.get(info.state, "unknown"), info.spawn_error or code


def _judge_living(sight: _Sight, beat: Heartbeat | None, limits: Limits) -> tuple[Condition, str]:
    """How a process is that has a pid; `beat` only if it wrote it itself."""
    if sight.problem:
        return "unknown", sight.problem
    if sight.info is not None and sight.info.state is ProcessState.STOPPING:
        return "stopping", ""
    age = _age(beat)
    if beat is None or age is None:
        return "starting", ""
    allowed = limits.starting_seconds if beat.state == "starting" else limits.stale_seconds
    if age > allowed:
        return "stale", f"no heartbeat for {age:.0f} s"
    return _OWN_WORD.get(beat.state, "unknown"), str(beat.detail)


def _process_reasons(supervisor: SupervisorStatus, processes: Iterable[ProcessStatus]) -> Iterator[str]:
    if supervisor.state == "stopping":
        yield "supervisord is stopping everything; look again in a moment"
    elif supervisor.state != "running":
        why = supervisor.detail or supervisor.state
        yield f"supervisord does not do its work ({why}): nothing that ends is replaced; restart ragd"
    for process in processes:
        if process.state != "running":
            yield _advise(process)


def _advise(process: ProcessStatus) -> str:
    hangs = process.name == "watchdog" and process.state == "stale"
    sentence = _WATCHDOG_HANGS if hangs else _ADVICE[process.state]
    why = f" ({process.detail})" if process.detail else ""
    return sentence.format(name=process.name, why=why, pid=process.pid)


def _down_reasons(settings: Settings, sights: Iterable[_Sight]) -> Iterator[str]:
    forbidden = [sight.problem for sight in sights if sight.forbidden]
    if forbidden:
        yield f"nobody can tell whether ragd runs: {forbidden[0]}"
    else:
        yield f"ragd does not run on {settings.data_dir}; start it with `ragd` or `systemctl start ragd`"


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
