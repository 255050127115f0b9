"""A message with what stands around it, and who bears a name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.store import Store
from ragd.store.events import ChannelsSeen, Deleted, LoggedIn, Posted
from ragd.store.scope import Filter
from tests.store.factories import CHANNEL, GUILD, at, channel, message

OTHER = CHANNEL + 1
ALL = Filter()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "ragd.sqlite3")
    ingest = store.ingest()
    ingest.apply([LoggedIn(999), ChannelsSeen([channel(), channel(id=OTHER, name="other")])])
    ingest.apply([Posted(message(at(second), f"said {second}")) for second in range(10)])
    ingest.apply([Posted(message(at(4, 1), "elsewhere", channel_id=OTHER, author_id=6, author_name="Bob"))])
    yield store
    store.close()


def shown(store: Store, message_id: int, wanted: Filter = ALL, before: int = 2, after: int = 2) -> list[str] | None:
    found = store.surroundings.around(message_id, wanted, before, after)
    return found and [one.content for one in (*found.before, found.message, *found.after)]


def test_neighbours_are_of_the_channel_and_in_order(store: Store) -> None:
    assert shown(store, at(4)) == ["said 2", "said 3", "said 4", "said 5", "said 6"]
    assert shown(store, at(0), before=5, after=1) == ["said 0", "said 1"]
    assert shown(store, at(9), before=1, after=5) == ["said 8", "said 9"]
    assert shown(store, at(4, 1)) == ["elsewhere"]
    assert shown(store, at(4), before=0, after=0) == ["said 4"]


def test_nobody_is_shown_what_they_may_not_read(store: Store) -> None:
    assert shown(store, at(4, 1), Filter([CHANNEL])) is None
    assert shown(store, at(4, 1), Filter([])) is None
    assert shown(store, at(4, 1), Filter([OTHER])) == ["elsewhere"]


def test_what_is_gone_is_shown_neither_by_itself_nor_beside_others(store: Store) -> None:
    store.ingest().apply([Deleted(GUILD, CHANNEL, [at(5)])])
    assert shown(store, at(5)) is None
    assert shown(store, at(4), after=1) == ["said 2", "said 3", "said 4", "said 6"]
    assert shown(store, 1) is None


@pytest.mark.parametrize("column", ["readable = 0", "excluded = 1", "deleted = 1"])
def test_a_channel_out_of_reach_is_shown_to_nobody(store: Store, column: str) -> None:
    store._execute(f"UPDATE channel SET {column} WHERE id = ?", CHANNEL)
    assert shown(store, at(4)) is None
    assert shown(store, at(4, 1)) == ["elsewhere"]


def test_people_are_all_who_wrote_under_the_name_and_no_bots(store: Store) -> None:
    extra = [
        message(at(20), author_id=7, author_name="BOB"),
        message(at(21), author_id=8, author_name="bob", is_bot=True),
    ]
    assert store.surroundings.people("bob") == [6]
    store.ingest().apply([Posted(one) for one in extra])
    assert store.surroundings.people("bob") == [6, 7]
    assert store.surroundings.people("nobody") == []
    store.ingest().apply([Deleted(GUILD, CHANNEL, [at(1)])])
    assert store.surroundings.people("") == [], "a tombstone has no author"
