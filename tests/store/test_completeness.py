"""How complete a channel is said to be: never more than it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.store import Store
from ragd.store.completeness import ChannelCompleteness, percent
from ragd.store.coverage import Hole
from ragd.store.events import ChannelRow, ChannelsSeen, GuildSeen, PageRead, Posted
from tests.store.factories import GUILD, at, channel, message


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store.open(Path(":memory:"))
    store.ingest().apply([GuildSeen(GUILD, "g")])
    yield store
    store.close()


def seen(store: Store, *rows: ChannelRow) -> None:
    store.ingest().apply([ChannelsSeen(rows)])


def the_one(store: Store) -> ChannelCompleteness:
    (found,) = store.completeness.channels()
    return found


BORN = at(0)


def test_an_empty_channel_misses_nothing(store: Store) -> None:
    seen(store, channel(id=BORN))
    found = the_one(store)
    assert (found.extent, found.percent, found.holes, found.intervals) == (0, 100.0, (), 0)
    assert store.completeness.progress().complete


def test_percent_is_the_covered_part_of_a_channels_life(store: Store) -> None:
    seen(store, channel(at(1000), id=BORN))
    store.coverage.add_interval(BORN, at(750), at(1000), "rest")
    found = the_one(store)
    assert (found.first_id, found.last_id) == (BORN, at(1000))
    assert found.percent == 25.0
    assert found.holes == ((1, at(750) - 1),)
    assert found.covered_by == {"rest": at(1000) - at(750) + 1}


def test_the_oldest_known_message_may_be_older_than_the_channel(store: Store) -> None:
    seen(store, channel(at(100), id=BORN))
    store.ingest().apply([PageRead(GUILD, BORN, at(50), at(100), [message(at(60), channel_id=BORN)])])
    assert the_one(store).first_id == BORN
    store.ingest().apply([PageRead(GUILD, BORN, at(-100), at(-50), [message(at(-100), channel_id=BORN)])])
    found = the_one(store)
    assert (found.first_id, found.messages, found.intervals) == (at(-100), 2, 2)
    assert found.percent == 50.0


def test_a_hole_of_one_id_keeps_it_from_100(store: Store) -> None:
    seen(store, channel(at(100_000), id=BORN))
    store.coverage.add_interval(BORN, 1, at(10) - 1, "rest")
    store.coverage.add_interval(BORN, at(10) + 1, at(100_000), "gateway")
    assert the_one(store).percent == 99.99
    assert store.completeness.progress().percent == 99.99
    store.coverage.add_interval(BORN, at(10), at(10), "rest")
    assert the_one(store).percent == 100.0
    assert the_one(store).intervals == 1, "they touch, however they were proved"
    assert store.completeness.progress().complete


def test_a_hole_before_the_channel_was_made_is_none_of_its_life_but_still_open(store: Store) -> None:
    seen(store, channel(at(100), id=BORN))
    store.coverage.add_interval(BORN, BORN, at(100), "rest")
    found = the_one(store)
    assert (found.percent, found.holes) == (99.99, ((1, BORN - 1),))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("UPDATE channel SET readable = 0", "may not read"),
        ("UPDATE channel SET excluded = 1", "RAGD_DENY_IDS"),
        ("UPDATE channel SET imported = 1", "imported"),
        ("UPDATE channel SET type = 15", "threads"),
        ("UPDATE guild SET removed = 1", "not in this server"),
    ],
)
def test_what_is_not_captured_is_listed_with_its_reason_and_counts_for_nothing(
    store: Store, change: str, word: str
) -> None:
    seen(store, channel(at(100), id=BORN))
    store._execute(change)
    found = the_one(store)
    assert word in found.left_out
    assert (found.holes, store.coverage.holes()) == ((), [])
    assert store.completeness.progress().extent == 0


def test_a_channel_that_discord_refused_is_incomplete_but_nothing_to_fetch(store: Store) -> None:
    seen(store, channel(at(100), id=BORN))
    store._execute("UPDATE channel SET refused_until = ?", int(time.time() * 1000) + 60_000)
    assert store.coverage.holes() == []
    found, progress = the_one(store), store.completeness.progress()
    assert (found.left_out, found.percent, len(found.holes)) == ("", 0.0, 1)
    assert found.refused_until > 0
    assert (progress.holes, progress.refused_holes, progress.complete) == (0, 1, False)


def test_messages_are_those_that_are_not_deleted(store: Store) -> None:
    seen(store, channel(at(0), id=BORN))
    store.ingest().apply([Posted(message(at(n), channel_id=BORN)) for n in range(1, 6)])
    store.ingest().apply([PageRead(GUILD, BORN, at(1), at(5), [message(at(3), channel_id=BORN)])])
    assert the_one(store).messages == 1


def test_percent_rounds_down_and_only_a_complete_one_is_100() -> None:
    assert percent(0, 0, complete=True) == 100.0
    assert percent(999_999, 1_000_000, complete=False) == 99.99
    assert percent(10**18 - 1, 10**18, complete=False) == 99.99
    assert percent(1, 3, complete=False) == 33.33
    assert percent(0, 0, complete=False) == 0.0


def test_holes_of_many_channels_are_what_their_intervals_leave_out(store: Store) -> None:
    seen(store, channel(100, id=1), channel(50, id=2), channel(10, id=3), channel(id=4))
    for channel_id, first, last in ((1, 10, 20), (1, 30, 120), (2, 1, 40), (3, 1, 10)):
        store.coverage.add_interval(channel_id, first, last, "rest")
    assert store.coverage.holes() == [
        Hole(GUILD, 2, 41, 50),
        Hole(GUILD, 1, 21, 29),
        Hole(GUILD, 1, 1, 9),
    ]
