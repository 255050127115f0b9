"""Runs the checks when they are due, keeps what they say, and has it written down."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil

from ragd.config import Settings
from ragd.errors import DamagedError, RagdError, TransientError, UnavailableError
from ragd.health import checks
from ragd.health.canary import Flight, fly
from ragd.health.errand import Errand
from ragd.health.gauges import Backlog, ClockWatch, Stopwatch
from ragd.health.ledger import Ledger
from ragd.health.outcome import Outcome, note
from ragd.health.survey import QUICK_CHECK_SECONDS, Page, Survey, survey
from ragd.health.view import ProcessFigures, View, measure
from ragd.store import Store

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

CHECKS = (
    *("supervisord", "capture", "syncer", "searcher", "discord", "gateway", "requests"),
    *("freshness", "canary"),
    *("audit", "database", "integrity", "wal", "disk", "memory", "descriptors", "clock", "http"),
)
"""Every check, in the order in which they are shown."""

LOOK_SECONDS = 5.0
"""Between two looks at what costs next to nothing."""

RECHECK_SECONDS = 10.0
"""Until a slow check is well again, it runs this often: nobody wants to wait minutes to see it mended."""

WRITE_SECONDS = 60.0
"""The history is written this often, which proves that the store can be written; and its contents are counted."""

DAY_SECONDS = 86_400.0
INTEGRITY_RETRY_SECONDS = 3600.0

LONG_FEED = 5_000
"""Changes that strategies have yet to follow from which a canary behind them may come late: one step of the syncer."""


@dataclass
class Measurements:
    """Figures of the last looks, for metrics; None where there has been none."""

    processes: dict[str, ProcessFigures] = field(default_factory=dict)
    survey: Survey | None = None
    """The newest; its counts are in `counted`, of the newest that counted."""
    counted: Survey | None = None
    write_seconds: float | None = None
    """How long the last commit of the history took."""
    behind_seconds: float | None = None
    flight_seconds: float | None = None
    """Round trip of the last canary that came back."""
    flown_at: float | None = None
    """When, Unix seconds."""


class Examiner:
    """Belongs to the thread of the passes; what may take long are errands.

    Without `database` only what can be seen without a store is checked.
    """

    def __init__(self, settings: Settings, database: Path | None) -> None:
        self._settings = settings
        self._database = database
        self._interval = 60.0 * settings.health_check_interval_minutes
        self._survey: Errand[Survey] = Errand("survey")
        self._canary: Errand[Flight] = Errand("canary")
        self._integrity: Errand[tuple[list[str], float]] = Errand("integrity")
        self._look_due = self._count_due = self._canary_due = self._integrity_due = 0.0
        self._page: Page | None = None  # on its way into the store
        self._stopped = threading.Event()
        self._away, self._deaf = Stopwatch(), Stopwatch()
        self._clock, self._backlog = ClockWatch(), Backlog()
        self.ledger = Ledger()
        self.measured = Measurements()

    @property
    def outcomes(self) -> list[Outcome]:
        """What every check that has run said last, in the order of CHECKS."""
        return [self.ledger.last[name] for name in CHECKS if name in self.ledger.last]

    @property
    def lag_messages(self) -> int | None:
        """None without a store, or while it does not answer."""
        return self.measured.survey.progress.lag_messages if self.measured.survey else None

    def examine(self, now: float, view: View) -> bool:
        """Do what is due at monotonic time `now`; True if anything was looked at. Waits for nothing."""
        self._watch_clock()
        self._fetch(now, view)
        if now < self._look_due:
            return False
        self._look_due = now + LOOK_SECONDS
        for outcome in self._look(now, view):
            self.ledger.enter(outcome)
        if self._database is not None:
            self._send_out(now, self._database, view)
        return True

    def close(self) -> None:
        """Have errands end soon; nobody waits for them."""
        self._stopped.set()

    # What costs next to nothing

    def _watch_clock(self) -> None:
        # read here, next to one another: `now` is of the beginning of a pass that may have waited for supervisord
        jump = self._clock.observe(time.monotonic(), time.time())
        if jump is not None:
            _log.warning("the wall clock jumped by %+.0f s", jump)

    def _look(self, now: float, view: View) -> Iterator[Outcome]:
        settings, measured = self._settings, self.measured
        measured.processes = {name: found for name, pid in view.pids if (found := measure(pid)) is not None}
        yield checks.check_supervisord(view)
        yield from map(checks.check_worker, view.workers)
        yield from self._look_at_discord(now, view)
        names = {worker.name for worker in view.workers}
        workers = {name: figures for name, figures in measured.processes.items() if name in names}
        yield checks.check_memory(workers, settings.max_memory_mb, psutil.virtual_memory().available)
        yield checks.check_descriptors(measured.processes)
        yield checks.check_disk(settings.data_dir, settings.min_disk_gb)
        ahead = checks.number(capture.beat if (capture := view.worker("capture")) else None, "clock_ahead_seconds")
        jumped = self._clock.seconds_ago(time.monotonic())
        yield checks.check_clock(self._clock.jump_seconds, jumped, ahead or 0.0)
        yield checks.check_http(view)

    def _look_at_discord(self, now: float, view: View) -> Iterator[Outcome]:
        capture = view.worker("capture")
        beat = capture.beat if capture else None
        away = self._away.held(beat is not None and beat.counters.get("connected") is False, now)
        yield checks.check_discord(capture, away)
        deaf = self._deaf.held(bool(checks.number(beat, "deaf_channels")), now)
        yield checks.check_gateway(capture, deaf, self._settings.deaf_seconds)
        yield checks.check_requests(capture)

    # What may take long

    def _send_out(self, now: float, database: Path, view: View) -> None:
        if self._survey.idle:
            self._begin_survey(now, database)
        elif self._survey.seconds(now) > checks.SURVEY_SECONDS:
            self.ledger.enter(checks.check_database(None, None, self._survey.seconds(now)))
        if not database.exists():
            return
        if self._canary.idle and now >= self._canary_due:
            self._release_canary(now, database, view)
        if self._integrity.idle and now >= self._integrity_due:
            self._integrity_due = now + DAY_SECONDS
            self._integrity.begin(now, partial(_quick_check, database, self._stopped.is_set))

    def _begin_survey(self, now: float, database: Path) -> None:
        count = now >= self._count_due or self.measured.counted is None
        write = count or self.ledger.changed
        if count:
            self._count_due = now + WRITE_SECONDS
        self._page = self.ledger.take() if write else None
        self._survey.begin(now, partial(survey, database, self._page, count=count))

    def _release_canary(self, now: float, database: Path, view: View) -> None:
        if waiting := _not_running(view):
            self.ledger.enter(note("canary", f"waits for {' and '.join(waiting)}"))
            return
        self._canary_due = now + self._interval
        self._canary.begin(now, partial(fly, database, self._settings.search_socket, self._stopped))

    def _fetch(self, now: float, view: View) -> None:
        if (seen := _fetched(self._survey, partial(self._fail_survey, now))) is not None:
            self._take_survey(now, seen, view)
        if (flight := _fetched(self._canary, self._fail_canary)) is not None:
            self._take_flight(now, flight, view)
        if (report := _fetched(self._integrity, partial(self._fail_integrity, now))) is not None:
            self.ledger.enter(checks.check_integrity(*report))

    def _take_survey(self, now: float, seen: Survey, view: View) -> None:
        measured = self.measured
        measured.survey, measured.counted = seen, seen if seen.counts else measured.counted
        measured.write_seconds = measured.write_seconds if seen.write_seconds is None else seen.write_seconds
        syncer = view.worker("syncer")
        self._backlog.follow(seen.progress, checks.number(syncer.beat if syncer else None, "done"), now)
        measured.behind_seconds = self._backlog.behind_seconds
        self.ledger.enter(checks.check_database(None, measured.write_seconds, 0.0))
        self.ledger.enter(checks.check_wal(seen.wal_bytes))
        if seen.audits is not None:
            self.ledger.enter(checks.check_audit(seen.audits, time.time()))
        self.ledger.enter(
            checks.check_freshness(
                seen.progress.lag_messages,
                self._backlog.behind_seconds,
                self._backlog.stuck_seconds,
                self._settings.deaf_seconds,
            )
        )

    def _fail_survey(self, now: float, error: RagdError) -> None:
        if self._page is not None:
            self.ledger.put_back(self._page)
        self._count_due = min(self._count_due, now + RECHECK_SECONDS)
        if self.measured.counted is None and isinstance(error, UnavailableError):
            self.ledger.enter(note("database", "there is none yet", hint="capture makes it when it starts"))
            return
        self.measured.survey = self.measured.behind_seconds = None
        self.ledger.enter(checks.check_database(error, None, 0.0))

    def _take_flight(self, now: float, flight: Flight, view: View) -> None:
        if flight.seconds is None:
            self._canary_due = min(self._canary_due, now + RECHECK_SECONDS)
        else:
            self.measured.flight_seconds, self.measured.flown_at = flight.seconds, time.time()
        self.ledger.enter(checks.check_canary(flight, self._excuse(view)))

    def _excuse(self, view: View) -> str:
        """Why a canary may get lost, for which somebody else answers; empty if it may not."""
        if waiting := _not_running(view):
            return f"{' and '.join(waiting)} did not run"
        progress = self.measured.survey.progress if self.measured.survey else None
        if progress is None:
            return "the store does not answer"
        if progress.newest_change - progress.followed_change > LONG_FEED:
            return "the syncer still reads older changes"
        return ""

    def _fail_canary(self, error: RagdError) -> None:
        self.ledger.enter(note("canary", f"the store took none: {error}", hint="see the check of the database"))

    def _fail_integrity(self, now: float, error: RagdError) -> None:
        self._integrity_due = min(self._integrity_due, now + INTEGRITY_RETRY_SECONDS)
        self.ledger.enter(note("integrity", f"not checked to the end: {error}"))


def _fetched(errand: Errand[Result], failed: Callable[[RagdError], None]) -> Result | None:
    try:
        return errand.fetch()
    except RagdError as error:
        failed(error)
        return None


def _not_running(view: View) -> list[str]:
    """Which of the two on a message's way into search are not at work."""
    return [name for name in ("syncer", "searcher") if not (worker := view.worker(name)) or not worker.running]


def _quick_check(database: Path, stopped: Callable[[], bool]) -> tuple[list[str], float]:
    """What is wrong with the file, and how long that took. Raises RagdError."""
    started = time.monotonic()
    try:
        with contextlib.closing(Store.open_read_only(database)) as store:
            findings = store.health.quick_check(started + QUICK_CHECK_SECONDS, stopped)
    except DamagedError as error:
        findings = [str(error)]
    except TimeoutError as error:
        raise TransientError(str(error)) from None
    return findings, time.monotonic() - started
