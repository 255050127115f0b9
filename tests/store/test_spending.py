"""What written answers cost, by person, day and month."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ragd.store import Store
from ragd.store.spending import OPERATOR, Caps, Reservation, SpendingStore

CAPS = Caps(person=100, day=250, month=400)
ANN, BOB, CYD = 1, 12, 123


class Calendar:
    day = 1
    month = 5

    def now(self) -> datetime:
        return datetime(2026, self.month, self.day, 23, 59, tzinfo=UTC)


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
def spending(tmp_path: Path, calendar: Calendar) -> Iterator[SpendingStore]:
    store = Store.open(tmp_path / "ragd.sqlite3")
    store.spending.now = calendar.now
    yield store.spending
    store.close()


def test_caps_of_a_person_a_day_and_a_month(spending: SpendingStore, calendar: Calendar) -> None:
    assert isinstance(spending.reserve(ANN, 100, CAPS), Reservation)
    assert spending.reserve(ANN, 1, CAPS) == "person"
    assert isinstance(spending.reserve(BOB, 100, CAPS), Reservation), "1 and 12 are two"
    assert spending.reserve(CYD, 51, CAPS) == "day"
    assert isinstance(spending.reserve(CYD, 50, CAPS), Reservation)
    assert spending.today() == 250
    calendar.day = 2
    assert spending.today() == 0
    assert isinstance(spending.reserve(ANN, 100, CAPS), Reservation)
    assert spending.reserve(BOB, 51, CAPS) == "month"
    calendar.month = 6
    assert isinstance(spending.reserve(BOB, 51, CAPS), Reservation)


def test_the_operator_has_the_caps_of_all(spending: SpendingStore) -> None:
    assert isinstance(spending.reserve(OPERATOR, 200, CAPS), Reservation)
    assert spending.reserve(OPERATOR, 51, CAPS) == "day"


def test_what_was_not_spent_is_given_back_on_its_own_day(spending: SpendingStore, calendar: Calendar) -> None:
    reserved = spending.reserve(ANN, 100, CAPS)
    assert isinstance(reserved, Reservation)
    calendar.day = 2
    spending.settle(reserved, 30)
    assert spending.today() == 0
    calendar.day = 1
    assert spending.today() == 30
    spending.settle(Reservation(reserved.name, 1000), 0)
    assert spending.today() == 0, "never less than nothing"


def test_earlier_months_are_forgotten_and_other_counters_are_not(spending: SpendingStore, calendar: Calendar) -> None:
    spending.reserve(ANN, 10, CAPS)
    before = spending._all("SELECT name FROM counter")
    calendar.month = 6
    spending.reserve(ANN, 10, CAPS)
    names = spending._all("SELECT name FROM counter")
    assert ("llm_tokens 2026-06-01 1",) in names
    assert set(before) - set(names) == {("llm_tokens 2026-05-01 1",)}
