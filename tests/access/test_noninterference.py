"""What stands where the asker may not read changes nothing of an answer: not its passages, order, reasons or counts.

Two stores hold the same in the open and as many messages of as many words elsewhere, but other ones. (How many and how
long those are enters BM25's averages; that alone is let through.)
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragd.embedding import Embedder
from ragd.search import Query, Search
from ragd.store import Store
from ragd.store.events import ChannelsSeen, GuildSeen, Posted
from ragd.store.scope import Filter
from tests.store.factories import CHANNEL, GUILD, at, channel, message
from tests.test_search import World

HIDDEN = 20
WORDS = ("gauge", "roof", "kumquat", "x_kumquat_y", "safe", "vlt-77", "秘密", "zeb", "the", "roofs")
text = st.lists(st.sampled_from(WORDS), min_size=3, max_size=3).map(" ".join)
texts = st.lists(text, min_size=1, max_size=5)
names = st.sampled_from(("ann", "Chidi", "Wei"))


@contextmanager
def words_alone(public: list[str], hidden: list[tuple[str, str]]) -> Iterator[Search]:
    """A search without a model, over messages in the open and elsewhere."""
    with tempfile.TemporaryDirectory() as directory:
        store = Store.open(Path(directory) / "ragd.sqlite3")
        posted = [Posted(message(at(60 * number), one)) for number, one in enumerate(public)]
        posted += [
            Posted(message(at(90_000 + 60 * number), one, channel_id=HIDDEN, author_id=9, author_name=name))
            for number, (one, name) in enumerate(hidden)
        ]
        rooms = [channel(), channel(id=HIDDEN, name="vault")]
        store.ingest().apply([GuildSeen(GUILD, "g"), ChannelsSeen(rooms), *posted])
        try:
            yield Search(store, None, {})
        finally:
            store.close()


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    texts,
    st.lists(st.tuples(text, text, names, names), min_size=1, max_size=5),
    st.lists(st.one_of(text, st.sampled_from((*WORDS, '"roof gauge"', "-safe", "from:wei", "in:vault"))), max_size=3),
)
def test_an_answer_is_the_same_whatever_is_said_elsewhere(
    public: list[str], hidden: list[tuple[str, str, str, str]], question: list[str]
) -> None:
    with (
        words_alone(public, [(one, name) for one, _, name, _ in hidden]) as first,
        words_alone(public, [(other, name) for _, other, _, name in hidden]) as second,
    ):
        query = Query(" ".join(question) or "gauge", frozenset({CHANNEL}))
        assert first.answer(query) == second.answer(query)


@pytest.mark.parametrize("elsewhere", ["kumquat", "pomelo"])
def test_a_message_ranks_by_how_rare_its_words_are_where_the_asker_may_read(elsewhere: str) -> None:
    """Of two messages with a word each that is said once there, the newer one comes first."""
    with words_alone(["see the zeb there", "see the kumquat there"], [(elsewhere, "ann")] * 3) as search:
        open_ = Filter(frozenset({CHANNEL}))
        lookup = search._lookup
        hits = lookup.ranked([lookup.term(word, open_) for word in ("zeb", "kumquat")], open_, 5)
        assert [found for found, _ in hits] == [at(60), at(0)]
        assert hits[0][1] == hits[1][1]


@pytest.mark.parametrize("question", ["秘", '"秘"', "一 -秘"])
@pytest.mark.parametrize("counted", [100_000, 50])
def test_one_character_is_looked_for_in_what_it_begins_where_the_asker_may_read(
    question: str, counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many, the most frequent: a message whose word is among them, or is not, by what is said elsewhere, would tell.

    `counted` is how many places are counted; of more, the newest messages are looked at.
    """
    monkeypatch.setattr("ragd.store.lookup._COUNTED", counted)
    open_ = ["秘密 一", "一 丁", " ".join(f"秘{chr(0x4E00 + number)}" for number in range(80))]
    query = Query(question, frozenset({CHANNEL}))
    with words_alone(open_, [("秘密", "ann")]) as first, words_alone(open_, [("秘宝", "ann")]) as second:
        assert first.answer(query) == second.answer(query)


def test_with_meaning_too(tmp_path: Path, embedder: Embedder) -> None:
    worlds = []
    for number, secret in enumerate(("the kumquat is in the safe", "the pomelo is on the roof")):
        directory = tmp_path / str(number)
        directory.mkdir()
        world = World(directory, embedder)
        world.ingest.apply([Posted(message(at(300_000), secret, channel_id=20, author_name="Quillfeather"))])
        world.follow()
        worlds.append(world)
    for asked in ("kumquat", "rain gauge", "rain kumquat", "where is the safe?", "from:quillfeather", "train coast"):
        first, second = (one.search.answer(Query(asked, frozenset({CHANNEL}))) for one in worlds)
        assert first == second
    one, other = (world.search.answer(Query("kumquat safe", None)) for world in worlds)
    assert one != other, "to the operator"
    for world in worlds:
        world.store.close()
