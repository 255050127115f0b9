"""What erasures make of rows and chunks, what they keep out afterwards, and how they are gone on with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.auditing import compare
from ragd.store import Store
from ragd.store.chunks import Cell, NewChunk, hash_text
from ragd.store.embeddings import NEWEST, ModelDetails
from ragd.store.erasure import SLICE, Erasure
from ragd.store.events import ChannelGone, ChannelsSeen, Deleted, Edited, Event, GuildSeen, PageRead, Posted
from ragd.store.scope import Filter
from tests.store.factories import CHANNEL, GUILD, at, channel, message

ANN, BOB = 5, 6
THREAD = 11
MODEL = ModelDetails("k", "m", "", 2, "mean", 256, 1, "nowhere")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "ragd.sqlite3", durability="FULL")
    store.ingest().apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel(), channel(id=THREAD, parent_id=10, type=11)])])
    yield store
    store.close()


def post(store: Store, *rows: tuple[int, int], words: str = "secret", **fields: object) -> None:
    """Messages by seconds and author."""
    names = {ANN: "ann", BOB: "bob"}
    store.ingest().apply(
        [
            Posted(message(at(second), f"{words} {second}", author_id=author, author_name=names[author], **fields))
            for second, author in rows
        ]
    )


def chunk(store: Store, *seconds: int) -> None:
    """One chunk of these messages, with its vector, as the syncer makes it."""
    ids = [at(second) for second in seconds]
    text = f"chunk of {ids}"
    model = store.embeddings.register(MODEL).id
    new = NewChunk(text, ids, text, hash_text(text))
    store.chunks.begin_strategies({"single": 1})
    cell = Cell("single", CHANNEL, 1, ids[0], ids[-1], 0)
    store.chunks.commit_cell(cell, [], [new], {model: {new.text_hash: b"12345678"}})


def forget(store: Store, user: int, until: int | None = None) -> Erasure:
    """Erase the rows of somebody; the files are the eraser's affair."""
    erasure_id = store.erasures.forget_user(user, until or store.people.present_id(), "operator")
    while (erasure := store.erasures.find(erasure_id)) and erasure.state == "rows":
        store.erasures.erase_some(erasure)
    assert erasure is not None
    return erasure


def row(store: Store, second: int) -> tuple[object, ...]:
    found = store._all("SELECT deleted, content, author_id, author_name, source FROM message WHERE id = ?", at(second))
    return found[0] if found else ()


def page(*rows: tuple[int, int], end: int = 1000) -> PageRead:
    return PageRead(
        GUILD, CHANNEL, 1, at(end), [message(at(second), f"secret {second}", author_id=who) for second, who in rows]
    )


GONE = (1, "", 0, "", "erased")


def test_rows_chunks_vectors_and_words_go_in_one_transaction(store: Store) -> None:
    post(store, (1, ANN), (2, BOB), (3, BOB))
    chunk(store, 1, 2)
    chunk(store, 3)
    done = forget(store, ANN)
    assert (done.messages, done.chunks, done.vectors, done.state) == (1, 1, 1, "file")
    assert row(store, 1) == GONE
    assert row(store, 2)[1] == "secret 2"
    assert store._all("SELECT text FROM chunk") == [(f"chunk of {[at(3)]}",)]
    assert store._all("SELECT count(*) FROM vector") == [(1,)]
    assert store._all("SELECT id FROM message_word_docsize ORDER BY id") == [(at(2),), (at(3),)]
    (cell,) = store.chunks.dirty_cells("single", 5)
    assert (cell.low_id, cell.high_id) == (at(1), at(2)), "what others said in it is chunked anew"


def test_tombstones_lose_their_author_too(store: Store) -> None:
    post(store, (1, ANN))
    store.ingest().apply([Deleted(GUILD, CHANNEL, [at(1)])])
    assert row(store, 1) == (1, "", ANN, "", "gateway")
    forget(store, ANN)
    assert row(store, 1) == (1, "", 0, "", "gateway")


