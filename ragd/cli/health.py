"""`ragdctl health`, the checks and their last 24 hours, and `ragdctl ready`, for a container's HEALTHCHECK."""

from __future__ import annotations

import http.client
import json
import sys
import time
from dataclasses import asdict
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ragd.cli.render import AsJson, console, format_seconds, one_line, print_json
from ragd.config import Settings, load_settings
from ragd.errors import ExitCode, UnavailableError
from ragd.health.history import CheckHistory
from ragd.health.outcome import format_figure
from ragd.status import Status, collect_status

READY_SECONDS = 5.0
"""How long `ready` waits for its answer: what answers has it at hand."""

OLD_SECONDS = 180.0
"""The history is written every minute; one that is older is of a watchdog that does not run any more."""

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to ask what listens everywhere


def health(*, as_json: AsJson = False) -> None:
    """Show every health check and its last 24 hours. Exit code: 0 none fails, 1 one does, 2 nobody checks."""
    seen = collect_status(load_settings())
    age = _age(seen)
    if as_json:
        print_json(_document(seen, age))
    elif seen.checks:
        _show(console(), seen, age)
    else:
        console().print("Nothing has been checked yet: start ragd, or see `ragdctl status`.")
    raise typer.Exit(_exit_code(seen, age))


def _age(seen: Status) -> float | None:
    """Of the newest look, in seconds."""
    newest = max((check.checked_at for check in seen.checks), default=None)
    return None if newest is None else max(0.0, time.time() - newest)


def _exit_code(seen: Status, age: float | None) -> ExitCode:
    if age is None or age > OLD_SECONDS:
        return ExitCode.DOWN
    return ExitCode.ERROR if any(check.verdict == "fail" for check in seen.checks) else ExitCode.OK


def _document(seen: Status, age: float | None) -> dict[str, Any]:
    return {
        "age_seconds": age,
        "checks_run_24h": seen.checks_run_24h,
        "checks_failed_24h": seen.checks_failed_24h,
        "checks": [asdict(check) for check in seen.checks],
    }


def _show(screen: Console, seen: Status, age: float | None) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("check", "verdict"):
        table.add_column(heading, no_wrap=True)
    for heading in ("figure", "runs", "failed"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("last 24 h", no_wrap=True)
    table.add_column("since", justify="right", no_wrap=True)
    for check in seen.checks:
        table.add_row(*_row(check))
    screen.print(table)
    _show_findings(screen, seen)
    screen.print(Text(f"\n{seen.checks_run_24h:,} checks in 24 h, {seen.checks_failed_24h:,} failed", style="dim"))
    if age is not None and age > OLD_SECONDS:
        screen.print(Text(f"nobody has checked for {format_seconds(age)}: see `ragdctl status`", style="red"))


def _row(check: CheckHistory) -> list[Text | str]:
    return [
        one_line(check.name),
        Text(one_line(check.verdict), style=_STYLES.get(check.verdict, "red")),
        one_line(format_figure(check.figure, check.unit)) or "-",
        f"{check.runs_24h:,}",
        f"{check.failures_24h:,}",
        Text(f"[{check.timeline}]", style="dim"),
        format_seconds(max(0.0, time.time() - check.changed_at)),
    ]


def _show_findings(screen: Console, seen: Status) -> None:
    for check in seen.checks:
        if check.verdict != "ok":
            hint = f" - {one_line(check.hint)}" if check.hint else ""
            screen.print(Text(f"{check.name}: {one_line(check.text)}{hint}", style=_STYLES.get(check.verdict, "red")))


def ready(*, as_json: AsJson = False) -> None:
    """Ask the watchdog's `/readyz`. Exit code: 0 ready, 1 not, with the reasons, 2 nobody answers."""
    settings = load_settings()
    try:
        document = ask_ready(settings)
    except UnavailableError as error:
        print(f"ragdctl: {error.one_line()}", file=sys.stderr)
        raise typer.Exit(ExitCode.DOWN) from None
    if as_json:
        print_json(document)
    else:
        typer.echo("ready" if document["ready"] else f"not ready: {'; '.join(map(one_line, document['reasons']))}")
    raise typer.Exit(ExitCode.OK if document["ready"] else ExitCode.ERROR)


def ask_ready(settings: Settings) -> dict[str, Any]:
    """What `/readyz` says. Raises UnavailableError without an answer that makes sense."""
    if not settings.http_port:
        raise UnavailableError("RAGD_HTTP_PORT=0: nothing can be asked", hint="see `ragdctl status`")
    host = _ANY_ADDRESS.get(settings.http_host, settings.http_host)
    connection = http.client.HTTPConnection(host, settings.http_port, timeout=READY_SECONDS)
    try:
        token = settings.http_token.get_secret_value() if settings.http_token else ""
        connection.request("GET", "/readyz", headers={"Authorization": f"Bearer {token}"} if token else {})
        document = json.loads(connection.getresponse().read())
        return {"ready": bool(document["ready"]), "reasons": [str(r) for r in document["reasons"]], **document}
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or repr(error)
        raise UnavailableError(
            f"nobody answers at {host}:{settings.http_port} ({why})", hint="see `ragdctl status`"
        ) from None
    except (ValueError, TypeError, LookupError) as error:
        raise UnavailableError(f"what answers at {host}:{settings.http_port} is not ragd ({error!r})") from None
    finally:
        connection.close()
