"""Another model under a real supervisord: `ragdctl reload`, workers killed meanwhile, questions answered all along."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.embedding import Embedder
from ragd.errors import UnavailableError
from tests.small_models import small_model
from tests.tree.audit import assert_answers, assert_captured
from tests.tree.stage import Stage
from tests.tree.tree import Tree

pytestmark = pytest.mark.tree


@pytest.fixture
def tree(stage: Stage, short_path: Path) -> Iterator[Tree]:
    """A tree whose history a small model has embedded: what the bundled one does takes longer, and can be disturbed."""
    small_model(short_path / "small")
    with Tree(stage.variables(short_path, RAGD_MODEL_GRAPH="fp32", RAGD_EMBED_THREADS="1")) as tree:
        set_model(tree, str(short_path / "small"))
        yield tree.start().running()


def set_model(tree: Tree, folder: str) -> None:
    (tree.home / ".env").write_text(f"RAGD_MODEL_DIR={folder}\n")


class Asker:
    """Asks the same question all the time, in a thread of its own; use as a context manager."""

    def __init__(self, tree: Tree, question: str) -> None:
        self.answers: list[int] = []
        """How many passages each answer had."""
        self.unanswered: list[str] = []
        self._tree, self._question = tree, question
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self) -> None:
        while not self._over.wait(0.05):
            try:
                self.answers.append(len(self._tree.search(self._question).results))
            except UnavailableError as error:
                self.unanswered.append(str(error))

    def __enter__(self) -> Asker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)


def changing(tree: Tree) -> bool:
    """Whether the syncer that runs now is in the middle of the change."""
    beat = tree.beats().get("syncer")
    pid = tree.pids().get("syncer")
    return beat is not None and beat.pid == pid and bool(beat.counters.get("model_next"))


def changed(tree: Tree, embedder: Embedder) -> bool:
    return bool(tree.counter("searcher", "model") == embedder.identity.name)


def test_questions_are_answered_while_the_model_changes(stage: Stage, tree: Tree) -> None:
    embedder = Embedder.open(graph="fp32")
    assert_captured(stage, tree)
    tree.settle()
    searcher = tree.pid_of("searcher")
    with Asker(tree, "why does my rain gauge count twice as much rain as there was?") as asker:
        tree.wait(lambda: len(asker.answers) > 3, "questions are asked")
        set_model(tree, "")
        reload = tree.run_other("ragdctl", "reload")
        assert reload.returncode == 0, reload.stderr
        assert reload.stdout == "syncer restarted: RAGD_MODEL_DIR\n"
        tree.wait(lambda: changing(tree) or changed(tree, embedder), "the change has begun")
        told = tree.run_other("ragdctl", "status").stdout
        # on a fast machine it is over already
        assert "model       changing small -> all-MiniLM-L6-v2: " in told or not changing(tree)
        for _ in range(2):
            if not changing(tree):
                break  # a fast machine: it is over
            tree.replaced("syncer", tree.signal("syncer", signal.SIGKILL))
        message_id = stage.place.post("The samovar whistles in B flat.")
        tree.wait(lambda: tree.finds("samovar whistles", message_id), "what is new is found meanwhile")
        tree.wait(lambda: changed(tree, embedder), "the searcher has changed over")
        tree.wait(lambda: tree.counter("syncer", "model_next") is None, "and the syncer says so")
        asked = len(asker.answers)
        tree.wait(lambda: len(asker.answers) > asked + 3, "some more answers")
    assert asker.unanswered == []
    assert min(asker.answers) > 0
    assert tree.pid_of("searcher") == searcher, "which nobody had to start anew"
    tree.settle()
    assert tree.finds("samovar whistles", message_id)
    assert_answers(stage, tree, embedder)
    assert "model       all-MiniLM-L6-v2\n" in tree.run_other("ragdctl", "status").stdout