def test_nothing_brings_it_back_and_coverage_stays(store: Store) -> None:
    post(store, (1, ANN), (2, BOB))
    forget(store, ANN)
    store.ingest().apply([page((1, ANN), (2, BOB), (3, ANN))])
    assert row(store, 1) == GONE
    assert row(store, 3) == GONE, "an older one that nobody had stored yet is kept out too"
    store.ingest().apply([Edited(message(at(1), "secret again", author_id=ANN, edited_at=9))])
    assert row(store, 1) == GONE
    assert store.coverage.intervals(CHANNEL) == [(1, at(1000))]


def test_what_is_written_later_is_stored(store: Store) -> None:
    post(store, (1, ANN))
    forget(store, ANN, until=at(5))
    post(store, (6, ANN))
    assert row(store, 6)[1] == "secret 6"


def test_an_audit_takes_no_offence(store: Store) -> None:
    post(store, (1, ANN), (2, BOB))
    forget(store, ANN)
    shown = page((1, ANN), (2, BOB)).rows
    found = compare(shown, store.audits.messages(CHANNEL, (1, at(1000))))
    assert (found.checked, found.differences) == (2, {})
    assert store.audits.count_in(CHANNEL, thread=False) == 2


def test_killed_in_the_middle_it_goes_on(store: Store) -> None:
    post(store, *((second, ANN) for second in range(1, SLICE + 10)))
    erasure_id = store.erasures.forget_user(ANN, store.people.present_id(), "member")
    (erasure,) = store.erasures.open()
    assert store.erasures.erase_some(erasure)
    assert store.people.kept(ANN).messages == 9
    assert store.erasures.forget_user(ANN, store.people.present_id(), "member") == erasure_id, "no second one meanwhile"
    assert forget(store, ANN).messages == SLICE + 9
    assert forget(store, ANN).messages == 0


def test_from_the_wish_on_nothing_of_theirs_is_shown(store: Store) -> None:
    """However many messages there are: nothing has been erased yet."""
    post(store, (1, ANN), (2, BOB), (3, ANN), (4, BOB))
    chunk(store, 1, 2)
    store.erasures.forget_user(ANN, at(3), "member")
    (chunk_id,) = store.vectors.homes([at(1)], ["single"]).values()
    assert [one.id for one in store.vectors.passages([chunk_id])[chunk_id].messages] == [at(2)]
    assert list(store.vectors.bare_passages([at(1), at(2)])) == [at(2)]
    before, after = store.vectors.neighbours(CHANNEL, at(2), 5)
    assert [one.id for one in (*before, *after)] == [at(4)]
    assert store.surroundings.around(at(1), Filter(), 5, 5) is None
    around = store.surroundings.around(at(2), Filter(), 5, 5)
    assert around is not None
    assert [one.id for one in (*around.before, *around.after)] == [at(4)]
    assert row(store, 1)[1] == "secret 1"


def test_who_asks_again_meanwhile_is_not_told_that_all_is_gone(store: Store) -> None:
    post(store, (1, ANN))
    store.erasures.forget_user(ANN, at(1), "member")
    (read_before,) = store.erasures.open()
    post(store, (2, ANN))
    store.erasures.forget_user(ANN, at(2), "member")
    while store.erasures.erase_some(read_before):
        pass
    assert [row(store, second) for second in (1, 2)] == [GONE, GONE]


def test_opt_out_keeps_new_ones_out_and_old_ones_until_they_are_edited(store: Store) -> None:
    post(store, (1, ANN))
    store.people.opt_out(ANN)
    post(store, (2, ANN))
    assert row(store, 1)[1] == "secret 1"
    assert row(store, 2) == GONE
    store.ingest().apply([page((1, ANN), (2, ANN))])
    assert row(store, 1)[1] == "secret 1", "what was stored before is left alone"
    store.ingest().apply([Edited(message(at(1), "mended", author_id=ANN, edited_at=9))])
    assert row(store, 1) == GONE, "neither the old words nor the new ones"


