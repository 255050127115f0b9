"""What the syncer does for `/sync now`, and counts for `/autosync_status`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.embedding import Embedder
from ragd.errors import TransientError
from ragd.store import Store
from ragd.store.events import Posted
from tests.store.factories import at, message
from tests.test_syncer import make_syncer, settle


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "ragd.sqlite3")
    yield store
    store.close()


def test_a_wish_brings_the_full_pass_forward_once(store: Store, embedder: Embedder, tmp_path: Path) -> None:
    store.chunks.want_full_pass()
    syncer = make_syncer(store, embedder, tmp_path)
    assert syncer.counters()["full_pass_at"] is None
    settle(syncer, now=0.0)
    passes = [syncer.counters()["full_pass_at"]]
    for now in (10.0, 20.0, 30.0):
        if now == 20.0:
            store.chunks.want_full_pass()
            store.chunks.want_full_pass()
        settle(syncer, now)
        passes.append(syncer.counters()["full_pass_at"])
    assert passes[0] == passes[1] != passes[2] == passes[3]


def test_steps_count_work_and_failures_but_not_idle_looks(
    store: Store, embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncer = make_syncer(store, embedder, tmp_path)
    settle(syncer)
    assert (syncer.counters()["steps"], syncer.counters()["failed_steps"]) == (0, 0)
    store.ingest().apply([Posted(message(at(0)))])

    def refuse(*_: object, **__: object) -> None:
        raise TransientError("locked")

    with monkeypatch.context() as locked:
        locked.setattr(store.chunks, "commit_cell", refuse)
        with pytest.raises(TransientError):
            syncer.step(0.0)
    settle(syncer)
    counters = syncer.counters()
    assert counters["failed_steps"] == 1
    assert counters["steps"] > 1
    assert counters["chunks_temporal"] == counters["chunks_conversation"] == 1
