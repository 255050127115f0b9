"""What `/health` tells: the operator's `ragdctl status` in short."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import discord
import psutil

import ragd
from ragd.bot.commands.wording import TEXT_ROOM, clip, disk, inert, memory, plural, span, table
from ragd.config import Settings
from ragd.model_status import describe_model
from ragd.process_status import ProcessStatus
from ragd.status import Status, collect_status

CPU_SECONDS = 0.3
"""How long processor time is measured."""

_REASONS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class HealthReport:
    """A Status and what it does not tell."""

    status: Status
    cpu_percent: Mapping[str, float]
    disk_free_bytes: int | None


def collect_health(settings: Settings) -> HealthReport:
    """Look at everything once. Takes up to about three seconds, never raises: for a thread of its own."""
    status = collect_status(settings)
    return HealthReport(
        status=status,
        cpu_percent=_measure_cpu(status.processes.values()),
        disk_free_bytes=_free_bytes(settings),
    )


def _measure_cpu(processes: Iterable[ProcessStatus]) -> dict[str, float]:
    """Share of one core by process, over CPU_SECONDS."""
    before = {process.name: (process.pid, _cpu_seconds(process.pid)) for process in processes if process.pid}
    started = time.monotonic()
    time.sleep(CPU_SECONDS)
    elapsed = time.monotonic() - started
    spent = {name: (_cpu_seconds(pid), earlier) for name, (pid, earlier) in before.items()}
    return {
        name: max(0.0, 100 * (now - earlier) / elapsed)
        for name, (now, earlier) in spent.items()
        if now is not None and earlier is not None
    }


def _cpu_seconds(pid: int) -> float | None:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)


def _free_bytes(settings: Settings) -> int | None:
    try:
        return shutil.disk_usage(settings.data_dir).free
    except OSError:
        return None


def render_summary(report: HealthReport) -> str:
    """For everybody: names nothing and nobody."""
    up = _uptime(report.status)
    return f"ragd is **{report.status.state}**" + (f", up {span(up)}." if up is not None else ".")


def render_details(report: HealthReport, *, with_reasons: bool) -> str:
    """For who manages the server. `with_reasons` only where nobody else reads along."""
    lines = [render_summary(report), _processes(report), _checks(report), _model(report), _machine(report)]
    if report.status.reasons:
        lines += _reasons(report.status) if with_reasons else ["`/health` says why, to you alone."]
    return clip("\n".join(line for line in lines if line), TEXT_ROOM)


def _uptime(status: Status) -> float | None:
    """Of the whole tree: supervisord's, or else that of the process that has lived longest."""
    if status.supervisor.pid is not None:
        try:
            return max(0.0, time.time() - float(psutil.Process(status.supervisor.pid).create_time()))
        except psutil.Error:
            pass
    known = [process.uptime_seconds for process in status.processes.values() if process.uptime_seconds is not None]
    return max(known, default=None)


def _processes(report: HealthReport) -> str:
    rows = [("process", "state", "memory", "CPU", "restarts")]
    for name, process in report.status.processes.items():
        cpu = report.cpu_percent.get(name)
        shown = "-" if cpu is None else f"{cpu:.0f} %"
        rows.append((name, process.state, memory(process.rss_bytes), shown, str(process.restarts)))
    return table(rows)


def _checks(report: HealthReport) -> str:
    run, failed = report.status.checks_run_24h, report.status.checks_failed_24h
    return "" if run is None else f"Checks: {run:,} in 24 h, {failed or 0:,} failed"


def _model(report: HealthReport) -> str:
    """How far a change of the embedding model is; nothing while there is none."""
    counters = report.status.processes["syncer"].counters
    return f"Model: {inert(describe_model(counters))}" if counters.get("model_next") else ""


def _machine(report: HealthReport) -> str:
    store = report.status.store
    versions = [
        f"ragd {ragd.__version__}",
        f"discord.py {discord.__version__}",
        *([f"SQLite {store.sqlite_version}"] if store else []),
        f"Python {platform.python_version()}",
    ]
    alerts = plural(len(report.status.alerts), "open alert")
    return f"Disk: {disk(report.disk_free_bytes)} free; {alerts}\nVersions: {', '.join(versions)}"


def _reasons(status: Status) -> list[str]:
    shown = [f"- {clip(inert(reason), 200)}" for reason in status.reasons[:_REASONS_SHOWN]]
    more = len(status.reasons) - len(shown)
    return [*shown, f"- and {more} more: `ragdctl status`"] if more else shown
