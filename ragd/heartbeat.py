"""Heartbeat files: what a worker's own loop says about itself, for whoever judges it from outside."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from ragd.errors import DamagedError

PROCESSES = ("capture", "syncer", "searcher", "watchdog")
WORKERS = ("capture", "syncer", "searcher")
"""The processes that the watchdog judges and restarts."""

Counter = int | float | str | bool | None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One beat. `beat` grows by one a write, so that a reader needs no common clock to see that it moved."""

    process: str
    pid: int
    started_at: float
    """Unix seconds."""
    written_at: float
    """Unix seconds; for people. Staleness is judged by `beat`, which no clock jump can touch."""
    beat: int
    state: str
    """`starting`, `running`, `degraded` or `stopping`."""
    detail: str = ""
    """Why degraded, or what it is busy with; one line without message text."""
    counters: dict[str, Counter] = field(default_factory=dict)


_LARGEST_PID = 2**31 - 1


def heartbeat_path(directory: Path, process: str) -> Path:
    return directory / f"{process}.json"


def write_heartbeat(directory: Path, heartbeat: Heartbeat) -> None:
    """Replace the process's file in one step; readers see the old one or the new one, never a part.

    No fsync: a heartbeat that a power cut outlives would only mislead.
    """
    path = heartbeat_path(directory, heartbeat.process)
    temporary = path.with_suffix(f".{heartbeat.pid}.tmp")
    temporary.write_bytes(orjson.dumps(asdict(heartbeat)))
    temporary.replace(path)


def read_heartbeat(directory: Path, process: str) -> Heartbeat | None:
    """The newest beat, or None if there is no file. Raises DamagedError if it is not one of ours."""
    path = heartbeat_path(directory, process)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return _parse(orjson.loads(content), process)
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedError(f"{path} is no heartbeat: {error}", hint="the process writes a new one by itself") from None


def _parse(raw: object, process: str) -> Heartbeat:
    if not isinstance(raw, dict):
        raise TypeError("not a JSON object")
    beat = Heartbeat(**raw)
    numbers = (beat.pid, beat.started_at, beat.written_at, beat.beat)
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in numbers):
        raise ValueError("pid, started_at, written_at and beat must be numbers")
    if not (isinstance(beat.pid, int) and 0 < beat.pid <= _LARGEST_PID):
        raise ValueError("pid must be the id of a process")
    if beat.process != process or not isinstance(beat.state, str) or not isinstance(beat.counters, dict):
        raise ValueError(f"process must be {process}, state a string, counters an object")
    return beat


def process_exists(pid: int) -> bool:
    """Whether a process of that id lives (as seen by a user who may not be allowed to signal it)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
