"""Indexes made from a store, rebuilt and rid of what was deleted while they answer, and `ragdctl index` about them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragd.answers import SearchRequest
from ragd.cli.launch import lock_directory
from ragd.config import Settings
from ragd.embedders import BUNDLED, details, source_of
from ragd.embedding import Embedder
from ragd.errors import RagdError, TransientError, UnavailableError
from ragd.follower import COMPACTION_AFTER_START_SECONDS, Follower
from ragd.heartbeat import read_heartbeat
from ragd.index import VectorIndex
from ragd.index.background import BackgroundSave
from ragd.index.checking import Sample
from ragd.indexes import examine
from ragd.search_client import ask_about_indexes, ask_searcher
from ragd.searcher import Searcher
from ragd.store import Store
from ragd.store.chunks import Cell, NewChunk, hash_text
from tests.processes import until
from tests.store.factories import CHANNEL
from tests.test_control_cli import Operator
from tests.test_index import corpus
from tests.test_index_snapshot import KEY, WANTED, filled, flip, holding, names, truncate, unit
from tests.test_status import settings_in

STRATEGY = "temporal"
COUNT = 300
SMALL: dict[str, int] = {"exact_limit": 50, "scan_limit": 50}
"""Thresholds with which these few vectors make a graph, and walks through it."""


def add_vectors(store: Store, embedder: Embedder, vectors: Any, *, first: int = 1) -> list[int]:
    """A chunk of one message for each vector, as the syncer stores them; returns the chunks' ids."""
    model_id = store.embeddings.register(details(embedder, source_of(BUNDLED, embedder.form))).id
    if store.embeddings.serving() is None:
        store.embeddings.serve(model_id)
    texts = [f"text {first + at}" for at in range(len(vectors))]
    chunks = [NewChunk(text, [first + at], text, hash_text(text)) for at, text in enumerate(texts)]
    embedded = {chunk.text_hash: vector.tobytes() for chunk, vector in zip(chunks, vectors, strict=True)}
    store.chunks.commit_cell(Cell(STRATEGY, CHANNEL, 0, 1, 2, 0), [], chunks, {model_id: embedded})
    return [row[0] for row in store._all("SELECT id FROM chunk ORDER BY id")][-len(vectors) :]


def remove_chunks(store: Store, ids: list[int]) -> None:
    """As the syncer does when their messages are gone."""
    store.chunks.commit_cell(Cell(STRATEGY, CHANNEL, 0, 1, 2, 0), ids, [], {})


@pytest.fixture
def settings(short_path: Path) -> Settings:
    settings = settings_in(str(short_path)).model_copy(update={"auto_sync_strategies": (STRATEGY,)})
    settings.heartbeat_dir.mkdir(parents=True)
    return settings


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    store = Store.open(settings.database_path)
    yield store
    store.close()


@pytest.fixture
def vectors() -> Any:
    return corpus(COUNT)


@pytest.fixture
def ids(store: Store, embedder: Embedder, vectors: Any) -> list[int]:
    """Ids of the chunks of `vectors`."""
    return add_vectors(store, embedder, vectors)


def follower_of(settings: Settings, embedder: Embedder, store: Store) -> Follower:
    return Follower(settings.index_dir, STRATEGY, embedder, store.vectors, **SMALL)


def settle(follower: Follower, now: float = 0.0) -> None:
    while follower.step(now):
        pass


@pytest.fixture
def follower(settings: Settings, embedder: Embedder, store: Store, ids: list[int]) -> Follower:
    """Level with the store, with a graph, and saved."""
    follower = follower_of(settings, embedder, store)
    settle(follower)
    follower.snapshot()
    assert follower.index.stats().graph == COUNT
    return follower


# Saving by a fork


def test_a_fork_saves_what_was_there_when_it_began(tmp_path: Path) -> None:
    index = filled()
    save = BackgroundSave(lambda: index.save(tmp_path, position=7, **KEY))
    index.add([9_000], unit(1, seed=8))
    save.result()
    after, position = VectorIndex.load(tmp_path, **WANTED)
    assert (len(after), position) == (57, 7)


def test_a_fork_tells_why_it_failed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    save = BackgroundSave(lambda: filled().save(tmp_path / "file", position=1, **KEY))
    until(save.is_over, "it has failed")
    with pytest.raises(TransientError, match="was not written"):
        save.result()


def test_a_fork_that_is_killed_or_exits_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="SIGKILL"):
        BackgroundSave(lambda: os.kill(os.getpid(), signal.SIGKILL)).result()
    with pytest.raises(TransientError):
        BackgroundSave(lambda: os._exit(7)).result()


def test_a_fork_dies_with_its_parent(tmp_path: Path) -> None:
    told, tell = os.pipe()
    parent = os.fork()
    if parent == 0:
        os.close(told)
        BackgroundSave(lambda: (os.write(tell, b"begun"), threading.Event().wait()))
        os.close(tell)
        threading.Event().wait()
    os.close(tell)
    assert os.read(told, 5) == b"begun"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert os.read(told, 1) == b""  # the last holder of the other end is gone
    os.close(told)


