"""Workers that crash, hang, deadlock, leak and crash for ever; the watchdog and supervisord killed and frozen."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from ragd.heartbeat import WORKERS
from tests.faults.record import Observation, Record
from tests.faults.subject import SLOW_GAP_SECONDS, Subject
from tests.processes import Place
from tests.tree.test_systemd import Systemd

pytestmark = pytest.mark.faults

MEMORY_MB = 640
"""MAX_MEMORY_MB of this tree; no worker in order has half of it."""

OVERSHOOT = 1.5
"""By how much a leak of 48 MiB a beat may be over it when it ends."""


@pytest.fixture(scope="module")
def systemd(home: Path) -> Iterator[Systemd]:
    systemd = Systemd(home / "notify")
    yield systemd
    systemd.close()


@pytest.fixture(scope="module")
def tree(place: Place, home: Path, systemd: Systemd) -> Iterator[Subject]:
    with Subject(place, home, MAX_MEMORY_MB=str(MEMORY_MB)) as tree:
        tree.variables.update(NOTIFY_SOCKET=str(systemd.path), WATCHDOG_USEC="60000000")
        tree.start().running()
        tree.goes_all_the_way()
        yield tree


def recovers(tree: Subject, seen: Observation, name: str, pid: int) -> None:
    """Another process works, which is measured; what was posted meanwhile is found; the others were left alone."""
    tree.spot(lambda: tree.works(name, pid), f"{name}, pid {pid}, is replaced")
    seen.recovered()
    tree.goes_all_the_way()


@pytest.fixture
def others_untouched(tree: Subject) -> Iterator[list[str]]:
    """Whoever is not named in it has the same pid at the end of the test as at its beginning."""
    before, named = tree.pids(), list[str]()
    yield named
    after = tree.pids()
    assert {name: after.get(name) for name in before if name not in named} == {
        name: pid for name, pid in before.items() if name not in named
    }


@pytest.mark.parametrize("name", WORKERS)
def test_crash(tree: Subject, record: Record, others_untouched: list[str], name: str) -> None:
    others_untouched.append(name)
    mark = tree.mark()
    seen = record.begin(f"{name} crashes", by="SIGKILL", seconds=3, production="3 s")
    pid = tree.signal(name, signal.SIGKILL)
    tree.spot(lambda: tree.said(f"exited: {name} (terminated by SIGKILL", mark), "supervisord sees it")
    seen.detected()
    recovers(tree, seen, name, pid)
    tree.wait(lambda: tree.said(f"{name} was replaced: pid {pid}", mark), "the watchdog counts it")


@pytest.mark.parametrize("name", WORKERS)
def test_hang(tree: Subject, record: Record, others_untouched: list[str], name: str) -> None:
    others_untouched.append(name)
    mark = tree.mark()
    seen = record.begin(
        f"{name} hangs", by="SIGSTOP", seconds=8, production="15 s: stale after 10 s (RAGD_STALE_SECONDS)"
    )
    pid = tree.signal(name, signal.SIGSTOP)
    tree.spot(lambda: tree.said(f"killing {name} (pid {pid}): no heartbeat", mark), "the watchdog kills it")
    seen.detected()
    recovers(tree, seen, name, pid)
    assert tree.said(f"alert worker.{name}:", mark) <= 1  # none if the one for an earlier test is open still


@pytest.mark.parametrize("name", WORKERS)
def test_deadlock(tree: Subject, record: Record, others_untouched: list[str], name: str) -> None:
    others_untouched.append(name)
    mark, pid = tree.mark(), tree.pid_of(name)
    seen = record.begin(f"{name} deadlocks", by="hook: the loop waits for its own lock", seconds=8, production="15 s")
    tree.order(name, "deadlock")
    tree.spot(lambda: tree.said(f"killing {name} (pid {pid}): no heartbeat", mark), "the watchdog kills it")
    seen.detected()
    recovers(tree, seen, name, pid)
    assert tree.said("in wait_for_a_lock_that_we_hold", mark), "its stack is in the log"


def test_leak(tree: Subject, record: Record, others_untouched: list[str]) -> None:
    name, mark = "syncer", tree.mark()
    others_untouched.append(name)
    pid = tree.pid_of(name)
    process, peak = psutil.Process(pid), 0
    seen = record.begin(
        f"{name} leaks 96 MiB/s",
        by="hook",
        seconds=20,
        rule=f"ended below {OVERSHOOT:g} x the limit",
        production="same",
    )

    def recycled() -> bool:
        nonlocal peak
        peak = max(peak, _resident(process))
        return tree.said(f"ending {name} (pid {pid}): ", mark) > 0

    tree.order(name, "leak")
    tree.spot(recycled, "the watchdog ends it")
    seen.detected()
    recovers(tree, seen, name, pid)
    assert f"exited: {name} (exit status 0" in tree.log_text()[mark:], "it ended in order"
    assert tree.said(f"killing {name}", mark) == 0
    assert MEMORY_MB * 0.5 * 2**20 < peak < MEMORY_MB * OVERSHOOT * 2**20
    assert "worker.syncer" in _alerts(tree)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _alerts(tree: Subject) -> str:
    return "\n".join(line for line in tree.log_text().splitlines() if " alert " in line)


def test_watchdog_crash(tree: Subject, record: Record, systemd: Systemd, others_untouched: list[str]) -> None:
    others_untouched.append("watchdog")
    mark, restarts = tree.mark(), tree.counter("watchdog", "restarts_capture")
    seen = record.begin("watchdog crashes", by="SIGKILL", seconds=3, production="3 s; systemd waits 30 s (WatchdogSec)")
    pid = tree.signal("watchdog", signal.SIGKILL)
    tree.spot(lambda: tree.said("exited: watchdog (terminated by SIGKILL", mark), "supervisord sees it")
    seen.detected()
    pings = systemd.count("WATCHDOG=1")
    tree.spot(lambda: systemd.count("WATCHDOG=1") > pings and tree.pids().get("watchdog") != pid, "pings again")
    seen.recovered()
    tree.wait(lambda: tree.counter("watchdog", "restarts_capture") == restarts, "it goes on counting")


@pytest.mark.parametrize("name", ["watchdog", "supervisord"])
def test_frozen(tree: Subject, record: Record, systemd: Systemd, name: str, others_untouched: list[str]) -> None:
    seen = record.begin(
        f"{name} freezes", by="SIGSTOP", rule="no ping to systemd", production="unit restarted after 30 s (WatchdogSec)"
    )
    seen.row.remark = "by systemd (tests/systemd)"
    victim = tree.process.pid if name == "supervisord" else tree.pid_of("watchdog")
    process = psutil.Process(victim)
    process.suspend()
    try:
        _silence(systemd, 3.0)
        pings = systemd.count("WATCHDOG=1")
        seen.detected_before(3.0)
        if name == "supervisord":
            tree.wait(lambda: "supervisord does not answer" in tree.beats()["watchdog"].detail, "the watchdog says so")
        assert systemd.count("WATCHDOG=1") == pings
    finally:
        process.resume()
    tree.wait(lambda: systemd.count("WATCHDOG=1") > pings, "pings again")
    assert others_untouched == []


def _silence(systemd: Systemd, seconds: float) -> None:
    """Wait for that much time without a ping: a pass takes half a second here."""
    deadline, last, since = time.monotonic() + 20, -1, 0.0
    while time.monotonic() < deadline:
        if (count := systemd.count("WATCHDOG=1")) != last:
            last, since = count, time.monotonic()
        if time.monotonic() - since >= seconds:
            return
        time.sleep(0.03)  # between two looks
    raise AssertionError("pings go on")


def test_crash_loop(tree: Subject, record: Record, others_untouched: list[str]) -> None:
    name, mark = "searcher", tree.mark()
    others_untouched.append(name)
    before = len(tree.starts(name))
    seen = record.begin(
        f"{name} crashes for ever",
        by="hook: ends at once",
        seconds=15,
        rule="one alert, a new round every 10 to 12 s",
        production="after 5 restarts one in 5 to 6 min (capture: 4, 10 to 12 min), one alert",
    )
    tree.order(name, "exit")
    pid = tree.signal(name, signal.SIGKILL)
    tree.spot(lambda: tree.said(f"alert worker.{name}.loop:", mark), "told")
    seen.detected()
    told = tree.mark()
    tree.wait(lambda: len(_starts(tree, name, told)) >= 2, "two rounds")
    first, second = _starts(tree, name, told)[:2]
    assert (second - first).total_seconds() >= SLOW_GAP_SECONDS
    # supervisord makes four tries of a start, with growing pauses
    tries, rounds = len(tree.starts(name)) - before, tree.said(f"starting {name}: ", mark)
    assert tries <= 4 * (rounds + 1)
    assert tree.said(f"alert worker.{name}.loop:", mark) == 1
    mended = record.begin(f"{name} can start again", by="hook taken away", seconds=15, production="300 s")
    tree.withdraw(name, "exit")
    mended.detected()
    recovers(tree, mended, name, pid)
    record.rows.remove(mended.row)
    seen.row.recovered = mended.row.recovered
    assert tree.said(f"alert worker.{name}.loop:", mark) == 1


def _starts(tree: Subject, name: str, mark: int) -> list[datetime]:
    """When the watchdog had it started."""
    lines = tree.log_text()[mark:].splitlines()
    return [datetime.fromisoformat(line.split()[0]) for line in lines if f"starting {name}: it is " in line]
