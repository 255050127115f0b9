"""Another model: the old one answers until the new one is complete, whatever is killed and whoever changes his mind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ragd.chunking import chunk_messages
from ragd.embedders import TextEmbedder, open_configured
from ragd.embedding import TEXT_FORM, Embedder, Identity, Vectors
from ragd.errors import TransientError
from ragd.search import Query
from ragd.searcher import Follower
from ragd.serving import Serving
from ragd.store import Store
from ragd.store.events import ChannelsSeen, Deleted, Edited, GuildSeen, Posted
from ragd.syncer import Syncer, source_message
from ragd.worker import StopFlag
from tests.small_models import small_model
from tests.store.factories import CHANNEL, GUILD, at, channel, message
from tests.test_syncer import STRATEGIES, make_settings, settle, stored_keys

MESSAGES = 150
"""Four hours apart, so each is a chunk; several steps of a change."""


class Recording:
    """An embedder that remembers what it was asked, and fails when it is told to."""

    def __init__(self, embedder: TextEmbedder) -> None:
        self._embedder = embedder
        self.texts: list[str] = []
        self.broken = False

    @property
    def identity(self) -> Identity:
        return self._embedder.identity

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    @property
    def max_tokens(self) -> int:
        return self._embedder.max_tokens

    @property
    def limits(self) -> str:
        return self._embedder.limits

    def count_tokens(self, text: str) -> int:
        return self._embedder.count_tokens(text)

    def embed(self, texts: Sequence[str]) -> Vectors:
        if self.broken:
            raise TransientError("the endpoint does not answer")
        self.texts += texts
        return self._embedder.embed(texts)

    def embed_query(self, text: str) -> Vectors:
        return self._embedder.embed_query(text)


class House:
    """A store with messages, and syncers and searchers that come and go."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = Store.open(directory / "ragd.sqlite3")
        self.ingest = self.store.ingest()
        self.ingest.apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel()])])
        self.models = {name: small_model(directory / name, seed=seed) for seed, name in enumerate(("blue", "green"))}
        self.last = self.syncer("blue")

    def syncer(self, name: str, stop: StopFlag | None = None) -> Syncer:
        """A syncer that begins with this model in its settings; `self.embedder` records what it embeds."""
        settings = make_settings(self.directory, RAGD_MODEL_DIR=str(self.models[name]))
        self.embedder = Recording(open_configured(settings, self.store.embeddings, 1))
        self.last = Syncer(settings, self.store, self.embedder, stop or StopFlag())
        return self.last

    def serving(self, name: str = "blue") -> Serving:
        settings = make_settings(self.directory, RAGD_MODEL_DIR=str(self.models[name]))

        def follower(strategy: str, embedder: TextEmbedder, load: bool) -> Follower:
            return Follower(self.directory / "index", strategy, embedder, self.store.vectors, load=load)

        return Serving(settings, self.store, follower)

    def post(self, *contents: str, first: int = 0) -> None:
        self.ingest.apply([Posted(message(at((first + n) * 14_400), text)) for n, text in enumerate(contents)])

    def serves(self) -> str:
        row = self.store.embeddings.serving()
        assert row is not None
        return row.name

    def vectors(self, name: str) -> int:
        """How many vectors of the model are stored."""
        query = "SELECT count(*) FROM vector WHERE model_id = (SELECT id FROM model WHERE name = ?)"
        return int(self.store._one(query, name)[0])

    def texts(self) -> int:
        return int(self.store._one("SELECT count(DISTINCT text_hash) FROM chunk")[0])

    def incomplete(self) -> int:
        """Chunks without a vector of the model that serves."""
        counts = self.store.counts()
        return counts.chunks - counts.vectors

    def assert_changed_to(self, name: str) -> None:
        assert self.serves() == name
        assert self.vectors(name) == self.texts()
        assert self.store._one("SELECT count(*) FROM vector")[0] == self.texts(), "nothing is left of the old model"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    house.post(*(f"number {n} of the harvest" for n in range(MESSAGES)))
    settle(house.last)
    yield house
    house.store.close()


# The cache


def test_an_unchanged_text_is_never_embedded_twice(house: House) -> None:
    assert sorted(house.embedder.texts) == sorted(set(house.embedder.texts)), "two strategies share it"
    settle(house.syncer("blue"))
    assert house.embedder.texts == [], "nor after a restart"
    house.ingest.apply([Edited(message(at(0), "another text", edited_at=1))])
    settle(house.last)
    assert house.embedder.texts == ["ann: another text"]
    house.post("number 3 of the harvest", first=MESSAGES + 5)
    settle(house.last)
    assert house.embedder.texts == ["ann: another text"], "nor in another place"


def test_chunks_that_are_made_anew_alike_keep_their_vectors(house: House) -> None:
    settings = make_settings(house.directory, RAGD_MODEL_DIR=str(house.models["blue"]), CHUNKING_WINDOW_SECONDS="900")
    recording = Recording(open_configured(settings, house.store.embeddings, 1))
    settle(Syncer(settings, house.store, recording, StopFlag()))
    assert recording.texts == []


