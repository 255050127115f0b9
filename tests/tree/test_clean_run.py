"""Nothing goes wrong: a community with a past talks on, and every word of it is found."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from ragd.embedding import Embedder
from ragd.heartbeat import WORKERS
from tests.tree.audit import assert_all_right, assert_captured
from tests.tree.stage import Stage
from tests.tree.tree import Tree

pytestmark = pytest.mark.tree

FRESH_SECONDS = 15.0
"""From a post to its being found; a second or two on a machine that has nothing else to do."""


@pytest.fixture(scope="module")
def seeded() -> float:
    return 0.5


def test_past_and_present_are_captured_chunked_and_found(stage: Stage, tree: Tree, embedder: Embedder) -> None:
    replay = stage.replay(max_gap_seconds=0.005)
    tree.wait(replay.done, "the replay is over")
    replay.result()
    ledger = stage.place.ledger()
    assert any(entry.edited_timestamp for entry in ledger.messages.values())
    assert ledger.deleted
    assert_all_right(stage, tree, embedder)
    status = tree.status()
    assert status.state == "healthy"
    assert {name: process.restarts for name, process in status.processes.items()} == dict.fromkeys(status.processes, 0)


def test_questions_find_what_answers_them(stage: Stage, tree: Tree) -> None:
    tree.settle()
    questions = stage.questions()
    answered = [
        question.text
        for question in questions
        if any(tree.finds(question.text, stage.message_id(answer)) for answer in question.answers)
    ]
    print(f"{len(answered)} of {len(questions)} questions answered")
    # a small model does not see through every paraphrase
    assert len(answered) >= len(questions) * 3 // 4


def test_a_message_is_found_within_seconds_and_gone_as_fast(stage: Stage, tree: Tree) -> None:
    text = "The kingfisher nests beside the third sluice gate again this spring"
    begun = time.monotonic()
    message_id = stage.place.post(text)
    tree.wait(lambda: tree.finds(text, message_id), "it is found", FRESH_SECONDS)
    print(f"searchable after {time.monotonic() - begun:.1f} s")
    stage.place.control.edit(message_id, "The bittern has taken over the nest in the old willow")
    tree.wait(lambda: "bittern" in _passage(tree, "bittern nest in a willow", message_id), "its edit is", FRESH_SECONDS)
    assert "kingfisher" not in _passage(tree, text, message_id)
    stage.place.control.delete(message_id)
    tree.wait(lambda: not tree.finds("bittern nest in a willow", message_id, 50), "it is gone", FRESH_SECONDS)
    assert not any("bittern" in result.text for result in tree.search("bittern nest in a willow", 50).results)
    assert_captured(stage, tree)


def _passage(tree: Tree, query: str, message_id: int) -> str:
    found = (result.text for result in tree.search(query).results if str(message_id) in result.message_ids)
    return next(found, "")


def test_what_was_deleted_before_or_may_not_be_read_is_not_found(stage: Stage, tree: Tree) -> None:
    hidden = {str(channel) for channel in stage.unreadable()}
    gone = {str(message_id) for message_id in stage.place.ledger().deleted}
    assert hidden
    for question in stage.community.questions:
        for result in tree.search(question.text, 50).results:
            assert result.channel_id not in hidden
            assert gone.isdisjoint(result.message_ids)


def test_the_operators_tool_sees_it_as_it_is(tree: Tree) -> None:
    tree.settle()
    told = tree.run_other("ragdctl", "status", "--json")
    assert told.returncode == 0, told.stdout + told.stderr
    document = json.loads(told.stdout)
    assert document["state"] == "healthy"
    assert document["lag_messages"] == document["store"]["holes"] == 0
    assert {name: document["processes"][name]["pid"] for name in tree.pids()} == tree.pids()
    found = tree.run_other("ragdctl", "search", "gateway SD card keeps dying", "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["results"][0]["url"].startswith("https://discord.com/channels/")


@pytest.mark.parametrize("name", ["capture", "watchdog"])
def test_what_could_make_it_sick_is_not_even_mapped(tree: Tree, name: str) -> None:
    mapped = Path(f"/proc/{tree.pid_of(name)}/maps").read_text()
    assert "onnxruntime" not in mapped
    assert "hnswlib" not in mapped


def test_nobody_was_replaced(tree: Tree) -> None:
    """Last on purpose: over all that happened in this module."""
    log = tree.log_text()
    assert [log.count(f"spawned: '{name}'") for name in (*WORKERS, "watchdog")] == [1, 1, 1, 1]
    assert "Traceback" not in log
