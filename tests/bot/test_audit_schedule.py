"""When the daily audit is made: a row in the table, whatever happens to capture."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from ragd.bot.audit import (
    DAILY_SAMPLE,
    DAY_SECONDS,
    FIRST_SECONDS,
    JITTER_SECONDS,
    PATIENCE_SECONDS,
    Auditor,
    next_daily_at,
)
from ragd.bot.backfill import Backfill
from ragd.bot.client import CaptureClient
from ragd.bot.inspection import Means
from ragd.bot.journal import Journal
from ragd.bot.scope import CaptureScope
from ragd.bot.spool import Spool
from ragd.scope import Scope
from ragd.store import Store
from tests.health.views import audit

Result = TypeVar("Result")

NOW = 1_800_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "ragd.sqlite3")
    yield store
    store.close()


def make_auditor(store: Store, directory: Path, seed: int = 1) -> Auditor:
    """Of a capture that is not connected."""

    async def nothing() -> None: ...

    async def in_store(work: Callable[[Store], Result]) -> Result:
        return work(store)

    journal = Journal(Spool(directory / "spool"), nothing)
    scope = CaptureScope(Scope())
    client = CaptureClient("!", journal, scope)
    backfill = Backfill(client, journal, scope, in_store, 24)
    return Auditor(Means(client, journal, backfill, in_store, random.Random(seed)))


async def test_the_first_one_comes_within_hours_and_stays_where_it_is(store: Store, tmp_path: Path) -> None:
    assert not await make_auditor(store, tmp_path).look(NOW)
    daily = store.audits.next_daily()
    assert daily is not None
    assert (daily.kind, daily.sample, daily.state) == ("daily", DAILY_SAMPLE, "waiting")
    assert NOW + FIRST_SECONDS / 2 - 1 <= daily.asked_at <= NOW + 1.5 * FIRST_SECONDS
    # another process, another chance, hours later: the same time still
    for later in (10.0, 10_000.0, 3 * DAY_SECONDS):
        await make_auditor(store, tmp_path, seed=2).look(NOW + later)
        assert store.audits.next_daily() == daily


async def test_a_clock_that_was_set_back_does_not_put_it_off(store: Store, tmp_path: Path) -> None:
    store.audits.schedule_daily(DAILY_SAMPLE, NOW + 300 * DAY_SECONDS)
    await make_auditor(store, tmp_path).look(NOW)
    daily = store.audits.next_daily()
    assert daily is not None
    assert daily.asked_at <= NOW + 1.5 * FIRST_SECONDS


async def test_without_a_connection_a_person_is_told_and_the_daily_one_waits(store: Store, tmp_path: Path) -> None:
    auditor = make_auditor(store, tmp_path)
    store.audits.schedule_daily(DAILY_SAMPLE, NOW)
    asked = store.audits.ask(10, (), NOW)
    await auditor.look(NOW + PATIENCE_SECONDS)
    found = store.audits.find(asked)
    assert found is not None
    assert found.state == "waiting"
    await auditor.look(NOW + PATIENCE_SECONDS + 1)
    found = store.audits.find(asked)
    assert found is not None
    assert (found.state, found.problem) == ("failed", "capture is not connected to Discord")
    await auditor.look(NOW + PATIENCE_SECONDS + 2)
    daily = store.audits.next_daily()
    assert daily is not None
    assert daily.state == "waiting"


@pytest.mark.parametrize("seed", range(20))
def test_a_day_after_the_last_one_give_or_take(seed: int) -> None:
    chance = random.Random(seed)
    ended = audit(ended_at=int(NOW) - 3600)
    assert abs(next_daily_at(ended, NOW, chance) - (NOW - 3600 + DAY_SECONDS)) <= JITTER_SECONDS
    overdue = audit(ended_at=int(NOW - 9 * DAY_SECONDS))
    assert abs(next_daily_at(overdue, NOW, chance) - NOW) <= JITTER_SECONDS
    from_the_future = audit(ended_at=int(NOW + 9 * DAY_SECONDS))
    assert next_daily_at(from_the_future, NOW, chance) <= NOW + DAY_SECONDS + JITTER_SECONDS
    failed = audit(state="failed", ended_at=int(NOW))
    assert NOW < next_daily_at(failed, NOW, chance) <= NOW + 1.5 * FIRST_SECONDS
    assert len({next_daily_at(ended, NOW, chance) for _ in range(10)}) == 10
