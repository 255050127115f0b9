"""The whole picture from real files, real processes and a real store; whatever is dead or damaged is a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from ragd import status as status_module
from ragd.alerts import Alert, Kind, Notice, Severity
from ragd.cli.demo import MARKER
from ragd.config import Settings
from ragd.heartbeat import PROCESSES, Heartbeat, heartbeat_path, write_heartbeat
from ragd.status import Status, collect_status
from ragd.store import Store
from ragd.store.events import ChannelsSeen, Deleted, GuildSeen, Posted
from tests.store.factories import CHANNEL, GUILD, at, channel, message
from tests.toytree import ROOT, ToyTree, settings_of, wait_until


@pytest.fixture
def settings(short_path: Path) -> Settings:
    settings = settings_in(str(short_path))
    settings.heartbeat_dir.mkdir(parents=True)
    return settings


def settings_in(directory: str) -> Settings:
    return settings_of({"RAGD_DATA_DIR": directory, "DISCORD_BOT_TOKEN": "x"})


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives, to be somebody's."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def beat(settings: Settings, process: str, pid: int, **fields: Any) -> None:
    now = time.time()
    values = {"started_at": now, "written_at": now, "beat": 3, "state": "running", **fields}
    write_heartbeat(settings.heartbeat_dir, Heartbeat(process, pid, **values))


def fill_store(settings: Settings) -> Store:
    """Two messages and a deleted one, in one channel with a hole before them."""
    store = Store.open(settings.database_path)
    events = [GuildSeen(GUILD, "g"), ChannelsSeen([channel(at(0))]), *(Posted(message(at(n))) for n in (1, 2, 3))]
    store.ingest().apply([*events, Deleted(GUILD, CHANNEL, [at(3)])])
    return store


def only_reason(seen: Status, *words: str) -> str:
    (reason,) = [reason for reason in seen.reasons if all(word in reason for word in words)]
    return reason


def test_the_store_is_counted(settings: Settings) -> None:
    fill_store(settings).close()
    store = collect_status(settings).store
    assert store is not None
    assert (store.messages, store.deleted, store.channels, store.holes) == (2, 1, 1, 1)
    assert (store.chunks, store.vectors, store.lag_messages, store.unreadable_channels) == (0, 0, 0, 0)
    assert store.database_bytes > 0
    assert store.sqlite_version == apsw.sqlite_lib_version()


def test_down_without_a_process_and_all_that_can_be_shown_is(settings: Settings) -> None:
    fill_store(settings).close()
    seen = collect_status(settings)
    assert seen.state == "down"
    assert seen.supervisor.state == "unreachable"
    assert {process.state for process in seen.processes.values()} == {"stopped"}
    assert tuple(seen.processes) == PROCESSES
    assert seen.store is not None
    assert "start it with `ragd`" in only_reason(seen, "does not run")


def test_down_in_an_empty_directory(settings: Settings) -> None:
    seen = collect_status(settings)
    assert (seen.state, seen.store, seen.alerts) == ("down", None, ())
    assert only_reason(seen, "no database")
    assert not settings.database_path.exists()


def test_a_process_that_went_without_a_word(settings: Settings, child: subprocess.Popen[bytes]) -> None:
    beat(settings, "capture", child.pid)
    beat(settings, "syncer", child.pid, state="stopping")
    child.kill()
    child.wait()
    processes = collect_status(settings).processes
    assert (processes["capture"].state, processes["capture"].pid) == ("exited", None)
    assert str(child.pid) in processes["capture"].detail
    assert processes["capture"].heartbeat_age_seconds is not None
    assert processes["syncer"].state == "stopped"


def test_a_dead_process_that_nobody_has_reaped_is_dead(settings: Settings, child: subprocess.Popen[bytes]) -> None:
    beat(settings, "capture", child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert collect_status(settings).processes["capture"].state == "exited"


def test_another_process_with_the_same_number_does_not_count(
    settings: Settings, child: subprocess.Popen[bytes]
) -> None:
    beat(settings, "capture", child.pid, written_at=time.time() - 3600)
    assert collect_status(settings).processes["capture"].state == "exited"


def test_workers_without_supervisord_are_degraded(settings: Settings, child: subprocess.Popen[bytes]) -> None:
    fill_store(settings).close()
    for name in PROCESSES:
        beat(settings, name, child.pid, counters={"backlog": 2})
    seen = collect_status(settings)
    capture = seen.processes["capture"]
    assert seen.state == "degraded"
    assert "nothing that ends is replaced" in only_reason(seen, "supervisord")
    assert (capture.state, capture.pid, dict(capture.counters)) == ("running", child.pid, {"backlog": 2})
    assert capture.rss_bytes is not None
    assert capture.rss_bytes > 100_000
    assert capture.uptime_seconds is not None
    assert 0 <= capture.uptime_seconds < 60
    assert capture.heartbeat_age_seconds is not None
    assert capture.heartbeat_age_seconds < 30


@pytest.mark.parametrize("own_word", ["starting", "degraded", "stopping"])
def test_what_a_worker_says_of_itself(settings: Settings, child: subprocess.Popen[bytes], own_word: str) -> None:
    beat(settings, "capture", child.pid, state=own_word, detail="not connected")
    seen = collect_status(settings)
    assert seen.processes["capture"].state == own_word
    assert only_reason(seen, "capture", own_word, "not connected")


def test_a_heartbeat_that_stands_still(settings: Settings, child: subprocess.Popen[bytes]) -> None:
    stale = settings.model_copy(update={"stale_seconds": 0.2, "heartbeat_seconds": 0.1})
    beat(settings, "capture", child.pid)
    wait_until(lambda: collect_status(stale).processes["capture"].state == "stale", 10, "stale")
    assert "no heartbeat for" in only_reason(collect_status(stale), "capture hangs")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"process": "capture"}', b"\xff\xfe", b"null", b'"' + b"x" * 100_000 + b'"']
)
def test_a_damaged_heartbeat_is_a_reason(settings: Settings, child: subprocess.Popen[bytes], content: bytes) -> None:
    for name in PROCESSES[1:]:
        beat(settings, name, child.pid)
    heartbeat_path(settings.heartbeat_dir, "capture").write_bytes(content)
    seen = collect_status(settings)
    assert (seen.state, seen.processes["capture"].state) == ("degraded", "unknown")
    assert only_reason(seen, "capture", "is no heartbeat")


@pytest.mark.parametrize("pid", [0, -1, 1.5, 2**40])
def test_a_heartbeat_with_an_impossible_pid(settings: Settings, pid: Any) -> None:
    beat(settings, "capture", pid)
    assert collect_status(settings).processes["capture"].pid is None


def test_files_where_directories_should_be(settings: Settings) -> None:
    settings.heartbeat_dir.rmdir()
    settings.heartbeat_dir.write_text("")
    settings.database_path.mkdir()
    seen = collect_status(settings)
    assert (seen.state, seen.store) == ("down", None)


def test_a_clock_that_was_set_back_makes_no_negative_age(settings: Settings, child: subprocess.Popen[bytes]) -> None:
    beat(settings, "capture", child.pid, written_at=time.time() + 3600)
    assert collect_status(settings).processes["capture"].heartbeat_age_seconds == 0


@pytest.mark.parametrize("content", [b"", b"this is no database, but a text that is long enough" * 40])
def test_a_damaged_database_is_a_reason(settings: Settings, child: subprocess.Popen[bytes], content: bytes) -> None:
    beat(settings, "capture", child.pid)
    settings.database_path.write_bytes(content)
    seen = collect_status(settings)
    assert (seen.state, seen.store) == ("degraded", None)
    assert only_reason(seen, str(settings.database_path))


def test_a_locked_database_is_a_reason_soon(settings: Settings, child: subprocess.Popen[bytes]) -> None:
    fill_store(settings).close()
    beat(settings, "capture", child.pid)
    holder = apsw.Connection(str(settings.database_path))
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN IMMEDIATE")
    try:
        started = time.monotonic()
        seen = collect_status(settings)
        assert time.monotonic() - started < 4
    finally:
        holder.close()
    assert (seen.state, seen.store) == ("degraded", None)
    assert only_reason(seen, "locked")


def test_open_alerts_are_reasons(settings: Settings) -> None:
    store = fill_store(settings)
    full = Alert(Severity.ERROR, "disk", "0.02 GiB free", 1.0, 1.0)
    over = Alert(Severity.WARNING, "memory", "long over", 1.0, 1.0)
    for kind, alert in ((Kind.RAISED, full), (Kind.RAISED, over), (Kind.ENDED, over)):
        store.alerts.record(Notice(kind, alert, 2.0))
    store.close()
    seen = collect_status(settings)
    assert [(alert.severity, alert.text) for alert in seen.alerts] == [("error", "0.02 GiB free")]
    assert only_reason(seen, "0.02 GiB free")


def content(settings: Settings) -> dict[str, bytes]:
    """Every file in the data directory but SQLite's shared memory, which is made anew by whoever looks."""
    files = [path for path in settings.data_dir.rglob("*") if path.is_file() and not path.name.endswith("-shm")]
    return {path.name: path.read_bytes() for path in files}