# Following, rebuilding, compacting


def test_a_rebuild_gives_the_same_index(follower: Follower, settings: Settings, ids: list[int]) -> None:
    directory = settings.index_dir / STRATEGY
    follower.rebuild()
    assert (len(follower.index), follower.position, names(directory)) == (0, 0, set())
    assert follower.describe().expected is not None
    while follower.follow():
        pass
    assert follower.describe().expected is None
    state = follower.describe()
    assert (state.stats.exact, state.stats.waiting) == (COUNT, COUNT)  # all can be found, before there is a graph
    settle(follower)
    assert follower.describe().stats.waiting == 0
    assert follower.index.live_labels().tolist() == ids
    assert follower.check().missing == follower.check().strange == 0
    follower.snapshot()
    assert names(directory)


def test_deleted_vectors_leave_the_files_without_another_change(
    follower: Follower, store: Store, settings: Settings, ids: list[int], vectors: Any
) -> None:
    directory = settings.index_dir / STRATEGY
    assert holding(directory, vectors[5])
    remove_chunks(store, ids[:100])
    settle(follower)  # more than a fifth of the graph is deleted, so it is compacted, and that is written
    assert follower.index.stats().deleted == 0
    follower._saver.wait()
    for vector in vectors[:100]:
        assert holding(directory, vector) == set()
    assert len(VectorIndex.load(directory, model_key=follower._model_key, dimension=384, strategy=STRATEGY)[0]) == 200


def test_a_single_deleted_vector_leaves_within_a_day(
    settings: Settings, store: Store, embedder: Embedder, vectors: Any
) -> None:
    ids = add_vectors(store, embedder, vectors[:20])
    follower = follower_of(settings, embedder, store)  # few enough for no graph
    settle(follower)
    follower.snapshot()
    remove_chunks(store, ids[:1])
    settle(follower)
    follower.snapshot()
    directory = settings.index_dir / STRATEGY
    assert holding(directory, vectors[0]), "the generation before has it"
    again = follower_of(settings, embedder, store)  # and a restart does not forget that it has
    settle(again, time.monotonic() + COMPACTION_AFTER_START_SECONDS + 1)
    again._saver.wait()
    assert holding(directory, vectors[0]) == set()


def test_recall_survives_deleting_half_and_adding_again(store: Store, settings: Settings, embedder: Embedder) -> None:
    old, new = corpus(2_000, seed=1), corpus(1_000, seed=2)
    ids = add_vectors(store, embedder, old)
    follower = follower_of(settings, embedder, store)
    settle(follower)
    remove_chunks(store, ids[::2])
    added = add_vectors(store, embedder, new, first=10_000)
    settle(follower)
    vectors = np.concatenate([old[1::2], new])
    sample = Sample(follower.index)
    sample.see(np.array(ids[1::2] + added), vectors)
    assert sample.wrong == 0
    recall = sample.recall()
    assert recall is not None
    assert recall >= 0.98


def test_a_sample_notices_wrong_vectors() -> None:
    index, vectors = VectorIndex(384), corpus(50)
    index.add(range(50), vectors)
    sample = Sample(index)
    sample.see(np.arange(50), np.roll(vectors, 1, axis=0))
    assert sample.wrong == 50


def test_files_that_do_not_fit_the_store_are_named(follower: Follower, store: Store, settings: Settings) -> None:
    directory = settings.index_dir / STRATEGY
    assert examine(STRATEGY, directory, store.vectors).faults == []
    follower.index.remove([int(follower.index.live_labels()[0])])
    follower.index.add([10**6, 10**6 + 1], corpus(2, seed=8))
    follower.index.save(directory, position=follower.position, model_key=follower._model_key, strategy=STRATEGY)
    found = examine(STRATEGY, directory, store.vectors)
    assert found.faults == [
        "1 chunks of the database are not in the index",
        "2 vectors of the index are of no chunk in the database",
    ]
    assert found.recall is not None


# A searcher that runs


@contextmanager
def serving(settings: Settings) -> Iterator[None]:
    """A searcher with small thresholds, in a thread."""
    stop = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        await Searcher(settings, **SMALL).run(stop)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        until(lambda: settings.search_socket.exists(), "its socket is there")
        yield
    finally:
        until(lambda: loops)
        loops[0].call_soon_threadsafe(stop.set)
        thread.join()


def ask(settings: Settings) -> int:
    """How many vectors knew of a question."""
    return ask_searcher(settings.search_socket, SearchRequest("anything", "operator")).indexed


