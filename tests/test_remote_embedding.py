"""An endpoint instead of a model that runs here, against a real HTTP server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ragd.config import Settings, load_settings
from ragd.embedders import BUNDLED, configured_source, open_again, open_configured
from ragd.embedding import Embedder
from ragd.errors import ConfigError, TransientError, UnavailableError
from ragd.remote_embedding import RemoteEmbedder
from ragd.store import Store
from ragd.store.events import Posted
from ragd.syncer import Syncer
from ragd.worker import StopFlag
from tests.endpoint import KEY, Endpoint
from tests.small_models import small_model
from tests.store.factories import at, message
from tests.test_syncer import settle


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return Embedder.open(small_model(tmp_path_factory.mktemp("models") / "small", max_tokens=4000), threads=1)


@pytest.fixture
def endpoint(small: Embedder) -> Iterator[Endpoint]:
    with Endpoint(small) as endpoint:
        yield endpoint


@pytest.fixture
def remote(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> RemoteEmbedder:
    monkeypatch.setattr("ragd.remote_embedding.WAIT_SECONDS", 0.0)
    return opened(endpoint)


def opened(endpoint: Endpoint, key: str | None = KEY, **more: int) -> RemoteEmbedder:
    return RemoteEmbedder(endpoint.url, "small", key, timeout_seconds=5.0, **more)


TEXTS = [f"text number {n}" for n in range(20)]


def test_vectors_are_unit_float32_in_the_order_of_the_texts(
    remote: RemoteEmbedder, endpoint: Endpoint, small: Embedder
) -> None:
    vectors = remote.embed(TEXTS)
    assert (vectors.dtype, vectors.shape, remote.dimension) == (np.float32, (20, 64), 64)
    assert vectors == pytest.approx(small.embed(TEXTS), abs=1e-6)
    assert remote.embed_query("text number 4") == pytest.approx(vectors[4], abs=1e-6)
    assert endpoint.requests == 1 + 3 + 1, "once for the dimension, the texts in small requests, the question"


def test_a_known_dimension_is_not_asked_for(endpoint: Endpoint) -> None:
    assert opened(endpoint, dimension=64).identity == opened(endpoint).identity
    assert endpoint.requests == 1


def test_who_it_is_depends_on_endpoint_and_model(endpoint: Endpoint) -> None:
    keys = {
        RemoteEmbedder(url, model, None, timeout_seconds=1.0, dimension=64).identity.key
        for url in (endpoint.url, "https://elsewhere.example/v1")
        for model in ("small", "large")
    }
    assert len(keys) == 4


def test_what_passes_is_tried_again(remote: RemoteEmbedder, endpoint: Endpoint) -> None:
    breaths = []
    remote.breathe = lambda: breaths.append(endpoint.requests)
    endpoint.fails = 2
    assert len(remote.embed(["a text"])) == 1
    assert endpoint.requests == 4
    assert len(breaths) == 3, "the heartbeat goes on meanwhile"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_does_not_pass_is_a_transient_error_and_then_a_rest(
    remote: RemoteEmbedder, endpoint: Endpoint, status: int
) -> None:
    endpoint.status = status
    with pytest.raises(TransientError, match=rf"127\.0\.0\.1.*answered {status}"):
        remote.embed(["a text"])
    asked = endpoint.requests
    with pytest.raises(UnavailableError, match="the question was not embedded"):
        remote.embed_query("a question")
    assert endpoint.requests == asked, "it need not wait to learn the same"


def test_nobody_listens(remote: RemoteEmbedder, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragd.remote_embedding.REST_SECONDS", 0.0)
    endpoint.stop()
    with pytest.raises(UnavailableError, match="Connection error"):
        remote.embed_query("a question")
    with pytest.raises(TransientError):
        opened(endpoint)
    endpoint.start()
    assert remote.embed_query("a question").shape == (64,)


@pytest.mark.parametrize(("status", "hint"), [(401, "RAGD_EMBEDDING_API_KEY"), (404, "RAGD_EMBEDDING_URL")])
def test_what_only_a_person_can_mend(remote: RemoteEmbedder, endpoint: Endpoint, status: int, hint: str) -> None:
    endpoint.status = status
    with pytest.raises(ConfigError) as caught:
        remote.embed(["a text"])
    assert hint in caught.value.hint


def test_the_wrong_key_is_never_told(endpoint: Endpoint) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(endpoint, "sk-wrong-0123456789")
    assert "sk-wrong" not in caught.value.one_line()


def test_a_text_that_is_too_long_for_it_is_embedded_in_halves(small: Embedder) -> None:
    text = "pears and plums " * 20
    with Endpoint(small, longest=100) as endpoint:
        vectors = opened(endpoint).embed(["short", text])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)
    assert vectors[1] @ small.embed([text])[0] > 0.9
    assert vectors[0] == pytest.approx(small.embed(["short"])[0], abs=1e-6)


def test_an_endpoint_that_refuses_everything_is_no_endless_loop(remote: RemoteEmbedder, endpoint: Endpoint) -> None:
    endpoint.status = 400
    with pytest.raises(ConfigError, match="answered 400"):
        remote.embed(["pears and plums " * 20])
    assert endpoint.requests < 12


def test_another_length_of_vectors_is_another_model(remote: RemoteEmbedder, endpoint: Endpoint) -> None:
    endpoint.cut = 32
    with pytest.raises(ConfigError, match="32 numbers a vector, not 64"):
        remote.embed(["a text"])


def test_long_words_count_by_their_bytes(remote: RemoteEmbedder) -> None:
    assert remote.count_tokens("x" * 4000) == 1000
    assert remote.count_tokens("a few short words") == 6
    assert remote.embed_query("x" * 5000).shape == (64,)


# Settings


def settings_for(directory: Path, endpoint: Endpoint, **more: str) -> Settings:
    values = {"RAGD_EMBEDDING_URL": endpoint.url, "RAGD_EMBEDDING_MODEL": "small", "RAGD_EMBEDDING_API_KEY": KEY}
    return load_settings(RAGD_DATA_DIR=directory, DISCORD_BOT_TOKEN="x", **{**values, **more})


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"RAGD_EMBEDDING_URL": ""}, "RAGD_EMBEDDING_MODEL needs RAGD_EMBEDDING_URL"),
        ({"RAGD_EMBEDDING_URL": "localhost:11434"}, "must be a URL like http://127"),
        ({"RAGD_EMBEDDING_MODEL": "two words"}, "without blanks"),
        ({"RAGD_MODEL_DIR": "/models/e5"}, "both name a model"),
    ],
)
def test_wrong_settings_name_their_rule(
    endpoint: Endpoint, tmp_path: Path, values: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        settings_for(tmp_path, endpoint, **values)


def test_the_key_is_a_secret(endpoint: Endpoint, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, endpoint)
    assert KEY in settings.secrets()
    assert KEY not in str(settings.masked())


def test_openai_is_not_imported_unless_it_is_configured() -> None:
    code = "import sys, ragd.syncer, ragd.searcher; sys.exit('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# With the syncer


def test_a_change_to_an_endpoint_and_back(endpoint: Endpoint, small: Embedder, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ragd.sqlite3")
    store.ingest().apply([Posted(message(at(n * 14_400), f"number {n}")) for n in range(50)])
    local = load_settings(
        RAGD_DATA_DIR=tmp_path, DISCORD_BOT_TOKEN="x", RAGD_MODEL_DIR=str(small_model(tmp_path / "local"))
    )
    settle(Syncer(local, store, open_configured(local, store.embeddings, 1), StopFlag()))
    remote = settings_for(tmp_path, endpoint)
    syncer = Syncer(remote, store, open_configured(remote, store.embeddings, 1), StopFlag())
    syncer.step(0.0)
    endpoint.stop()
    store.ingest().apply([Posted(message(at(60 * 14_400), "while it is away"))])
    settle(syncer)
    serving = store.embeddings.serving()
    assert serving is not None
    assert serving.name == "local"
    assert store.counts().vectors == store.counts().chunks, "what is new is findable all the same"
    assert "Connection error" in str(syncer.counters()["model_problem"])
    # a restart meanwhile: the endpoint is known by now and need not be asked who it is
    syncer = Syncer(remote, store, open_configured(remote, store.embeddings, 1), StopFlag())
    endpoint.start()
    settle(syncer)
    serving = store.embeddings.serving()
    assert serving is not None
    assert (serving.name, serving.source) == ("small", configured_source(remote))
    assert store.counts().vectors == store.counts().chunks
    assert len(endpoint.texts) == len(set(endpoint.texts))
    settle(Syncer(local, store, open_configured(local, store.embeddings, 1), StopFlag()))
    assert store._one("SELECT count(DISTINCT model_id) FROM vector") == (1,)
    store.close()


def test_an_endpoint_that_nobody_has_asked_before_may_come_later(endpoint: Endpoint, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ragd.sqlite3")
    remote = settings_for(tmp_path, endpoint)
    with pytest.raises(UnavailableError, match="no other one serves"):
        Syncer(remote, store, None, StopFlag())
    local = load_settings(
        RAGD_DATA_DIR=tmp_path, DISCORD_BOT_TOKEN="x", RAGD_MODEL_DIR=str(small_model(tmp_path / "local"))
    )
    store.ingest().apply([Posted(message(at(0)))])
    settle(Syncer(local, store, open_configured(local, store.embeddings, 1), StopFlag()))
    syncer = Syncer(remote, store, None, StopFlag())
    told = syncer.counters()
    assert (told["model"], told["model_next"], told["model_done"]) == ("local", configured_source(remote), 0)
    settle(syncer)
    serving = store.embeddings.serving()
    assert serving is not None
    assert serving.name == "small"
    store.close()


def test_an_endpoint_that_the_settings_name_no_more_is_told_nothing(endpoint: Endpoint, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ragd.sqlite3")
    first = settings_for(tmp_path, endpoint)
    settle(Syncer(first, store, open_configured(first, store.embeddings, 1), StopFlag()))
    row = store.embeddings.serving()
    assert row is not None
    back = settings_for(tmp_path, endpoint, RAGD_EMBEDDING_MODEL="")
    assert configured_source(back) == BUNDLED
    assert open_again(back, row).identity.key == row.key, "on the way back it still serves"
    asked = endpoint.requests
    other = settings_for(tmp_path, endpoint, RAGD_EMBEDDING_URL="http://elsewhere.example/v1")
    with pytest.raises(ConfigError, match="does not name http://127"):
        open_again(other, row)
    assert endpoint.requests == asked
    store.close()
