"""Erasures on the command line: seen through, and their receipts shown."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from ragd.access import protect_files
from ragd.cli.launch import lock_directory
from ragd.cli.render import AsJson, console, format_seconds, local_time, one_line, print_json
from ragd.config import Settings, load_settings
from ragd.erasing import Eraser
from ragd.errors import UnavailableError, UsageError
from ragd.status import collect_status
from ragd.store import Store
from ragd.store.erasure import Erasure

WAIT_SECONDS = 60.0
"""How long to wait for ragd to complete an erasure; it goes on without us."""

SHOWN = 20

_POLL_SECONDS = 0.2

_STAGES = {
    "rows": "messages and chunks are being erased",
    "file": "the database's file is to be rewritten",
    "log": "the write-ahead log is to be emptied",
    "index": "the searcher is to write its files anew",
    "done": "complete",
}


def open_store(settings: Settings) -> Store:
    """The database, as its owner. Raises UnavailableError if there is none."""
    protect_files(settings.data_dir)
    if not settings.database_path.exists():
        raise UnavailableError(
            f"no database at {settings.database_path}", hint="start ragd first, or set RAGD_DATA_DIR"
        )
    return Store.open(settings.database_path)


def require_yes(question: str) -> None:
    """Ask whoever is at the keyboard. Raises typer.Abort for a no, UsageError where nobody answers."""
    try:
        agreed = typer.confirm(question)
    except typer.Abort:
        typer.echo()
        raise UsageError("nobody said yes, so nothing was erased", hint="--yes does not ask") from None
    if not agreed:
        raise typer.Abort


def see_through(store: Store, settings: Settings, erasure_ids: Sequence[int]) -> list[Erasure]:
    """Have erasures completed: by the syncer that runs, else here. Returns them as they are then, after WAIT_SECONDS
    at the latest, or at once when nobody runs who could go on.

    Raises TransientError if something keeps it from being done here: the same command goes on.
    """
    if not _running(settings):
        lock_directory(settings.data_dir)
        Eraser(settings, store, alone=True).run()
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = [one for one in map(store.erasures.find, erasure_ids) if one is not None]
        left = [one for one in found if one.state != "done"]
        if not left or time.monotonic() > deadline:
            return found
        needed = {"searcher" if one.state == "index" else "syncer" for one in left}
        if needed.isdisjoint(_running(settings)):
            return found
        time.sleep(_POLL_SECONDS)


def _running(settings: Settings) -> set[str]:
    return {name for name, process in collect_status(settings).processes.items() if process.pid is not None}


def document(erasure: Erasure) -> dict[str, Any]:
    """As JSON shows it: ids as strings, for they do not fit a JSON number."""
    return {**asdict(erasure), "subject": str(erasure.subject), "until_id": str(erasure.until_id)}


def show_receipt(erasure: Erasure) -> None:
    """Every line of it."""
    typer.echo(f"erasure {erasure.id} of {describe(erasure)}: {progress(erasure)}")
    typer.echo(f"taken out: {erasure.messages:,} messages, {erasure.chunks:,} chunks, {erasure.vectors:,} vectors")
    receipt = erasure.receipt
    if not receipt:
        return
    typer.echo(f"database: {receipt['database']}")
    typer.echo(f"index: {receipt['index']}")
    for backup in receipt["backups"]:
        made = local_time(backup["created_at"])
        typer.echo(f"still held by the backup {one_line(backup['path'])} of {made}: {_end_of(backup)}")
    unfinished = receipt.get("unfinished", [])  # receipts of earlier versions have none
    for path in unfinished:
        typer.echo(f"still held by {one_line(path)}, no whole backup: delete it, unless one is being made")
    for path in receipt["set_aside"]:
        typer.echo(f"still held by {one_line(path)}, set aside by a restore: delete it by hand")
    if not (receipt["backups"] or unfinished):
        typer.echo("no backup in the data directory holds it")
    if receipt.get("captured_again"):
        typer.echo("the channel is captured again: what was left in it then stays, and its history is read anew")
    again = (
        "purge again after one is restored" if erasure.kind == "channel" else "a restored one has this applied again"
    )
    typer.echo(f"backups kept elsewhere are for you to delete; {again}")


def _end_of(backup: Mapping[str, Any]) -> str:
    if not backup.get("rotated", True):  # receipts of earlier versions do not say
        return "not of this database, or under a name of its own, so it is not rotated out: delete it by hand"
    until = backup["expected_until"]
    return f"expected to be rotated out {local_time(until)}" if until else "rotated out when enough newer ones exist"


def describe(erasure: Erasure) -> str:
    """`user 123`, `channel 123`, `what is older than is kept, in channel 123`."""
    if erasure.kind != "before":
        return f"{erasure.kind} {erasure.subject}"
    where = f"channel {erasure.subject}" if erasure.subject else "all channels"
    return f"what was older than asked in {where}"


def progress(erasure: Erasure) -> str:
    if erasure.finished_at is not None:
        return f"complete after {format_seconds(max(0, erasure.finished_at - erasure.asked_at))}"
    return f"goes on: {erasure.problem or _STAGES[erasure.state]}"


def erasures(
    erasure: Annotated[int | None, typer.Argument(metavar="ID", help="One erasure, with its whole receipt.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show erasures and their receipts, the newest first."""
    store = open_store(load_settings())
    try:
        found = store.erasures.newest(SHOWN) if erasure is None else [store.erasures.find(erasure)]
    finally:
        store.close()
    known = [one for one in found if one is not None]
    if erasure is not None and not known:
        raise UsageError(f"there is no erasure {erasure}", hint="`ragdctl erasures` lists them")
    if as_json:
        print_json({"erasures": [document(one) for one in known]})
    elif erasure is not None:
        show_receipt(known[0])
    elif known:
        console().print(_table(known))
    else:
        typer.echo("nothing was erased yet")


def _table(found: Sequence[Erasure]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("id", justify="right", no_wrap=True)
    table.add_column("asked", no_wrap=True)
    table.add_column("by", no_wrap=True)
    table.add_column("of", overflow="fold")
    table.add_column("messages", justify="right", no_wrap=True)
    table.add_column("state", overflow="fold")
    for one in found:
        asked = local_time(datetime.fromtimestamp(one.asked_at, UTC).isoformat())
        table.add_row(str(one.id), asked, one.asked_by, describe(one), f"{one.messages:,}", progress(one))
    return table
