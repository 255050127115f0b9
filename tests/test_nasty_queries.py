"""Queries that are made to hurt: nothing raises, and nothing takes long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragd.asked import MOST_PHRASES, MOST_WORDS, parse
from ragd.embedding import Embedder
from ragd.errors import RagdError, TransientError
from ragd.search import Query, Search
from ragd.searcher import MAX_QUERY_CHARACTERS, read_query
from ragd.store import Store
from ragd.store.events import ChannelsSeen, GuildSeen, Posted
from ragd.store.lookup import MOST_SHORT
from ragd.terms import fragments, trimmed
from tests.store.factories import CHANNEL, GUILD, at, channel, message
from tests.store.test_reading_costs import steps_of
from tests.test_search import World

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)

GENEROUS_SECONDS = 5.0
"""Of processor time, for what takes a fraction of a second; what goes over its text again and again takes minutes."""

BOMBS = (
    '"',
    '" ',
    '""',
    '"a" ',
    "“",
    "-",
    '-"',
    '-"a" ',
    "-a ",
    "(",
    ")",
    "*",
    "^",
    "a* ",
    "NEAR(",
    "NEAR(a b, 9) ",
    "AND ",
    "a OR ",
    "NOT ",
    "text:",
    "{a} : ",
    "from:",
    "from:a ",
    'in:"',
    "since:7d ",
    "has:link ",
    ".",
    ". ",
    ".x",
    "|",
    "<@1>",
    "\0",
    "\\",
    "'",
    "a",
    "aaa ",
    "電",
    "電池 ",
    "é\u0301",
    "\u200b",
    "\u202e",
    "\U000e0041",
    "\ud800",
    "0 ",
    "the ",
)
SEASONING = st.lists(st.sampled_from([*BOMBS, "rain gauge ", "x" * 70, "\n"]), max_size=60).map("".join)


def seconds_since(began: float) -> float:
    return time.process_time() - began


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[World]:
    """With some thousand messages of words that all bombs are made of."""
    world = World(tmp_path_factory.mktemp("nasty"), embedder)
    texts = ("the a aaa OR AND NOT rain 0", "電池電池電池電池", "a.b.c(x)[0] text:from:in: " * 5, "." * 500)
    posted = [Posted(message(at(300_000 + nth), texts[nth % len(texts)])) for nth in range(4_000)]
    world.ingest.apply(posted)
    yield world
    world.store.close()


@pytest.mark.parametrize("bomb", BOMBS, ids=ascii)
def test_a_long_query_is_taken_apart_in_no_time(bomb: str) -> None:
    began = time.process_time()
    for text in (bomb * (100_000 // len(bomb)), f"{bomb * (50_000 // len(bomb))}x"):
        wanted = parse(text, NOW)
        assert len(wanted.words) <= MOST_WORDS
        assert max(len(wanted.phrases), len(wanted.excluded)) <= MOST_PHRASES
        trimmed(text)
        fragments(text)
    assert seconds_since(began) < GENEROUS_SECONDS


@pytest.mark.parametrize("bomb", BOMBS, ids=ascii)
def test_the_longest_query_is_answered_in_no_time(world: World, bomb: str) -> None:
    text = bomb * (MAX_QUERY_CHARACTERS // len(bomb))
    began = time.process_time()
    world.search.answer(Query(text, frozenset([CHANNEL])))
    assert seconds_since(began) < GENEROUS_SECONDS


def test_a_name_of_nobody_is_not_looked_for_in_every_message(world: World) -> None:
    """However many there are: SQLite's own plan tells, for time does only where there are millions."""
    plans: list[str] = []

    def note(cursor: Any, sql: str, bindings: Any) -> bool:
        if "author_name" in sql and not sql.startswith("EXPLAIN"):
            plans.extend(row[3] for row in cursor.connection.execute(f"EXPLAIN QUERY PLAN {sql}", bindings))
        return True

    connection = world.store._database.connection()
    connection.exec_trace = note
    try:
        world.search.answer(Query("from:nobodyatall rain", frozenset([CHANNEL])))
        world.store.surroundings.people("nobodyatall")
    finally:
        connection.exec_trace = None
    reads = [step for step in plans if "message" in step]
    assert len(reads) == 2
    assert all("USING INDEX message_author_name" in step for step in reads), reads


