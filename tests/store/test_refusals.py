"""Channels that Discord refuses: left alone for longer and longer, asked again when something changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.store import Ingest, Store
from ragd.store.events import AccessChanged, ChannelsSeen, PageRead, Posted, Refused, SessionBroken, ThreadsListed
from ragd.store.refusals import FIRST_PAUSE_SECONDS, JITTER, LONGEST_PAUSE_SECONDS, pause_seconds
from tests.store.factories import CHANNEL, GUILD, at, channel, message

CATEGORY, THREAD, ELSEWHERE = 5, 11, 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "ragd.sqlite3")
    yield store
    store.close()


@pytest.fixture
def ingest(store: Store) -> Ingest:
    ingest = store.ingest()
    thread = channel(at(9), id=THREAD, parent_id=CHANNEL, type=11)
    elsewhere = channel(at(9), id=ELSEWHERE, guild_id=2)
    ingest.apply([ChannelsSeen([channel(at(9), parent_id=CATEGORY), thread, elsewhere])])
    return ingest


def holes(store: Store) -> set[int]:
    return {hole.channel_id for hole in store.coverage.holes()}


def refusals(store: Store, channel_id: int = CHANNEL) -> tuple[int, float]:
    """How many, and how many hours from now on it is left alone."""
    count, until = store._one("SELECT refusals, refused_until FROM channel WHERE id = ?", channel_id)
    return count, (until / 1000 - time.time()) / 3600 if until else 0.0


def test_pauses_double_from_an_hour_to_a_day() -> None:
    for refused, hours in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 24), (60, 24)]:
        assert abs(pause_seconds(refused) / 3600 / hours - 1) <= JITTER
    assert {pause_seconds(1) for _ in range(5)} != {FIRST_PAUSE_SECONDS}, "with jitter"
    assert pause_seconds(10**6) <= LONGEST_PAUSE_SECONDS * (1 + JITTER)


def test_a_refused_channel_is_left_alone_and_others_are_not(store: Store, ingest: Ingest) -> None:
    ingest.apply([Refused(CHANNEL)])
    assert holes(store) == {THREAD, ELSEWHERE}
    assert store.refusals.refused("messages") == {CHANNEL}
    assert store.refusals.refused("threads") == frozenset()
    assert store.counts().refused_channels == store.refusals.count(GUILD) == 1
    assert store.refusals.count(2) == 0


def test_it_is_asked_again_in_time_and_left_alone_for_longer_if_that_fails(store: Store, ingest: Ingest) -> None:
    ingest.apply([Refused(CHANNEL)])
    count, hours = refusals(store)
    assert count == 1
    assert 0.7 < hours < 1.3
    store._execute("UPDATE channel SET refused_until = 1 WHERE id = ?", CHANNEL)
    assert CHANNEL in holes(store)
    ingest.apply([Refused(CHANNEL)])
    count, hours = refusals(store)
    assert count == 2
    assert 1.5 < hours < 2.5


def test_a_restart_asks_no_sooner(store: Store, ingest: Ingest) -> None:
    ingest.apply([Refused(CHANNEL)])
    store.ingest().apply([ChannelsSeen([channel(at(9))])])
    assert CHANNEL not in holes(store)


def test_a_page_clears_it(store: Store, ingest: Ingest) -> None:
    ingest.apply([Refused(CHANNEL), Refused(CHANNEL, "threads")])
    ingest.apply([PageRead(GUILD, CHANNEL, at(5), at(9), [])])
    assert refusals(store)[0] == 0
    assert store.refusals.refused("threads") == {CHANNEL}, "that is another question"
    ingest.apply([ThreadsListed(CHANNEL, 1)])
    assert store.refusals.refused("threads") == frozenset()


@pytest.mark.parametrize("changed", [None, CHANNEL, CATEGORY])
def test_changed_permissions_clear_it_there_and_below(store: Store, ingest: Ingest, changed: int | None) -> None:
    ingest.apply([Refused(CHANNEL), Refused(THREAD), Refused(ELSEWHERE)])
    ingest.apply([AccessChanged(GUILD, changed)])
    assert store.refusals.refused("messages") == {ELSEWHERE}


def test_permissions_of_another_channel_change_nothing(store: Store, ingest: Ingest) -> None:
    ingest.apply([Refused(CHANNEL), AccessChanged(GUILD, THREAD), AccessChanged(2)])
    assert store.refusals.refused("messages") == {CHANNEL}


def test_nothing_live_proves_anything_where_discord_keeps_things_back(store: Store, ingest: Ingest) -> None:
    ingest.apply([Posted(message(at(10))), Refused(CHANNEL), Posted(message(at(11)))])
    assert store.coverage.intervals(CHANNEL) == [(at(9) + 1, at(10))], "what came before the refusal is proved"
    ingest.apply([PageRead(GUILD, CHANNEL, 1, at(11), [message(at(10)), message(at(11))])])
    ingest.apply([ChannelsSeen([channel(at(11))]), Posted(message(at(13)))])
    assert store.coverage.intervals(CHANNEL) == [(1, at(11))], "somebody may have written while it was refused"
    assert CHANNEL in holes(store)
    ingest.apply([SessionBroken(), ChannelsSeen([channel(at(13))]), Posted(message(at(14)))])
    assert store.coverage.intervals(CHANNEL) == [(1, at(11)), (at(13) + 1, at(14))]


def test_a_refused_channel_proves_nothing_in_the_next_session_either(store: Store, ingest: Ingest) -> None:
    ingest.apply([Refused(CHANNEL)])
    store.ingest().apply([ChannelsSeen([channel(at(9))]), Posted(message(at(10)))])
    assert store.coverage.intervals(CHANNEL) == []


def test_of_a_list_of_threads_that_is_refused_live_messages_know_nothing(store: Store, ingest: Ingest) -> None:
    ingest.apply([Refused(CHANNEL, "threads"), Posted(message(at(10)))])
    assert store.coverage.intervals(CHANNEL) == [(at(9) + 1, at(10))]


def test_a_channel_that_nobody_knows_is_refused_without_a_trace(store: Store, ingest: Ingest) -> None:
    ingest.apply([Refused(404)])
    assert store.refusals.count() == 0


def test_the_break_of_a_shard_is_that_of_its_guilds(store: Store) -> None:
    ingest, even, odd = store.ingest(), 2 << 22, 3 << 22
    seen = [channel(at(1), id=30, guild_id=even), channel(at(1), id=31, guild_id=odd)]
    ingest.apply([ChannelsSeen(seen), SessionBroken((1, 2))])
    ingest.apply([Posted(message(at(2), id=at(2), channel_id=30, guild_id=even))])
    ingest.apply([Posted(message(at(3), id=at(3), channel_id=31, guild_id=odd))])
    assert store.coverage.intervals(30) == [(at(1) + 1, at(2))]
    assert store.coverage.intervals(31) == []
