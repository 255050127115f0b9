"""What ragd says is never found, not even when other bots are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tree.stage import Stage
from tests.tree.tree import Tree

pytestmark = pytest.mark.tree

TEXT = "The heron stands on the lock gate every evening at six"


@pytest.fixture(scope="module")
def tree(stage: Stage, home: Path) -> Iterator[Tree]:
    with Tree(stage.variables(home, RAGD_INDEX_BOTS="true")) as tree:
        yield tree.start().running()


def test_an_answer_that_quotes_never_becomes_a_passage(stage: Stage, tree: Tree) -> None:
    place = stage.place
    control, channel = place.control, place.channel_id
    said = place.post(TEXT)
    tree.wait(lambda: tree.finds(TEXT, said), "it is found")
    report = control.say(channel, place.member_id, f"!search {TEXT}", wait_seconds=30)
    answers = {message["id"] for message in report["messages"]}
    assert any("heron" in str(message) for message in report["messages"]), "it quotes"
    echo = control.post(channel, place.bot_id, f"As was said: {TEXT}")
    other = control.create_user("helper", bot=True)
    control.add_member(place.guild_id, other)
    relayed = control.post(channel, other, f"A bot relays: {TEXT}")
    tree.wait(lambda: tree.finds(TEXT, relayed, 20), "another bot is found")
    tree.settle()
    found = {message_id for result in tree.search(TEXT, 50).results for message_id in result.message_ids}
    assert {str(said), str(relayed)} <= found
    assert found.isdisjoint({*answers, str(echo)})
