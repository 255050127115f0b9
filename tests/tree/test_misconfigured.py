"""A setting is wrong: ragd says so in one line, does not start, or does without what cannot work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.heartbeat import PROCESSES
from tests.tree.stage import Stage
from tests.tree.tree import Tree

pytestmark = pytest.mark.tree

PASSES = 10
"""Of the watchdog, each of which would start capture again if it were to."""


@pytest.fixture(scope="module")
def seeded() -> float:
    return 0.1


@pytest.fixture(scope="module")
def refused(stage: Stage, home: Path) -> Iterator[Tree]:
    """A tree whose token Discord does not take."""
    with Tree(stage.variables(home, DISCORD_BOT_TOKEN="wrong")) as tree:
        yield tree.start()


@pytest.mark.parametrize(
    ("name", "value"),
    [("RAGD_STALE_SECONDS", "soon"), ("AUTO_SYNC_STRATEGIES", "temporal,magic"), ("RAGD_STALE_SECOND", "5")],
)
def test_a_bad_setting_starts_nothing(stage: Stage, short_path: Path, name: str, value: str) -> None:
    with Tree(stage.variables(short_path)) as tree:
        run = tree.run_other("ragd", **{name: value})
        assert run.returncode == 78
        assert run.stdout == ""
        assert run.stderr.count("\n") == 1
        assert run.stderr.startswith(f"ragd: {name}")
        assert tree.processes() == []
        assert list(short_path.iterdir()) == []


def test_a_refused_token_is_told_and_the_others_work(refused: Tree) -> None:
    def known() -> bool:
        return {name: process.state for name, process in refused.status().processes.items()} == {
            "capture": "misconfigured",
            "syncer": "running",
            "searcher": "running",
            "watchdog": "degraded",
        }

    refused.wait(known, "capture is given up, the others work")
    status = refused.status()
    assert status.state == "degraded"
    assert any("capture has a configuration error" in reason and "restart ragd" in reason for reason in status.reasons)
    assert "Discord refused DISCORD_BOT_TOKEN - copy the token anew" in refused.log_text()
    assert "wrong" not in refused.log_text()
    assert refused.search("anything").results == []


def test_a_refused_token_is_not_tried_again_and_again(stage: Stage, refused: Tree) -> None:
    refused.wait(lambda: refused.status().processes["capture"].state == "misconfigured", "capture is given up")
    first = refused.counter("watchdog", "passes")
    refused.wait(lambda: refused.counter("watchdog", "passes") >= first + PASSES, "the watchdog sees it many times")
    spawned = [refused.log_text().count(f"spawned: '{name}'") for name in PROCESSES]
    assert spawned == [1, 1, 1, 1]
    assert refused.stop() == 0
