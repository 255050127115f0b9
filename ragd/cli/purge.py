"""`ragdctl purge`: take out what was captured of channels that are captured no more."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from ragd.access import protect_files
from ragd.cli.render import AsJson, console, one_line, print_json
from ragd.config import Settings, load_settings
from ragd.errors import RagdError, UnavailableError, UsageError
from ragd.status import collect_status
from ragd.store import Store
from ragd.store.purge import Standing, purge_channel

FOLLOW_SECONDS = 60.0
"""How long to wait for the syncer to take chunks and vectors away."""

_POLL_SECONDS = 0.2


def purge(
    *,
    channel: Annotated[
        list[int] | None, typer.Option(metavar="ID", help="A channel with its threads, or a category; repeatable.")
    ] = None,
    guild: Annotated[list[int] | None, typer.Option(metavar="ID", help="All of a guild; repeatable.")] = None,
    denied: Annotated[bool, typer.Option("--denied", help="Whatever the allow and deny lists leave out.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take out what was captured of channels that are denied, deleted, unreadable or of a guild that was left.

    Words, names and reactions go; ids stay, so that nothing comes back by itself. A channel that is captured again has
    its history read anew. With --json and without --yes it only says what it would do.
    """
    if not (channel or guild or denied):
        raise UsageError("nothing is named to purge", hint="give --channel ID, --guild ID or --denied")
    settings = load_settings()
    protect_files(settings.data_dir)
    if not settings.database_path.exists():
        raise UnavailableError(
            f"no database at {settings.database_path}", hint="start ragd first, or set RAGD_DATA_DIR"
        )
    store = Store.open(settings.database_path)
    try:
        _purge(store, settings, _chosen(store, settings, channel or [], guild or [], denied=denied), yes, as_json)
    finally:
        store.close()


def _chosen(
    store: Store, settings: Settings, channels: list[int], guilds: list[int], *, denied: bool
) -> list[Standing]:
    """What is to be emptied. Raises UsageError for what is not there or is still captured."""
    if not _runs(settings, "capture"):
        store.purge.exclude(settings.scope)  # no capture has put the lists as they stand now into force
    found = store.purge.standings(channels, guilds, denied=denied)
    for what, wanted, known in (
        ("channel", channels, {place for one in found for place in (one.id, one.parent_id)}),
        ("guild", guilds, {one.guild_id for one in found}),
    ):
        for missing in [one for one in wanted if one not in known]:
            raise UsageError(f"nothing was captured of {what} {missing}", hint="is the id right?")
    _refuse_captured(found, settings)
    return [one for one in found if one.messages]


def _refuse_captured(found: list[Standing], settings: Settings) -> None:
    captured = [one for one in found if one.reason == "captured"]
    if not captured:
        return
    first = captured[0]
    more = f" and {len(captured) - 1} more" if len(captured) > 1 else ""
    in_force = settings.scope.includes((first.id, first.parent_id, first.guild_id))
    raise RagdError(
        f"channel {first.id} ({one_line(first.name)}){more} is still captured",
        hint="name it in RAGD_DENY_IDS and run `ragdctl reload` first" if in_force else "run `ragdctl reload` first",
    )


def _purge(store: Store, settings: Settings, chosen: list[Standing], yes: bool, as_json: bool) -> None:
    if as_json and not yes:
        print_json({"channels": [asdict(one) for one in chosen], "purged": None, "search_followed": None})
        return
    if not as_json:
        _show(chosen)
    if chosen and not yes:
        typer.confirm("Take that out for good?", abort=True)
    purged = {one.id: purge_channel(store.purge, one.id) for one in chosen}
    followed = _await_search(store, settings, list(purged))
    if as_json:
        channels = [{**asdict(one), "purged": purged[one.id]} for one in chosen]
        print_json({"channels": channels, "purged": sum(purged.values()), "search_followed": followed})
    elif chosen:
        typer.echo(_told(sum(purged.values()), followed))


def _show(chosen: list[Standing]) -> None:
    if not chosen:
        typer.echo("there is nothing to take out")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("messages", justify="right", no_wrap=True)
    for heading in ("why", "channel", "id", "guild"):
        table.add_column(heading, overflow="fold")
    for one in chosen:
        names = one_line(one.name), str(one.id), one_line(one.guild_name) or str(one.guild_id)
        table.add_row(f"{one.messages:,}", one.reason, *names)
    console().print(table)


def _await_search(store: Store, settings: Settings, channel_ids: list[int]) -> bool:
    """Whether no chunk of the channels is left; waits for a syncer that runs."""
    deadline = time.monotonic() + FOLLOW_SECONDS
    while store.purge.searchable(channel_ids):
        if time.monotonic() > deadline or not _runs(settings, "syncer"):
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _runs(settings: Settings, process: str) -> bool:
    return collect_status(settings).processes[process].pid is not None


def _told(purged: int, followed: bool) -> str:
    search = "search has followed" if followed else "nobody finds them; their chunks go when the syncer has followed"
    return f"{purged:,} messages taken out; {search}"
