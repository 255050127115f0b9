"""The watchdog: judges every worker from outside, has the sick ones replaced, and feeds systemd after a whole pass.

It imports none of discord, onnxruntime and hnswlib: what makes workers sick must not make the watchdog sick.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil

from ragd.alerts import Alert, AlertBook, Outlet, Severity
from ragd.config import Settings
from ragd.errors import DamagedError, UnavailableError
from ragd.health import STORE_SECONDS, Examiner, Outcome, Verdict, View, WorkerView
from ragd.heartbeat import WORKERS, Counter, Heartbeat, read_heartbeat
from ragd.keeper import STACK_SECONDS, Keeper
from ragd.liveness import Condition, Limits
from ragd.metrics import Sample
from ragd.notices import close_outlets, open_outlets
from ragd.notify import SystemdNotifier
from ragd.outside import Outside, Report
from ragd.restarts import DEFAULT_RULE, RULES, RestartRule, is_requested_end
from ragd.store_link import StoreLink
from ragd.supervision import CALL_SECONDS, ShuttingDownError, SupervisorClient, SupervisorState, Tree
from ragd.worker import Pulse, StopFlag, run_worker

_log = logging.getLogger(__name__)

PROCESS = "watchdog"

PASS_SECONDS = CALL_SECONDS + len(WORKERS) * (CALL_SECONDS + STACK_SECONDS) + STORE_SECONDS
"""The longest a pass may wait: one question to supervisord, one remedy a worker with its stack before that, and one
alert that the store does not take; services of ALERT_URLS have threads of their own. Checks wait for nothing: what may
take long is an errand (ragd/health/errand.py)."""

GOODBYE_SECONDS = 0.5
"""How long to ask supervisord why we end: a stop is not to wait for a goodbye."""

TOLD_BY_PASSES = ("supervisord",)
"""Checks whose alert a pass itself raises and resolves."""

_CALM = (Condition.HEALTHY, Condition.STARTING)


class Watchdog:
    """A Worker (see ragd.worker): each step is one pass."""

    def __init__(
        self,
        settings: Settings,
        *,
        database: Path | None = None,
        outlets: Iterable[Outlet] = (),
        known_alerts: Iterable[Alert] = (),
        rules: Mapping[str, RestartRule] = RULES,
    ) -> None:
        """Without `database` the store is left out of the checks."""
        self._settings = settings
        self.idle_seconds = min(1.0, settings.heartbeat_seconds)
        self._supervisor = SupervisorClient(settings.supervisor_socket)
        self._notifier = SystemdNotifier()
        self._alerts = AlertBook(outlets, known_alerts)
        limits = Limits.of(settings)
        self._keepers = [
            Keeper(
                name,
                limits,
                rules.get(name, DEFAULT_RULE),
                self._supervisor,
                self._alerts,
                is_requested=partial(is_requested_end, settings.requests_dir, name),
            )
            for name in WORKERS
        ]
        self._examiner = Examiner(settings, database)
        self._outside = Outside(settings, alive_seconds=2 * (PASS_SECONDS + self.idle_seconds))
        self._beats: dict[str, Heartbeat | None] = {}
        self._passes = 0
        self._pass_ms = 0.0
        self._ready = False
        self._supervisor_silent = ""  # why, while it is
        self._whole_at: tuple[float, float] | None = None  # monotonic and Unix seconds
        self._supervisor_pid: int | None = None
        self._own_restarts = 0
        self._restored_from = self._restore()
        self.pulse = Pulse(settings, PROCESS, self.counters)
        self._check_timing()

    def step(self, now: float) -> bool:
        """One pass: supervisord, workers, health when it is due, heartbeat, systemd."""
        started = time.monotonic()
        whole = self._tend_workers(now)
        self._outside.listen(now)
        self._check_health(now)
        self._alerts.deliver()
        self._passes += 1
        self._pass_ms = round((time.monotonic() - started) * 1000, 1)
        self._report(whole)
        return False

    def close(self) -> None:
        """Say goodbye to systemd if the whole tree ends; a watchdog that is merely replaced must not."""
        self._examiner.close()
        client = SupervisorClient(self._settings.supervisor_socket, GOODBYE_SECONDS)
        try:
            if client.state() is SupervisorState.STOPPING:
                self._notifier.stopping()
        except UnavailableError as error:
            _log.info("no goodbye to systemd: %s", error)
        self._notifier.close()
        self._outside.close()

    def counters(self) -> dict[str, Counter]:
        """For the heartbeat. `restarts_`, `pid_` and `streak_` are also what the next watchdog goes on from."""
        counters: dict[str, Counter] = {
            "verdict": self._verdict(),
            "passes": self._passes,
            "pass_ms": self._pass_ms,
            "alerts_open": len(self._alerts.open_alerts),
            "alerts_undelivered": self._alerts.undelivered(),
            "alerts_problem": "; ".join(self._alerts.problems()),
            "supervisor_pid": self._supervisor_pid or self._restored_from,
            "lag_messages": self._examiner.lag_messages,
        }
        counters[f"restarts_{PROCESS}"] = self._own_restarts
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
            self._supervisor_silent = error.one_line()
            return False
        self._supervisor_silent = ""
        self._alerts.resolve("supervisord")
        return True

    def _tend(self, keeper: Keeper, tree: Tree, now: float) -> None:
        info = tree.processes.get(keeper.name)
        rss = _resident_bytes(info.pid) if info and info.pid else None
        self._beats[keeper.name] = self._read_beat(keeper.name)
        keeper.tend(now, info, self._beats[keeper.name], rss)

    def _read_beat(self, name: str) -> Heartbeat | None:
        try:
            return read_heartbeat(self._settings.heartbeat_dir, name)
        except (DamagedError, OSError) as error:
            _log.warning("heartbeat of %s counts as missing: %s", name, error)
            return None

    def _check_health(self, now: float) -> None:
        if not self._examiner.examine(now, self._view()):
            return
        for outcome in self._examiner.outcomes:
            if outcome.alert is not None:
                self._alerts.raise_alert(outcome.alert, outcome.name, outcome.sentence)
            elif outcome.name not in TOLD_BY_PASSES:
                self._alerts.resolve(outcome.name)

    def _view(self) -> View:
        pids = {"supervisord": self._supervisor_pid, **{k.name: k.pid for k in self._keepers}, PROCESS: os.getpid()}
        return View(
            supervisord=self._supervisor_silent,
            workers=[self._view_of(keeper) for keeper in self._keepers],
            pids=[(name, pid) for name, pid in pids.items() if pid is not None],
            http=self._outside.problem,
        )

    def _view_of(self, keeper: Keeper) -> WorkerView:
        beat, condition = self._beats.get(keeper.name), keeper.verdict.condition
        return WorkerView(
            name=keeper.name,
            condition=condition.value,
            reason=keeper.verdict.reason,
            calm=condition in _CALM,
            working=condition in (Condition.HEALTHY, Condition.DEGRADED),
            restarts=keeper.restarts,
            looping=keeper.budget.spent(time.monotonic()),
            pid=keeper.pid,
            beat=beat if beat is not None and beat.pid == keeper.pid else None,
        )

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
            self._whole_at = time.monotonic(), time.time()
        self._publish()

    def _publish(self) -> None:
        """Hand the pass to whoever asks from outside; before the first whole one there is nothing to say."""
        if self._whole_at is not None:
            state, reasons = self._verdict(), self._unready_reasons()
            self._outside.publish(Report(state, reasons, self._whole_at[0], self._sample(not reasons)))

    def _unready_reasons(self) -> tuple[str, ...]:
        return (
            *self._silent(),
            *self._sick(),
            *self._starting(),
            *(o.text for o in self._told() if o.verdict is Verdict.FAIL),
        )

    def _sample(self, ready: bool) -> Sample:
        assert self._whole_at is not None
        ledger, now = self._examiner.ledger, time.time()
        return Sample(
            view=self._view(),
            outcomes=tuple(self._examiner.outcomes),
            runs=dict(ledger.runs),
            failures=dict(ledger.failures),
            measured=replace(self._examiner.measured),
            ready=ready,
            beat_ages={name: max(0.0, now - beat.written_at) for name, beat in self._beats.items() if beat is not None},
            alerts_open=len(self._alerts.open_alerts),
            alerts_undelivered=self._alerts.undelivered(),
            passes=self._passes,
            pass_seconds=self._pass_ms / 1000,
            whole_pass_at=self._whole_at[1],
        )

    def _problems(self) -> list[str]:
        """What is wrong, without figures that change from pass to pass: each change is a log line."""
        return [*self._silent(), *self._sick(), *(outcome.text for outcome in self._told())]

    def _silent(self) -> list[str]:
        return ["supervisord does not answer"] if self._supervisor_silent else []

    def _sick(self) -> list[str]:
        return [f"{k.name} {k.verdict.condition.value}" for k in self._keepers if k.verdict.condition not in _CALM]

    def _told(self) -> list[Outcome]:
        return [outcome for outcome in self._examiner.outcomes if outcome.alert is not None]

    def _starting(self) -> list[str]:
        starting = [k.name for k in self._keepers if k.verdict.condition is Condition.STARTING]
        return [f"{', '.join(starting)} starting"] if starting else []

    def _summary(self, problems: list[str]) -> str:
        return f"{self._verdict()}: {'; '.join(problems + self._starting()) or self._figures()}"

    def _figures(self) -> str:
        """How much there is, as of the last count, for the line in `systemctl status`."""
        counted = self._examiner.measured.counted
        counts = counted.counts if counted else None
        if counts is None:
            return ", ".join(WORKERS)
        return f"{counts.messages:,} messages, {counts.channels:,} channels, {counts.holes:,} holes"

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
        self._own_restarts = _count(beat, f"restarts_{PROCESS}") + 1
        return _count(beat, "supervisor_pid") or None

    def _meet_supervisord(self, tree: Tree, now: float) -> None:
        """Forget what belongs to another supervisord, whose workers these are not."""
        if self._supervisor_pid is None and self._restored_from != tree.pid:
            for keeper in self._keepers:
                keeper.restore(0, None, 0, now)
            self._own_restarts = 0
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
    services = open_outlets(settings.alert_urls)
    watchdog = Watchdog(
        settings, database=settings.database_path, outlets=[*services, link], known_alerts=link.open_alerts()
    )
    try:
        run_worker(watchdog, watchdog.pulse, stop)
    finally:
        close_outlets(services)
        link.close()