def test_what_a_vector_depends_on_is_stored_with_it(house: House) -> None:
    identity = house.embedder.identity
    assert house.store._all(
        "SELECT key, name, sha256, dimension, pooling, max_tokens, text_form, source FROM model"
    ) == [
        (
            identity.key,
            "blue",
            identity.sha256,
            64,
            "mean",
            256,
            TEXT_FORM,
            str(house.models["blue"]),
        )
    ]


# The change


def test_the_old_model_serves_until_the_new_one_is_complete(house: House) -> None:
    syncer = house.syncer("green")
    while house.serves() == "blue":
        assert house.incomplete() == 0
        assert house.vectors("green") <= house.texts()
        assert syncer.step(0.0)
    assert (house.vectors("green"), house.vectors("blue")) == (house.texts(), house.texts())
    settle(syncer)
    house.assert_changed_to("green")


def test_the_newest_come_first_in_small_steps(house: House) -> None:
    house.syncer("green").step(0.0)
    assert 0 < len(house.embedder.texts) < MESSAGES / 2
    newest = [f"ann: number {n} of the harvest" for n in reversed(range(MESSAGES))]
    assert set(house.embedder.texts) == set(newest[: len(house.embedder.texts)])


def test_what_is_written_meanwhile_is_findable_by_both(house: House) -> None:
    syncer = house.syncer("green")
    syncer.step(0.0)
    house.post("a message in between", first=MESSAGES)
    house.ingest.apply([Deleted(GUILD, CHANNEL, [at(0)])])
    syncer.step(0.0)
    found = house.store._all(
        "SELECT m.name FROM chunk c JOIN vector v ON v.text_hash = c.text_hash JOIN model m ON m.id = v.model_id"
        " WHERE c.strategy = 'temporal' AND c.text LIKE '%in between' ORDER BY 1"
    )
    assert found == [("blue",), ("green",)]
    assert house.incomplete() == 0
    settle(syncer)
    house.assert_changed_to("green")


def test_it_goes_on_after_any_kill(house: House) -> None:
    embedded = []
    for kill in range(1000):
        stop = StopFlag()
        syncer = house.syncer("green", stop)
        for _ in range(kill % 4):
            syncer.step(0.0)
        if kill % 3 == 2:
            syncer.on_progress(stop.set)  # dies in the middle of a step, before anything is written
        more = syncer.step(0.0)
        embedded += house.embedder.texts
        assert house.incomplete() == 0
        if not more and not stop.is_set():
            break
    house.assert_changed_to("green")
    assert sorted(embedded) == sorted(set(embedded)), "what was committed is not done again"


def test_going_back_half_way_takes_nothing(house: House) -> None:
    syncer = house.syncer("green")
    for _ in range(2):
        syncer.step(0.0)
    assert 0 < house.vectors("green") < house.texts()
    settle(house.syncer("blue"))
    assert house.embedder.texts == []
    house.assert_changed_to("blue")


def test_there_and_back_again(house: House) -> None:
    settle(house.syncer("green"))
    settle(house.syncer("blue"))
    house.assert_changed_to("blue")


def test_a_third_model_half_way(house: House) -> None:
    house.models["red"] = small_model(house.directory / "red", dimension=32, seed=7)
    house.syncer("green").step(0.0)
    settle(house.syncer("red"))
    house.assert_changed_to("red")


def test_a_model_that_is_gone_cannot_serve_and_the_new_one_does_at_once(house: House) -> None:
    shutil.rmtree(house.models["blue"])
    syncer = house.syncer("green")
    assert house.serves() == "green"
    assert house.incomplete() > 0
    follower = Follower(house.directory / "index", "temporal", house.embedder, house.store.vectors)
    sizes = []
    while syncer.step(0.0):
        while follower.step(0.0):
            pass
        sizes.append(len(follower.index))
    assert sizes[0] < sizes[-1] == MESSAGES, "the searcher sees them come"
    house.assert_changed_to("green")


def test_another_model_in_the_same_folder(house: House) -> None:
    shutil.rmtree(house.models["blue"])
    small_model(house.models["blue"], seed=9)
    settle(house.syncer("blue"))
    assert house.incomplete() == 0
    assert house.store._one("SELECT count(*) FROM vector")[0] == house.texts()


def test_a_model_to_come_that_fails_holds_nobody_up(house: House) -> None:
    syncer = house.syncer("green")
    house.embedder.broken = True
    house.post("written meanwhile", first=MESSAGES)
    settle(syncer)
    assert (house.serves(), house.incomplete(), house.vectors("green")) == ("blue", 0, 0)
    assert syncer.counters()["model_problem"] == "the endpoint does not answer"
    settle(house.syncer("green"))
    house.assert_changed_to("green")


