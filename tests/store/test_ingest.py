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
    GuildSilent,
    GuildsListed,
    PageRead,
    Posted,
    ScopeSet,
    SessionBroken,
    ThreadsListed,
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
    store.chunks.begin_strategies({"temporal": 1})
    for _ in range(2):
        store.ingest().apply([page(1, 9, 3, 5)])
        store.chunks.mark_dirty("temporal", cell_of, 10)
        assert not store.chunks.has_changes("temporal")


def test_a_deleted_category_takes_nothing_along(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([ChannelsSeen([channel(parent_id=77)]), Posted(message(at(1))), ChannelGone(77)])
    assert rows(store) == {at(1): ("hello", False)}


def test_an_outage_ends_what_is_live_in_one_guild_alone(store: Store) -> None:
    ingest = store.ingest()
    other = channel(id=20, guild_id=2)
    ingest.apply([GuildSeen(GUILD, "g"), GuildSeen(2, "h"), ChannelsSeen([channel(), other])])
    ingest.apply([Posted(message(at(1))), GuildSilent(GUILD), Posted(message(at(5)))])
    ingest.apply([Posted(message(at(6), channel_id=20, guild_id=2))])
    assert store.coverage.intervals(CHANNEL) == [(1, at(1))], "what came before the outage still counts"
    assert store.coverage.intervals(20) == [(1, at(6))]


def test_guilds_that_are_not_listed_were_left(store: Store) -> None:
    ingest, mine, elsewhere = store.ingest(), 4 << 22, 5 << 22
    for guild, channel_id in ((mine, 21), (elsewhere, 22), (6 << 22, 23)):
        ingest.apply([GuildSeen(guild, "g"), ChannelsSeen([channel(id=channel_id, guild_id=guild)])])
    ingest.apply([GuildsListed([6 << 22], [0], 2)])
    removed = store._all("SELECT id FROM guild WHERE removed")
    assert removed == [(mine,)], "5 is another shard's, 6 is there"
    ingest.apply([GuildSeen(mine, "g")])
    assert store._all("SELECT id FROM guild WHERE removed") == []


def test_a_guild_known_from_a_file_alone_was_never_joined_and_so_not_left(store: Store) -> None:
    store.ingest().apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel()])])
    store._execute("UPDATE channel SET imported = 1")
    store.ingest().apply([GuildsListed([])])
    assert store._all("SELECT id FROM guild WHERE removed") == []


def test_threads_go_with_the_access_to_their_channel_and_come_back(store: Store) -> None:
    ingest = store.ingest()
    thread = channel(id=11, parent_id=CHANNEL, type=11, archived=True)
    ingest.apply([ChannelsSeen([channel(), thread]), ThreadsListed(CHANNEL, 1000)])
    ingest.apply([ChannelsSeen([channel(readable=False)]), Posted(message(at(1), channel_id=11))])
    assert store.coverage.intervals(11) == [], "what we hear by chance while it is hidden proves nothing"
    assert {row.id for row in store.channels() if row.readable} == set()
    ingest.apply([ChannelsSeen([channel()])])
    assert {row.id for row in store.channels() if row.readable} == {CHANNEL, 11}
    assert store.threads_listed_at()[CHANNEL] == 0, "what was archived meanwhile is to be listed"


def test_nothing_is_taken_of_excluded_channels_but_deletes_are(store: Store) -> None:
    ingest = store.ingest()
    thread = channel(id=11, parent_id=CHANNEL, type=11)
    kept = channel(id=12, parent_id=CHANNEL, type=11)
    ingest.apply([ChannelsSeen([channel(), thread, kept]), Posted(message(at(1))), Posted(message(at(2)))])
    ingest.apply([ScopeSet([12], [CHANNEL])])
    ingest.apply([Posted(message(at(3))), Edited(message(at(1), "new", edited_at=1)), page(1, at(3), at(3))])
    ingest.apply([Posted(message(at(4), channel_id=11)), Posted(message(at(5), channel_id=12))])
    ingest.apply([Deleted(GUILD, CHANNEL, [at(2)])])
    assert rows(store) == {at(1): ("hello", False), at(2): ("", True), at(5): ("hello", False)}
    assert store.ingest()._excluded == {CHANNEL, 11}, "the next process knows it before it is told"
    ingest.apply([ScopeSet([], []), Posted(message(at(6)))])
    assert store.coverage.intervals(CHANNEL) == [(1, at(2))], "live only from the next ChannelsSeen on"


def test_a_denial_hides_what_was_imported_an_allow_list_does_not(store: Store) -> None:
    store.ingest().apply([ChannelsSeen([channel()])])
    store._execute("UPDATE channel SET imported = 1")
    store.ingest().apply([ScopeSet([99], [])])
    assert store.standing.excluded() == set()
    store.ingest().apply([ScopeSet([], [GUILD])])
    assert store.standing.excluded() == {CHANNEL}


def test_what_a_page_mends_is_counted_apart_from_what_it_brings(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([ChannelsSeen([channel()]), *(Posted(message(at(i))) for i in (1, 2, 4))])
    ingest.apply([page(at(1), at(3), at(1), at(3), content="as it is now", edited_at=1)])
    totals = ingest.totals
    assert (totals["missed_posts"], totals["missed_edits"], totals["missed_deletes"]) == (1, 1, 1)
    ingest.apply([page(at(1), at(3), at(1), at(3), content="as it is now", edited_at=1)])
    ingest.apply([page(at(5), at(6), at(6))])
    assert (totals["missed_posts"], totals["missed_edits"], totals["missed_deletes"]) == (1, 1, 1)
