"""The watchdog: judges every worker from outside, has the sick ones replaced, and feeds systemd after a whole pass.

It imports none of discord, onnxruntime and hnswlib: what makes workers sick must not make the watchdog sick.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping

import psutil

from ragd.alerts import Alert, AlertBook, AlertSink, Severity
from ragd.config import Settings
from ragd.errors import DamagedError, UnavailableError
from ragd.health import STORE_SECONDS, Finding, HealthCheck, StoreProbe
from ragd.heartbeat import WORKERS, Counter, Heartbeat, read_heartbeat
from ragd.keeper import Keeper
from ragd.liveness import Condition, Limits
from ragd.notify import SystemdNotifier
from ragd.restarts import DEFAULT_RULE, RULES, RestartRule
from ragd.store_link import StoreLink
from ragd.supervision import CALL_SECONDS, ShuttingDownError, SupervisorClient, SupervisorState, Tree
from ragd.worker import Pulse, StopFlag, run_worker

_log = logging.getLogger(__name__)

PROCESS = "watchdog"

PASS_SECONDS = (1 + len(WORKERS)) * CALL_SECONDS + 2 * STORE_SECONDS
"""The longest a pass may wait: one question to supervisord, one remedy a worker, one look into the store, and one
alert that a sink does not take."""

RECHECK_SECONDS = 10.0
"""Until a finding has gone, health is looked at this often: nobody wants to wait minutes to see it mended."""

GOODBYE_SECONDS = 0.5
"""How long to ask supervisord why we end; it kills us a second after it told us to."""

_CALM = (Condition.HEALTHY, Condition.STARTING)


class Watchdog:
    """A Worker (see ragd.worker): each step is one pass."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: StoreProbe | None = None,
        sinks: Iterable[AlertSink] = (),
        known_alerts: Iterable[Alert] = (),
        rules: Mapping[str, RestartRule] = RULES,
    ) -> None:
        self._settings = settings
        self.idle_seconds = min(1.0, settings.heartbeat_seconds)
        self._supervisor = SupervisorClient(settings.supervisor_socket)
        self._notifier = SystemdNotifier()
        self._alerts = AlertBook(sinks, known_alerts)
        limits = Limits.of(settings)
        self._keepers = [
            Keeper(name, limits, rules.get(name, DEFAULT_RULE), self._supervisor, self._alerts) for name in WORKERS
        ]
        self._health = HealthCheck(settings, store)
        self._health_due = 0.0
        self._findings: list[Finding] = []
        self._rss_bytes: dict[str, int] = {}
        self._passes = 0
        self._pass_ms = 0.0
        self._ready = False
        self._supervisor_silent = False
        self._supervisor_pid: int | None = None
        self._restored_from = self._restore()
        self.pulse = Pulse(settings, PROCESS, self.counters)
        self._check_timing()

    def step(self, now: float) -> bool:
        """One pass: supervisord, workers, health when it is due, heartbeat, systemd."""
        started = time.monotonic()
        whole = self._tend_workers(now)
        self._check_health(now)
        self._alerts.deliver()
        self._passes += 1
        self._pass_ms = round((time.monotonic() - started) * 1000, 1)
        self._report(whole)
        return False

    def close(self) -> None:
        """Say goodbye to systemd if the whole tree ends; a watchdog that is merely replaced must not."""
        client = SupervisorClient(self._settings.supervisor_socket, GOODBYE_SECONDS)
        try:
            if client.state() is SupervisorState.STOPPING:
                self._notifier.stopping()
        except UnavailableError as error:
            _log.info("no goodbye to systemd: %s", error)
        self._notifier.close()

    def counters(self) -> dict[str, Counter]:
        """For the heartbeat. `restarts_`, `pid_` and `streak_` are also what the next watchdog goes on from."""
        counters: dict[str, Counter] = {
            "verdict": self._verdict(),
            "passes": self._passes,
            "pass_ms": self._pass_ms,
            "alerts_open": len(self._alerts.open_alerts),
            "supervisor_pid": self._supervisor_pid or self._restored_from,
            "lag_messages": self._health.lag_messages,
        }
        now = time.monotonic()
        for keeper in self._keepers:
            counters[f"restarts_{keeper.name}"] = keeper.restarts
            counters[f"pid_{keeper.name}"] = keeper.pid
            counters[f"streak_{keeper.name}"] = keeper.budget.streak(now)
        return counters

    def _tend_workers(self, now: float) -> bool:
        """True if supervisord answered and every worker was checked."""
        try:
            tree = self._supervisor.tree()
            self._meet_supervisord(tree, now)
            for keeper in self._keepers:
                self._tend(keeper, tree, now)
        except ShuttingDownError:
            return False
        except UnavailableError as error:
            self._alerts.raise_alert(Severity.ERROR, "supervisord", error.one_line())
            self._supervisor_silent = True
            return False
        self._supervisor_silent = False
        self._alerts.resolve("supervisord")
        return True

    def _tend(self, keeper: Keeper, tree: Tree, now: float) -> None:
        info = tree.processes.get(keeper.name)
        rss = _resident_bytes(info.pid) if info and info.pid else None
        self._rss_bytes[keeper.name] = rss or 0
        keeper.tend(now, info, self._read_beat(keeper.name), rss)

    def _read_beat(self, name: str) -> Heartbeat | None:
        try:
            return read_heartbeat(self._settings.heartbeat_dir, name)
        except (DamagedError, OSError) as error:
            _log.warning("heartbeat of %s counts as missing: %s", name, error)
            return None

    def _check_health(self, now: float) -> None:
        if now < self._health_due:
            return
        self._findings = self._health.run(self._rss_bytes)
        interval = 60.0 * self._settings.health_check_interval_minutes
        self._health_due = now + (min(interval, RECHECK_SECONDS) if self._findings else interval)
        for finding in self._findings:
            self._alerts.raise_alert(finding.severity, finding.key, finding.text)
        for key in set(HealthCheck.KEYS) - {finding.key for finding in self._findings}:
            self._alerts.resolve(key)

    def _report(self, whole: bool) -> None:
        problems = self._problems()
        self.pulse.enter("degraded" if problems else "running", "; ".join(problems))
        if whole and not self._ready and all(keeper.settled for keeper in self._keepers):
            self._ready = True
            _log.info("ready: every worker has reported")
            self._notifier.ready()
        self._notifier.status(self._summary(problems))
        # Before READY too: a watchdog that comes up in a unit that has long been ready must feed it at once.
        if whole:
            self._notifier.ping()

    def _problems(self) -> list[str]:
        """What is wrong, without figures that change from pass to pass: each change is a log line."""
        silent = ["supervisord does not answer"] if self._supervisor_silent else []
        sick = [f"{k.name} {k.verdict.condition.value}" for k in self._keepers if k.verdict.condition not in _CALM]
        return silent + sick + [finding.text for finding in self._findings]

    def _summary(self, problems: list[str]) -> str:
        starting = [k.name for k in self._keepers if k.verdict.condition is Condition.STARTING]
        waiting = [f"{', '.join(starting)} starting"] if starting else []
        return f"{self._verdict()}: {'; '.join(problems + waiting) or ', '.join(WORKERS)}"

    def _verdict(self) -> str:
        if self._passes and self.pulse.state == "degraded":
            return "degraded"
        if any(k.verdict.condition is Condition.STARTING for k in self._keepers):
            return "starting"
        return "healthy"

    def _restore(self) -> int | None:
        """Take over an earlier watchdog's counts from its last heartbeat; returns the supervisord they are of."""
        beat = self._read_beat(PROCESS)
        if beat is None:
            return None
        now = time.monotonic()
        for keeper in self._keepers:
            numbers = [_count(beat, f"{kind}_{keeper.name}") for kind in ("restarts", "pid", "streak")]
            keeper.restore(numbers[0], numbers[1] or None, numbers[2], now)
        return _count(beat, "supervisor_pid") or None

    def _meet_supervisord(self, tree: Tree, now: float) -> None:
        """Forget what belongs to another supervisord, whose workers these are not."""
        if self._supervisor_pid is None and self._restored_from != tree.pid:
            for keeper in self._keepers:
                keeper.restore(0, None, 0, now)
        self._supervisor_pid = tree.pid

    def _check_timing(self) -> None:
        limit = self._notifier.watchdog_seconds
        needed = 2 * (PASS_SECONDS + self.idle_seconds)
        if limit is not None and limit <= needed:
            _log.warning("WatchdogSec=%g is too short: two passes may take %g s, set more than that", limit, needed)


def _count(beat: Heartbeat, counter: str) -> int:
    value = beat.counters.get(counter)
    return value if isinstance(value, int) else 0


def _resident_bytes(pid: int) -> int | None:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def run(settings: Settings, stop: StopFlag) -> None:
    """Watch until told to stop."""
    link = StoreLink(settings.database_path)
    watchdog = Watchdog(settings, store=link, sinks=[link], known_alerts=link.open_alerts())
    try:
        run_worker(watchdog, watchdog.pulse, stop)
    finally:
        link.close()
