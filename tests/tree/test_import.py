"""Chats of three years, imported into a running ragd and found in it; nothing of them is in here but ids."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tree.audit import assert_captured, assert_sound
from tests.tree.stage import Stage
from tests.tree.test_real_chats import QUERIES, SYNC_SECONDS
from tests.tree.tree import Tree

pytestmark = pytest.mark.tree

RUN = ("-c", "from ragd.cli.control import main; main()")


@pytest.fixture(scope="module")
def folder() -> Path:
    root = Path(os.environ.get("RAGD_TEST_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
    folder = root / "pyscript-discord"
    if not folder.is_dir():
        pytest.skip("no PyScript exports here: set RAGD_TEST_DATA to the folder that holds pyscript-discord")
    return folder


@pytest.mark.timeout(420)
def test_real_chats_are_imported_while_ragd_runs_and_found(folder: Path, home: Path) -> None:
    with Stage("demo") as stage, Tree(stage.variables(home)) as tree:
        tree.start()
        assert_captured(stage, tree)
        before = tree.status().store
        assert before is not None
        environment = {**os.environ, **stage.variables(home)}
        with stage.chatting():
            run = subprocess.run(
                [sys.executable, *RUN, "import", str(folder)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
            )
        print(run.stdout)
        assert (run.returncode, run.stderr) == (0, "")
        tree.settle(SYNC_SECONDS)
        after = tree.status().store
        assert after is not None
        assert after.messages >= before.messages + 2115
        assert (after.channels, after.holes) == (before.channels + 10, 0)
        assert_sound(tree.settings.database_path)
        for query, wanted in QUERIES.items():
            answer = tree.search(query)
            found = [wanted & set(map(int, result.message_ids)) for result in answer.results]
            print(
                query,
                [
                    f"{result.score:.2f} #{result.channel} {bool(hit)}"
                    for result, hit in zip(answer.results, found, strict=True)
                ],
            )
            assert any(found), query
