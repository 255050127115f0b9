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
from ragd.errors import RagdError
from ragd.search import Query
from ragd.searcher import MAX_QUERY_CHARACTERS, read_query
from ragd.store.events import Posted
from ragd.terms import fragments, trimmed
from tests.store.factories import CHANNEL, at, message
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


def test_a_longer_one_is_refused(world: World) -> None:
    with pytest.raises(RagdError, match="query must be a text of 1 to"):
        read_query({"query": "x" * (MAX_QUERY_CHARACTERS + 1), "access": "operator"}, world.store.vectors)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SEASONING)
def test_whatever_is_asked_there_is_an_answer(world: World, text: str) -> None:
    findings = world.search.answer(Query(text[:MAX_QUERY_CHARACTERS], frozenset([CHANNEL])))
    assert all(result.channel_id == str(CHANNEL) for result in findings.results)
