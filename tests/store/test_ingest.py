"""What capture tells the store, in every order it can come in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from ragd.chunking import cell_of
from ragd.errors import TransientError
from ragd.store import Store
from ragd.store.events import (
    ChannelGone,
    ChannelsSeen,
    Deleted,
    Edited,
    GuildSeen,
    PageRead,
    Posted,
    SessionBroken,
)
from tests.store.factories import CHANNEL, GUILD, at, channel, message


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "ragd.sqlite3", durability="FULL")
    yield store
    store.close()


def rows(store: Store) -> dict[int, tuple[str, bool]]:
    return {row[0]: (row[1], bool(row[2])) for row in store._all("SELECT id, content, deleted FROM message")}


def page(start: int, end: int, *messages: int, **fields: object) -> PageRead:
    return PageRead(GUILD, CHANNEL, start, end, [message(i, **fields) for i in messages])


def test_a_message_is_stored_once_however_often_it_comes(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([Posted(message(at(1))), Posted(message(at(1))), page(1, at(1), at(1))])
    assert rows(store) == {at(1): ("hello", False)}


def test_the_newer_edit_wins_in_any_order(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([Edited(message(at(1), "third", edited_at=3)), Edited(message(at(1), "second", edited_at=2))])
    ingest.apply([page(1, at(1), at(1), content="first")])
    assert rows(store) == {at(1): ("third", False)}


def test_a_deleted_message_leaves_no_text_and_never_comes_back(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([Posted(message(at(1), "secret")), Deleted(GUILD, CHANNEL, [at(1)])])
    ingest.apply([page(1, at(1), at(1), content="secret"), Edited(message(at(1), "secret", edited_at=9))])
    assert rows(store) == {at(1): ("", True)}


def test_a_delete_may_come_before_the_message(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([Deleted(GUILD, CHANNEL, [at(1)]), page(1, at(1), at(1))])
    assert rows(store) == {at(1): ("", True)}


def test_what_vanished_from_a_page_was_deleted_while_nobody_listened(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([Posted(message(at(i))) for i in (1, 2, 3, 4)])
    ingest.apply([page(at(2), at(3), at(3))])
    assert {i for i, (_, deleted) in rows(store).items() if deleted} == {at(2)}


def test_live_messages_prove_coverage_only_after_the_channel_was_seen(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([Posted(message(at(1)))])
    assert store.coverage.intervals(CHANNEL) == []
    ingest.apply([ChannelsSeen([channel(at(1))]), Posted(message(at(2)))])
    assert store.coverage.intervals(CHANNEL) == [(at(1) + 1, at(2))]
    assert [(hole.start_id, hole.end_id) for hole in store.coverage.holes()] == [(1, at(1))]


def test_a_broken_session_opens_a_hole_that_a_page_closes(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([ChannelsSeen([channel()]), Posted(message(at(1)))])
    ingest.apply([SessionBroken(), Posted(message(at(5)))])
    assert store.coverage.intervals(CHANNEL) == [(1, at(1))], "nothing live counts between break and ChannelsSeen"
    ingest.apply([ChannelsSeen([channel(at(5))]), Posted(message(at(6)))])
    assert [(hole.start_id, hole.end_id) for hole in store.coverage.holes()] == [(at(1) + 1, at(5))]
    ingest.apply([page(at(1) + 1, at(5), at(3), at(5))])
    assert store.coverage.holes() == []
    assert store.coverage.intervals(CHANNEL) == [(1, at(6))]


def test_events_before_a_break_in_the_same_batch_still_count(store: Store) -> None:
    store.ingest().apply([ChannelsSeen([channel()]), Posted(message(at(1))), SessionBroken()])
    assert store.coverage.intervals(CHANNEL) == [(1, at(1))]


def test_an_unreadable_channel_has_no_holes_and_is_counted_apart(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([ChannelsSeen([channel(at(5), readable=False)]), Posted(message(at(6)))])
    assert store.coverage.holes() == []
    assert store.coverage.intervals(CHANNEL) == []
    assert store.counts().unreadable_channels == 1


def test_a_deleted_channel_takes_its_threads_and_messages_along(store: Store) -> None:
    ingest = store.ingest()
    thread = channel(id=11, parent_id=CHANNEL, type=11, name="thread")
    ingest.apply([ChannelsSeen([channel(), thread]), Posted(message(at(1))), Posted(message(at(2), channel_id=11))])
    ingest.apply([ChannelGone(CHANNEL)])
    assert {deleted for _, deleted in rows(store).values()} == {True}
    assert store.channels() == []
    assert store.counts().deleted == 2


def test_every_write_gets_a_new_change_number_in_commit_order(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([Posted(message(at(1))), Posted(message(at(2)))])
    ingest.apply([Edited(message(at(1), "new", edited_at=1))])
    assert [row[0] for row in store._all("SELECT id FROM message ORDER BY change")] == [at(2), at(1)]


def test_a_batch_that_fails_leaves_nothing_behind_and_can_be_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "ragd.sqlite3"
    store = Store.open(path, durability="FULL")
    store._database.execute_sql("PRAGMA busy_timeout = 50")
    blocker = apsw.Connection(str(path))
    blocker.execute("BEGIN IMMEDIATE")
    ingest, batch = store.ingest(), [GuildSeen(GUILD, "g"), ChannelsSeen([channel()]), Posted(message(at(1)))]
    with pytest.raises(TransientError, match="locked"):
        ingest.apply(batch)
    blocker.execute("ROLLBACK")
    assert rows(store) == {}
    ingest.apply(batch)
    assert store.coverage.intervals(CHANNEL) == [(1, at(1))]
    blocker.close()
    store.close()


def test_a_second_thread_reads_while_the_first_writes(store: Store) -> None:
    ingest = store.ingest()
    counted: list[int] = []
    ingest.apply([Posted(message(at(1)))])

    def read() -> None:
        counted.append(store.counts().messages)
        store.close()

    with store._transaction():
        store._execute("UPDATE message SET content = 'x'")
        reader = threading.Thread(target=read)
        reader.start()
        reader.join(5)
    assert counted == [1]


def test_a_page_that_changes_nothing_leaves_nothing_to_follow(store: Store) -> None:
    store.chunks.begin_strategies(["temporal"], 1)
    for _ in range(2):
        store.ingest().apply([page(1, 9, 3, 5)])
        store.chunks.mark_dirty("temporal", cell_of, 10)
        assert not store.chunks.has_changes("temporal")
