"""`ragdctl purge` as its own process, while ragd does not run: what goes, what goes on, and what the receipt says."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragd.config import Settings
from ragd.erasing import Eraser
from ragd.store import Store
from ragd.store.events import ChannelsSeen, GuildSeen, Posted, ScopeSet
from tests.store.factories import CHANNEL, GUILD, at, channel, message
from tests.test_control_cli import Operator
from tests.test_status import settings_in


@pytest.fixture
def settings(short_path: Path) -> Settings:
    settings = settings_in(str(short_path))
    store = Store.open(settings.database_path)
    rows = [message(at(nth), "kettle") for nth in range(3)]
    store.ingest().apply([GuildSeen(GUILD, "Lab"), ChannelsSeen([channel()]), *map(Posted, rows)])
    store.close()
    return settings


@pytest.fixture
def ragdctl(settings: Settings) -> Operator:
    variables = {"RAGD_DATA_DIR": str(settings.data_dir), "DISCORD_BOT_TOKEN": "t", "RAGD_DENY_IDS": str(CHANNEL)}
    return Operator(settings.data_dir, variables)


def test_it_ends_with_a_receipt_that_counts(ragdctl: Operator) -> None:
    answer = ragdctl("purge", "--denied", "--yes")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "3 messages taken out; search has followed\n" in answer.stdout
    assert f"erasure 1 of channel {CHANNEL}: complete" in answer.stdout
    assert "taken out: 3 messages, 0 chunks, 0 vectors" in answer.stdout
    assert answer.stdout.endswith("for you to delete; purge again after one is restored\n")
    assert "captured again" not in answer.stdout
    assert "there is nothing to take out" in ragdctl("purge", "--denied", "--yes").stdout


def test_a_receipt_tells_that_the_channel_is_captured_again(settings: Settings, ragdctl: Operator) -> None:
    store = Store.open(settings.database_path)
    store.ingest().apply([ScopeSet([], [CHANNEL])])
    erasure_id = store.erasures.purge_channel(CHANNEL)
    store.ingest().apply([ScopeSet([], [])])
    Eraser(settings, store, alone=True).run()
    store.close()
    told = ragdctl("erasures", str(erasure_id)).stdout
    assert "taken out: 0 messages" in told
    assert "the channel is captured again: what was left in it then stays, and its history is read anew\n" in told


@pytest.mark.parametrize("state", ["rows", "file"])
def test_one_that_was_killed_is_gone_on_with(settings: Settings, ragdctl: Operator, state: str) -> None:
    store = Store.open(settings.database_path)
    store.ingest().apply([ScopeSet([], [CHANNEL])])
    erasure_id = store.erasures.purge_channel(CHANNEL)
    assert erasure_id
    assert store.erasures.erase_some(store.erasures.open()[0])
    if state == "file":
        assert not store.erasures.erase_some(store.erasures.open()[0])
    assert store.erasures.open()[0].state == state
    store.close()
    document = ragdctl.json("purge", "--denied", "--yes")
    assert [(one["id"], one["messages"], one["purged"]) for one in document["channels"]] == [(CHANNEL, 0, 3)]
    assert [(one["id"], one["state"], one["messages"]) for one in document["erasures"]] == [(erasure_id, "done", 3)]
    assert (document["purged"], document["search_followed"]) == (3, True)
