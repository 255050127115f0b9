"""The watchdog's way into the store: there or not, locked or not, and alerts that outlive a watchdog."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from ragd.alerts import Alert, AlertBook, Severity
from ragd.errors import TransientError, UnavailableError
from ragd.store import Store
from ragd.store_link import StoreLink


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Store.open(tmp_path / "ragd.sqlite3").close()
    return tmp_path / "ragd.sqlite3"


def test_no_database_is_said_and_none_is_made(tmp_path: Path) -> None:
    link = StoreLink(tmp_path / "ragd.sqlite3")
    assert link.lag() == 0
    with pytest.raises(UnavailableError, match="no database"):
        link.resolve("disk")
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
    assert (told.severity, told.key, told.text, told.resolved_at) == ("error", "disk", "the disk is full", None)
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
    assert known == [Alert(Severity.WARNING, "memory", "little memory")]
    again = AlertBook([second], known)
    again.raise_alert(Severity.WARNING, "memory", "little memory")
    again.resolve("memory")
    again.deliver()
    assert second.open_alerts() == []
    second.close()


def test_a_locked_database_is_not_waited_for_and_found_again(path: Path) -> None:
    link = StoreLink(path)
    assert link.lag() == 0
    blocker = apsw.Connection(str(path))
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(TransientError):
        link.raise_alert(Severity.ERROR, "x", "text")
    blocker.execute("ROLLBACK")
    blocker.close()
    link.raise_alert(Severity.ERROR, "x", "text")
    assert [alert.key for alert in link.open_alerts()] == ["x"]
    link.close()
