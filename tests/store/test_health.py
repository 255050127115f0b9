"""The history of checks, how far search is, and SQLite's look at its own file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.chunking import cell_of
from ragd.errors import DamagedError
from ragd.store import Store
from ragd.store.events import ChannelsSeen, GuildSeen, Posted
from ragd.store.health import KEPT_SECONDS, SLOT_SECONDS, CheckState, Tally, slot_of
from tests.store.factories import GUILD, at, channel, message

NOW = int(time.time())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "ragd.sqlite3")
    yield store
    store.close()


def state(verdict: str = "ok", *, changed_at: int = NOW, checked_at: int = NOW) -> CheckState:
    return CheckState("disk", verdict, 1.5, "bytes", "", "", checked_at, changed_at)


def test_tallies_of_a_slot_are_added_up(store: Store) -> None:
    slot = slot_of(NOW)
    store.health.record([state()], [Tally("disk", slot, 12, 1, 0)])
    store.health.record([state()], [Tally("disk", slot, 5, 0, 2), Tally("wal", slot, 1, 0, 0)])
    assert store.health.tallies(NOW) == [Tally("disk", slot, 17, 1, 2), Tally("wal", slot, 1, 0, 0)]
    assert store.health.tallies(NOW + 2 * SLOT_SECONDS) == []


def test_since_when_is_kept_while_the_verdict_is_the_same(store: Store) -> None:
    store.health.record([state(changed_at=NOW - 500)], [])
    store.health.record([state(changed_at=NOW - 10)], [])  # another watchdog, which has just begun
    assert store.health.states() == [state(changed_at=NOW - 500)]
    store.health.record([state("fail", changed_at=NOW)], [])
    assert store.health.states() == [state("fail", changed_at=NOW)]


def test_the_history_is_bounded(store: Store) -> None:
    old = slot_of(NOW - KEPT_SECONDS - SLOT_SECONDS)
    gone = CheckState("former", "ok", None, "", "", "", NOW - KEPT_SECONDS - 1, NOW)
    store.health.record([gone], [Tally("disk", old, 1, 0, 0), Tally("disk", slot_of(NOW), 1, 0, 0)])
    assert [tally.slot for tally in store.health.tallies(0)] == [slot_of(NOW)]
    assert store.health.states() == []


def test_progress(store: Store) -> None:
    assert store.health.progress(0).oldest_mark is None
    store.ingest().apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel()]), Posted(message(at(0)))])
    store.chunks.begin_strategies({"temporal": 1})
    before = store.health.progress(1)
    assert (before.newest_change, before.followed_change) == (1, 0)
    store.chunks.mark_dirty("temporal", cell_of, 10)
    after = store.health.progress(1)
    assert (after.followed_change, after.newest_change) == (1, 1)
    assert after.oldest_mark is not None
    assert abs(after.oldest_mark / 1000 - time.time()) < 60


def test_a_cell_that_changed_meanwhile_is_marked_anew(store: Store) -> None:
    store.ingest().apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel()]), Posted(message(at(0)))])
    store.chunks.begin_strategies({"temporal": 1})
    store.chunks.mark_dirty("temporal", cell_of, 10)
    (cell,) = store.chunks.dirty_cells("temporal", 1)
    assert cell is not None
    with store._transaction():
        store._execute("UPDATE dirty_cell SET marked_at = 1000")
    store.ingest().apply([Posted(message(at(1)))])
    store.chunks.mark_dirty("temporal", cell_of, 10)
    assert store.health.progress(1).oldest_mark == 1000  # until it has been made
    store.chunks.commit_cell(cell, [], [], {})
    assert (store.health.progress(1).oldest_mark or 0) > 1000
    (again,) = store.chunks.dirty_cells("temporal", 1)
    assert again is not None
    store.chunks.commit_cell(again, [], [], {})
    assert store.health.progress(0).oldest_mark is None


def test_a_sound_file(store: Store) -> None:
    assert store.health.quick_check(time.monotonic() + 60) == []


def test_it_ends_at_its_deadline_and_when_told(store: Store) -> None:
    with store._transaction():
        store._execute("CREATE TABLE big (x)")
        store._execute_many("INSERT INTO big VALUES (?)", ((bytes(500),) for _ in range(20_000)))
        store._execute("CREATE INDEX big_x ON big (x)")
    with pytest.raises(TimeoutError):
        store.health.quick_check(time.monotonic() - 1)
    with pytest.raises(TimeoutError):
        store.health.quick_check(time.monotonic() + 60, lambda: True)
    assert store.health.quick_check(time.monotonic() + 60) == []


def test_a_damaged_page_is_found(tmp_path: Path) -> None:
    path = tmp_path / "damaged.sqlite3"
    store = Store.open(path)
    rows = [Posted(message(at(n), f"words {n} " * 20)) for n in range(2000)]
    store.ingest().apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel()]), *rows])
    store.close()
    content = bytearray(path.read_bytes())
    for page in range(100, 120):  # beyond the schema
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(content)
    damaged = Store.open_read_only(path)
    try:
        found = damaged.health.quick_check(time.monotonic() + 60)
    except DamagedError as error:
        found = [str(error)]
    finally:
        damaged.close()
    assert found
