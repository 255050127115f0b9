"""What a pass of the watchdog has seen, as the checks and the metrics read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from ragd.heartbeat import Heartbeat


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker as its keeper judges it."""

    name: str
    condition: str
    """A value of ragd.liveness.Condition."""
    reason: str
    calm: bool
    """Healthy, or between two states: nobody needs to hear of it."""
    working: bool
    """Healthy or degraded: it does its work."""
    restarts: int
    looping: bool
    """It has used up its restarts, so that the next one waits."""
    pid: int | None
    beat: Heartbeat | None
    """Of that pid; an earlier process's counts as none."""

    @property
    def running(self) -> bool:
        return self.working and self.beat is not None and self.beat.state == "running"


@dataclass(frozen=True, slots=True)
class View:
    supervisord: str
    """Why it does not answer; empty if it does."""
    workers: Sequence[WorkerView]
    pids: Sequence[tuple[str, int]]
    """Every process of ragd that lives, supervisord and the watchdog too."""
    http: str
    """Why the HTTP endpoint does not listen; empty if it does, or shall not."""

    def worker(self, name: str) -> WorkerView | None:
        return next((worker for worker in self.workers if worker.name == name), None)


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """What the kernel says of a process."""

    rss_bytes: int
    cpu_seconds: float
    started_at: float
    """Unix seconds."""
    descriptors: int
    descriptor_limit: int


def measure(pid: int) -> ProcessFigures | None:
    """None for a process that is gone, or is not ours to look at."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            soft, _ = process.rlimit(psutil.RLIMIT_NOFILE)
            return ProcessFigures(
                rss_bytes=int(process.memory_info().rss),
                cpu_seconds=times.user + times.system,
                started_at=process.create_time(),
                descriptors=process.num_fds(),
                descriptor_limit=soft,
            )
    except psutil.Error:
        return None
