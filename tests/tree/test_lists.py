"""The deny list under a real supervisord: `ragdctl reload`, what members find and may ask, `ragdctl purge`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.store import Store
from tests.processes import Place, environment
from tests.tree.tree import INTERVALS, Tree

pytestmark = pytest.mark.tree


@pytest.fixture
def tree(place: Place, short_path: Path) -> Iterator[Tree]:
    variables = environment(place.sandbox, short_path / "data", **INTERVALS)
    with Tree(variables) as tree:
        yield tree.start().running()


def deny(tree: Tree, *ids: int) -> None:
    (tree.home / ".env").write_text(f"RAGD_DENY_IDS={','.join(map(str, ids))}\n")
    run = tree.run_other("ragdctl", "reload", "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {"changed": ["RAGD_DENY_IDS"], "restarted": [], "taken_over": ["capture"]}


def said(place: Place, command: str, **options: str) -> str:
    report = place.control.run_command(place.channel_id, place.member_id, command, options, wait_seconds=30)
    return str(report["messages"][0])


def chunks(tree: Tree) -> int:
    store = Store.open_read_only(tree.settings.database_path)
    try:
        return store.counts().chunks
    finally:
        store.close()


def test_denied_purged_and_allowed_again(place: Place, tree: Tree) -> None:
    secret = place.post("The kumquat opens the vault behind the rain gauge.")
    tree.wait(lambda: tree.finds("What opens the vault?", secret), "it is found")
    pids = tree.pids()
    deny(tree, place.channel_id)
    assert not tree.finds("What opens the vault?", secret), "from the moment that reload has returned"
    assert "told to leave this channel alone" in said(place, "search", text="vault")
    assert "told to leave" not in said(place, "health")
    assert chunks(tree) > 0

    run = tree.run_other("ragdctl", "purge", "--denied", "--yes", "--json")
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert (document["purged"], document["search_followed"]) == (1, True)
    assert chunks(tree) == 0

    deny(tree)
    tree.wait(lambda: tree.finds("What opens the vault?", secret), "it is found again")
    assert tree.pids() == pids
    assert place.control.gateway()["identifies"] == 1


def test_a_list_and_another_setting_restart_capture_once(place: Place, tree: Tree) -> None:
    before = tree.pids()
    (tree.home / ".env").write_text(f"RAGD_DENY_IDS={place.channel_id}\nRAGD_RECONCILE_HOURS=2\n")
    run = tree.run_other("ragdctl", "reload")
    assert run.returncode == 0, run.stderr
    assert run.stdout == "capture restarted: RAGD_DENY_IDS, RAGD_RECONCILE_HOURS\n"
    after = tree.pids()
    assert {name for name in before if before[name] != after.get(name)} == {"capture"}


def test_lists_that_contradict_each_other_touch_nothing(place: Place, tree: Tree) -> None:
    before = tree.pids()
    (tree.home / ".env").write_text(f"RAGD_DENY_IDS={place.channel_id}\nRAGD_ALLOW_IDS=5,{place.channel_id}\n")
    run = tree.run_other("ragdctl", "reload")
    assert run.returncode == 78
    assert f"RAGD_ALLOW_IDS and RAGD_DENY_IDS both name {place.channel_id}" in run.stderr
    assert run.stderr.count("\n") == 1
    assert tree.pids() == before