def test_opt_in_again(store: Store) -> None:
    store.people.opt_out(ANN)
    store.people.opt_in(ANN, at(5))
    store.ingest().apply([page((4, ANN), (6, ANN))])
    assert row(store, 4) == GONE
    assert row(store, 6)[1] == "secret 6"
    assert store.people.kept(ANN).opted_out_at == 0


def test_a_channel_of_those_who_agreed_and_its_threads(store: Store) -> None:
    store.people.set_opt_in(CHANNEL, on=True)
    store.people.agree(CHANNEL, BOB, at(2))
    post(store, (1, BOB), (2, BOB), (3, ANN))
    post(store, (4, BOB), (5, ANN), channel_id=THREAD)
    assert [bool(row(store, second)[1]) for second in (1, 2, 3, 4, 5)] == [False, True, False, True, False]
    store.people.withdraw(CHANNEL, BOB)
    post(store, (6, BOB))
    store.people.set_opt_in(CHANNEL, on=False)
    post(store, (7, ANN))
    assert [bool(row(store, second)[1]) for second in (6, 7)] == [False, True]


def test_a_thread_that_is_not_known_yet_may_be_one_of_such_a_channel(store: Store) -> None:
    store.people.set_opt_in(CHANNEL, on=True)
    store.people.agree(CHANNEL, BOB, at(2))
    post(store, (3, ANN), (4, BOB), channel_id=99)
    assert row(store, 3) == row(store, 4) == ()
    thread = channel(at(4), id=99, parent_id=CHANNEL, type=11)
    rows = [message(at(3), author_id=ANN, channel_id=99), message(at(4), "agreed", author_id=BOB, channel_id=99)]
    store.ingest().apply([ChannelsSeen([thread])])
    assert [(hole.channel_id, hole.end_id) for hole in store.coverage.holes()] == [(99, at(4))], "REST is asked"
    store.ingest().apply([PageRead(GUILD, 99, 1, at(4), rows)])
    assert row(store, 3) == GONE
    assert row(store, 4)[1] == "agreed"


def test_what_is_older_goes_and_stays_away(store: Store) -> None:
    post(store, (1, ANN), (5, BOB))
    post(store, (2, ANN), (6, ANN), channel_id=THREAD)
    assert store.erasures.count_older([CHANNEL], at(4)) == 2
    (erasure_id,) = store.erasures.forget_before([CHANNEL], at(4))
    while (erasure := store.erasures.find(erasure_id)) and erasure.state == "rows":
        store.erasures.erase_some(erasure)
    assert erasure is not None
    assert erasure.messages == 2
    assert [bool(row(store, second)[1]) for second in (1, 2, 5, 6)] == [False, False, True, True]
    store.ingest().apply([page((1, ANN), (3, BOB), (5, BOB))])
    assert row(store, 1) == row(store, 3) == GONE


def test_a_receipt_counts_what_is_older_than_was_asked_for_alone(store: Store) -> None:
    """Neither other channels nor later messages, which retention takes at the same time."""
    other = CHANNEL + 5
    store.ingest().apply([ChannelsSeen([channel(id=other)])])
    post(store, (1, ANN), (2, ANN), (3, ANN))
    post(store, (4, ANN), channel_id=THREAD)
    post(store, (5, ANN), (6, ANN), channel_id=other)
    store.erasures.keep_from({other: at(90), CHANNEL: at(3)})
    (erasure_id,) = store.erasures.forget_before([CHANNEL], at(2))
    while (erasure := store.erasures.find(erasure_id)) and erasure.state == "rows":
        store.erasures.erase_some(erasure)
    assert erasure is not None
    assert erasure.messages == 1
    assert [bool(row(store, second)[1]) for second in range(1, 7)] == [False, *(5 * [True])]
    while store.erasures.is_cutting():
        store.erasures.erase_older()
    assert [bool(row(store, second)[1]) for second in range(1, 7)] == [False, False, True, True, False, False]


def test_what_is_older_of_everything_but_the_canary(store: Store) -> None:
    post(store, (1, ANN))
    canary = store.canary.release("canary words")
    store.erasures.forget_before([], canary + 1)
    while store.erasures.is_cutting():
        store.erasures.erase_older()
    assert row(store, 1) == GONE
    assert store._one("SELECT deleted FROM message WHERE id = ?", canary) == (0,)