def test_progress_is_told(house: House) -> None:
    told = house.last.counters()
    assert (told["model"], told["model_next"], told["model_done"]) == ("blue", None, None)
    syncer = house.syncer("green")
    done = []
    while house.serves() == "blue":
        told = syncer.counters()
        assert (told["model"], told["model_next"], told["model_total"]) == ("blue", "green", 2 * MESSAGES)
        done.append(told["model_done"])
        syncer.step(0.0)
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 2 * MESSAGES)
    told = syncer.counters()
    assert (told["model"], told["model_next"]) == ("green", None)
    again = house.syncer("blue")
    for _ in range(2):
        again.step(0.0)
    before = again.counters()["model_done"]
    again = house.syncer("blue")
    again.step(0.0)
    assert int(again.counters()["model_done"] or 0) >= int(before or 0), "a restart takes nothing back"


# A model that reads less, or more


def from_scratch(house: House, embedder: Embedder, strategy: str) -> set[str]:
    sources = [source_message(row) for row in house.store.chunks.message_texts(CHANNEL, 0, 1 << 62)]
    chunks = chunk_messages(strategy, sources, count_tokens=embedder.count_tokens, max_tokens=embedder.max_tokens)
    return {chunk.key for chunk in chunks}


@pytest.mark.parametrize("path", [(256, 32), (32, 256), (256, 32, 128)])
def test_chunks_are_cut_anew_for_a_model_that_reads_less_or_more(tmp_path: Path, path: tuple[int, ...]) -> None:
    house = House(tmp_path)
    for limit in path:
        house.models[str(limit)] = small_model(tmp_path / f"reads-{limit}", max_tokens=limit, seed=limit)
    house.store.close()
    house.store = Store.open(tmp_path / "other.sqlite3")
    house.store.ingest().apply(
        [Posted(message(at(n * 300), f"{n} " + "pears and plums " * (n % 60))) for n in range(60)]
    )
    for limit in path:
        syncer = house.syncer(str(limit))
        settled = len(stored_keys(house.store, "temporal")) > 0
        while syncer.step(0.0):
            if settled:
                assert house.incomplete() == 0, "the one that serves has a vector of every chunk, always"
        embedder = Embedder.open(house.models[str(limit)], 1)
        for strategy in STRATEGIES:
            assert stored_keys(house.store, strategy) == from_scratch(house, embedder, strategy)
        house.assert_changed_to(f"reads-{limit}")
        assert house.store.chunks.lag() == 0
    house.store.close()


# The searcher


def asked(serving: Serving, text: str) -> list[str]:
    return [result.text for result in serving.engine.search.answer(Query(text, None, limit=3)).results]


def test_the_searcher_answers_all_along_and_changes_over_at_once(house: House) -> None:
    serving = house.serving()
    while serving.step(0.0):
        pass
    syncer = house.syncer("green")
    models = []
    for n in range(1000):
        more = syncer.step(0.0)
        if n == 2:
            house.post("the last basket of quinces", first=MESSAGES)
        more |= serving.step(0.0)
        assert "number 77 of the harvest" in asked(serving, "number 77 of the harvest")[0]
        if n > 4:
            assert asked(serving, "basket of quinces")[0] == "ann: the last basket of quinces"
        models.append(serving.engine.embedder.identity.name)
        assert all(len(follower.index) >= MESSAGES for follower in serving.engine.followers.values())
        if not more:
            break
    assert set(models) == {"blue", "green"}
    assert models == sorted(models), "over once, and not back"
    house.assert_changed_to("green")


def test_a_searcher_that_begins_in_the_middle_takes_the_model_that_serves(house: House) -> None:
    house.syncer("green").step(0.0)
    serving = house.serving("green")
    while serving.step(0.0):
        pass
    assert serving.engine.embedder.identity.name == "blue"
    assert asked(serving, "number 12 of the harvest")[0] == "ann: number 12 of the harvest"


def test_a_searcher_whose_model_is_gone_answers_by_what_the_new_one_has(house: House) -> None:
    shutil.rmtree(house.models["blue"])
    serving = house.serving("green")
    assert serving.engine.embedder.identity.name == "green"
    settle(house.syncer("green"))
    while serving.step(0.0):
        pass
    assert asked(serving, "number 12 of the harvest")[0] == "ann: number 12 of the harvest"


def test_an_index_of_the_old_model_is_not_mistaken_for_one_of_the_new(house: House) -> None:
    serving = house.serving()
    while serving.step(0.0):
        pass
    serving.close()
    settle(house.syncer("green"))
    again = house.serving("green")
    while again.step(0.0):
        pass
    assert again.engine.embedder.identity.name == "green"
    assert asked(again, "number 12 of the harvest")[0] == "ann: number 12 of the harvest"


def test_a_searcher_that_cannot_open_the_new_model_goes_on_with_the_old(house: House) -> None:
    serving = house.serving()
    while serving.step(0.0):
        pass
    settle(house.syncer("green"))
    shutil.rmtree(house.models["green"])
    while serving.step(0.0):
        pass
    assert serving.engine.embedder.identity.name == "blue"
    assert asked(serving, "number 12 of the harvest")[0] == "ann: number 12 of the harvest"