def test_looking_changes_nothing(settings: Settings) -> None:
    fill_store(settings).close()
    before = content(settings)
    collect_status(settings)
    assert content(settings) == before


def test_looking_at_what_a_killed_daemon_left_changes_nothing(settings: Settings) -> None:
    leave = "import os, sys; from tests.test_status import *; fill_store(settings_in(sys.argv[1])); os._exit(0)"
    subprocess.run([sys.executable, "-c", leave, str(settings.data_dir)], check=True, cwd=ROOT)
    before = content(settings)
    for _ in range(2):
        store = collect_status(settings).store
        assert store is not None
        assert store.messages == 2
        assert store.wal_bytes > 0
    assert content(settings) == before


def test_only_the_demo_calls_itself_one(settings: Settings) -> None:
    assert status_module.DEMO_MARKER == MARKER
    assert not collect_status(settings).demo
    (settings.data_dir / MARKER).touch()
    assert collect_status(settings).demo


def test_a_whole_tree_from_healthy_to_down() -> None:
    with ToyTree(watchdog=True) as tree:
        fill_store(tree.settings).close()
        tree.start()
        wait_until(lambda: collect_status(tree.settings).state == "healthy", 30, "healthy")
        seen = collect_status(tree.settings)
        assert seen.reasons == ()
        assert {name: process.pid for name, process in seen.processes.items()} == {
            name: tree.pid(name) for name in PROCESSES
        }
        assert tree.process is not None
        assert (seen.supervisor.state, seen.supervisor.pid) == ("running", tree.process.pid)

        os.kill(tree.pid("syncer"), signal.SIGKILL)
        wait_until(lambda: collect_status(tree.settings).processes["syncer"].restarts == 1, 30, "a restart is counted")

        tree.client.stop("capture")
        wait_until(lambda: collect_status(tree.settings).processes["capture"].state != "running", 30, "stopped")
        assert collect_status(tree.settings).state == "degraded"

        tree.client.shutdown()
        wait_until(lambda: collect_status(tree.settings).state == "down", 30, "down")


def test_states_that_supervisord_tells() -> None:
    with ToyTree() as tree:
        tree.behave("capture", "exit1")
        tree.behave("syncer", "exit78")
        tree.start()
        wait_until(lambda: collect_status(tree.settings).processes["capture"].state == "fatal", 30, "fatal")
        wait_until(lambda: collect_status(tree.settings).processes["syncer"].state == "misconfigured", 30, "78")
        seen = collect_status(tree.settings)
        assert only_reason(seen, "syncer has a configuration error")
        assert only_reason(seen, "capture ends at every start")
        assert seen.processes["watchdog"].state == "stopped"  # supervisord has none here


def test_a_frozen_supervisord_is_not_waited_for() -> None:
    with ToyTree() as tree:
        tree.start()
        wait_until(lambda: collect_status(tree.settings).processes["capture"].state == "running", 30, "running")
        tree.signal(signal.SIGSTOP)
        started = time.monotonic()
        seen = collect_status(tree.settings)
        assert time.monotonic() - started < 4
        assert (seen.state, seen.supervisor.state) == ("degraded", "unreachable")
        assert seen.processes["capture"].state == "running"
