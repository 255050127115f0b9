"""The watchdog over a real supervisord and toy workers that crash, hang, loop, are deaf or misconfigured."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import apsw
import pytest

from ragd.alerts import Kind, Notice, Outlet, Severity
from ragd.heartbeat import WORKERS, Heartbeat, read_heartbeat
from ragd.restarts import RestartRule
from ragd.store import Store
from ragd.supervision import ProcessState
from ragd.watchdog import PASS_SECONDS, Watchdog
from tests.toytree import ROOT, ToyTree, settings_of, wait_until

QUICK = RestartRule(burst=3, first_gap_seconds=0.2, slow_gap_seconds=3, quiet_seconds=6)


class Outbox(Outlet):
    """An outlet that remembers."""

    def __init__(self) -> None:
        self.raised: list[tuple[Severity, str, str]] = []
        self.resolved: list[str] = []

    def take(self, notice: Notice) -> None:
        alert = notice.alert
        if notice.kind is Kind.ENDED:
            self.resolved.append(alert.key)
        else:
            self.raised.append((alert.severity, alert.key, alert.text))

    def told_of(self) -> list[str]:
        return [key for _, key, _ in self.raised]


class Drive:
    """A watchdog in this process, stepped by the real clock."""

    def __init__(self, tree: ToyTree, rule: RestartRule = QUICK, **options: object) -> None:
        self.outbox = Outbox()
        rules = dict.fromkeys(WORKERS, rule)
        self.watchdog = Watchdog(tree.settings, outlets=[self.outbox], rules=rules, **options)  # type: ignore[arg-type]

    def until(self, condition: Callable[[], object], what: str, seconds: float = 30) -> None:
        def stepped() -> object:
            self.watchdog.step(time.monotonic())
            return condition()

        wait_until(stepped, seconds, f"{what}; {self.counters()}; alerts {self.outbox.raised}")

    def counters(self) -> dict[str, object]:
        return dict(self.watchdog.counters())

    def until_healthy(self) -> None:
        self.until(lambda: self.counters()["verdict"] == "healthy", "all healthy")


@pytest.fixture
def tree() -> Iterator[ToyTree]:
    with ToyTree() as tree:
        yield tree


@pytest.fixture
def drive(tree: ToyTree) -> Drive:
    """Over a tree in which all is well."""
    drive = Drive(tree.start())
    drive.until_healthy()
    return drive


def test_a_healthy_tree(tree: ToyTree, drive: Drive) -> None:
    counters = drive.counters()
    assert [counters[f"restarts_{name}"] for name in WORKERS] == [0, 0, 0]
    assert counters["pid_capture"] == tree.pid("capture")
    assert counters["alerts_open"] == 0
    beat = read_heartbeat(tree.settings.heartbeat_dir, "watchdog")
    assert beat is not None
    assert beat.state == "running"
    assert beat.counters["passes"] > 0
    assert drive.outbox.raised == []


def test_a_killed_worker_is_replaced_and_counted(tree: ToyTree, drive: Drive) -> None:
    before = tree.pid("capture")
    os.kill(before, signal.SIGKILL)
    drive.until(lambda: drive.counters()["restarts_capture"] == 1, "one restart")
    drive.until_healthy()
    assert tree.pid("capture") != before
    assert drive.outbox.raised == []
    assert drive.counters()["streak_capture"] == 1


def test_a_frozen_worker_is_killed(tree: ToyTree, drive: Drive) -> None:
    before = tree.pid("searcher")
    os.kill(before, signal.SIGSTOP)
    drive.until(lambda: tree.info("searcher").pid not in (before, None), "another pid")
    drive.until(lambda: "worker.searcher" in drive.outbox.resolved, "resolved")
    assert drive.outbox.told_of() == ["worker.searcher"]
    severity, _, text = drive.outbox.raised[0]
    assert severity is Severity.WARNING
    assert text.startswith("searcher is hung, no heartbeat for ")
    assert drive.counters()["restarts_searcher"] == 1
    assert drive.counters()["streak_searcher"] == 1


def test_a_deaf_worker_is_killed(tree: ToyTree) -> None:
    tree.behave("syncer", "deaf")
    drive = Drive(tree.start())
    drive.until_healthy()
    before = tree.pid("syncer")
    tree.behave("syncer", "steady")
    drive.until(lambda: tree.info("syncer").pid not in (before, None), "another pid")
    drive.until(lambda: "worker.syncer" in drive.outbox.resolved, "resolved")
    assert "backlog of 3" in drive.outbox.raised[0][2]
    assert drive.outbox.told_of() == ["worker.syncer"]


def test_a_worker_over_its_memory_is_ended(tree: ToyTree) -> None:
    tree.behave("syncer", "hog")
    tree.start()
    drive = Drive(tree)
    wait_until(lambda: len(tree.spawns("syncer")) == 1, 20, "spawned")
    tree.behave("syncer", "steady")
    drive.until(lambda: drive.counters()["restarts_syncer"] == 0 and drive.counters()["verdict"] == "healthy", "starts")
    assert drive.outbox.raised == []

    tree.settings = settings_of({**tree.variables, "MAX_MEMORY_MB": "128"})
    drive = Drive(tree)
    drive.until(lambda: "worker.syncer" in drive.outbox.told_of(), "alert")
    drive.until(lambda: len(tree.spawns("syncer")) == 2, "replaced")
    drive.until_healthy()
    assert "over its memory" in drive.outbox.raised[0][2]


def test_an_instant_crash_loop_is_slowed_down_and_told_once(tree: ToyTree) -> None:
    tree.behave("capture", "exit1")
    drive = Drive(tree.start())
    drive.until(lambda: drive.counters()["streak_capture"] == QUICK.burst, "burst used up", 60)
    started, spawned = time.monotonic(), len(tree.spawns("capture"))
    drive.until(lambda: time.monotonic() > started + 2 * QUICK.slow_gap_seconds, "two slow gaps")
    # supervisord makes startretries + 1 = 2 tries of each start
    assert len(tree.spawns("capture")) - spawned <= 2 * 3
    assert drive.outbox.told_of() == ["worker.capture.loop"]
    assert drive.outbox.raised[0][0] is Severity.ERROR
    assert drive.outbox.resolved == []
    assert drive.counters()["verdict"] == "degraded"
    tree.behave("capture", "steady")
    drive.until(lambda: drive.outbox.resolved == ["worker.capture.loop"], "resolved", 60)


def test_a_worker_that_dies_after_startsecs_is_held(tree: ToyTree) -> None:
    tree.behave("capture", "late")
    drive = Drive(tree.start(), RestartRule(burst=3, first_gap_seconds=0.2, slow_gap_seconds=8, quiet_seconds=10))
    drive.until(lambda: tree.info("capture").state is ProcessState.STOPPED, "held", 60)
    held, spawned = time.monotonic(), len(tree.spawns("capture"))
    assert drive.outbox.told_of() == ["worker.capture.loop"]
    tree.behave("capture", "steady")
    drive.until(lambda: len(tree.spawns("capture")) > spawned, "tried again")
    assert time.monotonic() - held > 2  # of the slow gap, what the last process did not live through
    drive.until(lambda: drive.outbox.resolved == ["worker.capture.loop"], "resolved", 60)


def test_a_configuration_error_is_left_alone(tree: ToyTree) -> None:
    tree.behave("capture", "exit78")
    drive = Drive(tree.start())
    drive.until(lambda: "worker.capture.config" in drive.outbox.told_of(), "alert")
    started = time.monotonic()
    drive.until(lambda: time.monotonic() > started + 2, "time passes")
    assert len(tree.spawns("capture")) == 1
    assert drive.outbox.told_of() == ["worker.capture.config"]
    assert tree.info("capture").exit_status == 78
    tree.behave("capture", "steady")
    tree.client.start("capture")
    drive.until(lambda: drive.outbox.resolved == ["worker.capture.config"], "resolved")
    drive.until_healthy()


def test_a_worker_that_found_damage_is_left_alone_until_it_is_started(tree: ToyTree) -> None:
    tree.behave("capture", "exit65")
    drive = Drive(tree.start())
    drive.until(lambda: "worker.capture.damage" in drive.outbox.told_of(), "alert")
    passes = drive.counters()["passes"]
    drive.until(lambda: drive.counters()["passes"] >= passes + 20, "many passes")
    assert len(tree.spawns("capture")) == 1
    assert [severity for severity, _, _ in drive.outbox.raised] == [Severity.CRITICAL]
    tree.behave("capture", "steady")
    tree.client.start("capture")
    drive.until(lambda: drive.outbox.resolved == ["worker.capture.damage"], "resolved")
    drive.until_healthy()


def test_a_stopped_worker_is_started(tree: ToyTree, drive: Drive) -> None:
    before = tree.pid("syncer")
    tree.client.stop("syncer")
    drive.until(lambda: tree.info("syncer").pid not in (before, None), "started")
    drive.until_healthy()
    assert drive.counters()["restarts_syncer"] == 1


def test_a_silent_supervisord(tree: ToyTree, drive: Drive) -> None:
    tree.signal(signal.SIGSTOP)
    drive.watchdog.step(time.monotonic())
    assert drive.outbox.told_of() == ["supervisord"]
    assert drive.counters()["verdict"] == "degraded"
    tree.signal(signal.SIGCONT)
    drive.until(lambda: drive.outbox.resolved == ["supervisord"], "resolved")
    drive.until_healthy()


def test_the_next_watchdog_goes_on_counting(tree: ToyTree, drive: Drive) -> None:
    os.kill(tree.pid("capture"), signal.SIGKILL)
    drive.until(lambda: drive.counters()["restarts_capture"] == 1, "one restart")
    before = tree.pid("capture")
    wait_until(lambda: tree.info("capture").state is ProcessState.RUNNING, 20, "runs")
    os.kill(before, signal.SIGKILL)  # while no watchdog looks
    wait_until(lambda: tree.info("capture").pid not in (before, None), 20, "another pid")
    successor = Drive(tree)
    successor.until_healthy()
    assert successor.counters()["restarts_capture"] == 2
    assert successor.counters()["streak_capture"] == 2


def test_counts_of_another_supervisord_are_forgotten(tree: ToyTree, drive: Drive) -> None:
    os.kill(tree.pid("capture"), signal.SIGKILL)
    drive.until(lambda: drive.counters()["restarts_capture"] == 1, "one restart")
    tree.client.shutdown()
    assert tree.process is not None
    tree.process.wait(20)
    tree.start()
    successor = Drive(tree)
    successor.until_healthy()
    assert successor.counters()["restarts_capture"] == 0


def test_a_store_that_does_not_answer_holds_up_no_pass(tree: ToyTree) -> None:
    Store.open(tree.settings.database_path).close()
    drive = Drive(tree.start(), database=tree.settings.database_path)
    drive.until(lambda: drive.counters()["lag_messages"] == 0, "surveyed")
    blocker = apsw.Connection(str(tree.settings.database_path))
    blocker.execute("PRAGMA locking_mode = EXCLUSIVE")
    wait_until(lambda: _locks(blocker), 20, "nobody else has it open")
    passes = []

    def alerted() -> bool:
        passes.append(drive.counters()["pass_ms"])
        return "database" in drive.outbox.told_of()

    drive.until(alerted, "alert", 60)
    assert drive.counters()["lag_messages"] is None
    assert drive.counters()["verdict"] == "degraded"
    assert max(passes) < 1500, "a pass waits for no survey"
    blocker.close()
    drive.until(lambda: "database" in drive.outbox.resolved, "resolved", 60)
    assert drive.counters()["lag_messages"] == 0


def _locks(connection: apsw.Connection) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except apsw.BusyError:
        return False
    return True


def test_a_full_disk_degrades(tree: ToyTree) -> None:
    tree.start()
    tree.settings = settings_of({**tree.variables, "MIN_DISK_GB": "1e9"})
    drive = Drive(tree)
    drive.watchdog.step(time.monotonic())
    assert drive.outbox.told_of() == ["disk"]
    beat = read_heartbeat(tree.settings.heartbeat_dir, "watchdog")
    assert isinstance(beat, Heartbeat)
    assert beat.state == "degraded"
    assert "MIN_DISK_GB=1e+09" in beat.detail


def test_a_damaged_heartbeat_counts_as_missing(tree: ToyTree, drive: Drive) -> None:
    os.kill(tree.pid("syncer"), signal.SIGSTOP)
    (tree.settings.heartbeat_dir / "syncer.json").write_text("{")
    drive.watchdog.step(time.monotonic())
    assert drive.counters()["verdict"] == "starting"


def test_warns_of_a_watchdog_sec_that_is_too_short(
    tree: ToyTree, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tree.directory / "n"))
    for seconds, warned in ((30, False), (2 * PASS_SECONDS, True)):
        caplog.clear()
        monkeypatch.setenv("WATCHDOG_USEC", str(int(seconds * 1e6)))
        with caplog.at_level(logging.WARNING):
            Watchdog(tree.settings)
        assert bool(caplog.records) is warned


def test_systemd_is_told_in_order_and_fed_by_whole_passes_only() -> None:
    """The real process under supervisord, and a datagram socket in systemd's place."""
    with contextlib.ExitStack() as stack:
        tree = stack.enter_context(ToyTree(watchdog=True))
        systemd = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        systemd.bind(str(tree.directory / "n"))
        systemd.settimeout(30)
        tree.environment |= {"NOTIFY_SOCKET": str(tree.directory / "n"), "WATCHDOG_USEC": "30000000"}
        tree.start()

        message = systemd.recv(4096).decode()
        while message != "READY=1":
            assert message == "WATCHDOG=1" or message.startswith("STATUS=starting: ")
            message = systemd.recv(4096).decode()
        assert systemd.recv(4096).decode() == "STATUS=healthy: capture, syncer, searcher"
        assert systemd.recv(4096).decode() == "WATCHDOG=1"

        tree.signal(signal.SIGSTOP)
        while systemd.recv(4096).decode() == "WATCHDOG=1":
            pass  # those sent before
        assert _collect(systemd, 3.0) == []
        tree.signal(signal.SIGCONT)
        assert systemd.recv(4096).decode() == "STATUS=healthy: capture, syncer, searcher"
        assert systemd.recv(4096).decode() == "WATCHDOG=1"

        # one that is merely replaced says no goodbye: systemd would take it for the whole unit's
        before = tree.pid("watchdog")
        os.kill(before, signal.SIGTERM)
        wait_until(lambda: tree.info("watchdog").pid not in (before, None), 20, "another watchdog")
        while (message := systemd.recv(4096).decode()) != "READY=1":
            assert message != "STOPPING=1"
        tree.signal(signal.SIGTERM)
        assert tree.process is not None
        assert tree.process.wait(20) == 0
        farewell = _collect(systemd, 0.2)
        assert farewell.count("STOPPING=1") == 1
        assert farewell[-1] == "STOPPING=1"


def _collect(listener: socket.socket, seconds: float) -> list[str]:
    """Everything that arrives until it has been quiet for so long."""
    messages = []
    listener.settimeout(seconds)
    with contextlib.suppress(TimeoutError):
        while True:
            messages.append(listener.recv(4096).decode())
    listener.settimeout(30)
    return messages


def test_imports_nothing_that_makes_workers_sick() -> None:
    code = "import sys, ragd.watchdog; print(*{'discord', 'onnxruntime', 'hnswlib'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
