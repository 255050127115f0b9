"""Time to recover: from a fault in one process to the heartbeat of the one that replaces it."""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from benchmarks.stage import SandboxProcess, Tree, sandbox, tree, variables, workspace
from benchmarks.tables import Table, median, number
from ragd.errors import RagdError
from ragd.heartbeat import PROCESSES, WORKERS
from tests.processes import furnish

FULL: dict[str, Any] = {"rounds": 5, "intervals": ("production", "short")}
QUICK: dict[str, Any] = {"rounds": 1, "intervals": ("short",)}

INTERVALS: dict[str, dict[str, str]] = {
    "production": {},
    "short": {"RAGD_HEARTBEAT_SECONDS": "0.2", "RAGD_STALE_SECONDS": "2"},
}
SETTLED_SECONDS = 2.5
"""Longer than supervisord's startsecs: an end before that counts as a failed start, and the next try waits."""

LONGEST_SECONDS = 60.0
POLL_SECONDS = 0.005

Times = dict[tuple[str, str], list["Recovery"]]
"""By process and fault."""


@dataclass(frozen=True)
class Recovery:
    """Seconds from the fault to the new process's first heartbeat, and to the first that says `running`."""

    heartbeat: float
    working: float


def run(rounds: int, intervals: tuple[str, ...]) -> list[Table]:
    """One table: medians of several rounds, each in a tree of its own, lest the watchdog's restart budget slow it."""
    columns = ("intervals", "process", "kill -9: heartbeat s", "running s", "SIGSTOP: heartbeat s", "running s")
    table = Table("Time to recover", columns)
    with sandbox() as server:
        furnish(server)  # type: ignore[arg-type]
        for name in intervals:
            _add_rows(table, name, measure(server, rounds, INTERVALS[name]))
    table.notes += [
        f"Median of {rounds}, a new tree for each; one fault after another. SIGSTOP of the watchdog is left"
        " to systemd (WatchdogSec=), which has no part in this.",
        "Production: a heartbeat each second, stale after 10 s; short: 0.2 s and 2 s.",
    ]
    return [table]


def _add_rows(table: Table, interval: str, times: Times) -> None:
    for process in PROCESSES:
        cells = [cell for fault in ("SIGKILL", "SIGSTOP") for cell in _cells(times.get((process, fault), []))]
        table.add(interval, process, *cells)


def _cells(recoveries: list[Recovery]) -> tuple[str, str]:
    if not recoveries:
        return "-", "-"
    return number(median(one.heartbeat for one in recoveries)), number(median(one.working for one in recoveries))


def measure(server: SandboxProcess, rounds: int, overrides: dict[str, str]) -> Times:
    """Each round kills every process, then freezes every worker."""
    times: Times = defaultdict(list)
    for _ in range(rounds):
        with workspace() as directory, tree(variables(server, directory, **overrides)) as running:
            time.sleep(SETTLED_SECONDS)
            for process in PROCESSES:
                times[process, "SIGKILL"].append(recover(running, process, signal.SIGKILL))
            time.sleep(SETTLED_SECONDS)
            for process, recovery in recover_all(running, WORKERS, signal.SIGSTOP).items():
                times[process, "SIGSTOP"].append(recovery)
    return times


def recover(running: Tree, process: str, fault: signal.Signals) -> Recovery:
    """Do that to one process, and wait for its successor to work."""
    return recover_all(running, (process,), fault)[process]


def recover_all(running: Tree, processes: tuple[str, ...], fault: signal.Signals) -> dict[str, Recovery]:
    """Do that to several, a second between them, so that their successors' starts do not meet."""
    watches: dict[str, Watch] = {}
    done: dict[str, Recovery] = {}
    next_fault, begun = time.monotonic(), time.monotonic()
    while len(done) < len(processes):
        if len(watches) < len(processes) and time.monotonic() >= next_fault:
            process = processes[len(watches)]
            watches[process] = Watch(running, process, fault)
            next_fault += 1.0
        for process, watch in watches.items():
            if process not in done and (recovery := watch.look()):
                done[process] = recovery
        if time.monotonic() - begun > LONGEST_SECONDS:
            raise RagdError(f"{set(processes) - done.keys()} did not come back after {fault.name}")
        time.sleep(POLL_SECONDS)
    return done


class Watch:
    """Commits a fault, and follows the heartbeats of what comes after."""

    def __init__(self, running: Tree, process: str, fault: signal.Signals) -> None:
        self._tree, self._process = running, process
        self._pid = running.pids()[process]
        self._first: float | None = None
        self._begun = time.monotonic()
        os.kill(self._pid, fault)

    def look(self) -> Recovery | None:
        """The times, once the successor runs."""
        beat = self._tree.beat(self._process)
        if beat is None or beat.pid == self._pid:
            return None
        seconds = time.monotonic() - self._begun
        self._first = self._first or seconds
        return Recovery(self._first, seconds) if beat.state == "running" else None