KANA = [chr(code) for code in range(0x3042, 0x3092)]
SHORT_BOMBS = {
    "different": " ".join(KANA[:64]),
    "one after another in phrases": " ".join(f'"{" ".join(KANA[at : at + 20])}"' for at in (0, 20, 40)),
    "the same in phrases": " ".join(f'"{" ".join([kana] * 80)}"' for kana in KANA[:3]),
    "in what is left out": " ".join(f'-"{" ".join(KANA[at : at + 9])}"' for at in range(0, 72, 9)),
    "slashes": " ".join(f'"{" ".join([piece] * 50)}"' for piece in ("//", ":/", "s:", "//")),
}


@pytest.fixture(scope="module")
def fragments_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Many messages of nothing but fragments: each one or two characters of them have many places."""
    store = Store.open(tmp_path_factory.mktemp("short") / "ragd.sqlite3")
    ingest, count = store.ingest(), len(KANA)
    ingest.apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel(at(8_000))])])
    texts = ["".join(KANA[(nth * step) % count] for step in range(1, 16)) for nth in range(1, 8_001)]
    ingest.apply([Posted(message(at(nth), f"{text} https://x.org/{nth}")) for nth, text in enumerate(texts)])
    yield store
    store.close()


@pytest.mark.parametrize("name", SHORT_BOMBS)
def test_many_short_fragments_cost_no_more_than_a_few(fragments_only: Store, name: str) -> None:
    search = Search(fragments_only, None, {})

    def steps(text: str) -> int:
        return steps_of(fragments_only, lambda _: search.answer(Query(text, frozenset([CHANNEL]))))

    assert steps(SHORT_BOMBS[name]) <= MOST_SHORT * steps(KANA[0])


def test_short_fragments_that_are_left_out_are_said(fragments_only: Store) -> None:
    search = Search(fragments_only, None, {})
    enough, more = (" ".join(KANA[:many]) for many in (MOST_SHORT, MOST_SHORT + 1))
    assert not any("did not count" in remark for remark in search.answer(Query(enough, None)).remarks)
    for text in (more, f'"{more}"', f'-"{more}"'):
        said = f"this asks for too much at once: {KANA[MOST_SHORT]!r} did not count"
        assert said in search.answer(Query(text, None)).remarks, text


def test_words_are_looked_up_only_while_there_is_time(fragments_only: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragd.search.WORDS_SECONDS", 0.0)
    findings = Search(fragments_only, None, {}).answer(Query("plain words", frozenset([CHANNEL])))
    assert "this asks for too much at once: 'plain' or 'words' did not count" in findings.remarks


def test_what_takes_too_long_to_find_is_refused(fragments_only: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    search, query = Search(fragments_only, None, {}), Query(KANA[0], frozenset([CHANNEL]))
    with monkeypatch.context() as hurried:
        hurried.setattr("ragd.search.FIND_SECONDS", 0.0)
        with pytest.raises(TransientError, match="takes too long to look for"):
            search.answer(query)
    assert search.answer(query).results, "nothing of it is left behind"


def test_a_word_counts_once_whatever_it_stands_in(fragments_only: Store) -> None:
    search = Search(fragments_only, None, {})
    asked = [f'"{" ".join(f"w{phrase}x{nth}" for nth in range(20))}"' for phrase in range(8)]
    seen: list[str] = []

    def note(_: Any, sql: str, bindings: Any) -> bool:
        seen.extend(value for value in bindings or () if "SELECT count(*) FROM (SELECT 1 FROM message_word" in sql)
        return True

    connection = fragments_only.database.connection()
    connection.exec_trace = note
    try:
        search.answer(Query(" ".join([*asked, "twice TWICE", '"Twice twice"']), None))
    finally:
        connection.exec_trace = None
    assert seen
    assert len([value for value in seen if isinstance(value, str)]) <= MOST_WORDS
    assert len([value for value in seen if isinstance(value, str) and "twice" in value.lower()]) == 1


def test_a_longer_one_is_refused(world: World) -> None:
    with pytest.raises(RagdError, match="query must be a text of 1 to"):
        read_query({"query": "x" * (MAX_QUERY_CHARACTERS + 1), "access": "operator"}, world.store.vectors)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SEASONING)
def test_whatever_is_asked_there_is_an_answer(world: World, text: str) -> None:
    findings = world.search.answer(Query(text[:MAX_QUERY_CHARACTERS], frozenset([CHANNEL])))
    assert all(result.channel_id == str(CHANNEL) for result in findings.results)
