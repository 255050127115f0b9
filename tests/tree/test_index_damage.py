"""Index files are damaged while ragd is stopped: it sets them aside, builds anew from SQLite, and answers as before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ragd.embedding import Embedder
from tests.tree.audit import STRATEGIES, assert_answers
from tests.tree.stage import Stage
from tests.tree.tree import Tree

pytestmark = pytest.mark.tree


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, Path.unlink], ids=["flipped-bit", "truncated", "missing"])
def test_a_damaged_index_is_rebuilt(
    stage: Stage, tree: Tree, embedder: Embedder, damage: Callable[[Path], None]
) -> None:
    # something new, so that this stop writes a snapshot and the damage is not the last test's
    message_id = stage.place.post(f"A test called {damage.__name__} was here")
    tree.wait(lambda: tree.finds(f"a test called {damage.__name__}", message_id), "it is found")
    tree.settle()
    assert tree.stop() == 0
    for strategy in STRATEGIES:
        rows = list((tree.settings.index_dir / strategy).glob("rows-*.npy"))
        assert rows, "a stop leaves a snapshot"
        for path in rows:
            damage(path)
    told = len(tree.log_text())
    tree.start().running()
    assert_answers(stage, tree, embedder)
    assert tree.finds(f"a test called {damage.__name__}", message_id)
    log = tree.log_text()[told:]
    for strategy in STRATEGIES:
        assert f"{strategy}: damaged index files set aside" in log
        assert f"{strategy}: building the index from the database" in log
        aside = list((tree.settings.index_dir / strategy).glob("damaged-*/manifest-*.json"))
        assert aside, "what was damaged can still be looked at"


def test_index_files_are_no_truth(stage: Stage, tree: Tree, embedder: Embedder) -> None:
    assert tree.stop() == 0
    for path in sorted(tree.settings.index_dir.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    tree.settings.index_dir.rmdir()
    tree.start().running()
    assert_answers(stage, tree, embedder)
