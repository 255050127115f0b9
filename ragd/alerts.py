"""Alerts: conditions a person should know of, each told when it begins, now and then while it lasts, and when it ends.

The book decides what is told and when; outlets (ragd/store_link.py, ragd/notices.py) see to it that it arrives.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from ragd.errors import RagdError

_log = logging.getLogger(__name__)

LONGEST_QUEUE = 100
"""Notices kept for an outlet that takes none; beyond that the oldest are dropped, as the log has them all."""

REMINDER_GAPS_SECONDS = (30 * 60.0, 2 * 3600.0, 8 * 3600.0, 24 * 3600.0)
"""From one telling of an open alert to the next; the last one again and again."""

OCCURRENCE_GAP_SECONDS = 30.0
"""A condition seen again after so long unseen has occurred once more. Longer than a slow pass and than the pause
between two looks at a finding (ragd/watchdog.py), which see the same occurrence again."""

LATE_SECONDS = 300.0
"""What is told later than that says when it was."""


class Severity(StrEnum):
    """How much an alert matters; the later, the more."""

    INFO = "info"
    """Worth knowing, nothing to do."""
    WARNING = "warning"
    """Something broke and was mended, or will soon need a person."""
    ERROR = "error"
    """Needs a person."""
    CRITICAL = "critical"
    """Needs a person now: nothing is captured until then."""

    @property
    def level(self) -> int:
        """That of the log."""
        return logging.getLevelNamesMapping()[self.name]


class Kind(StrEnum):
    """What a notice says of its alert."""

    RAISED = "raised"
    REMINDED = "reminded"
    ENDED = "ended"
    TEST = "test"
    """Nothing is the matter: somebody wants to see whether notices arrive."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition. `key` names it for as long as it lasts, as in `worker.capture.loop`; times in Unix seconds."""

    severity: Severity
    key: str
    text: str
    first_at: float
    last_at: float
    """When it was last seen."""
    count: int = 1
    """How often it has occurred since `first_at`, see OCCURRENCE_GAP_SECONDS."""
    reminders: int = 0
    told_at: float = 0.0
    """When the last notice of it was made."""

    def seen_again(self, severity: Severity, text: str, now: float) -> Alert:
        again = now - self.last_at > OCCURRENCE_GAP_SECONDS
        return replace(self, severity=severity, text=text, last_at=now, count=self.count + again)

    def reminder_due(self, now: float) -> bool:
        gap = REMINDER_GAPS_SECONDS[min(self.reminders, len(REMINDER_GAPS_SECONDS) - 1)]
        # a clock that was set back must not put reminders off for as long
        return now - self.told_at >= gap or now < self.told_at - gap

    def reminded(self, now: float) -> Alert:
        return replace(self, reminders=self.reminders + 1, told_at=now)


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell, as of `at`."""

    kind: Kind
    alert: Alert
    at: float

    def head(self, now: float) -> str:
        """What has happened, in a few words; with the time if that was a while before `now`."""
        clock = time.strftime(", %Y-%m-%d %H:%M UTC", time.gmtime(self.at)) if now - self.at > LATE_SECONDS else ""
        return self._what() + clock

    def _what(self) -> str:
        alert = self.alert
        lasted = _spell(self.at - alert.first_at)
        match self.kind:
            case Kind.RAISED:
                return alert.severity.value
            case Kind.REMINDED:
                return f"still {alert.severity.value} after {lasted}{_times(alert.count)}"
            case Kind.ENDED:
                return f"recovered after {lasted}{_times(alert.count)}"
            case Kind.TEST:
                return f"test of an alert ({alert.severity.value})"


def _spell(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes / 60:.0f} h" if minutes < 2880 else f"{minutes / 1440:.0f} d"


def _times(count: int) -> str:
    return f" (seen {count} times)" if count > 1 else ""


class AlertSink(Protocol):
    """Where conditions are reported, as often as they are seen."""

    def raise_alert(self, severity: Severity, key: str, text: str) -> None: ...

    def resolve(self, key: str) -> None: ...


class Outlet(ABC):
    """A way to tell people."""

    @abstractmethod
    def take(self, notice: Notice) -> None:
        """Take over the telling. A RagdError means "not now": the same notice is offered again later.

        Takes at most ragd.health.STORE_SECONDS.
        """

    def undelivered(self) -> int:
        """Notices taken over that have not arrived although they were sent; 0 once one has arrived again."""
        return 0

    def problem(self) -> str:
        """Why they do not arrive, in one line without secrets; empty if they do."""
        return ""


class AlertBook:
    """The open alerts. An AlertSink: raising an open key or resolving one that is not open tells nobody.

    An open one that becomes more severe is told at once, as a reminder.
    """

    def __init__(
        self,
        outlets: Iterable[Outlet] = (),
        known: Iterable[Alert] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`known` are alerts that an earlier book left open, and that the outlets have been told of."""
        self._queues = [_Queue(outlet) for outlet in outlets]
        self._open: dict[str, Alert] = {alert.key: alert for alert in known}
        self._clock = clock

    @property
    def open_alerts(self) -> tuple[Alert, ...]:
        """The oldest first."""
        return tuple(self._open.values())

    def raise_alert(self, severity: Severity, key: str, text: str) -> None:
        now = self._clock()
        before = self._open.get(key)
        if before is None:
            self._open[key] = Alert(severity, key, text, now, now, told_at=now)
            _log.log(severity.level, "alert %s: %s", key, text)
            self._tell(Kind.RAISED, self._open[key], now)
            return
        self._open[key] = before.seen_again(severity, text, now)
        if severity.level > before.severity.level:
            _log.log(severity.level, "alert %s is worse: %s", key, text)
            self._remind(key, now)

    def resolve(self, key: str) -> None:
        alert = self._open.pop(key, None)
        if alert is not None:
            _log.info("resolved %s: %s", key, alert.text)
            self._tell(Kind.ENDED, alert, self._clock())

    def deliver(self) -> None:
        """Hand over reminders that are due and what outlets have not taken yet, in order. Never raises; one failure an
        outlet, then the next.
        """
        now = self._clock()
        for alert in self.open_alerts:
            if alert.reminder_due(now):
                _log.log(alert.severity.level, "alert %s lasts: %s", alert.key, alert.text)
                self._remind(alert.key, now)
        for queue in self._queues:
            queue.deliver()

    def undelivered(self) -> int:
        """Notices that some outlet has not brought to anybody, each counted once an outlet."""
        return sum(queue.undelivered() for queue in self._queues)

    def problems(self) -> list[str]:
        """Why, a line an outlet that has a problem."""
        return [problem for queue in self._queues if (problem := queue.problem())]

    def _remind(self, key: str, now: float) -> None:
        self._open[key] = self._open[key].reminded(now)
        self._tell(Kind.REMINDED, self._open[key], now)

    def _tell(self, kind: Kind, alert: Alert, now: float) -> None:
        for queue in self._queues:
            queue.add(Notice(kind, alert, now))


class _Queue:
    """What one outlet has yet to take."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._notices: deque[Notice] = deque(maxlen=LONGEST_QUEUE)
        self._complaint = ""

    def add(self, notice: Notice) -> None:
        self._notices.append(notice)

    def undelivered(self) -> int:
        return (len(self._notices) if self._complaint else 0) + self._outlet.undelivered()

    def problem(self) -> str:
        return self._complaint or self._outlet.problem()

    def deliver(self) -> None:
        while self._notices:
            try:
                self._outlet.take(self._notices[0])
            except RagdError as error:
                self._complain(error)
                return
            self._notices.popleft()
        self._complaint = ""

    def _complain(self, error: RagdError) -> None:
        if not self._complaint:
            _log.warning("alerts wait for delivery: %s", error.one_line())
        self._complaint = str(error)
