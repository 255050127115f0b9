"""`ragdctl status`, and the picture of a Status that `watch` shows too."""

from __future__ import annotations

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ragd.cli.render import AsJson, console, format_bytes, format_seconds, one_line, print_json
from ragd.config import load_settings
from ragd.errors import ExitCode
from ragd.heartbeat import Counter
from ragd.model_status import describe_model
from ragd.process_status import ProcessStatus
from ragd.status import Status, StoreStatus, collect_status

EXIT_CODES = {"healthy": ExitCode.OK, "degraded": ExitCode.ERROR, "down": ExitCode.DOWN}

COUNTERS_FROM_WIDTH = 100
"""Columns below which the counters are left out."""

_STYLES = {"healthy": "green", "running": "green", "degraded": "yellow", "starting": "cyan", "stopping": "cyan"}
_BAD = "red"

_TOLD: dict[str, dict[str, str]] = {
    "capture": {
        "posted": "posted",
        "edited": "edited",
        "deleted": "deleted",
        "backfilled": "fetched",
        "backlog": "waiting",
        "invalid_requests": "requests refused",
    },
    "syncer": {
        "chunks_made": "chunks made",
        "embedded": "embedded",
        "backlog": "waiting",
        "words_waiting": "to index by words",
    },
    "searcher": {
        "queries": "queries",
        "vectors_temporal": "temporal",
        "vectors_conversation": "conversation",
        "building": "to put into graphs",
    },
    "watchdog": {"passes": "passes", "pass_ms": "ms a pass", "alerts_open": "alerts"},
}
"""The counters that are told in short, and by what name."""

_ONLY_IF_ANY = frozenset({"requests refused", "to put into graphs"})
"""Not told when they are zero, as they should be."""


def status(*, as_json: AsJson = False) -> None:
    """Show how every process and the store are. Exit code: 0 healthy, 1 degraded, 2 down."""
    seen = collect_status(load_settings())
    if as_json:
        print_json(seen.document())
    else:
        screen = console()
        screen.print(picture(seen, screen.width))
    raise typer.Exit(EXIT_CODES[seen.state])


def picture(seen: Status, width: int) -> RenderableType:
    """Headline, processes, store and reasons, for so many columns."""
    parts: list[RenderableType] = [_headline(seen), _processes(seen, counters=width >= COUNTERS_FROM_WIDTH)]
    if seen.store:
        parts.append(_store_lines(seen.store, describe_model(seen.processes["syncer"].counters)))
    if seen.reasons:
        parts.append(_reasons(seen))
    return Group(*parts)


def _headline(seen: Status) -> Text:
    where = f"  {'demo in ' if seen.demo else ''}{seen.data_dir}"
    return Text.assemble("ragd is ", (seen.state, f"bold {_STYLES.get(seen.state, _BAD)}"), (where, "dim"), "\n")


def _processes(seen: Status, *, counters: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading, justify in (("process", "left"), ("state", "left"), ("pid", "right"), ("uptime", "right")):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for heading in ("restarts", "memory", "heartbeat"):
        table.add_column(heading, justify="right", no_wrap=True)
    if counters:
        table.add_column("so far", style="dim")
    for process in seen.processes.values():
        table.add_row(*_row(process), *([_counters(process)] if counters else []))
    return table


def _row(process: ProcessStatus) -> list[Text | str]:
    return [
        process.name,
        Text(process.state, style=_STYLES.get(process.state, _BAD)),
        str(process.pid or "-"),
        format_seconds(process.uptime_seconds),
        str(process.restarts),
        format_bytes(process.rss_bytes),
        format_seconds(process.heartbeat_age_seconds),
    ]


def _counters(process: ProcessStatus) -> str:
    told = {name: process.counters.get(key) for key, name in _TOLD.get(process.name, {}).items()}
    shown = {name: value for name, value in told.items() if value or (value is not None and name not in _ONLY_IF_ANY)}
    return ", ".join(f"{_count(value)} {name}" for name, value in shown.items())


def _count(value: Counter) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:,}" if is_number else one_line(str(value))


def _store_lines(store: StoreStatus, model: str) -> Text:
    kinds = {"not readable": store.unreadable_channels, "refused by Discord": store.refused_channels}
    unread = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    channels = f"{store.channels:,} channels{f' ({unread})' if unread else ''}"
    size = f"{format_bytes(store.database_bytes)}, write-ahead log {format_bytes(store.wal_bytes)}"
    return Text(
        f"\nstored      {store.messages:,} messages in {channels}; {store.deleted:,} deleted\n"
        f"searchable  {store.chunks:,} chunks, {store.vectors:,} with a vector; {store.lag_messages:,} messages to go\n"
        f"to fetch    {store.holes:,} {'hole' if store.holes == 1 else 'holes'}\n"
        + (f"model       {one_line(model)}\n" if model else "")
        + f"database    {size}, SQLite {store.sqlite_version}"
    )


def _reasons(seen: Status) -> Text:
    style = _STYLES.get(seen.state, _BAD)
    return Text("\n" + "\n".join(f"- {one_line(reason)}" for reason in seen.reasons), style=style)
