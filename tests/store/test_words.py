"""The indexes of words, in a real store: in step at commit, gone when deleted, filled, mended, compacted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragd.store import Store
from ragd.store.events import ChannelGone, ChannelsSeen, Deleted, Edited, GuildSeen, PageRead, Posted
from ragd.store.migrations import MIGRATIONS
from ragd.store.scope import Filter
from ragd.store.words import REMOVED, TO_FILL, WORD_TOKENIZER
from ragd.terms import fragments, is_fragment, marks
from tests.store.factories import CHANNEL, GUILD, at, channel, message

OTHER, THREAD = 20, 30


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "ragd.sqlite3")
    places = [channel(), channel(id=OTHER, name="other"), channel(id=THREAD, name="thread", type=11, parent_id=OTHER)]
    store.ingest().apply([GuildSeen(GUILD, "g"), ChannelsSeen(places)])
    yield store
    store.close()


def post(store: Store, *contents: str, **fields: object) -> list[int]:
    ids = [at(60 * nth) for nth in range(len(contents))]
    rows = [message(one, text, **fields) for one, text in zip(ids, contents, strict=True)]
    store.ingest().apply([Posted(row) for row in rows])
    return ids


def found(store: Store, *words: str, wanted: Filter | None = None) -> list[int]:
    terms = [store.lookup.term(word, Filter()) for word in words]
    return [hit[0] for hit in store.lookup.ranked(terms, wanted or Filter(), 50)]


def required(store: Store, *phrases: str, has: tuple[str, ...] = ()) -> list[int]:
    wanted = Filter(required=store.lookup.required(phrases, has, Filter()))
    return [hit[0] for hit in store.lookup.newest(wanted, 50)]


def test_a_message_is_findable_when_its_commit_returns(store: Store, tmp_path: Path) -> None:
    (first,) = post(store, "The reed switch bounces")
    other_process = Store.open_read_only(tmp_path / "ragd.sqlite3")
    assert found(other_process, "switches") == [first]
    other_process.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Crème brûlée für alle", ["creme", "FÜR", "brulee"]),
        ("我的电池没电了，怎么办", ["电池", "没电", "怎么办", "办", "电池没电"]),
        ("ラズパイの電源が入らない", ["電源", "ラズパイ", "入らない", "い"]),
        ("แบตเตอรี่หมดเร็วมาก", ["แบตเตอรี่", "หมด"]),
        ("배터리가 방전됐어요", ["배터리", "방전"]),
        ("call snake_case_name(x) in /etc/ragd/ragd.env", ["snake_case_name", "case_na", "ragd.env", "/etc/ragd"]),
        ("error E0382 and 0x80070005", ["e0382", "80070005", "E03"]),
        ("document.querySelectorAll fails", ["Selector", "querySelectorAll"]),
        ("is C++ or c# better", ["C++", "C#"]),
        ("got 🔥🔥 here", ["🔥"]),
    ],
)
def test_words_and_fragments_of_every_script(store: Store, text: str, words: list[str]) -> None:
    (only, _) = post(store, text, "something else, of other things")
    for word in words:
        assert found(store, word) == [only], word


def test_an_edit_a_delete_and_a_page_are_followed(store: Store) -> None:
    first, second, third = post(store, "alpha", "beta", "gamma")
    store.ingest().apply([Edited(message(first, "delta", edited_at=1)), Deleted(GUILD, CHANNEL, [second])])
    assert (found(store, "alpha"), found(store, "beta"), found(store, "delta")) == ([], [], [first])
    store.ingest().apply([PageRead(GUILD, CHANNEL, third, third, [])])
    assert found(store, "gamma") == []
    store.ingest().apply([ChannelGone(CHANNEL)])
    assert found(store, "delta") == []


def test_an_older_word_of_a_message_is_not_indexed(store: Store) -> None:
    (first,) = post(store, "newest", edited_at=5)
    store.ingest().apply([Posted(message(first, "older", edited_at=1))])
    assert (found(store, "older"), found(store, "newest")) == ([], [first])


def test_the_allow_list_comes_first_and_what_is_out_of_reach_is_found_by_nobody(store: Store) -> None:
    (first,) = post(store, "secret plan")
    assert found(store, "secret", wanted=Filter(frozenset({OTHER}))) == []
    assert found(store, "secret", wanted=Filter(frozenset())) == []
    assert found(store, "secret", wanted=Filter(frozenset({CHANNEL, 1 << 70}))) == [first]
    for column in ("excluded = 1", "excluded = 0, readable = 0", "readable = 1, deleted = 1"):
        store._execute(f"UPDATE channel SET {column} WHERE id = ?", CHANNEL)
        assert found(store, "secret") == [], column
    store._execute("UPDATE channel SET deleted = 0 WHERE id = ?", CHANNEL)
    assert found(store, "secret") == [first]
    store._execute("UPDATE guild SET removed = 1")
    assert found(store, "secret") == []


def test_a_thread_goes_with_its_channel(store: Store) -> None:
    (first,) = post(store, "secret", channel_id=THREAD)
    assert found(store, "secret", wanted=Filter(in_thread=True)) == [first]
    store._execute("UPDATE channel SET excluded = 1 WHERE id = ?", OTHER)
    assert found(store, "secret") == [first], "whether a thread is left out stands in its own row"
    store._execute("UPDATE channel SET excluded = 0, readable = 0 WHERE id = ?", OTHER)
    assert found(store, "secret") == []


def test_the_canary_is_found_by_nobody(store: Store) -> None:
    store.canary.release("ragd canary 1234")
    assert found(store, "canary") == []
    assert store._one("SELECT count(*) FROM message_word_docsize") == (1,)
    store.canary.recall()
    assert store._one("SELECT count(*) FROM message_word_docsize") == (0,)


def test_filters(store: Store) -> None:
    one, two, three = post(store, "pump one", "pump two", "pump three", author_id=7)
    assert found(store, "pump", wanted=Filter(since_id=two)) == [three, two]
    assert found(store, "pump", wanted=Filter(before_id=two)) == [one]
    assert found(store, "pump", wanted=Filter(author_id=8)) == []
    excluded = (store.lookup.phrase("pump two", Filter()),)
    assert found(store, "pump", wanted=Filter(excluded=excluded)) == [three, one]


def test_phrases_and_what_messages_have(store: Store) -> None:
    plain, linked, code, picture = post(store, "read a file", "a file, read https://x.org", "`read` a file", "look")
    pictured = message(picture, "look", edited_at=1, extra='{"attachments":[{"id":1,"name":"a.PNG","type":null}]}')
    store.ingest().apply([Edited(pictured)])
    assert required(store, "read a file") == [code, plain]
    assert required(store, "read a file", has=("code",)) == [code]
    assert required(store, has=("link",)) == [linked]
    assert required(store, has=("file", "image")) == [picture]
    assert required(store, has=("embed",)) == []
    assert found(store, "hasimage") == found(store, "haslink") == []


def test_common_words_count_only_when_there_are_no_others(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragd.store.lookup.COMMON", 3)
    ids = post(store, *["pump and valve"] * 4, "pump", "pump gasket", "seal")
    assert found(store, "pump", "gasket", "seal") == [ids[6], ids[5]]
    assert found(store, "pump", "valve") == [*ids[3::-1], ids[5], ids[4]]


HOSTILE = st.text(alphabet=st.sampled_from("\"*^(){}:+-'ANDORTNEAR \0\ud800电ab_.\n"), max_size=30)


@given(st.lists(st.one_of(HOSTILE, st.text(max_size=20)), min_size=1, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_that_is_typed_breaks_the_query(store: Store, pieces: list[str]) -> None:
    pieces = [piece.encode("utf-8", "replace").decode() for piece in pieces]
    words = [word for piece in pieces for word in piece.split()]
    lookup = store.lookup
    lookup.ranked([lookup.term(word, Filter()) for word in words], Filter(), 5)
    excluded = tuple(filter(None, (lookup.phrase(piece, Filter()) for piece in pieces)))
    whole = Filter(required=lookup.required(pieces, ["link"], Filter()), excluded=excluded)
    lookup.newest(whole, 5)


def test_a_store_from_before_is_filled_newest_first_and_says_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "old.sqlite3")
    store.ingest().apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel()])])
    ids = post(store, *[f"pump {nth}" for nth in range(10)])
    for statement in MIGRATIONS[4].statements:
        if statement.startswith("CREATE VIRTUAL TABLE"):
            store._execute(f"DROP TABLE {statement.split()[3]}")
    store._execute("DELETE FROM counter WHERE name LIKE 'words%'")
    for statement in MIGRATIONS[4].statements:  # as an upgrade does it
        store._execute(statement)
    assert (store.words.waiting(), store.lookup.to_fill(), found(store, "pump")) == (10, True, [])
    store.ingest().apply([Deleted(GUILD, CHANNEL, [ids[9]]), Posted(message(at(9999), "pump new"))])
    assert found(store, "pump") == [at(9999)]
    assert store.words.fill(4) == 4
    assert found(store, "pump") == [at(9999), ids[8], ids[7], ids[6]]
    while store.words.fill(4):
        pass
    assert (store.words.waiting(), store.lookup.to_fill()) == (0, False)
    assert len(found(store, "pump")) == 10
    assert store.words.mend() == 0
    store.close()


def test_another_version_of_the_text_has_all_indexed_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    post(store, "pump", "valve")
    store.words.begin()
    assert store.words.waiting() == 0
    monkeypatch.setattr("ragd.store.words.WORDS_VERSION", 2)
    store.words.begin()
    assert (store.words.waiting(), found(store, "pump")) == (2, [])
    assert store.words.fill(10) == 2
    assert len(found(store, "pump")) == 1


def test_what_got_out_of_step_is_mended(store: Store) -> None:
    first, second = post(store, "pump", "valve")
    store._execute("DELETE FROM message_word WHERE rowid = ?", first)
    store._execute("UPDATE message SET chunkable = 0 WHERE id = ?", second)
    assert store.words.mend() == 2
    assert (found(store, "pump"), store.words.mend()) == ([first], 0)


def test_deleted_words_leave_the_file_when_it_is_compacted(store: Store, tmp_path: Path) -> None:
    ids = post(store, *["zyzzyva quokka" if nth % 2 else f"pump{nth}" for nth in range(200)])
    for start in range(0, 200, 20):
        store.ingest().apply([Deleted(GUILD, CHANNEL, ids[start + 1 : start + 20 : 2])])
    assert store._one("SELECT value FROM counter WHERE name = ?", REMOVED) == (100,)
    assert b"zyzzyv" in pages(store)
    more = store.words.compact(begin=True)
    while more:
        more = store.words.compact(begin=False)
    assert b"zyzzyv" not in pages(store)
    assert not store.words.needs_compaction()
    assert found(store, "pump0") == [ids[0]]


def test_what_is_deleted_during_a_compaction_waits_for_another(store: Store) -> None:
    ids = post(store, "pump", "zyzzyva quokka", *(f"valve{nth}" for nth in range(200)))
    compact(store)
    store.ingest().apply([Deleted(GUILD, CHANNEL, [ids[0]])])
    more = store.words.compact(begin=True)
    store.ingest().apply([Deleted(GUILD, CHANNEL, [ids[1]])])
    while more:
        more = store.words.compact(begin=False)
    assert b"zyzzyv" in pages(store)
    assert store.words.needs_compaction()
    compact(store)
    assert b"zyzzyv" not in pages(store)
    assert not store.words.needs_compaction()


def compact(store: Store) -> None:
    more = store.words.compact(begin=True)
    while more:
        more = store.words.compact(begin=False)


def pages(store: Store) -> bytes:
    """All that the index of words holds in its own table."""
    return b"".join(row[0] for row in store._all("SELECT block FROM message_word_data"))


def test_the_tokenizer_is_the_one_of_the_migration(store: Store) -> None:
    (sql,) = store._one("SELECT sql FROM sqlite_schema WHERE name = 'message_word'")
    assert WORD_TOKENIZER in sql


def test_marks_and_fragments() -> None:
    assert marks("see https://x.org `a`", "{}").split() == ["haslink", "hascode"]
    assert fragments("plain words only, it's fine. OK?") == ""
    pieces = ("word,", "don't", "API", "12", "snake_case", "camelCase", "v1.2", "电池")
    assert [is_fragment(piece) for piece in pieces] == [False] * 4 + [True] * 4


def test_filling_leaves_no_counter_behind(store: Store) -> None:
    assert store._all("SELECT value FROM counter WHERE name = ?", TO_FILL) == [(0,)]
