"""`ragd` is told to stop: in order, in time, leaving nothing behind; and no second one gets in between."""

from __future__ import annotations

import stat
import time

import pytest

from tests.tree.audit import assert_captured
from tests.tree.stage import Stage
from tests.tree.tree import STOP_SECONDS, Tree

pytestmark = pytest.mark.tree


@pytest.fixture(scope="module")
def seeded() -> float:
    return 0.1


def test_a_second_ragd_on_the_same_data_is_refused(tree: Tree) -> None:
    before = tree.pids()
    second = tree.run_other("ragd")
    assert second.returncode == 75
    assert second.stdout == ""
    assert second.stderr.count("\n") == 1
    assert f"in use by ragd with pid {tree.process.pid}" in second.stderr
    assert tree.pids() == before
    assert tree.status().state == "healthy"


def test_sigterm_ends_everything_in_time_and_loses_nothing(stage: Stage, tree: Tree) -> None:
    assert_captured(stage, tree)
    children = tree.pids()
    for number in range(50):
        stage.place.post(f"last words, number {number}")
    begun = time.monotonic()
    assert tree.stop() == 0
    print(f"stopped after {time.monotonic() - begun:.1f} s")
    assert tree.processes() == []
    sockets = [path for path in tree.home.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)]
    assert sockets == []
    log = tree.log_text()
    for name in children:
        assert f"stopped: {name} (exit status 0)" in log
    stopped = tree.run_other("ragdctl", "status", "--json")
    assert stopped.returncode == 2, stopped.stdout
    stage.place.post("nobody hears this")
    tree.start().running()
    assert_captured(stage, tree)


def test_sigterm_while_it_starts(tree: Tree) -> None:
    assert tree.stop() == 0
    tree.start()
    tree.wait(lambda: len(tree.pids()) == 4, "its processes are there, and none of them is ready")
    tree.process.terminate()
    assert tree.process.wait(STOP_SECONDS) == 0
    assert tree.processes() == []
