"""The canary is seen by nobody but by whoever looks for it, and leaves nothing behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.embedding import Embedder
from ragd.errors import RagdError
from ragd.searcher import read_canary, read_query
from ragd.snowflake import to_unix_seconds
from ragd.store.canary import CANARY_CHANNEL
from tests.test_search import World

WORDS = "ragd canary 1234"


@pytest.fixture
def world(tmp_path: Path, embedder: Embedder) -> Iterator[World]:
    world = World(tmp_path, embedder)
    yield world
    world.store.close()


def rows(world: World, table: str) -> int:
    return int(world.store._one(f"SELECT count(*) FROM {table}")[0])


def test_it_goes_the_way_of_every_message(world: World) -> None:
    canary = world.store.canary.release(WORDS)
    assert world.store.canary.waits_for(canary) == "syncer"
    assert world.search.canaries(WORDS) == []
    world.follow()
    assert world.store.canary.waits_for(canary) == "searcher"
    assert world.search.canaries(WORDS) == [canary]
    assert world.search.canaries("anything else") == [canary]


def test_nobody_else_sees_it(world: World) -> None:
    before, heads = world.store.counts(), world.store.channels()
    world.store.canary.release(WORDS)
    assert world.store.counts() == before
    world.follow()
    assert world.store.counts() == before
    assert world.store.channels() == heads
    assert world.store.coverage.holes() == []
    assert world.store.chunks.chunk_count("temporal") == before.chunks - world.store.chunks.chunk_count("conversation")
    everything = world.best(WORDS, limit=50)
    assert not any("canary" in text for text in everything)
    assert everything == world.best(WORDS, limit=50, channel_ids=frozenset({10, 20}))
    # even who names its channel: an operator's filter, or an asker who claims to read it
    assert world.best(WORDS, channel_ids=frozenset({CANARY_CHANNEL})) == []
    query = read_query({"query": WORDS, "access": "operator", "channel": "0"}, world.store.vectors)
    assert world.search.answer(query).results == []
    with pytest.raises(RagdError, match="above 0"):
        read_query({"query": WORDS, "access": {"channels": [CANARY_CHANNEL]}}, world.store.vectors)


def test_it_leaves_nothing_behind(world: World) -> None:
    tables = ("message", "chunk", "chunk_message", "vector", "dirty_cell")
    before = {table: rows(world, table) for table in tables}
    world.store.canary.release(WORDS)
    world.follow()
    world.store.canary.recall()
    assert world.store.canary.bury() == 1, "not before its chunks are gone"
    assert world.store.counts().deleted == 0
    world.follow()
    assert world.search.canaries(WORDS) == []
    assert world.store.canary.bury() == 0
    assert {table: rows(world, table) for table in tables} == before
    world.follow()
    assert world.store.chunks.lag() == 0


def test_one_that_was_recalled_before_anybody_saw_it_is_not_lost_to_the_syncer(world: World) -> None:
    world.store.canary.release(WORDS)
    world.store.canary.recall()
    assert world.store.canary.bury() == 1
    world.follow()
    assert world.store.canary.bury() == 0
    assert world.store.chunks.lag() == 0


def test_the_canary_is_no_lag(world: World) -> None:
    world.store.canary.release(WORDS)
    assert world.store.chunks.lag() == 0
    world.syncer._follow("temporal")
    assert world.store.chunks.lag() == 0
    assert world.store.health.progress(0).newest_change > 0


def test_it_is_as_new_as_a_message_of_this_moment(world: World) -> None:
    assert abs(to_unix_seconds(world.store.canary.release(WORDS)) - time.time()) < 60


@pytest.mark.parametrize("asked", [None, [], {}, {"words": ""}, {"words": 3}, {"words": "x" * 5000}])
def test_requests_that_make_no_sense(asked: object) -> None:
    with pytest.raises(RagdError, match="words must be"):
        read_canary(asked)


def test_the_words_are_read() -> None:
    assert read_canary({"words": WORDS}) == WORDS
