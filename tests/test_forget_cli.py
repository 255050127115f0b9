"""`ragdctl forget` as its own process, while ragd does not run: what it refuses, asks, and says."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ragd.config import Settings
from ragd.snowflake import from_unix_seconds
from ragd.store import Store
from ragd.store.events import ChannelsSeen, GuildSeen, Posted
from tests.store.factories import GUILD, at, channel, message
from tests.test_control_cli import Operator
from tests.test_erasing import hear_capture
from tests.test_status import settings_in

ANN, BEN = 5, 6


@pytest.fixture
def settings(short_path: Path) -> Settings:
    settings = settings_in(str(short_path))
    store = Store.open(settings.database_path)
    said = [(1, ANN, "ann"), (2, ANN, "ann"), (3, BEN, "ann"), (4, BEN, "ben\x1b[31m")]
    rows = [message(at(nth), "kettle", author_id=author, author_name=name) for nth, author, name in said]
    store.ingest().apply([GuildSeen(GUILD, "Lab"), ChannelsSeen([channel()]), *map(Posted, rows)])
    store.close()
    return settings


@pytest.fixture
def ragdctl(settings: Settings) -> Operator:
    return Operator(settings.data_dir, {"RAGD_DATA_DIR": str(settings.data_dir), "DISCORD_BOT_TOKEN": "top-secret"})


def kept(settings: Settings, user_id: int) -> int:
    store = Store.open_read_only(settings.database_path)
    try:
        return store.people.kept(user_id).messages
    finally:
        store.close()


def test_nothing_goes_unless_somebody_says_yes(settings: Settings, ragdctl: Operator) -> None:
    answer = ragdctl("forget", str(ANN))
    assert answer.returncode == 64
    assert "user 5: 2 messages in 1 channels" in answer.stdout
    assert answer.stderr == "ragdctl: nobody said yes, so nothing was erased - --yes does not ask\n"
    assert ragdctl.json("forget", str(ANN)) == {"user": "5", "messages": 2, "channels": 1, "erasure": None}
    assert kept(settings, ANN) == 2


def test_with_a_yes_it_is_gone_and_the_receipt_is_whole(settings: Settings, ragdctl: Operator) -> None:
    answer = ragdctl("forget", str(ANN), "--yes")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "erasure 1 of user 5: complete" in answer.stdout
    assert "taken out: 2 messages" in answer.stdout
    assert (kept(settings, ANN), kept(settings, BEN)) == (0, 2)


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("nobody", "nobody called nobody has written a message that is stored - give the id"),
        ("ann", "2 people wrote as ann: 5 (2 messages), 6 (1 messages) - give the id of one of them"),
        ("9" * 19, "nobody called 9999999999999999999 has written"),
        ("9" * 5000, "nobody called 9999"),
        ("\x1b[2J", "nobody called [2J has written"),
    ],
)
def test_who_cannot_be_told_is_refused_in_a_line(settings: Settings, ragdctl: Operator, user: str, said: str) -> None:
    answer = ragdctl("forget", user, "--yes")
    assert answer.returncode == 64
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert "\x1b" not in answer.stderr
    assert (kept(settings, ANN), kept(settings, BEN)) == (2, 2)


def test_with_a_clock_that_is_ahead_what_is_written_later_is_kept(settings: Settings, ragdctl: Operator) -> None:
    """Ours says a month more than Discord's, by which messages have their ids."""
    hear_capture(settings, ahead=30 * 86_400)
    assert ragdctl("forget", str(BEN), "--yes").returncode == 0
    in_truth = time.time() - 30 * 86_400
    before, after = from_unix_seconds(in_truth - 5), from_unix_seconds(in_truth + 60)
    store = Store.open(settings.database_path)
    store.ingest().apply([Posted(message(one, "kettle", author_id=BEN)) for one in (before, after)])
    written = {row[0] for row in store._all("SELECT id FROM message WHERE author_id = ?", BEN)}
    store.close()
    assert after in written
    assert before not in written
