"""A damaged database: refused with what to do, told past Discord, left alone; restored, everything is there again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.damage import flip_page
from tests.processes import assert_complete
from tests.receivers import HttpReceiver, http_receiver
from tests.tree.stage import Stage
from tests.tree.tree import Tree

pytestmark = pytest.mark.tree

PASSES = 10
"""Of the watchdog, each of which would start capture again if it were to."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def tree(stage: Stage, home: Path, receiver: HttpReceiver) -> Iterator[Tree]:
    with Tree(stage.variables(home, ALERT_URLS=receiver.url)) as tree:
        yield tree


def test_damaged_refused_told_restored_complete(stage: Stage, tree: Tree, receiver: HttpReceiver) -> None:
    database = tree.settings.database_path
    tree.start().running()
    tree.settle()
    backup = tree.run_other("ragdctl", "backup")
    assert backup.returncode == 0, backup.stderr
    stage.place.post("after the backup")
    assert_complete(stage.place, database, stage.unreadable())
    refused = tree.run_other("ragdctl", "restore", "--force")
    assert refused.returncode == 75
    assert "is in use by ragd with pid" in refused.stderr
    assert tree.stop() == 0

    flip_page(database)
    spawned = tree.log_text().count("spawned: 'capture'")
    tree.start()
    tree.wait(lambda: tree.status().processes["capture"].state == "damaged", "capture is given up")
    tree.wait(lambda: any(title.endswith(": critical") for title in receiver.titles()), "told past Discord")
    passes = tree.counter("watchdog", "passes")
    tree.wait(lambda: tree.counter("watchdog", "passes") >= passes + PASSES, "the watchdog sees it many times")
    assert tree.log_text().count("spawned: 'capture'") == spawned + 1
    assert tree.status().state == "degraded"
    assert any("`ragdctl restore`" in reason for reason in tree.status().reasons)
    (said, *_) = [line for line in tree.log_text().splitlines() if f"{database} is damaged" in line]
    assert "`ragdctl restore`: the newest backup is of" in said
    assert tree.stop() == 0

    restored = tree.run_other("ragdctl", "restore")
    assert restored.returncode == 0, restored.stderr
    stage.place.post("while nobody listened")
    tree.start().running()
    assert_complete(stage.place, database, stage.unreadable())
    tree.settle()
    assert tree.stop() == 0
