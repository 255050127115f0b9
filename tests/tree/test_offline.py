"""ragd is cut off, loses its session, is stopped, or loses its power, and the community talks on."""

from __future__ import annotations

import pytest

from ragd.embedding import Embedder
from tests.tree.audit import assert_all_right, assert_captured
from tests.tree.stage import SUBJECTS, Stage
from tests.tree.tree import Tree

pytestmark = pytest.mark.tree

MISSED = 320
"""More than three pages of 100 over REST."""


@pytest.fixture(scope="module")
def seeded() -> float:
    return 0.2


def carry_on(stage: Stage, known: list[int], count: int = MISSED) -> None:
    """What happens while ragd is away: many new messages, a thread, edits and deletes of new and of `known` ones."""
    place, control = stage.place, stage.place.control
    new = control.post_many(
        place.channel_id, place.member_id, [f"{n}: who minds {SUBJECTS[n % len(SUBJECTS)]}?" for n in range(count)]
    )
    thread = control.create_thread(place.channel_id, place.member_id, "a thread that nobody heard begin")
    place.post("the first word in it", thread)
    control.edit(known[0], "edited while ragd was away")
    control.delete(known[1])
    control.bulk_delete(place.channel_id, known[2:5])
    control.edit(new[10], "edited before ragd ever saw it")
    control.bulk_delete(place.channel_id, new[20:30])


def known_messages(stage: Stage, tree: Tree) -> list[int]:
    """Some messages that are in the store."""
    ids = [stage.place.post(f"before ragd goes away, number {number}") for number in range(6)]
    assert_captured(stage, tree)
    return ids


def test_a_session_that_expires_while_messages_flow(stage: Stage, tree: Tree, embedder: Embedder) -> None:
    sessions = tree.counter("capture", "sessions")
    control = stage.place.control
    with stage.chatting():
        tree.wait(lambda: control.gateway()["connections"], "connected")
        control.expire_sessions()
        control.cut()
        tree.wait(lambda: tree.counter("capture", "sessions") > sessions, "a new session")
    assert_all_right(stage, tree, embedder)
    assert tree.counter("capture", "resumes") == 0


def test_a_network_that_is_away(stage: Stage, tree: Tree, embedder: Embedder) -> None:
    known = known_messages(stage, tree)
    stage.place.control.network(up=False)
    carry_on(stage, known)
    tree.wait(lambda: tree.counter("capture", "connected") is False, "capture knows")
    # no longer than that: each try to connect doubles the pause before the next one
    stage.place.control.network(up=True)
    assert_all_right(stage, tree, embedder)
    tree.wait(lambda: tree.status().state == "healthy", "healthy")


def test_a_stop_and_a_start(stage: Stage, tree: Tree, embedder: Embedder) -> None:
    known = known_messages(stage, tree)
    assert tree.stop() == 0
    carry_on(stage, known)
    tree.start().running()
    assert_all_right(stage, tree, embedder)


def test_everything_killed_at_once(stage: Stage, tree: Tree, embedder: Embedder) -> None:
    with stage.chatting():
        posted = tree.counter("capture", "posted") or 0
        tree.wait(lambda: (tree.counter("capture", "posted") or 0) > posted + 20, "messages flow")
        tree.end()
        assert tree.processes() == []
        tree.start().running()
    assert_all_right(stage, tree, embedder)
