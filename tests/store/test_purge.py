"""What `ragdctl purge` makes of rows, and what becomes of them after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.store import Store
from ragd.store.chunks import Cell, NewChunk, hash_text
from ragd.store.embeddings import ModelDetails
from ragd.store.events import ChannelGone, ChannelsSeen, Deleted, Edited, GuildSeen, PageRead, Posted, ScopeSet
from ragd.store.purge import SLICE
from tests.store.factories import CHANNEL, GUILD, at, channel, message

FIELDS = "deleted, chunkable, content, extra, reactions, author_id, author_name, reply_to_id, source"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "ragd.sqlite3", durability="FULL")
    store.ingest().apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel()])])
    store.ingest().apply([Posted(message(at(i), "secret", extra='{"a":1}')) for i in range(1, SLICE + 5)])
    store.ingest().apply([Deleted(GUILD, CHANNEL, [at(1)])])
    store.coverage.add_interval(CHANNEL, 1, at(SLICE + 4), "rest")
    yield store
    store.close()


def deny(store: Store) -> None:
    store.ingest().apply([ScopeSet([], [CHANNEL])])


def purge(store: Store) -> int:
    """As `ragdctl purge` does it; how many messages that emptied."""
    erasure_id = store.erasures.purge_channel(CHANNEL)
    if erasure_id is None:
        return 0
    while (erasure := store.erasures.find(erasure_id)) and erasure.state == "rows":
        store.erasures.erase_some(erasure)
    assert erasure is not None
    return erasure.messages


def row(store: Store, message_id: int) -> tuple[object, ...]:
    return store._one(f"SELECT {FIELDS} FROM message WHERE id = ?", message_id)


def page(*messages: int, end: int = at(SLICE + 4)) -> PageRead:
    return PageRead(GUILD, CHANNEL, 1, end, [message(i, "secret") for i in messages])


def test_nothing_of_what_was_said_or_who_said_it_stays(store: Store) -> None:
    deny(store)
    assert purge(store) == SLICE + 4
    assert row(store, at(2)) == (1, 0, "", "{}", "{}", 0, "", None, "purge")
    assert row(store, at(1)) == (1, 0, "", "{}", "{}", 0, "", None, "gateway"), "a true tombstone stays one"
    assert store.coverage.intervals(CHANNEL) == []
    assert purge(store) == 0


def test_each_emptied_message_is_a_change_for_the_syncer(store: Store) -> None:
    deny(store)
    before = store._one("SELECT value FROM counter WHERE name = 'message_change'")[0]
    purge(store)
    changed = store._all("SELECT id FROM message WHERE change > ? ORDER BY change", before)
    assert [found[0] for found in changed] == [at(i) for i in range(2, SLICE + 5)]
    assert store._one("SELECT max(change) FROM message") == store._one(
        "SELECT value FROM counter WHERE name = 'message_change'"
    )


def test_another_process_may_empty_too_and_all_is_counted(store: Store) -> None:
    deny(store)
    erasure_id = store.erasures.purge_channel(CHANNEL)
    assert erasure_id
    assert store.erasures.empty_some(erasure_id)
    (looked,) = store.erasures.open()
    assert store.erasures.erase_some(looked)
    assert store.purge.filled(CHANNEL) == 0
    assert not store.erasures.empty_some(erasure_id)
    (erasure,) = store.erasures.open()
    assert (erasure.state, erasure.messages) == ("rows", SLICE + 4), "its chunks are not ours"
    assert not store.erasures.erase_some(erasure)
    store.ingest().apply([ScopeSet([], []), page(at(2)), ScopeSet([], [CHANNEL])])
    assert not store.erasures.empty_some(erasure_id), "it is past its messages"
    assert row(store, at(2))[2] == "secret"


def test_one_that_is_captured_is_left_alone(store: Store) -> None:
    assert purge(store) == 0
    assert store.purge.standings([CHANNEL])[0].reason == "captured"
    assert row(store, at(2))[2] == "secret"
    assert store.coverage.intervals(CHANNEL) == [(1, at(SLICE + 4))]


def test_killed_in_the_middle_it_claims_nothing_and_goes_on(store: Store) -> None:
    deny(store)
    assert store.purge.forget_coverage(CHANNEL)
    assert store.purge.purge_some(CHANNEL) == (at(SLICE), SLICE)
    assert store.purge.standings(denied=True)[0].messages == 4
    assert store.coverage.intervals(CHANNEL) == []
    assert purge(store) == 4


def test_killed_at_any_moment_its_row_has_it_gone_on_with(store: Store) -> None:
    """The syncer sees it through, or whoever asks again."""
    deny(store)
    erasure_id = store.erasures.purge_channel(CHANNEL)
    assert store.erasures.purge_channel(CHANNEL) == erasure_id, "no second one meanwhile"
    (erasure,) = store.erasures.open()
    assert store.erasures.erase_some(erasure)
    assert store.purge.filled(CHANNEL) == 4
    (erasure,) = store.erasures.open()
    while store.erasures.erase_some(erasure):
        pass
    (erasure,) = store.erasures.open()
    assert (erasure.state, erasure.messages) == ("file", SLICE + 4)
    assert store.purge.filled(CHANNEL) == 0


def test_of_a_channel_that_is_captured_again_only_dead_chunks_go(store: Store) -> None:
    """Living ones would come again, and go again, for ever."""
    model = store.embeddings.register(ModelDetails("k", "m", "", 2, "mean", 256, 1, "nowhere")).id
    store.chunks.begin_strategies({"single": 1})
    for nth in (1, 2):
        new = NewChunk(f"key {nth}", [at(nth)], f"text {nth}", hash_text(f"text {nth}"))
        cell = Cell("single", CHANNEL, 1, at(nth), at(nth), 0)
        store.chunks.commit_cell(cell, [], [new], {model: {new.text_hash: b"12345678"}})
    deny(store)
    store.erasures.purge_channel(CHANNEL)
    store.ingest().apply([ScopeSet([], [])])
    (erasure,) = store.erasures.open()
    while store.erasures.erase_some(erasure):
        pass
    assert [found[0] for found in store._all("SELECT key FROM chunk")] == ["key 2"], "the first was deleted before"
    assert row(store, at(2))[2] == "secret"


def test_allowed_in_the_middle_it_stops(store: Store) -> None:
    deny(store)
    store.purge.forget_coverage(CHANNEL)
    assert store.purge.purge_some(CHANNEL) == (at(SLICE), SLICE)
    store.ingest().apply([ScopeSet([], [])])
    assert store.purge.purge_some(CHANNEL, at(SLICE)) == (0, 0)
    assert row(store, at(SLICE + 1))[2] == "secret"


def test_what_is_captured_again_comes_back_unless_it_was_deleted(store: Store) -> None:
    deny(store)
    purge(store)
    ingest = store.ingest()
    ingest.apply([Deleted(GUILD, CHANNEL, [at(3)]), ScopeSet([], []), page(at(1), at(2), at(3))])
    assert row(store, at(2)) == (0, 1, "secret", "{}", "{}", 5, "ann", None, "rest")
    assert row(store, at(1))[2] == row(store, at(3))[2] == ""
    ingest.apply([Edited(message(at(3), "secret", edited_at=9))])
    assert row(store, at(3))[2] == "", "a delete that Discord told is for good, a purge before it or not"
    assert ingest.totals["missed_edits"] == ingest.totals["missed_deletes"] == 0


def test_reasons(store: Store) -> None:
    ingest = store.ingest()
    hidden, gone, left = channel(id=21, readable=False), channel(id=22), channel(id=23, guild_id=2)
    ingest.apply([GuildSeen(2, "h"), ChannelsSeen([hidden, gone, left]), ChannelGone(22)])
    store.standing.remove_guild(2)
    thread = channel(id=24, parent_id=CHANNEL, type=11)
    ingest.apply([ChannelsSeen([thread]), ScopeSet([], [24])])
    reasons = {one.id: one.reason for one in store.purge.standings([CHANNEL], [GUILD, 2], denied=True)}
    assert reasons == {CHANNEL: "captured", 21: "unreadable", 22: "deleted", 23: "left", 24: "denied"}
    assert [one.id for one in store.purge.standings(denied=True)] == [24]
    assert [one.id for one in store.purge.standings([CHANNEL])] == [CHANNEL, 24]
