"""Each condition told when it begins, at a rising interval while it lasts, and when it ends; in order, and later to an
outlet that was away."""

from __future__ import annotations

import logging

import pytest

from ragd.alerts import (
    LONGEST_QUEUE,
    OCCURRENCE_GAP_SECONDS,
    Alert,
    AlertBook,
    Kind,
    Notice,
    Outlet,
    Severity,
)
from ragd.errors import TransientError

START = 1_700_000_000.0
HOUR = 3600.0
DAY = 24 * HOUR


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Recorder(Outlet):
    """An outlet that can be away."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.away = False

    def take(self, notice: Notice) -> None:
        if self.away:
            raise TransientError("database is locked")
        self.notices.append(notice)

    @property
    def told(self) -> list[str]:
        return [f"{notice.head(notice.at)}: {notice.alert.text}" for notice in self.notices]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def book(recorder: Recorder, clock: Clock) -> AlertBook:
    return AlertBook([recorder], clock=clock)


def test_once_a_condition(book: AlertBook, recorder: Recorder) -> None:
    for _ in range(3):
        book.raise_alert(Severity.ERROR, "disk", "full")
        book.deliver()
    assert [alert.key for alert in book.open_alerts] == ["disk"]
    for _ in range(3):
        book.resolve("disk")
        book.deliver()
    assert book.open_alerts == ()
    book.raise_alert(Severity.ERROR, "disk", "full again")
    book.deliver()
    assert recorder.told == ["error: full", "recovered after 1 min: full", "error: full again"]


def test_reminders_come_after_half_an_hour_two_hours_eight_hours_and_then_daily(
    book: AlertBook, recorder: Recorder, clock: Clock
) -> None:
    book.raise_alert(Severity.ERROR, "disk", "full")
    reminded_at = []
    while clock.now < START + 4 * DAY:
        book.raise_alert(Severity.ERROR, "disk", "full")
        told = len(recorder.notices)
        book.deliver()
        reminded_at += [clock.now - START] * (len(recorder.notices) - max(told, 1))
        clock.now += 20
    first = [0.5 * HOUR, 2.5 * HOUR, 10.5 * HOUR]
    assert reminded_at == [*first, *(first[-1] + n * DAY for n in (1, 2, 3))]
    assert recorder.told[1:4] == [
        "still error after 30 min: full",
        "still error after 2 h: full",
        "still error after 10 h: full",
    ]
    book.resolve("disk")
    book.deliver()
    assert recorder.told[-1] == "recovered after 4 d: full"


def test_a_clock_that_is_set_back_does_not_silence_reminders(book: AlertBook, recorder: Recorder, clock: Clock) -> None:
    book.raise_alert(Severity.ERROR, "disk", "full")
    clock.now -= 30 * DAY
    book.deliver()
    assert [notice.kind for notice in recorder.notices] == [Kind.RAISED, Kind.REMINDED]
    clock.now += 0.5 * HOUR
    book.deliver()
    assert len(recorder.notices) == 2


def test_occurrences_are_counted_and_sightings_are_not(book: AlertBook, recorder: Recorder, clock: Clock) -> None:
    for _ in range(3):
        for _ in range(10):
            book.raise_alert(Severity.WARNING, "worker.capture", "capture was killed")
            clock.now += 1
        clock.now += OCCURRENCE_GAP_SECONDS
    (alert,) = book.open_alerts
    assert alert.count == 3
    book.resolve("worker.capture")
    book.deliver()
    assert recorder.told == ["warning: capture was killed", "recovered after 2 min (seen 3 times): capture was killed"]


def test_what_becomes_worse_is_told_at_once_and_what_becomes_better_is_not(
    book: AlertBook, recorder: Recorder, clock: Clock
) -> None:
    for severity in (Severity.WARNING, Severity.CRITICAL, Severity.INFO, Severity.WARNING):
        clock.now += 60
        book.raise_alert(severity, "disk", f"disk {severity.value}")
    book.deliver()
    assert [(notice.kind, notice.alert.text) for notice in recorder.notices] == [
        (Kind.RAISED, "disk warning"),
        (Kind.REMINDED, "disk critical"),
        (Kind.REMINDED, "disk warning"),
    ]


def test_a_book_goes_on_with_what_another_left_open(recorder: Recorder, clock: Clock) -> None:
    known = Alert(Severity.ERROR, "disk", "full", START - HOUR, START, count=2, reminders=1, told_at=START - 0.5 * HOUR)
    book = AlertBook([recorder], [known], clock)
    book.raise_alert(Severity.ERROR, "disk", "full")
    book.deliver()
    assert recorder.told == []
    clock.now += 1.5 * HOUR
    book.deliver()
    assert recorder.told == ["still error after 2 h (seen 2 times): full"]


def test_an_outlet_that_was_away_is_told_in_order_and_with_the_time(
    book: AlertBook, recorder: Recorder, clock: Clock
) -> None:
    recorder.away = True
    book.raise_alert(Severity.WARNING, "memory", "low")
    book.deliver()
    clock.now += 600
    book.resolve("memory")
    book.deliver()
    assert recorder.told == []
    assert book.undelivered() == 2
    assert book.problems() == ["database is locked"]
    recorder.away = False
    book.deliver()
    assert [notice.head(clock.now) for notice in recorder.notices] == [
        "warning, 2023-11-14 22:13 UTC",
        "recovered after 10 min",
    ]
    assert (book.undelivered(), book.problems()) == (0, [])


def test_one_outlet_that_is_away_does_not_keep_another_waiting(clock: Clock) -> None:
    away, other = Recorder(), Recorder()
    away.away = True
    book = AlertBook([away, other], clock=clock)
    for number in range(LONGEST_QUEUE + 50):
        book.raise_alert(Severity.ERROR, f"key {number}", "text")
        book.deliver()
    assert len(other.notices) == LONGEST_QUEUE + 50
    assert book.undelivered() == LONGEST_QUEUE


def test_logged_by_severity(book: AlertBook, recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    recorder.away = True
    with caplog.at_level(logging.INFO):
        book.raise_alert(Severity.WARNING, "memory", "low")
        book.raise_alert(Severity.ERROR, "disk", "full")
        book.raise_alert(Severity.CRITICAL, "disk", "damaged")
        book.resolve("disk")
        for _ in range(5):
            book.deliver()
    levels = [(record.levelname, record.message) for record in caplog.records]
    assert levels == [
        ("WARNING", "alert memory: low"),
        ("ERROR", "alert disk: full"),
        ("CRITICAL", "alert disk is worse: damaged"),
        ("INFO", "resolved disk: damaged"),
        ("WARNING", "alerts wait for delivery: database is locked"),
    ]
