"""`ragdctl coverage` as its own process, on a store that nobody writes, and while capture fills it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ragd.cli.coverage_bar import Pace
from ragd.config import Settings
from ragd.store import Store
from ragd.store.completeness import Progress
from ragd.store.events import ChannelsSeen, GuildSeen, PageRead, Posted
from tests.store.factories import GUILD, at, channel, message
from tests.test_control_cli import RUN, Operator
from tests.test_status import beat, settings_in

GENERAL, HELP, THREAD, HIDDEN = at(0), at(1), at(2), at(3)


@pytest.fixture
def settings(short_path: Path) -> Settings:
    settings = settings_in(str(short_path))
    settings.heartbeat_dir.mkdir(parents=True)
    return settings


@pytest.fixture
def ragdctl(settings: Settings) -> Operator:
    return Operator(settings.data_dir, {"RAGD_DATA_DIR": str(settings.data_dir), "DISCORD_BOT_TOKEN": "top-secret"})


@pytest.fixture
def store(settings: Settings) -> Store:
    """#general is complete, #help lacks its older half, its thread everything; #staff cannot be read."""
    store = Store.open(settings.database_path)
    rows = [
        channel(at(1000), id=GENERAL),
        channel(at(1001), id=HELP, name="he\x1b[31mlp"),
        channel(at(1002), id=THREAD, name="a thread", type=11, parent_id=HELP),
        channel(at(1003), id=HIDDEN, name="staff", readable=False),
    ]
    live = [message(at(1001 + n), channel_id=GENERAL) for n in range(3)]
    store.ingest().apply(
        [
            GuildSeen(GUILD, "Lab"),
            ChannelsSeen(rows),
            PageRead(GUILD, GENERAL, 1, at(1000), [message(at(1000), channel_id=GENERAL)]),
            PageRead(GUILD, HELP, at(501), at(1001), [message(at(501), channel_id=HELP)]),
            *(Posted(row) for row in live),
        ]
    )
    store.close()
    return store


def fill(settings: Settings) -> None:
    store = Store.open(settings.database_path)
    store.ingest().apply([PageRead(GUILD, key, 1, at(1002), []) for key in (HELP, THREAD)])
    store.close()


def test_all_channels(store: Store, ragdctl: Operator) -> None:
    answer = ragdctl("coverage")
    assert (answer.returncode, answer.stderr) == (1, "")
    lines = answer.stdout.splitlines()
    assert lines[0] == "Lab"
    general, help_, thread, staff = (next(line for line in lines if name in line) for name in NAMES)
    assert "100 %" in general
    assert "live" in general
    assert "50.00 %" in help_
    assert "0.00 %" in thread
    assert "may not read" in staff
    assert lines.index(thread) == lines.index(help_) + 1, "below its parent"
    assert "2 holes to fetch" in lines[-1]
    assert "3 channels captured, 1 left out" in lines[-1]
    assert "\x1b" not in answer.stdout


NAMES = ("#general", "#he[31mlp", "  a thread", "#staff")


def test_status_counts_the_same_holes(store: Store, ragdctl: Operator) -> None:
    assert ragdctl.json("coverage")["holes"] == ragdctl.json("status")["store"]["holes"] == 2


def test_as_json(store: Store, ragdctl: Operator) -> None:
    document = ragdctl.json("coverage")
    by_name = {one["name"]: one for one in document["channels"]}
    assert document["captured_channels"] == 3
    assert (by_name["staff"]["percent"], by_name["general"]["percent"]) == (None, 100.0)
    assert by_name["a thread"]["newest_hole"]["last_id"] == str(at(1002))
    assert set(by_name["general"]["proved_by"]) == {"gateway", "rest"}
    assert document["percent"] < 100


def test_complete_ends_with_0(settings: Settings, store: Store, ragdctl: Operator) -> None:
    fill(settings)
    answer = ragdctl("coverage")
    assert answer.returncode == 0, answer.stdout
    assert answer.stdout.splitlines()[-1].startswith("100 % complete")
    assert ragdctl("coverage", "--watch").returncode == 0, "there is nothing to wait for"


