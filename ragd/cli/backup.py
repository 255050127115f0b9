"""`ragdctl backup`, `ragdctl backup list` and `ragdctl restore`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ragd.access import protect_files
from ragd.backup import (
    DIRECTORY,
    adopt_database,
    make_backup,
    newest_good,
    open_backup,
    put_back,
    refuse_sound,
    verify_backup,
)
from ragd.backup_manifest import MOST_KEPT, Backup, list_backups
from ragd.cli.launch import lock_directory
from ragd.cli.render import AsJson, console, format_bytes, format_seconds, local_time, one_line, print_json
from ragd.config import Settings, load_settings
from ragd.errors import TransientError, UnavailableError, UsageError
from ragd.status import collect_status
from ragd.worker import make_directory

Directory = Annotated[
    Path | None, typer.Option("--to", metavar="DIR", help="Directory of the backups. Default: `backups` in the data.")
]

app = typer.Typer()


@app.callback(invoke_without_command=True)
def backup(
    context: typer.Context,
    *,
    to: Directory = None,
    keep: Annotated[int, typer.Option(min=1, max=MOST_KEPT, help="How many of the newest backups to keep there.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Back up the database, while ragd runs or not; the copy is checked before it counts."""
    if context.invoked_subcommand is not None:
        context.obj = to
        return
    settings = _settings()
    directory = _directory(settings, to)
    # one that is still to be made will be for those that its parent is for
    protect_files(settings.data_dir, directory if directory.exists() else directory.parent)
    made = make_backup(settings.database_path, directory, keep)
    if as_json:
        print_json(_document(made))
    else:
        size = format_bytes(made.manifest.size_bytes)
        typer.echo(f"{made.path}: {size}, {made.manifest.messages:,} messages, checked")


@app.command("list")
def list_(context: typer.Context, *, to: Directory = None, as_json: AsJson = False) -> None:
    """Show the backups, the newest first. Each is checked only when it is restored."""
    backups = list_backups(_directory(_settings(), to or context.obj))
    if as_json:
        print_json({"backups": [_document(found) for found in backups]})
    elif backups:
        console().print(_table(backups))
    else:
        typer.echo("no backups; make one with `ragdctl backup`")


def restore(
    backup: Annotated[
        Path | None, typer.Argument(metavar="BACKUP", help="The backup's .sqlite3 file. Default: the newest sound one.")
    ] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Also replace a database that is sound.")] = False,
    bare: Annotated[
        bool, typer.Option("--bare", help="BACKUP has no manifest: a database that Litestream restored, say.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the place of a damaged database, which is kept under another name. ragd must not run.

    Then start ragd: capture reads the history once more, so what is missing, or was edited or deleted since the
    backup, is made good.
    """
    settings = _settings()
    make_directory(settings.data_dir)
    lock_directory(settings.data_dir)
    _refuse_running(settings)
    if not force:
        refuse_sound(settings.database_path)
    chosen, bad = _choose(settings, backup, bare=bare)
    aside = put_back(chosen, settings.database_path, settings.index_dir)
    if as_json:
        passed_over = [str(error) for error in bad]
        print_json({**_document(chosen), "set_aside": aside and str(aside), "passed_over": passed_over})
    else:
        _tell(chosen, aside, bad)


def _settings() -> Settings:
    settings = load_settings()
    protect_files(settings.data_dir)
    return settings


def _directory(settings: Settings, to: Path | None) -> Path:
    return to.expanduser().absolute() if to else settings.data_dir / DIRECTORY


def _refuse_running(settings: Settings) -> None:
    """The lock is the whole tree's; a single process that somebody started by hand has none."""
    for process in collect_status(settings).processes.values():
        if process.pid is not None:
            raise TransientError(f"{process.name} still runs with pid {process.pid}", hint="stop it first")


def _choose(settings: Settings, path: Path | None, *, bare: bool) -> tuple[Backup, list[Exception]]:
    """A verified backup, and what is the matter with newer ones."""
    if bare:
        if path is None:
            raise UsageError("--bare needs to be told which file")
        return adopt_database(path), []
    if path is None:
        chosen, bad = newest_good(settings.data_dir / DIRECTORY)
        return chosen, list(bad)
    named = settings.data_dir / DIRECTORY / path
    if not path.exists() and not named.exists():
        raise UnavailableError(f"no backup at {path}", hint="`ragdctl backup list` shows what there is")
    chosen = open_backup(path if path.exists() else named)
    verify_backup(chosen)
    return chosen, []


def _tell(chosen: Backup, aside: Path | None, bad: list[Exception]) -> None:
    for error in bad:
        typer.echo(f"passed over: {one_line(str(error))}")
    typer.echo(f"restored {chosen.path}: {_age(chosen)} old, {chosen.manifest.messages:,} messages")
    if aside is not None:
        what = "the old database's log" if aside.name.endswith(("-wal", "-shm", "-journal")) else "the old database"
        typer.echo(f"{what} is {aside}; delete it when you no longer need it")
    typer.echo("start ragd: it reads the history once more and fetches what is missing")


def _document(backup: Backup) -> dict[str, Any]:
    return {"path": str(backup.path), **asdict(backup.manifest), "age_seconds": round(backup.age_seconds)}


def _table(backups: list[Backup]) -> Table:
    several = len({found.manifest.instance for found in backups}) > 1
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("made", "age", "size", "messages", *(["database"] if several else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("file", overflow="fold")
    for found in backups:
        manifest = found.manifest
        made, size = local_time(manifest.created_at), format_bytes(manifest.size_bytes)
        whose = [manifest.instance[:8] or "?"] if several else []
        table.add_row(made, _age(found), size, f"{manifest.messages:,}", *whose, one_line(str(found.path)))
    return table


def _age(backup: Backup) -> str:
    seconds = backup.age_seconds
    return format_seconds(seconds) if seconds >= 0 else "?"  # the clock was wrong then, or is now
