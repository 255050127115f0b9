"""Keeping one worker alive: judge it, and replace or start it through supervisord at the pace of its restart rule.

A hung worker is replaced by KILL plus autorestart, never by stop plus start: if the watchdog dies between those two,
the worker stays stopped until another watchdog has come up.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable

from ragd.alerts import AlertSink, Severity
from ragd.heartbeat import Heartbeat
from ragd.liveness import Condition, Limits, Liveness, Verdict
from ragd.restarts import RestartBudget, RestartRule
from ragd.supervision import ProcessInfo, ProcessState, RefusedError, SupervisorClient
from ragd.worker import STACK_SIGNAL

_log = logging.getLogger(__name__)

STACK_SECONDS = 0.2
"""What a worker gets to write its stacks before it is killed; it is part of the pass."""

TERM_GRACE_SECONDS = 10.0
"""How long a worker over its memory may take to end in order before it is killed."""

_WORKING = (Condition.HEALTHY, Condition.DEGRADED)
_FINAL = {Condition.MISCONFIGURED: ("config", Severity.ERROR), Condition.DAMAGED: ("damage", Severity.CRITICAL)}
"""What only a person can mend: the problem's name in the alert's key, and how much it matters."""


class Keeper:
    """One worker's keeper. `tend` once a pass; an UnavailableError from supervisord goes through to the caller."""

    def __init__(
        self,
        name: str,
        limits: Limits,
        rule: RestartRule,
        supervisor: SupervisorClient,
        alerts: AlertSink,
        is_requested: Callable[[int], bool],
    ) -> None:
        """`is_requested`: whether a person wanted the process with that pid to end."""
        self.name = name
        self.budget = RestartBudget(rule)
        self.pid: int | None = None
        """The last one seen, also while the worker is down."""
        self.restarts = 0
        """Changes of pid seen since supervisord started."""
        self.settled = False
        """Whether it has worked at least once, or is known not to without a person: no reason to wait for it."""
        self.verdict = Verdict(Condition.STARTING)
        self._liveness = Liveness(limits)
        self._recovery_seconds = 2 * limits.stale_seconds
        self._supervisor = supervisor
        self._alerts = alerts
        self._is_requested = is_requested
        self._replaced_pid: int | None = None  # its end is our own doing and stands in the budget already
        self._start_is_paid = False
        self._kill_after: tuple[int, float] | None = None
        self._working_since: float | None = None

    def restore(self, restarts: int, pid: int | None, streak: int, now: float) -> None:
        """Take over what an earlier watchdog of the same supervisord knew."""
        self.restarts, self.pid = restarts, pid
        self.budget.restore(streak, now)

    def tend(self, now: float, info: ProcessInfo | None, beat: Heartbeat | None, rss_bytes: int | None) -> Verdict:
        """Judge the worker and do what its condition asks for."""
        if info is None:
            self._enter(Verdict(Condition.DOWN, "supervisord does not know it"))
            self._alerts.raise_alert(Severity.ERROR, self._key("loop"), f"supervisord has no process {self.name}")
            return self.verdict
        try:
            if not self._notice_replacement(now, info):
                self._enter(self._liveness.judge(now, info, beat, rss_bytes))
                self._remedy(now, info)
        except RefusedError as fault:
            _log.warning("%s", fault.one_line())
        self._follow_recovery(now, info)
        return self.verdict

    def _notice_replacement(self, now: float, info: ProcessInfo) -> bool:
        """See whether another process runs; True if it came too soon and was stopped again."""
        if info.pid is None or info.pid == self.pid:
            return False
        before, self.pid = self.pid, info.pid
        self._start_is_paid = False
        if before is None:
            return False
        self.restarts += 1
        _log.warning("%s was replaced: pid %d, now %d", self.name, before, info.pid)
        if before == self._replaced_pid or self._is_requested(before):
            return False
        # supervisord starts a process that dies after startsecs again at once and for ever
        if self.budget.spent(now) and self.budget.wait_seconds(now) > 0:
            self._hold(now)
            return True
        self.budget.note(now)
        return False

    def _hold(self, now: float) -> None:
        self._supervisor.stop(self.name)
        self._replaced_pid = self.pid
        self._enter(Verdict(Condition.DOWN, "it ends again and again"))
        self._alert_loop(now)

    def _enter(self, verdict: Verdict) -> None:
        if verdict.condition is not self.verdict.condition:
            level = logging.INFO if verdict.condition in (*_WORKING, Condition.STARTING) else logging.WARNING
            _log.log(level, "%s: %s%s", self.name, verdict.condition.value, verdict.reason and f", {verdict.reason}")
        self.verdict = verdict
        self.settled |= verdict.condition in (*_WORKING, *_FINAL)

    def _remedy(self, now: float, info: ProcessInfo) -> None:
        self._finish_termination(now, info)
        match self.verdict.condition:
            case Condition.HUNG | Condition.DEAF:
                self._replace(now, info)
            case Condition.BLOATED:
                self._terminate(now, info)
            case Condition.DOWN:
                self._start(now, info)
            case Condition.MISCONFIGURED | Condition.DAMAGED as condition:
                problem, severity = _FINAL[condition]
                text = f"{self.name} ended with a {self.verdict.reason}; it is left alone"
                self._alerts.raise_alert(severity, self._key(problem), text)

    def _replace(self, now: float, info: ProcessInfo) -> None:
        self._alert_incident("killed, supervisord replaces it")
        if self._may_act(now):
            _log.warning("killing %s (pid %s): %s", self.name, info.pid, self.verdict.reason)
            _dump_stack(info.pid)
            self._supervisor.kill(self.name)
            self._account(now, info.pid)
            self._start_is_paid = True

    def _terminate(self, now: float, info: ProcessInfo) -> None:
        self._alert_incident("ended, supervisord replaces it")
        if self._kill_after is None and info.pid is not None and self._may_act(now):
            _log.warning("ending %s (pid %d): %s", self.name, info.pid, self.verdict.reason)
            self._supervisor.terminate(self.name)
            self._account(now, info.pid)
            self._kill_after = (info.pid, now + TERM_GRACE_SECONDS)

    def _finish_termination(self, now: float, info: ProcessInfo) -> None:
        if self._kill_after is None:
            return
        pid, deadline = self._kill_after
        if pid != info.pid:
            self._kill_after = None
        elif now >= deadline:
            _log.warning("killing %s (pid %d): it did not end when told to", self.name, pid)
            self._kill_after = None
            self._supervisor.kill(self.name)

    def _start(self, now: float, info: ProcessInfo) -> None:
        if info.state is ProcessState.FATAL or self.budget.spent(now):
            self._alert_loop(now)
        if self._may_act(now):
            _log.warning("starting %s: it is %s", self.name, self.verdict.reason)
            # Once after our own kill it is on account already: this pass saw it before supervisord's autorestart did.
            if not self._start_is_paid and not (self.pid and self._is_requested(self.pid)):
                self._account(now, self.pid)
            self._start_is_paid = False
            self._supervisor.start(self.name)

    def _may_act(self, now: float) -> bool:
        return self.budget.wait_seconds(now) == 0

    def _account(self, now: float, pid: int | None) -> None:
        self.budget.note(now)
        self._replaced_pid = pid

    def _alert_incident(self, remedy: str) -> None:
        text = f"{self.name} is {self.verdict.condition.value}, {self.verdict.reason}; {remedy}"
        self._alerts.raise_alert(Severity.WARNING, self._key(), text)

    def _alert_loop(self, now: float) -> None:
        self.settled = True
        wait = self.budget.wait_seconds(now)
        text = f"{self.name} keeps ending ({self.verdict.reason}); next try in {wait:.0f} s"
        self._alerts.raise_alert(Severity.ERROR, self._key("loop"), text)

    def _follow_recovery(self, now: float, info: ProcessInfo) -> None:
        if info.pid is not None:
            for problem, _ in _FINAL.values():
                self._alerts.resolve(self._key(problem))
        if self.verdict.condition not in _WORKING:
            self._working_since = None
            return
        if self._working_since is None:
            self._working_since = now
        if now - self._working_since >= self._recovery_seconds and not self.budget.spent(now):
            self._alerts.resolve(self._key())
            self._alerts.resolve(self._key("loop"))

    def _key(self, problem: str = "") -> str:
        return f"worker.{self.name}.{problem}" if problem else f"worker.{self.name}"


def _dump_stack(pid: int | None) -> None:
    """Have the worker write down where it hangs. One that is stopped cannot; then its log just ends here."""
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, STACK_SIGNAL)
        time.sleep(STACK_SECONDS)