def test_answers_are_complete_while_a_graph_is_made(
    settings: Settings, store: Store, embedder: Embedder, vectors: Any
) -> None:
    add_vectors(store, embedder, corpus(3_000))
    with serving(settings):
        assert ask(settings) == 3_000  # at once: it waits for the vectors, not for the graph
        (state,) = ask_about_indexes(settings.search_socket, "rebuild")
        assert ask(settings) == 3_000
        until(lambda: ask_about_indexes(settings.search_socket, "stats")[0]["stats"]["graph"] == 3_000, "all is built")
        (state,) = ask_about_indexes(settings.search_socket, "check")
        assert state["differences"] == {"missing": 0, "strange": 0}
        beat = until(lambda: read_heartbeat(settings.heartbeat_dir, "searcher"))
        assert "building" in beat.counters
    directory = settings.index_dir / STRATEGY
    assert any(name.startswith("graph-") for name in names(directory))


@pytest.mark.parametrize("asked", [("nonsense", None), ("stats", "nope")])
def test_nonsense_is_refused(settings: Settings, store: Store, asked: tuple[str, str | None]) -> None:
    with serving(settings):
        until(lambda: ask(settings) == 0 or True)
        with pytest.raises(RagdError, match=r"action must be|no index of strategy"):
            ask_about_indexes(settings.search_socket, *asked)


def test_only_the_owner_may_have_it_rebuilt(settings: Settings, store: Store) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    with serving(settings):
        until(lambda: ask(settings) == 0 or True)
        path = settings.search_socket
        for directory in (path, *path.parents[:2]):
            directory.chmod(0o777)
        child = os.fork()
        if child == 0:
            try:
                os.setuid(65534)
                ask_about_indexes(path, "stats")
                ask_about_indexes(path, "rebuild")
                os._exit(1)
            except UnavailableError:
                os._exit(2)
            except RagdError as error:
                os._exit(0 if "only the user that runs ragd" in str(error) else 3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# ragdctl index


@pytest.fixture
def ragdctl(settings: Settings) -> Operator:
    variables = {"RAGD_DATA_DIR": str(settings.data_dir), "AUTO_SYNC_STRATEGIES": STRATEGY, "DISCORD_BOT_TOKEN": "x"}
    return Operator(settings.data_dir, variables)


def test_commands_about_sound_files(follower: Follower, ragdctl: Operator) -> None:
    verified = ragdctl("index", "verify")
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout == f"{STRATEGY}: generation 1 with {COUNT} vectors is sound, recall@10 1.000\n"
    shown = ragdctl("index", "stats")
    assert [word for word in ("temporal", "graph", "300", "no searcher answers") if word not in shown.stdout] == []
    (index,) = ragdctl.json("index", "stats")["indexes"]
    told = {"kind": "graph", "vectors": COUNT, "deleted": 0, "generation": 1, "behind": 0, "memory_bytes": None}
    assert {key: index[key] for key in told} == told


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
@pytest.mark.parametrize("kind", ["rows", "graph"])
def test_verify_names_what_is_damaged_and_rebuild_mends_it(
    follower: Follower, settings: Settings, ragdctl: Operator, kind: str, damage: Callable[[Path], None]
) -> None:
    (path,) = (settings.index_dir / STRATEGY).glob(f"{kind}-*")
    damage(path)
    answer = ragdctl("index", "verify")
    assert answer.returncode == 65
    assert answer.stdout.count("\n") == 1
    assert str(path) in answer.stdout
    assert ragdctl("index", "rebuild").stdout.endswith(f"{STRATEGY}: {COUNT} vectors\n")
    assert ragdctl("index", "verify").returncode == 0


def test_rebuild_of_nothing_and_of_what_is_in_use(settings: Settings, store: Store, ragdctl: Operator) -> None:
    assert ragdctl.json("index", "rebuild") == {"rebuilt": [STRATEGY], "vectors": {STRATEGY: 0}}
    assert ragdctl("index", "rebuild", "--strategy", "nope").returncode == 64
    held = Path(settings.data_dir, "lock")
    child = os.fork()
    if child == 0:
        lock_directory(settings.data_dir)
        signal.pause()
    until(lambda: held.exists() and held.read_text().strip() == str(child), "somebody has the lock")
    refused = ragdctl("index", "rebuild")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert (refused.returncode, refused.stdout) == (75, "")


def test_commands_ask_a_searcher_that_runs(settings: Settings, store: Store, ids: list[int], ragdctl: Operator) -> None:
    with serving(settings):
        assert ask(settings) == COUNT
        rebuilt = ragdctl("index", "rebuild")
        assert rebuilt.stdout.endswith(f"{STRATEGY}: {COUNT} vectors\n"), rebuilt.stderr
        answer = until(lambda: json.loads(ragdctl("index", "verify", "--json").stdout), "it verifies")
        assert (answer["searcher_checked"], answer["indexes"][0]["faults"]) == (True, [])
        assert ragdctl.json("index", "stats")["searcher"] is True
