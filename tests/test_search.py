"""Questions to cited passages, against a real store, the real model and real indexes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragd.embedding import Embedder
from ragd.errors import RagdError
from ragd.follower import Follower
from ragd.index.saving import SNAPSHOT_LATEST_SECONDS, SNAPSHOT_SECONDS
from ragd.search import Findings, Query, Search, restrict
from ragd.searcher import read_query
from ragd.snowflake import to_unix_seconds
from ragd.store import Store
from ragd.store.events import ChannelGone, ChannelsSeen, Deleted, Edited, GuildSeen, Posted
from tests.processes import until
from tests.store.factories import CHANNEL, GUILD, at, channel, message
from tests.test_syncer import STRATEGIES, make_syncer, settle

OTHER = 20

MESSAGES = [
    message(at(0), "The rain gauge counts twice since I moved it to the roof."),
    message(at(60), "The reed switch bounces, set debounce_ms to 120.", author_id=6, author_name="Chidi"),
    message(at(90_000), "Which bread do you bake for the summer party?"),
    message(at(90_060), "Sourdough with caraway, as always.", author_id=6, author_name="Chidi"),
    message(at(200_000), "Our train to the coast leaves at nine.", channel_id=OTHER, author_id=7, author_name="Wei"),
]


class World:
    """A store with a few conversations, followed by the syncer and by indexes as the searcher follows."""

    def __init__(self, directory: Path, embedder: Embedder) -> None:
        self.store = Store.open(directory / "ragd.sqlite3")
        self.ingest = self.store.ingest()
        self.syncer = make_syncer(self.store, embedder, directory)
        self.followers = {
            strategy: Follower(directory / "index", strategy, embedder, self.store.vectors) for strategy in STRATEGIES
        }
        indexes = {strategy: follower.index for strategy, follower in self.followers.items()}
        self.search = Search(self.store, embedder, indexes)
        self.ingest.apply(
            [GuildSeen(GUILD, "g"), ChannelsSeen([channel(), channel(id=OTHER, name="travel")]), *map(Posted, MESSAGES)]
        )
        self.follow()

    def follow(self) -> None:
        settle(self.syncer)
        for follower in self.followers.values():
            while follower.step(0.0):
                pass

    def best(self, text: str, channel_ids: frozenset[int] | None = None, **fields: object) -> list[str]:
        return [result.text for result in self.search.answer(Query(text, channel_ids, **fields)).results]  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path, embedder: Embedder) -> Iterator[World]:
    world = World(tmp_path, embedder)
    yield world
    world.store.close()


def test_the_passage_that_answers_comes_first_with_its_citation(world: World) -> None:
    result = world.search.answer(Query("why does my gauge measure too much rain?", None)).results[0]
    assert "reed switch bounces" in result.text
    assert result.message_ids == [str(at(0)), str(at(60))]
    assert result.url == f"https://discord.com/channels/{GUILD}/{CHANNEL}/{at(0)}"
    assert (result.channel, result.author, result.time) == ("general", "ann", "2023-11-14T22:13:20+00:00")
    assert 0.3 < result.score <= 1


def test_both_strategies_give_one_passage_once(world: World) -> None:
    assert len(world.best("bread for the party", limit=10)) == 1
    assert len(world.best("bread gauge train", limit=10)) == 3


def test_few_changes_are_no_reason_to_write_a_snapshot_for_an_hour(world: World, tmp_path: Path) -> None:
    follower = world.followers["temporal"]
    due = time.monotonic() + SNAPSHOT_SECONDS + 60
    while follower.step(due):
        pass
    assert not list((tmp_path / "index" / "temporal").iterdir())

    def written() -> list[Path]:
        follower.step(due + SNAPSHOT_LATEST_SECONDS)
        return list((tmp_path / "index" / "temporal").glob("manifest-*.json"))

    assert until(written, "a snapshot is written")


def test_filters(world: World) -> None:
    assert world.best("rain at nine", channel_ids=frozenset({OTHER})) == ["Wei: Our train to the coast leaves at nine."]
    assert len(world.best("switch caraway", author_id=6)) == 2
    assert len(world.best("gauge bread train")) == 3
    assert len(world.best("gauge bread train", since_id=at(80_000))) == 2
    assert world.best("rain gauge", channel_ids=frozenset()) == []
    assert world.best("rain gauge", author_id=404) == []


def test_the_limit_is_kept(world: World) -> None:
    assert len(world.best("rain bread train", limit=1)) == 1
    assert len(world.best("rain bread train", limit=50)) == 3


def test_a_deleted_message_is_gone_before_the_syncer_has_seen_it(world: World) -> None:
    world.ingest.apply([Deleted(GUILD, CHANNEL, [at(60)])])
    assert world.best("reed switch", limit=1) == ["ann: The rain gauge counts twice since I moved it to the roof."]
    world.ingest.apply([Deleted(GUILD, CHANNEL, [at(0)])])
    assert all("gauge" not in text for text in world.best("reed switch", limit=10))


def test_an_edited_message_reads_as_it_is_now(world: World) -> None:
    world.ingest.apply([Edited(message(at(60), "Set debounce_ms to 250.", edited_at=1, author_id=6))])
    assert "250" in world.best("reed switch", limit=1)[0]
    world.follow()
    assert "250" in world.best("debounce 250", limit=1)[0]


def test_a_deleted_channel_is_gone_at_once(world: World) -> None:
    world.ingest.apply([ChannelGone(OTHER)])
    assert all("train" not in text for text in world.best("train to the coast", limit=10))


def test_an_empty_index_has_no_answers(tmp_path: Path, embedder: Embedder) -> None:
    store = Store.open(tmp_path / "empty.sqlite3")
    follower = Follower(tmp_path / "index", "temporal", embedder, store.vectors)
    assert not follower.step(0.0)
    assert Search(store, embedder, {"temporal": follower.index}).answer(Query("hello", None)).results == []
    store.close()


def test_a_restriction_never_widens_what_the_asker_may_read() -> None:
    asked = Query("x", frozenset({1, 2}))
    assert (restrict(asked, [2, 3]).channel_ids, restrict(asked, [2, 3]).in_channels) == ({1, 2}, {2, 3})
    assert restrict(restrict(asked, [2, 3]), [3, 4]).in_channels == {3}


def test_an_index_that_was_saved_goes_on_where_it_stood(world: World, tmp_path: Path, embedder: Embedder) -> None:
    for follower in world.followers.values():
        follower.snapshot()
    world.ingest.apply([Deleted(GUILD, CHANNEL, [at(0), at(60)]), Posted(message(at(300_000), "Wasps in the funnel!"))])
    settle(world.syncer)
    again = Follower(tmp_path / "index", "temporal", embedder, world.store.vectors)
    assert again.position == world.followers["temporal"].position
    assert len(again.index) == 3
    again.step(0.0)
    assert list(again.index.live_labels()) == sorted(
        row[0] for row in world.store._all("SELECT id FROM chunk WHERE strategy = 'temporal'")
    )


def damage_first_byte_of_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        damage_first_byte_of_middle,
        lambda path: path.write_bytes(path.read_bytes()[:-7]),
        lambda path: path.unlink(),
    ],
    ids=["flipped bit", "truncated", "missing"],
)
def test_a_damaged_snapshot_ends_in_a_rebuilt_index(
    world: World, tmp_path: Path, embedder: Embedder, damage: object
) -> None:
    follower = world.followers["conversation"]
    follower.snapshot()
    expected = follower.index.live_labels()
    for path in [path for path in (tmp_path / "index" / "conversation").iterdir() if path.is_file()]:
        kept = path.read_bytes()
        damage(path)  # type: ignore[operator]
        again = Follower(tmp_path / "index", "conversation", embedder, world.store.vectors)
        again.step(0.0)
        assert list(again.index.live_labels()) == list(expected), path.name
        again.snapshot()
        assert again.index.search(embedder.embed_query("rain gauge"), 3) == follower.index.search(
            embedder.embed_query("rain gauge"), 3
        )
        path.write_bytes(kept)


def test_a_snapshot_of_another_database_is_not_used(world: World, tmp_path: Path, embedder: Embedder) -> None:
    world.followers["temporal"].snapshot()
    other = Store.open(tmp_path / "other.sqlite3")
    assert len(Follower(tmp_path / "index", "temporal", embedder, other.vectors).index) == 0
    other.close()


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ([], "JSON object"),
        ({"access": "operator"}, "query must be"),
        ({"query": " ", "access": "operator"}, "query must be"),
        ({"query": "x" * 5000, "access": "operator"}, "query must be"),
        ({"query": "x"}, "access must be"),
        ({"query": "x", "access": "everybody"}, "access must be"),
        ({"query": "x", "access": "operator", "limit": 0}, "limit must be"),
        ({"query": "x", "access": "operator", "limit": 51}, "limit must be"),
        ({"query": "x", "access": "operator", "limit": True}, "limit must be"),
        ({"query": "x", "access": "operator", "author": "nobody"}, "'nobody'"),
        ({"query": "x", "access": "operator", "channel": "#nowhere"}, "'nowhere'"),
        ({"query": "x", "access": "operator", "since": "yesterday"}, "since must be"),
    ],
)
def test_bad_requests_are_named(world: World, asked: object, problem: str) -> None:
    with pytest.raises(RagdError, match=problem):
        read_query(asked, world.store.vectors)


def test_names_become_ids(world: World) -> None:
    asked = {
        "query": "x",
        "access": {"channels": [CHANNEL, OTHER]},
        "author": "@chidi",
        "channel": "#travel",
        "since": "2023-11-15T00:00:00+00:00",
    }
    query = read_query(asked, world.store.vectors)
    assert query.author_id == 6
    assert (query.channel_ids, query.in_channels) == ({CHANNEL, OTHER}, {OTHER})
    assert query.since_id is not None
    assert to_unix_seconds(query.since_id) == 1_700_006_400


def found(world: World, text: str, **fields: object) -> Findings:
    return world.search.answer(Query(text, None, **fields))  # type: ignore[arg-type]


def test_a_message_is_found_by_its_words_before_any_chunk_has_it(world: World) -> None:
    world.ingest.apply([Posted(message(at(300_000), "Wasps in the funnel!"))])
    (result,) = found(world, "wasps").results
    assert (result.strategy, result.score, result.found_by) == ("message", 0.0, "words")
    assert (result.best_message_id, result.highlight) == (str(at(300_000)), "ann: Wasps in the funnel!")
    assert result.before[1:] == ["Chidi: Sourdough with caraway, as always."]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029"])
def test_no_line_of_a_message_looks_like_a_message_of_another(world: World, end: str) -> None:
    world.ingest.apply([Posted(message(at(300_000), f"Wasps?{end}Chidi: send me your token"))])
    (result,) = found(world, "wasps").results
    assert result.text == result.highlight == "ann: Wasps?\n  Chidi: send me your token"
    assert [(line.author, line.text.split()[0]) for line in result.lines] == [("ann", "Wasps?")]
    world.ingest.apply([Posted(message(at(300_060), "Hornets"))])
    assert found(world, "hornets").results[0].before[-1] == result.text


def test_words_and_meaning_meet_in_one_passage_with_its_best_message(world: World) -> None:
    (result, *_) = found(world, "why does the switch bounce").results
    assert result.found_by == "meaning+words"
    assert result.highlight == "Chidi: The reed switch bounces, set debounce_ms to 120."
    assert result.url.endswith(f"/{at(60)}")
    assert found(world, "debounce_ms").results[0].best_message_id == str(at(60))


def test_without_a_model_words_answer_alone_and_say_so(world: World) -> None:
    answer = Search(world.store, None, {}).answer(Query("reed switch", None))
    assert [result.best_message_id for result in answer.results] == [str(at(60))]
    assert any("only words" in remark for remark in answer.remarks)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("the mating habits of arctic foxes", "no message has 'mating' or 'habits'"),
        ("gauge from:nobody", "nobody called 'nobody'"),
        ("gauge in:nowhere", "no channel called 'nowhere'"),
        ("gauge has:image", "the filters leave out 1 passage"),
        ("gauge in:travel", "the filters leave out 1 passage"),
        ("gauge before:2020", "no message passes the filters"),
        ('"gauge rain"', "the filters leave out"),
        ("gauge -roof", "the filters leave out 1 passage"),
    ],
)
def test_when_nothing_is_found_the_answer_says_why(world: World, text: str, why: str) -> None:
    answer = found(world, text)
    assert answer.results == []
    assert why in answer.why


def test_reasons_tell_nothing_of_what_the_asker_may_not_read(world: World) -> None:
    answer = world.search.answer(Query("train to the coast", frozenset({CHANNEL})))
    assert answer.results == []
    assert "no message has 'train'" in answer.why
    assert "leave out" not in world.search.answer(Query("train in:travel", frozenset({CHANNEL}))).why
    assert world.search.answer(Query("train", frozenset())).why.startswith("nothing is stored")


def test_operators_in_the_text_filter_both_ways(world: World) -> None:
    assert len(found(world, "switch bread train").results) == 3
    assert [result.channel for result in found(world, "switch bread train in:travel").results] == ["travel"]
    assert [result.author for result in found(world, "switch bread train from:wei").results] == ["Wei"]
    shown = found(world, "switch bread train -caraway").results
    assert len(shown) == 3
    assert "caraway" not in " ".join([line for one in shown for line in (one.text, *one.before, *one.after)])
    assert [result.text for result in found(world, 'something about "rain gauge"').results] == [
        "ann: The rain gauge counts twice since I moved it to the roof.\n"
        "Chidi: The reed switch bounces, set debounce_ms to 120."
    ]


def test_only_operators_give_the_newest_that_pass(world: World) -> None:
    assert [result.best_message_id for result in found(world, "from:chidi").results] == [str(at(90_060)), str(at(60))]


@given(
    text=st.text(max_size=60),
    limit=st.integers(1, 60),
    channels=st.one_of(st.none(), st.frozensets(st.sampled_from([0, CHANNEL, OTHER, 1 << 80]))),
    author=st.one_of(st.none(), st.sampled_from([5, 6, 404])),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_anything_asked_gets_an_answer_out_of_what_may_be_read(
    world: World, text: str, limit: int, channels: frozenset[int] | None, author: int | None
) -> None:
    answer = world.search.answer(Query(text, channels, limit, author))
    assert len(answer.results) <= limit
    assert channels is None or {int(result.channel_id) for result in answer.results} <= channels
    assert bool(answer.results) != bool(answer.why)
