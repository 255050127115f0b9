"""How each process is, seen from outside: by supervisord, its heartbeat file and /proc, any of which may be silent."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import psutil

from ragd.config import Settings
from ragd.errors import DamagedError, ExitCode, RagdError
from ragd.heartbeat import PROCESSES, Counter, Heartbeat, read_heartbeat
from ragd.liveness import Limits
from ragd.supervision import ProcessInfo, ProcessState, ShuttingDownError, SupervisorClient

SUPERVISOR_SECONDS = 1.0

_CLOCK_SLACK_SECONDS = 5.0
"""How much later than its heartbeat a process may seem to have begun: /proc and the wall clock differ a little."""

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


# What is seen


@dataclass(frozen=True, slots=True)
class Sight:
    """What could be seen of one process; `problem` is why its heartbeat could not be read."""

    info: ProcessInfo | None
    beat: Heartbeat | None = None
    problem: str = ""
    forbidden: bool = False


def ask_supervisord(settings: Settings) -> tuple[SupervisorStatus, Mapping[str, ProcessInfo]]:
    client = SupervisorClient(settings.supervisor_socket, SUPERVISOR_SECONDS)
    try:
        tree = client.tree()
    except ShuttingDownError as error:
        return SupervisorStatus("stopping", detail=str(error)), {}
    except RagdError as error:
        return SupervisorStatus("unreachable", detail=error.one_line()), {}
    return SupervisorStatus(tree.state.value, tree.pid), tree.processes


def look(settings: Settings, name: str, info: ProcessInfo | None) -> Sight:
    try:
        beat = read_heartbeat(settings.heartbeat_dir, name)
    except PermissionError as error:
        return Sight(info, problem=f"{error.filename} may not be read, ask as the user that runs ragd", forbidden=True)
    except (DamagedError, OSError) as error:
        return Sight(info, problem=str(error))
    if beat is not None and not (isinstance(beat.pid, int) and beat.pid > 0):
        return Sight(info, problem=f"the heartbeat of {name} names no process")
    return Sight(info, beat)


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


def count_restarts(beat: Heartbeat | None, supervisor_pid: int | None) -> dict[str, int]:
    """By process, from the watchdog's heartbeat; nothing if that is of another supervisord's time."""
    if beat is None or (supervisor_pid and beat.counters.get("supervisor_pid") not in (None, supervisor_pid)):
        return {}
    counts = {name: beat.counters.get(f"restarts_{name}") for name in PROCESSES}
    return {name: count for name, count in counts.items() if isinstance(count, int)}


# What is made of it


def describe(settings: Settings, sight: Sight, name: str, restarts: int) -> ProcessStatus:
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


def _judge_absent(sight: Sight) -> tuple[Condition, str]:
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


def _judge_living(sight: Sight, beat: Heartbeat | None, limits: Limits) -> tuple[Condition, str]:
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


def process_reasons(supervisor: SupervisorStatus, processes: Iterable[ProcessStatus]) -> Iterator[str]:
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


def down_reasons(settings: Settings, sights: Iterable[Sight]) -> Iterator[str]:
    forbidden = [sight.problem for sight in sights if sight.forbidden]
    if forbidden:
        yield f"nobody can tell whether ragd runs: {forbidden[0]}"
    else:
        yield f"ragd does not run on {settings.data_dir}; start it with `ragd` or `systemctl start ragd`"
