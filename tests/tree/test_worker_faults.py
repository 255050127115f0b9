"""Each process is killed while it works, each worker is frozen: another takes over, and nothing is lost or doubled."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.embedding import Embedder
from ragd.heartbeat import PROCESSES, WORKERS
from tests.tree.audit import assert_all_right
from tests.tree.stage import Stage
from tests.tree.tree import Tree

pytestmark = pytest.mark.tree


STALE_SECONDS = "6"
"""Each frozen worker is waited for so long; shorter, and one that is merely slow today is replaced too."""


@pytest.fixture(scope="module")
def seeded() -> float:
    return 0.3


@pytest.fixture(scope="module")
def tree(stage: Stage, home: Path) -> Iterator[Tree]:
    with Tree(stage.variables(home, RAGD_STALE_SECONDS=STALE_SECONDS)) as tree:
        yield tree.start().running()


def test_kill_9_of_each_process_during_a_replay(stage: Stage, tree: Tree, embedder: Embedder) -> None:
    replay, begin, killed = stage.replay(max_gap_seconds=0.03), stage.played, {}
    for number, name in enumerate(PROCESSES, start=1):
        moment = begin + (1 - begin) * number / (len(PROCESSES) + 1)
        tree.wait(lambda moment=moment: stage.played >= moment, f"the moment to kill {name}")
        killed[name] = tree.signal(name, signal.SIGKILL)
    tree.wait(replay.done, "the replay is over")
    replay.result()
    for name, pid in killed.items():
        tree.replaced(name, pid)
    assert_all_right(stage, tree, embedder)
    tree.wait(lambda: tree.status().state == "healthy", "healthy again")
    assert all(tree.status().processes[name].restarts >= 1 for name in WORKERS)


@pytest.mark.parametrize("name", WORKERS)
def test_a_frozen_worker_is_replaced_and_work_goes_on(stage: Stage, tree: Tree, name: str) -> None:
    pid = tree.signal(name, signal.SIGSTOP)
    text = f"While {name} slept the ducks painted the boathouse green"
    message_id = stage.place.post(text)
    tree.replaced(name, pid)
    tree.wait(lambda: tree.finds(text, message_id), "what was posted meanwhile is found")
    after = f"After {name} woke up the geese wanted it blue"
    message_id = stage.place.post(after)
    tree.wait(lambda: tree.finds(after, message_id), "what is posted now is found")
    assert f"killing {name} (pid {pid}): no heartbeat" in tree.log_text()


def test_a_restart_that_a_person_asks_for_counts_against_no_rule(tree: Tree) -> None:
    restarts, streak = tree.counter("watchdog", "restarts_syncer"), tree.counter("watchdog", "streak_syncer")
    for nth in (1, 2):
        run = tree.run_other("ragdctl", "restart", "syncer")
        assert (run.returncode, run.stderr) == (0, "")
        tree.wait(
            lambda nth=nth: tree.counter("watchdog", "restarts_syncer") == restarts + nth, "the watchdog has seen it"
        )
    assert tree.counter("watchdog", "streak_syncer") == streak


def test_after_all_that_everything_is_there(stage: Stage, tree: Tree, embedder: Embedder) -> None:
    assert_all_right(stage, tree, embedder)
