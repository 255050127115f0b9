"""Judging one worker from outside, by its progress: a pure rule over what supervisord, its heartbeat and /proc say.

Every duration is counted in steps of the judge's own monotonic clock, and no single step counts for more than half of
what makes a worker stale: neither a jump of the wall clock nor a pause of the judge itself makes a worker look late.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ragd.config import Settings
from ragd.errors import ExitCode
from ragd.heartbeat import Heartbeat
from ragd.supervision import ProcessInfo, ProcessState

STARTING_SECONDS = 60.0
"""How long a worker may be silent before its first `running`: migrations and the model are loaded in that time."""

_DOWN = (ProcessState.STOPPED, ProcessState.EXITED, ProcessState.FATAL, ProcessState.UNKNOWN)


class Condition(Enum):
    """What is the matter with a worker."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """It works, and says itself that something is wrong."""
    STARTING = "starting"
    """Between two states, one way or the other: give it time."""
    HUNG = "hung"
    """Its heartbeat does not move."""
    DEAF = "deaf"
    """It beats, but gets none of its waiting work done."""
    BLOATED = "over its memory"
    DOWN = "down"
    MISCONFIGURED = "misconfigured"
    """It ended with a configuration error: another start would end the same way."""
    DAMAGED = "damaged"
    """It ended because a file is damaged: likewise."""


@dataclass(frozen=True, slots=True)
class Verdict:
    condition: Condition
    reason: str = ""
    """One line for log, status and alerts."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Beyond which a worker is replaced."""

    stale_seconds: float
    deaf_seconds: float
    starting_seconds: float
    memory_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        return cls(
            stale_seconds=settings.stale_seconds,
            deaf_seconds=settings.deaf_seconds,
            starting_seconds=max(STARTING_SECONDS, settings.stale_seconds),
            memory_bytes=settings.max_memory_mb * 2**20,
        )


class _Stopwatch:
    """Seconds for which a value has not changed."""

    def __init__(self) -> None:
        self._value: object = None
        self._seconds = 0.0

    def measure(self, value: object, step_seconds: float) -> float:
        if value != self._value:
            self._value, self._seconds = value, 0.0
        else:
            self._seconds += step_seconds
        return self._seconds


class Liveness:
    """Follows one worker over the passes of the watchdog."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._last: float | None = None
        self._silence = _Stopwatch()
        self._idleness = _Stopwatch()
        self._hearing = _Stopwatch()

    def judge(self, now: float, info: ProcessInfo, beat: Heartbeat | None, rss_bytes: int | None) -> Verdict:
        """Judge one pass at monotonic time `now`; `beat` may be missing or an earlier process's."""
        step_seconds = self._step(now)
        if info.pid is None or info.state in _DOWN:
            return _judge_absent(info)
        if beat is not None and beat.pid != info.pid:
            beat = None
        silent = self._silence.measure((info.pid, beat and beat.beat), step_seconds)
        idle = self._idleness.measure((info.pid, _work_mark(beat)), step_seconds)
        deaf = self._hearing.measure((info.pid, _deafness_mark(beat)), step_seconds)
        # one that supervisord is stopping is supervisord's to kill
        if info.state is ProcessState.STOPPING:
            return Verdict(Condition.STARTING, "being stopped")
        return (
            self._judge_silence(silent, beat)
            or self._judge_memory(rss_bytes)
            or self._judge_work(idle, beat)
            or self._judge_hearing(deaf, beat)
            or _judge_own_word(beat)
        )

    def _step(self, now: float) -> float:
        last, self._last = self._last, now
        return 0.0 if last is None else min(now - last, self._limits.stale_seconds / 2)

    def _judge_silence(self, silent: float, beat: Heartbeat | None) -> Verdict | None:
        starting = beat is None or beat.state == "starting"
        allowed = self._limits.starting_seconds if starting else self._limits.stale_seconds
        if silent <= allowed:
            return None
        return Verdict(Condition.HUNG, f"no heartbeat for {silent:.0f} s")

    def _judge_memory(self, rss_bytes: int | None) -> Verdict | None:
        if rss_bytes is None or rss_bytes <= self._limits.memory_bytes:
            return None
        return Verdict(
            Condition.BLOATED, f"{rss_bytes / 2**20:.0f} MiB resident, {self._limits.memory_bytes / 2**20:.0f} allowed"
        )

    def _judge_work(self, idle: float, beat: Heartbeat | None) -> Verdict | None:
        # a worker that calls itself degraded knows why nothing moves: starting it again would not mend that
        if beat is None or beat.state != "running":
            return None
        age = _number(beat, "gateway_ack_age_seconds")
        if age > self._limits.deaf_seconds:
            return Verdict(Condition.DEAF, f"no answer from the gateway for {age:.0f} s")
        if _number(beat, "backlog") > 0 and "done" in beat.counters and idle > self._limits.deaf_seconds:
            return Verdict(Condition.DEAF, f"backlog of {_number(beat, 'backlog'):.0f}, nothing done for {idle:.0f} s")
        return None

    def _judge_hearing(self, deaf: float, beat: Heartbeat | None) -> Verdict | None:
        # capture has reconnected by then, which resumes the session; only a new process begins another one
        if beat is None or deaf <= self._limits.deaf_seconds:
            return None
        return Verdict(
            Condition.DEAF, f"the gateway brings no events, {_number(beat, 'deaf_channels'):.0f} channels wait"
        )


def _deafness_mark(beat: Heartbeat | None) -> object:
    """Something that stays equal only while comparison after comparison finds messages the gateway did not bring."""
    return True if beat is not None and _number(beat, "deaf_channels") > 0 else object()


def _work_mark(beat: Heartbeat | None) -> object:
    """Something that stays equal only while a worker in `running` has work waiting and gets none done."""
    if beat is None or beat.state != "running" or _number(beat, "backlog") <= 0:
        return object()
    return beat.counters.get("done")


def _number(beat: Heartbeat, counter: str) -> float:
    value = beat.counters.get(counter)
    return float(value) if isinstance(value, int | float) else 0.0


def _judge_absent(info: ProcessInfo) -> Verdict:
    if info.exit_status == ExitCode.CONFIG:
        return Verdict(Condition.MISCONFIGURED, "configuration error (its last line in the log says which)")
    if info.exit_status == ExitCode.DATA:
        return Verdict(Condition.DAMAGED, "damaged file (its last line in the log says which, and what to do)")
    if info.state in _DOWN:
        return Verdict(Condition.DOWN, f"{info.state.name.lower()}{_why(info)}")
    return Verdict(Condition.STARTING, f"supervisord tries again{_why(info)}")


def _why(info: ProcessInfo) -> str:
    return f" ({info.spawn_error})" if info.spawn_error else ""


def _judge_own_word(beat: Heartbeat | None) -> Verdict:
    if beat is None:
        return Verdict(Condition.STARTING)
    condition = {"running": Condition.HEALTHY, "degraded": Condition.DEGRADED}.get(beat.state, Condition.STARTING)
    return Verdict(condition, beat.detail)
