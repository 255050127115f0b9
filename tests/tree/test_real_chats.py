"""The PyScript community's chats of three years, run against; nothing of them is in here but ids."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.embedding import Embedder
from tests.tree.audit import assert_captured, assert_chunked, assert_cited, assert_sound
from tests.tree.stage import Stage
from tests.tree.tree import Tree

pytestmark = pytest.mark.tree

QUERIES = {
    "is there a list of all the widgets, some documentation": {1274316945373532213, 1275201554080596158},
    "serving a FastAPI backend from pyodide in a service worker": {1247897503567839245, 1247918452589461579},
    "which editor component shows errors inline and completes code": {1297298197286228071, 1297365438099095674},
}
"""In words of our own, and the messages that ask and answer that."""

SYNC_SECONDS = 240.0
"""Half a minute on two idle cores."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    root = Path(os.environ.get("RAGD_TEST_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
    folder = root / "pyscript-discord"
    if not folder.is_dir():
        pytest.skip("no PyScript exports here: set RAGD_TEST_DATA to the folder that holds pyscript-discord")
    with Stage([folder]) as stage:
        yield stage


@pytest.mark.timeout(360)
def test_years_of_real_chats_are_captured_and_found(stage: Stage, home: Path, embedder: Embedder) -> None:
    with Tree(stage.variables(home)) as tree:
        begun = time.monotonic()
        tree.start()
        assert_captured(stage, tree)
        captured = time.monotonic()
        tree.settle(SYNC_SECONDS)
        print(f"captured after {captured - begun:.1f} s, searchable after {time.monotonic() - begun:.1f} s")
        store = tree.status().store
        assert store is not None
        print(f"{store.messages} messages, {store.channels} channels, {store.chunks} chunks, {store.vectors} vectors")
        assert store.messages == 2115
        assert_chunked(tree.settings.database_path, embedder)
        assert_sound(tree.settings.database_path)
        tree.wait(lambda: tree.search("hello").indexed == store.chunks, "all is indexed")
        for query, wanted in QUERIES.items():
            assert_found(stage, tree, query, wanted)


def assert_found(stage: Stage, tree: Tree, query: str, wanted: set[int]) -> None:
    answer = tree.search(query)
    ranks = [rank for rank, result in enumerate(answer.results, 1) if wanted & set(map(int, result.message_ids))]
    scores = [f"{result.score:.2f}" for result in answer.results]
    print(f"{query!r}: rank {ranks}, scores {' '.join(scores)}, {answer.took_ms:.0f} ms")
    for result in answer.results:
        assert_cited(stage, result)
    assert ranks, query
