"""`ragdctl import` and `ragdctl export`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ragd.access import protect_files
from ragd.backup import advised
from ragd.cli.render import AsJson, format_bytes, format_seconds, one_line, print_json
from ragd.cli.search import parse_since
from ragd.config import Settings, load_settings
from ragd.errors import ExitCode, UsageError
from ragd.exchange.exporting import Exporter, Wanted, Written
from ragd.exchange.formats import Format
from ragd.exchange.importing import Importer, find_files
from ragd.exchange.report import FileReport
from ragd.log import complain
from ragd.snowflake import from_unix_seconds
from ragd.store import Store
from ragd.store.promises import FILE as PROMISES
from ragd.store.promises import catch_up
from ragd.worker import make_directory

STANDARD_OUTPUT = "-"

_DAMAGED = "what else is stored of them makes no sense"


def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Files, or folders of *.json, of DiscordChatExporter or ragd.")
    ],
    *,
    no_coverage: Annotated[
        bool,
        typer.Option(
            "--no-coverage",
            help="Do not take the files for complete: for those made with --filter, or cut down by hand. ragd still"
            " fetches what it can for their time.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import chats that DiscordChatExporter wrote as JSON, or `ragdctl export`, while ragd runs or not.

    May be repeated and interrupted. What ragd has from Discord itself is never changed and what was deleted there does
    not come back; of two files the later export wins. A file counts as complete for its time, unless told otherwise.
    Exit code 65 if something in a file could not be read; the rest is imported all the same.
    """
    settings = load_settings()
    protect_files(settings.data_dir)
    paths = find_files(files)
    make_directory(settings.data_dir)
    with advised(settings.data_dir):
        store = Store.open(settings.database_path, durability="FULL", busy_seconds=settings.busy_seconds)
        try:
            catch_up(store.database, settings.data_dir / PROMISES)
            importer = Importer(
                store,
                coverage=not no_coverage,
                index_bots=settings.index_bots,
                command_prefix=settings.command_prefix,
            )
            reports = [_import_one(importer, path, quiet=as_json) for path in paths]
        finally:
            store.close()
    if as_json:
        print_json({"files": [_document(report) for report in reports]})
    if not all(report.is_sound for report in reports):
        raise typer.Exit(int(ExitCode.DATA))


def _import_one(importer: Importer, path: Path, *, quiet: bool) -> FileReport:
    with _progress(path) as advance:
        report = importer.run(path, advance)
    if not quiet:
        typer.echo(_summary(report))
    for line in _complaints(report):
        complain("ragdctl", line)
    return report


@contextmanager
def _progress(path: Path) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal."""
    screen = Console(stderr=True, markup=False, emoji=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(binary_units=True))
    with Progress(
        *columns,
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    ) as bar:
        task = bar.add_task(one_line(path.name), total=path.stat().st_size)
        yield lambda done: bar.update(task, completed=done)


def _summary(report: FileReport) -> str:
    figures = [f"{report.new:,} new"]
    for count, word in (
        (report.updated, "updated"),
        (report.known, "known already"),
        (report.older, "older than what is known"),
        *((skipped.count, f"skipped: {skipped.reason}") for skipped in report.skipped.values()),
    ):
        figures += [f"{count:,} {word}"] if count else []
    size = f"{format_bytes(report.bytes_read)} in {format_seconds(report.seconds)}"
    return one_line(f"{report.file}: #{report.channel}: {report.messages:,} messages, {', '.join(figures)}; {size}")


def _complaints(report: FileReport) -> Iterator[str]:
    for skipped in report.skipped.values():
        if skipped.first_byte is not None:
            count = f", and {skipped.count - 1:,} more" if skipped.count > 1 else ""
            yield one_line(
                f"{report.file}: byte {skipped.first_byte:,}: a message was left out{count}: {skipped.reason}"
            )
    if report.problem:
        kept = report.new + report.updated + report.known + report.older
        yield one_line(f"{report.problem}; {kept:,} messages before that are kept")


def _document(report: FileReport) -> dict[str, Any]:
    ids = {name: str(getattr(report, name)) for name in ("channel_id", "complete_from", "complete_to")}
    return {**asdict(report), **ids, "skipped": [asdict(skipped) for skipped in report.skipped.values()]}


def export(
    *,
    channel: Annotated[
        list[str] | None, typer.Option(help="Only this channel and its threads: name or id; may be repeated.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only what is newer: 2026-01-31, an ISO time, or 30m, 12h, 7d, 2w ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only what is older, in the same forms.")] = None,
    form: Annotated[
        Format, typer.Option("--format", metavar="FORMAT", help="dce (DiscordChatExporter's JSON), jsonl or csv.")
    ] = Format.DCE,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="A directory gets a file a channel, a file all; - is standard output.",
        ),
    ] = ".",
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Export messages, while ragd runs or not, as DiscordChatExporter writes them, as JSON lines or as CSV.

    Everything that is stored and not deleted, whether or not the bot may read it today; what RAGD_ALLOW_IDS or
    RAGD_DENY_IDS leave out only if --channel names it. A file is whole or not there. Exit code 65 if of some messages
    only the words could be read; all others are exported as ever.
    """
    settings = load_settings()
    now = datetime.now().astimezone()
    first_id = from_unix_seconds(parse_since(since, now).timestamp()) if since else 0
    last_id = from_unix_seconds(parse_since(until, now, "--until").timestamp()) - 1 if until else 0
    if until and last_id < max(first_id, 1):
        raise UsageError(f"--until={one_line(until)}: nothing is older than that", hint="it must be after --since")
    if as_json and output == STANDARD_OUTPUT:
        raise UsageError("--json and -o - cannot both have standard output")
    with advised(settings.data_dir):
        store = Store.open_read_only(settings.database_path)
        try:
            exporter = Exporter(store, Wanted(channel or (), first_id, last_id, form))
            written = _export(exporter, settings, output, force=force, quiet=as_json)
        finally:
            store.close()
    if as_json:
        print_json({"files": [asdict(file) for file in written]})
    elif not written:
        typer.echo("no messages to export")
    if any(file.damaged for file in written):
        raise typer.Exit(int(ExitCode.DATA))


def _export(exporter: Exporter, settings: Settings, output: str, *, force: bool, quiet: bool) -> list[Written]:
    if output == STANDARD_OUTPUT:
        written = exporter.into_stream(sys.stdout.buffer)
        sys.stdout.flush()
        return [_told(written, quiet=True)]
    path = Path(output).expanduser()
    directory = path if output.endswith(os.sep) or path.is_dir() else path.parent
    if directory == path:
        make_directory(path)
    protect_files(settings.data_dir, directory)
    files = exporter.into_directory(path, force=force) if directory == path else [exporter.into_file(path, force=force)]
    return [_told(file, quiet=quiet) for file in files]


def _told(file: Written, *, quiet: bool) -> Written:
    if not quiet:
        typer.echo(one_line(f"{file.file}: {file.messages:,} messages, {format_bytes(file.bytes)}"))
    if file.damaged:
        complain("ragdctl", one_line(f"{file.file}: {file.damaged:,} messages with their words alone: {_DAMAGED}"))
    return file
