"""`ragdctl`: the operator's tool. It only asks; what it can show of a dead daemon, it shows."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Annotated

import typer

import ragd
from ragd.access import protect_memory
from ragd.cli import alert, backup, index
from ragd.cli.ask import ask
from ragd.cli.audit import audit
from ragd.cli.coverage import coverage
from ragd.cli.exchange import export, import_
from ragd.cli.forget import forget
from ragd.cli.health import health, ready
from ragd.cli.mcp import mcp
from ragd.cli.owner import become_owner
from ragd.cli.purge import purge
from ragd.cli.receipts import erasures
from ragd.cli.reload import reload
from ragd.cli.restart import restart
from ragd.cli.search import search
from ragd.cli.settings import config
from ragd.cli.status import status
from ragd.cli.watch import watch
from ragd.cli.why import why
from ragd.config import load_settings
from ragd.errors import ConfigError, RagdError
from ragd.log import complain

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True)


def main() -> None:
    """Entry point of the console script. An error on purpose ends in one line on standard error and its own code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a locale without the letters that people write in must not end the output
        sys.stdout.reconfigure(errors="replace")
    protect_memory()
    try:
        app()
    except RagdError as error:
        complain("ragdctl", error.one_line())
        sys.exit(int(error.exit_code))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ragd {ragd.__version__}")
        raise typer.Exit


@app.callback()
def ragdctl(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Look at ragd, search, and restart its processes. Reads the same settings as `ragd`."""
    if os.geteuid() == 0:
        # with a wrong setting there is no place to step down to; the command itself says what is wrong
        with contextlib.suppress(ConfigError):
            become_owner(load_settings().data_dir)


app.command()(status)
app.command()(health)
app.command()(ready)
app.command()(search)
app.command()(ask)
app.command()(mcp)
app.command()(coverage)
app.command()(why)
app.command()(audit)
app.command()(watch)
app.command()(purge)
app.command()(forget)
app.command()(erasures)
app.command()(restart)
app.command()(reload)
app.command()(config)
app.add_typer(index.app, name="index")
app.add_typer(alert.app, name="alert")
app.add_typer(backup.app, name="backup")
app.command()(backup.restore)
app.command("import")(import_)
app.command()(export)