def test_what_was_stored_before_somebody_objected_is_theirs_to_edit_when_they_opted_in(store: Store) -> None:
    post(store, (1, ANN))
    store.people.opt_out(ANN)
    store.people.opt_in(ANN, at(5))
    store.ingest().apply([Edited(message(at(1), "better", author_id=ANN, edited_at=1)), page((1, ANN), (2, ANN))])
    assert row(store, 1)[:2] == (0, "better")
    assert row(store, 2) == GONE


def test_a_deleted_message_is_kept_for_a_while_where_that_is_wanted(store: Store) -> None:
    post(store, (1, ANN), (2, ANN))
    chunk(store, 1, 2)
    store.ingest(deleted_kept_days=1).apply([Deleted(GUILD, CHANNEL, [at(1)])])
    assert row(store, 1) == (1, "secret 1", ANN, "ann", "gateway")
    assert store._all("SELECT text FROM chunk") == [("",)]
    assert store._all("SELECT id FROM message_word_docsize") == [(at(2),)]
    (until,) = store._one("SELECT erase_at FROM message WHERE id = ?", at(1))
    assert store.erasures.erase_deleted(until - 1) == 0
    assert store.erasures.erase_deleted(until) == 1
    assert row(store, 1) == (1, "", ANN, "", "gateway")


def test_who_keeps_deleted_text_no_longer_keeps_none(store: Store) -> None:
    post(store, (1, ANN))
    store.ingest(deleted_kept_days=30).apply([Deleted(GUILD, CHANNEL, [at(1)])])
    (until,) = store._one("SELECT erase_at FROM message WHERE id = ?", at(1))
    deleted_at = until - 30 * 86_400_000
    store.erasures.keep_deleted_until(until)
    assert store.erasures.erase_deleted(deleted_at) == 0
    store.erasures.keep_deleted_until(deleted_at)
    assert store.erasures.erase_deleted(deleted_at) == 1
    assert row(store, 1) == (1, "", ANN, "", "gateway")


def test_a_later_bound_takes_the_message_at_the_earlier_one(store: Store) -> None:
    post(store, (1, ANN), (2, ANN), (3, ANN))
    for second in (2, 3):
        store.erasures.keep_from({CHANNEL: at(second)})
        while store.erasures.is_cutting():
            store.erasures.erase_older()
    assert [row(store, second) == GONE for second in (1, 2, 3)] == [True, True, False]


def test_forgetting_does_not_wait_for_that(store: Store) -> None:
    post(store, (1, ANN))
    store.ingest(deleted_kept_days=1).apply([Deleted(GUILD, CHANNEL, [at(1)])])
    forget(store, ANN)
    assert row(store, 1) == (1, "", 0, "", "gateway")
    assert store._one("SELECT erase_at FROM message WHERE id = ?", at(1)) == (0,)


@pytest.mark.parametrize(
    "event",
    [
        Deleted(GUILD, CHANNEL, [at(1)]),
        Edited(message(at(1), "what I meant", edited_at=1)),
        PageRead(GUILD, CHANNEL, 1, at(1), []),
        PageRead(GUILD, CHANNEL, 1, at(1), [message(at(1), "what I meant", edited_at=1)]),
        ChannelGone(CHANNEL),
    ],
)
def test_what_is_deleted_or_edited_leaves_the_text_of_chunks_at_once(store: Store, event: Event) -> None:
    post(store, (1, ANN), (2, BOB), (3, BOB))
    chunk(store, 1, 2)
    chunk(store, 3)
    store.ingest().apply([event])
    left = [f"chunk of {[at(3)]}"] if not isinstance(event, ChannelGone) else []
    assert [text for (text,) in store._all("SELECT text FROM chunk") if text] == left
    assert list(store.embeddings.page(99, NEWEST, 5, 5).texts.values()) == left, "nobody embeds what is left"
