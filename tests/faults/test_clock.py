"""The wall clock jumps back and forth: nobody is replaced for that, and who hangs is replaced all the same."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.record import Record
from tests.faults.subject import Subject, connected
from tests.processes import Place

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def clock(home: Path) -> Path:
    """The file that says by how much the tree's wall clock is off."""
    path = home / "clock"
    path.write_text("0")
    return path


@pytest.fixture(scope="module")
def tree(place: Place, home: Path, clock: Path) -> Iterator[Subject]:
    with Subject(place, home, FAULT_CLOCK=str(clock)) as tree:
        yield tree.start()


def _set(clock: Path, hours: float) -> None:
    """In one step: a half-written file would be another jump."""
    new = clock.with_suffix(".new")
    new.write_text(str(hours * 3600))
    new.replace(clock)


def test_clock_jumps(tree: Subject, record: Record, clock: Path) -> None:
    tree.wait(lambda: connected(tree) and tree.counter("watchdog", "verdict") == "healthy", "healthy")
    tree.goes_all_the_way()
    pids, mark = tree.pids(), tree.mark()
    for number, hours in enumerate((4, -4, 720, 0), start=1):
        passes = tree.counter("watchdog", "passes")
        _set(clock, hours)
        # more passes than it takes to find a worker stale
        tree.wait(lambda passes=passes: tree.counter("watchdog", "passes") > passes + 8, "passes go on")
        assert tree.said("the wall clock jumped", mark) >= number
        assert tree.pids() == pids, f"after {number} jumps"
        tree.goes_all_the_way()
    assert tree.said("killing ", mark) == tree.said("ending ", mark) == 0

    seen = record.begin(
        "clock jumps back and forth, then a hang", by="injected clock: 4 h, 30 d", seconds=8, rule="no false restart",
        production="15 s",
    )  # fmt: skip
    pid = tree.signal("syncer", signal.SIGSTOP)
    _set(clock, -4)
    tree.spot(lambda: tree.said(f"killing syncer (pid {pid}): no heartbeat", mark), "the watchdog kills it")
    seen.detected()
    tree.spot(lambda: tree.works("syncer", pid), "syncer works again")
    seen.recovered()
    _set(clock, 0)
    tree.goes_all_the_way()
