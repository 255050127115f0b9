"""What `/autosync_status`, `/listener_stats` and `/sync now` tell, from heartbeats and the store."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from ragd.bot.commands.wording import TEXT_ROOM, clip, moment, plural, table
from ragd.config import Settings
from ragd.heartbeat import Counter
from ragd.process_status import ProcessStatus
from ragd.status import collect_status
from ragd.store import Store


@dataclass(frozen=True, slots=True)
class StrategyFigures:
    """None is what is not known."""

    name: str
    messages: int | None
    chunks: int | None


@dataclass(frozen=True, slots=True)
class SyncReport:
    """The syncer as its heartbeat shows it. Times in Unix seconds; `success_percent` None before any work."""

    state: str
    interval_minutes: int
    full_pass_at: float | None
    next_full_pass_at: float | None
    success_percent: float | None
    waiting: int | None
    strategies: tuple[StrategyFigures, ...]

    @property
    def runs(self) -> bool:
        return self.state == "running"


@dataclass(frozen=True, slots=True)
class ListenerTotals:
    """What the store holds of one server."""

    messages: int
    edited: int
    deleted: int
    holes: int
    refused: int = 0


def success_percent(steps: Counter, failed_steps: Counter) -> float | None:
    """Share of steps that did not fail, from 0 to 100 whatever the counters say; None when there were none."""
    done, failed = _number(steps) or 0, _number(failed_steps) or 0
    if done <= 0:
        return None
    return min(100.0, max(0.0, 100 * (done - failed) / done))


def collect_sync(settings: Settings) -> SyncReport:
    """Look at the syncer and the store. Takes seconds on a large store: for a thread of its own. Raises RagdError."""
    status = collect_status(settings)
    messages = _messages(settings)
    return sync_report(
        status.processes["syncer"], settings, messages, status.store.lag_messages if status.store else None
    )


def _messages(settings: Settings) -> dict[str, int]:
    with contextlib.closing(Store.open_read_only(settings.database_path)) as store:
        return {strategy: store.figures.messages_in(strategy) for strategy in settings.auto_sync_strategies}


def sync_report(
    syncer: ProcessStatus, settings: Settings, messages: Mapping[str, int], waiting: int | None
) -> SyncReport:
    counters = syncer.counters
    return SyncReport(
        state=syncer.state,
        interval_minutes=settings.auto_sync_interval_minutes,
        full_pass_at=_number(counters.get("full_pass_at")),
        next_full_pass_at=_number(counters.get("next_full_pass_at")),
        success_percent=success_percent(counters.get("steps"), counters.get("failed_steps")),
        waiting=waiting,
        strategies=tuple(
            StrategyFigures(name, messages.get(name), _whole(counters.get(f"chunks_{name}")))
            for name in settings.auto_sync_strategies
        ),
    )


def render_sync(report: SyncReport) -> str:
    """A table by strategy, and what all of them share: one loop serves them in turn."""
    rows = [("strategy", "state", "messages", "chunks")]
    rows += [(one.name, report.state, _count(one.messages), _count(one.chunks)) for one in report.strategies]
    rate = "no work yet" if report.success_percent is None else f"{report.success_percent:.1f} %"
    upcoming = moment(report.next_full_pass_at) if report.runs and report.next_full_pass_at else "not known"
    lines = [
        table(rows),
        f"New messages follow at once; {_waiting(report.waiting)}.",
        f"Full pass: every {report.interval_minutes} min; last {moment(report.full_pass_at)}, next {upcoming}.",
        f"Success: {rate} of steps since the syncer started.",
    ]
    return clip("\n".join(lines), TEXT_ROOM)


def _waiting(count: int | None) -> str:
    if count is None:
        return "how many wait is not known"
    return f"{plural(count, 'message')} to go" if count else "none is waiting"


def collect_listener(settings: Settings, guild_id: int) -> ListenerTotals:
    """Count what is stored of a server: for a thread of its own. Raises RagdError."""
    with contextlib.closing(Store.open_read_only(settings.database_path)) as store:
        figures = store.figures.of_guild(guild_id)
        holes = sum(hole.guild_id == guild_id for hole in store.coverage.holes())
        refused = store.refusals.count(guild_id)
    return ListenerTotals(figures.messages, figures.edited, figures.deleted, holes, refused)


def render_listener(counters: Mapping[str, Counter], totals: ListenerTotals) -> str:
    """This session is capture's, since it started and over all its servers; the total is of this server."""
    rows = [
        ("", "this session", "in total"),
        ("messages", _count(counters.get("posted", 0)), _count(totals.messages)),
        ("edits", _count(counters.get("edited", 0)), _count(totals.edited)),
        ("deletes", _count(counters.get("deleted", 0)), _count(totals.deleted)),
        ("read over REST", _count(counters.get("backfilled", 0)), ""),
    ]
    connected = "connected" if counters.get("connected") else "**not connected**"
    sessions = plural(_whole(counters.get("sessions")) or 0, "gateway session")
    resumes = plural(_whole(counters.get("resumes")) or 0, "resume")
    holes = f"{plural(totals.holes, 'hole')} to fill" if totals.holes else "No hole: all that can be read is here"
    refused = f" Discord refuses {plural(totals.refused, 'channel')}: asked again later." if totals.refused else ""
    return "\n".join([f"Listener: {connected}, {sessions}, {resumes}.", table(rows), f"{holes}.{refused}"])


def render_wish(counters: Mapping[str, Counter]) -> str:
    away = "" if counters.get("connected") else " It begins when Discord is connected again."
    return (
        "Asked for: archived threads are listed, holes filled and recent history read again, and the syncer checks"
        f" every chunk.{away} `autosync_status` and `listener_stats` show how far it is."
    )


def _number(value: Counter) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: Counter) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _count(value: Counter) -> str:
    whole = _whole(value)
    return "-" if whole is None else f"{whole:,}"
