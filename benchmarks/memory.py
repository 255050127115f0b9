"""Memory of every process of the tree: while history is read and embedded, after that, and after a fresh start."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import Any, Self

import psutil

from benchmarks.stage import Tree, chats, sandbox, tree, variables, workspace
from benchmarks.tables import Table, number

FULL: dict[str, Any] = {"idle_seconds": 5.0, "small": False}
QUICK: dict[str, Any] = {"idle_seconds": 0.5, "small": True}

NAMES = ("supervisord", "capture", "syncer", "searcher", "watchdog")
SAMPLE_SECONDS = 0.1

Megabytes = dict[str, float]


def run(idle_seconds: float, small: bool) -> list[Table]:
    """The tree on real conversations, then once more on what it has stored."""
    community, name = chats(small)
    with sandbox(community=community) as server, workspace() as directory:
        environ = variables(server, directory)
        with Sampler() as sampler, tree(environ) as running:
            sampler.watch(running)
            counts = running.settled()
            peak = {process: peak_megabytes(pid) for process, pid in running.pids().items()}
            time.sleep(idle_seconds)
            after = resident(running)
        with tree(environ) as running:
            running.settled()
            time.sleep(idle_seconds)
            fresh, own = resident(running), proportional(running)
    table = Table("Memory", ["MB resident", "peak of backfill and sync", "idle after that", "idle, fresh start", "PSS"])
    for process in NAMES:
        table.add(process, *(number(column[process]) for column in (peak, after, fresh, own)))
    sums = (sampler.most, sum(after.values()), sum(fresh.values()), sum(own.values()))
    table.add("all", *(number(value) for value in sums))
    table.notes.append(
        f"{name}: {counts.messages:,} messages, {counts.chunks:,} chunks. Peak: VmHWM of each process; for all, the"
        f" largest sum seen at one moment, looked at every {SAMPLE_SECONDS:g} s. PSS, of the fresh start, counts what"
        " processes share once."
    )
    return [table]


class Sampler:
    """Looks at the tree's memory all the time, in the background."""

    def __init__(self) -> None:
        self.most = 0.0
        """The largest sum of all processes seen, in MB."""
        self._tree: Tree | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def watch(self, running: Tree) -> None:
        self._tree = running

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            with contextlib.suppress(psutil.NoSuchProcess):
                if self._tree is not None:
                    self.most = max(self.most, sum(resident(self._tree).values()))

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def resident(running: Tree) -> Megabytes:
    """Resident memory of each process."""
    return {name: psutil.Process(pid).memory_info().rss / 1e6 for name, pid in running.pids().items()}


def proportional(running: Tree) -> Megabytes:
    """The same, each page divided by how many processes share it."""
    return {name: psutil.Process(pid).memory_full_info().pss / 1e6 for name, pid in running.pids().items()}


def peak_megabytes(pid: int) -> float:
    """The most that a process ever had resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(f"/proc/{pid}/status has no VmHWM")