@pytest.mark.parametrize("wanted", ["general", "#General", str(GENERAL), f"<#{GENERAL}>"])
def test_one_channel(store: Store, ragdctl: Operator, wanted: str) -> None:
    answer = ragdctl("coverage", "--channel", wanted)
    assert answer.returncode == 0, answer.stderr
    shown = answer.stdout.splitlines()
    assert shown[0].startswith("#general in Lab")
    newest, oldest = (line for line in shown if line.startswith("complete"))
    assert str(at(1003)) in newest
    assert newest.endswith("live")
    assert oldest.endswith("REST")


def test_on_a_narrow_screen_ids_make_room_for_times(store: Store, ragdctl: Operator) -> None:
    ragdctl.environment["COLUMNS"] = "80"
    shown = ragdctl("coverage", "--channel", "general").stdout
    assert str(at(1003)) not in shown
    assert "2023-11-14 2" in shown
    assert "…" not in shown


def test_holes_of_one_channel(store: Store, ragdctl: Operator) -> None:
    answer = ragdctl("coverage", "--channel", str(HELP))
    assert answer.returncode == 1
    (hole,) = [line for line in answer.stdout.splitlines() if line.startswith("hole")]
    assert str(at(501) - 1) in hole
    assert "8 min" in hole, "from the making of the channel on, not from the beginning of time"
    document = ragdctl.json("coverage", "--channel", str(HELP))
    assert [one["last_id"] for one in document["open"]] == [str(at(501) - 1)]
    assert [one["source"] for one in document["proofs"]] == ["rest"]


def test_an_unknown_channel_is_one_line(store: Store, ragdctl: Operator) -> None:
    answer = ragdctl("coverage", "--channel", "nowhere")
    assert (answer.returncode, answer.stdout) == (64, "")
    assert "no channel or thread of that name" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_a_name_that_two_have_asks_for_an_id(settings: Settings, store: Store, ragdctl: Operator) -> None:
    writer = Store.open(settings.database_path)
    writer.ingest().apply([ChannelsSeen([channel(id=at(9), name="general")])])
    writer.close()
    answer = ragdctl("coverage", "--channel", "general")
    assert answer.returncode == 64
    assert str(GENERAL) in answer.stderr


def test_without_a_database(ragdctl: Operator) -> None:
    answer = ragdctl("coverage")
    assert answer.returncode == 69
    assert "no database" in answer.stderr


def test_watch_in_a_pipe_prints_lines_until_nothing_is_missing(
    settings: Settings, store: Store, ragdctl: Operator
) -> None:
    command = [sys.executable, *RUN, "coverage", "--watch"]
    with subprocess.Popen(
        command, cwd=ragdctl.directory, env=ragdctl.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "2 holes, time left" in line)
        assert "%" in line
        fill(settings)
        assert "nothing is missing" in process.stdout.read()
        assert process.wait() == 0


def test_the_bar_follows_on_a_terminal_while_capture_fills(settings: Settings, store: Store, ragdctl: Operator) -> None:
    beat(settings, "capture", os.getpid(), written_at=time.time(), counters={"connected": True})
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *RUN, "coverage"],
        cwd=ragdctl.directory,
        env={**ragdctl.environment, "COLUMNS": "120"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    try:
        assert "q ends" in _read(master, "q ends")
        fill(settings)
        _read(master, "nothing is missing")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _read(terminal: int, wanted: str) -> str:
    shown, deadline = "", time.monotonic() + 30
    while wanted not in shown and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 65536).decode(errors="replace")
    assert wanted in shown
    return shown


def test_the_time_left_follows_from_how_the_covered_part_grew() -> None:
    pace = Pace()
    assert pace.eta_seconds(Progress(0, 1000, 1, 0), 0.0) is None
    assert pace.eta_seconds(Progress(100, 1000, 1, 0), 10.0) == 90.0
    assert pace.eta_seconds(Progress(50, 1000, 1, 0), 20.0) is None, "a claim was taken back"
    assert pace.eta_seconds(Progress(50, 1000, 1, 0), 30.0) is None, "nothing grows"
    assert pace.eta_seconds(Progress(1000, 1000, 0, 0), 40.0) == 0.0
