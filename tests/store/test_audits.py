"""The table of audits: a queue that nobody can get stuck in, and a history that does not grow for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.store import Store
from ragd.store.audits import ATTEMPTS, FINDINGS_KEPT, KEPT_SECONDS, LEASE_SECONDS, WITHDRAWN, Audit, Tally
from ragd.store.events import ChannelsSeen, Deleted, GuildSeen, PageRead, Posted
from tests.store.factories import CHANNEL, GUILD, at, channel, message

NOW = 1_800_000_000
ME, OTHER = 100, 200


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "ragd.sqlite3")
    yield store
    store.close()


def due(store: Store, pid: int = ME, now: int = NOW, alive: tuple[int, ...] = (ME, OTHER)) -> Audit | None:
    return store.audits.due(pid, now, alive.__contains__)


def taken(store: Store, pid: int = ME, now: int = NOW) -> int:
    """Ask for one and take it; its id."""
    asked = store.audits.ask(10, (), now)
    found = due(store, pid, now)
    assert found is not None
    assert found.id == asked
    assert store.audits.take(found, pid, now)
    return asked


def state(store: Store, audit_id: int) -> str:
    found = store.audits.find(audit_id)
    assert found is not None
    return found.state


def test_from_the_wish_to_the_result(store: Store) -> None:
    asked = store.audits.ask(10, [3, 4], NOW)
    found = due(store)
    assert found is not None
    assert (found.state, found.channels, found.sample) == ("waiting", (3, 4), 10)
    assert store.audits.take(found, ME, NOW)
    assert due(store, OTHER) is None
    assert store.audits.touch(asked, ME, Tally(5, 5), NOW + 1)
    assert store.audits.finish(asked, ME, Tally(10, 9, 2, 1), [{"mended": True}], {"pages": 1}, NOW + 2)
    done = store.audits.find(asked)
    assert done is not None
    assert (done.state, done.checked, done.present, done.deleted, done.found) == ("done", 10, 9, 2, 1)
    assert (done.findings, done.details, done.ended_at) == (({"mended": True},), {"pages": 1}, NOW + 2)
    assert not store.audits.touch(asked, ME, Tally(), NOW + 3)


def test_one_claim_wins(store: Store) -> None:
    store.audits.ask(10, (), NOW)
    mine, theirs = due(store), due(store, OTHER)
    assert mine is not None
    assert mine == theirs
    assert store.audits.take(mine, ME, NOW)
    assert not store.audits.take(mine, OTHER, NOW)


def test_a_persons_wish_goes_before_the_daily_one_and_none_before_its_time(store: Store) -> None:
    store.audits.schedule_daily(500, NOW + 60)
    assert due(store) is None
    found = due(store, now=NOW + 60)
    assert found is not None
    assert found.kind == "daily"
    asked = store.audits.ask(10, (), NOW + 60)
    found = due(store, now=NOW + 60)
    assert found is not None
    assert found.id == asked


@pytest.mark.parametrize(
    ("pid", "alive", "later"),
    [(ME, (ME,), 1), (OTHER, (ME, OTHER), 1), (ME, (ME, OTHER), LEASE_SECONDS + 1)],
    ids=["its capture is gone", "the next one has its number", "its number is somebody else's by now"],
)
def test_what_a_dead_capture_left_is_taken_up_again(store: Store, pid: int, alive: tuple[int, ...], later: int) -> None:
    asked = taken(store, OTHER)
    assert due(store, ME, NOW + 1) is None
    left = due(store, pid, NOW + later, alive)
    assert left is not None
    assert store.audits.take(left, pid, NOW + later)
    assert not store.audits.touch(asked, 999, Tally(), NOW + later)
    again = store.audits.find(asked)
    assert again is not None
    assert (again.pid, again.attempts) == (pid, 2)


def test_one_that_ends_capture_is_not_tried_for_ever(store: Store) -> None:
    asked = taken(store)
    for _ in range(ATTEMPTS - 1):
        left = due(store)
        assert left is not None
        assert store.audits.take(left, ME, NOW)
    left = due(store)
    assert left is not None
    assert not store.audits.take(left, ME, NOW)
    failed = store.audits.find(asked)
    assert failed is not None
    assert (failed.state, failed.problem) == ("failed", "capture ended while it ran, more than once")
    assert due(store) is None


def test_withdrawing(store: Store) -> None:
    waiting = store.audits.ask(10, (), NOW)
    store.audits.withdraw(waiting, NOW)
    assert store.audits.find(waiting) is None
    running = taken(store)
    store.audits.withdraw(running, NOW)
    assert state(store, running) == "failed"
    assert not store.audits.touch(running, ME, Tally(), NOW)
    assert not store.audits.finish(running, ME, Tally(1, 1), [], {}, NOW)
    done = taken(store)
    store.audits.finish(done, ME, Tally(1, 1), [], {}, NOW)
    store.audits.withdraw(done, NOW)
    assert state(store, done) == "done"
    assert store.audits.find(running).problem == WITHDRAWN  # type: ignore[union-attr]


def test_failing_one_that_nobody_took(store: Store) -> None:
    asked = store.audits.ask(10, (), NOW)
    store.audits.fail(asked, "not connected", NOW)
    assert state(store, asked) == "failed"
    assert due(store) is None


def test_the_history_is_bounded(store: Store) -> None:
    for age in (KEPT_SECONDS + 10, 50):
        old = taken(store, now=NOW - age)
        store.audits.finish(old, ME, Tally(), [{}] * (FINDINGS_KEPT + 5), {}, NOW - age)
    last = taken(store)
    store.audits.finish(last, ME, Tally(), [], {}, NOW)
    assert [row[0] for row in store._all("SELECT id FROM audit ORDER BY id")] == [2, 3]
    assert len(store.audits.find(2).findings) == FINDINGS_KEPT  # type: ignore[union-attr]


def test_there_is_one_daily_audit_at_a_time(store: Store) -> None:
    assert store.audits.next_daily() is store.audits.last_daily() is None
    store.audits.schedule_daily(500, NOW)
    store.audits.schedule_daily(500, NOW + 100)
    daily = store.audits.next_daily()
    assert daily is not None
    assert daily.asked_at == NOW + 100
    assert store.audits.take(daily, ME, NOW + 100)
    store.audits.finish(daily.id, ME, Tally(1, 1), [], {}, NOW + 101)
    assert store.audits.next_daily() is None
    assert store.audits.last_daily().id == daily.id  # type: ignore[union-attr]


def test_what_health_looks_at(store: Store) -> None:
    assert store.audits.last().done is None
    assert store.audits.last().since > 0
    whole = taken(store)
    store.audits.finish(whole, ME, Tally(5, 5), [], {}, NOW)
    partly = store.audits.ask(10, [CHANNEL], NOW)
    store.audits.take(due(store), ME, NOW)  # type: ignore[arg-type]
    store.audits.finish(partly, ME, Tally(5, 5), [], {}, NOW + 1)
    assert store.audits.last().done.id == whole  # type: ignore[union-attr]
    store._execute("UPDATE audit SET found = 1 WHERE id = ?", partly)
    assert store.audits.last().done.id == partly  # type: ignore[union-attr]
    store.audits.schedule_daily(5, NOW)
    daily = store.audits.next_daily()
    assert daily is not None
    store.audits.fail(daily.id, "away", NOW + 2)
    assert store.audits.last().failed.problem == "away"  # type: ignore[union-attr]


def test_what_there_is_to_compare(store: Store) -> None:
    events = [GuildSeen(GUILD, "g"), ChannelsSeen([channel(at(0))]), *(Posted(message(at(n))) for n in range(1, 6))]
    store.ingest().apply([*events, Deleted(GUILD, CHANNEL, [at(3)])])
    found = store.audits.messages(CHANNEL, (at(2), at(4)))
    assert [(row.id, row.deleted) for row in found] == [(at(2), False), (at(3), True), (at(4), False)]
    assert store.audits.count_messages(3) == 3
    assert store.audits.count_messages(100) == 4
    assert store.audits.any_message(0.0) == (CHANNEL, at(1))
    assert {store.audits.any_message(n / 50) for n in range(50)} >= {(CHANNEL, at(n)) for n in (1, 2, 4, 5)}
    assert store.audits.any_message(1.0) == (CHANNEL, at(3))


def test_nothing_to_compare(store: Store) -> None:
    assert store.audits.any_message(0.5) is None
    assert store.coverage.covered() == []


def test_threads_are_counted_as_discord_does(store: Store) -> None:
    thread = at(0)
    starter, marker, said = (message(n, channel_id=thread) for n in (thread, at(1), at(2)))
    rows = [starter, message(at(3), channel_id=thread, type=21), marker, said]
    store.ingest().apply([ChannelsSeen([channel(at(3), id=thread, type=11)]), *map(Posted, rows)])
    assert store.audits.count_in(thread, thread=True) == 2
    assert store.audits.count_in(thread, thread=False) == 4


def test_covered_stretches_end_with_the_newest_message(store: Store) -> None:
    ingest = store.ingest()
    hidden = channel(at(5), id=11, readable=False)
    ingest.apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel(at(5)), hidden, channel(0, id=12)])])
    ingest.apply([PageRead(GUILD, CHANNEL, 1, at(2), []), PageRead(GUILD, CHANNEL, at(4), at(9), [])])
    (covered,) = store.coverage.covered()
    assert covered.channel_id == CHANNEL
    assert covered.intervals == ((1, at(2)), (at(4), at(5)))
    assert not covered.is_whole
    assert store.coverage.captured([CHANNEL, 11, 99]) == [CHANNEL]
    ingest.apply([PageRead(GUILD, CHANNEL, 1, at(9), [])])
    assert store.coverage.covered()[0].is_whole
