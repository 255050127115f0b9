"""Views of passes for tests, with little to write."""

from __future__ import annotations

import os

from ragd.health import View, WorkerView
from ragd.heartbeat import WORKERS, Counter, Heartbeat
from ragd.store.audits import Audit


def beat(name: str, state: str = "running", detail: str = "", **counters: Counter) -> Heartbeat:
    return Heartbeat(name, os.getpid(), 0.0, 0.0, 3, state, detail, counters)


def worker(name: str, condition: str = "healthy", **fields: object) -> WorkerView:
    values: dict[str, object] = {
        "name": name,
        "condition": condition,
        "reason": "",
        "calm": condition in ("healthy", "starting"),
        "working": condition in ("healthy", "degraded"),
        "restarts": 0,
        "looping": False,
        "pid": os.getpid(),
        "beat": beat(name),
    }
    return WorkerView(**{**values, **fields})  # type: ignore[arg-type]


def audit(**fields: object) -> Audit:
    """One that ended and found all well."""
    values: dict[str, object] = {
        **{"id": 1, "kind": "daily", "sample": 500, "channels": (), "state": "done", "asked_at": 0, "problem": ""},
        **{"started_at": 0, "ended_at": 0, "pid": 1, "attempts": 1, "touched_at": 0, "findings": (), "details": {}},
        **{"checked": 0, "present": 0, "deleted": 0, "found": 0, "unmended": 0},
    }
    return Audit(**{**values, **fields})  # type: ignore[arg-type]


def view(*workers: WorkerView, supervisord: str = "", http: str = "") -> View:
    """Of these workers, and healthy ones for the others."""
    given = {one.name: one for one in workers}
    everyone = [given.get(name, worker(name)) for name in WORKERS]
    return View(supervisord, everyone, [(one.name, one.pid) for one in everyone if one.pid], http)
