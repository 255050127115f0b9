"""The watchdog's outbox: there or not, locked or not, and alerts that outlive a watchdog."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from ragd.alerts import Alert, AlertBook, Kind, Notice, Severity
from ragd.errors import TransientError, UnavailableError
from ragd.store import Store
from ragd.store_link import StoreLink

NOTICE = Notice(Kind.RAISED, Alert(Severity.ERROR, "x", "text", 1.0, 1.0), 1.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Store.open(tmp_path / "ragd.sqlite3").close()
    return tmp_path / "ragd.sqlite3"


def test_no_database_is_said_and_none_is_made(tmp_path: Path) -> None:
    link = StoreLink(tmp_path / "ragd.sqlite3")
    with pytest.raises(UnavailableError, match="no database"):
        link.take(NOTICE)
    assert link.open_alerts() == []
    assert list(tmp_path.iterdir()) == []


def test_an_alert_is_told_once_and_its_end_once(path: Path) -> None:
    link = StoreLink(path)
    book = AlertBook([link])
    for _ in range(3):
        book.raise_alert(Severity.ERROR, "disk", "the disk is full")
        book.deliver()
    store = Store.open(path)
    (told,) = store.alerts.unannounced()
    assert (told.alert.severity, told.alert.key, told.alert.text) == (Severity.ERROR, "disk", "the disk is full")
    assert (told.resolved_at, told.delivery) == (None, "waiting")
    store.alerts.mark_announced(told)
    assert store.alerts.unannounced() == []
    book.resolve("disk")
    book.deliver()
    (ended,) = store.alerts.unannounced()
    assert ended.resolved_at is not None
    store.alerts.mark_announced(ended)
    assert store.alerts.unannounced() == store.alerts.open_alerts() == []
    store.close()
    link.close()


def test_a_new_watchdog_closes_what_the_last_one_left_open(path: Path) -> None:
    first = StoreLink(path)
    book = AlertBook([first])
    book.raise_alert(Severity.WARNING, "memory", "little memory")
    book.deliver()
    first.close()
    second = StoreLink(path)
    known = second.open_alerts()
    assert [(alert.key, alert.text, alert.count) for alert in known] == [("memory", "little memory", 1)]
    again = AlertBook([second], known)
    again.raise_alert(Severity.WARNING, "memory", "little memory")
    again.resolve("memory")
    again.deliver()
    assert second.open_alerts() == []
    second.close()


def test_a_locked_database_is_not_waited_for_and_found_again(path: Path) -> None:
    link = StoreLink(path)
    blocker = apsw.Connection(str(path))
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(TransientError):
        link.take(NOTICE)
    blocker.execute("ROLLBACK")
    blocker.close()
    link.take(NOTICE)
    assert [alert.key for alert in link.open_alerts()] == ["x"]
    link.close()
