"""Each condition told once when it begins and once when it ends, in order, and again to a sink that was away."""

from __future__ import annotations

import logging

import pytest

from ragd.alerts import AlertBook, Severity
from ragd.errors import TransientError


class Recorder:
    """A sink that can be away."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.away = False

    def raise_alert(self, severity: Severity, key: str, text: str) -> None:
        self._tell(f"{severity} {key} {text}")

    def resolve(self, key: str) -> None:
        self._tell(f"end of {key}")

    def _tell(self, what: str) -> None:
        if self.away:
            raise TransientError("database is locked")
        self.told.append(what)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def book(recorder: Recorder) -> AlertBook:
    return AlertBook([recorder])


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
    assert recorder.told == ["error disk full", "end of disk", "error disk full again"]


def test_a_sink_that_was_away_is_told_in_order(book: AlertBook, recorder: Recorder) -> None:
    recorder.away = True
    book.raise_alert(Severity.WARNING, "memory", "low")
    book.deliver()
    book.resolve("memory")
    book.deliver()
    assert recorder.told == []
    recorder.away = False
    book.deliver()
    assert recorder.told == ["warning memory low", "end of memory"]


def test_logged_by_severity(book: AlertBook, recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    recorder.away = True
    with caplog.at_level(logging.INFO):
        book.raise_alert(Severity.WARNING, "memory", "low")
        book.raise_alert(Severity.ERROR, "disk", "full")
        book.resolve("disk")
        for _ in range(5):
            book.deliver()
    levels = [(record.levelname, record.message) for record in caplog.records]
    assert levels == [
        ("WARNING", "alert memory: low"),
        ("ERROR", "alert disk: full"),
        ("INFO", "resolved disk: full"),
        ("WARNING", "alerts wait for delivery: database is locked"),
    ]
