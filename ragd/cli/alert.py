"""`ragdctl alert`: the alerts there are, and whether new ones would arrive."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from rich.table import Table

from ragd.access import protect_files
from ragd.alerts import Alert, Kind, Notice, Severity
from ragd.cli.render import AsJson, console, format_seconds, one_line, print_json
from ragd.config import Settings, load_settings
from ragd.errors import ConfigError, ExitCode, RagdError
from ragd.notices import open_outlets
from ragd.status import OpenAlert, describe_alert
from ragd.store import Store
from ragd.store.alerts import TEST_KEY, StoredAlert

DISCORD_SECONDS = 20.0
"""How long capture may take to deliver a test: it looks every few seconds."""

ENDED_SHOWN = 20

_POLL_SECONDS = 0.2
_TEXT = "Somebody tests whether alerts arrive. Nothing is the matter."

app = typer.Typer(no_args_is_help=True, help="Show alerts, and test whether they arrive.")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a test on one way."""

    way: str
    delivered: bool
    problem: str


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """Show open alerts and the last ones that ended, with what became of telling them in Discord."""
    settings = _settings()
    store = Store.open_read_only(settings.database_path)
    with contextlib.closing(store):
        found = [*store.alerts.open_alerts(), *store.alerts.ended_alerts(ENDED_SHOWN)]
    if as_json:
        print_json({"alerts": [_document(settings, stored) for stored in found]})
    elif found:
        console().print(_table(settings, found))
    else:
        typer.echo("no alerts")


@app.command("test")
def send_test(
    *,
    severity: Annotated[Severity, typer.Option(help="Of the test.")] = Severity.WARNING,
    as_json: AsJson = False,
) -> None:
    """Send a test alert by every way, and tell what came of each. Exit code 69 if one did not get through."""
    settings = _settings()
    outcomes = [*_test_services(settings, severity), *_test_discord(settings, severity)]
    if not outcomes:
        raise ConfigError("there is no way to tell anybody", hint="set ALERT_CHANNEL_ID or ALERT_URLS")
    if as_json:
        print_json({"ways": [asdict(outcome) for outcome in outcomes]})
    else:
        for outcome in outcomes:
            typer.echo(f"{outcome.way}: {'delivered' if outcome.delivered else f'not delivered: {outcome.problem}'}")
    if not all(outcome.delivered for outcome in outcomes):
        raise typer.Exit(ExitCode.UNAVAILABLE)


def _settings() -> Settings:
    settings = load_settings()
    protect_files(settings.data_dir)
    return settings


def _test_services(settings: Settings, severity: Severity) -> Iterator[Outcome]:
    """Straight from here, by the program that the watchdog sends with; each once."""
    now = time.time()
    notice = Notice(Kind.TEST, Alert(severity, TEST_KEY, _TEXT, now, now), now)
    for service in open_outlets(settings.alert_urls):
        try:
            service.send(notice)
        except RagdError as error:
            yield Outcome(f"ALERT_URLS {service.name}", False, str(error))
        else:
            yield Outcome(f"ALERT_URLS {service.name}", True, "")


def _test_discord(settings: Settings, severity: Severity) -> Iterator[Outcome]:
    """Through the outbox, so by the capture that runs."""
    if settings.alert_channel_id is None:
        return
    way = f"ALERT_CHANNEL_ID {settings.alert_channel_id}"
    try:
        problem = _await_capture(settings, severity)
    except RagdError as error:
        problem = str(error)
    yield Outcome(way, not problem, problem)


def _await_capture(settings: Settings, severity: Severity) -> str:
    """Put a test into the outbox and wait; returns why it was not delivered, empty if it was."""
    if not settings.database_path.exists():
        return "ragd has never run here"
    with contextlib.closing(Store.open(settings.database_path)) as store:
        test_id = store.alerts.add_test(severity, _TEXT)
        try:
            return _watch(store, test_id)
        finally:
            store.alerts.withdraw(test_id)


def _watch(store: Store, test_id: int) -> str:
    deadline = time.monotonic() + DISCORD_SECONDS
    while time.monotonic() < deadline:
        stored = store.alerts.find(test_id)
        if stored is None or stored.delivery == "delivered":
            return ""
        if stored.problem:
            return stored.problem
        time.sleep(_POLL_SECONDS)
    return f"capture did not fetch it within {DISCORD_SECONDS:g} s; `ragdctl status` tells how it is"


def _document(settings: Settings, stored: StoredAlert) -> dict[str, Any]:
    return {**asdict(describe_alert(settings, stored)), "resolved_at": stored.resolved_at}


def _table(settings: Settings, found: list[StoredAlert]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("severity", "began", "lasted", "count", "told"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what", overflow="fold")
    for stored in found:
        alert = describe_alert(settings, stored)
        table.add_row(
            alert.severity if stored.resolved_at is None else f"({alert.severity})",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(alert.raised_at)),
            format_seconds((stored.resolved_at or time.time()) - alert.raised_at),
            str(alert.count),
            alert.delivery,
            one_line(_what(alert)),
        )
    return table


def _what(alert: OpenAlert) -> str:
    return f"{alert.text} [{alert.delivery_problem}]" if alert.delivery_problem else alert.text
