"""`ragdctl purge`: take out what was captured of channels that are captured no more, or what is older than a day."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from ragd.cli.receipts import document, open_store, require_yes, see_through, show_receipt
from ragd.cli.render import AsJson, console, one_line, print_json
from ragd.config import Settings, load_settings
from ragd.errors import RagdError, UsageError
from ragd.snowflake import from_unix_seconds
from ragd.status import collect_status
from ragd.store import Store
from ragd.store.erasure import ErasureStore
from ragd.store.purge import Standing


def purge(
    *,
    channel: Annotated[
        list[int] | None, typer.Option(metavar="ID", help="A channel with its threads, or a category; repeatable.")
    ] = None,
    guild: Annotated[list[int] | None, typer.Option(metavar="ID", help="All of a guild; repeatable.")] = None,
    denied: Annotated[bool, typer.Option("--denied", help="Whatever the allow and deny lists leave out.")] = False,
    before: Annotated[
        str | None,
        typer.Option(
            metavar="DATE", help="What is older, as in 2025-01-31; with --channel only there, captured or not."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take out what was captured of channels that are denied, deleted, unreadable or of a guild that was left; or with
    --before whatever is older.

    Words, names and reactions go, also from chunks, index files and the file's free space; ids stay, so that nothing
    comes back by itself. A channel that is captured again has its history read anew, but for what was purged by its
    age. With --json and without --yes it only says what it would do.
    """
    if not (channel or guild or denied or before):
        raise UsageError("nothing is named to purge", hint="give --channel ID, --guild ID, --denied or --before DATE")
    if before and (guild or denied):
        raise UsageError("--before goes with --channel alone", hint="purge the others by themselves")
    settings = load_settings()
    before_id = _id_of(before) if before else 0
    store = open_store(settings)
    try:
        if before_id:
            _purge_older(store, settings, channel or [], before_id, yes, as_json)
            return
        _purge(store, settings, _chosen(store, settings, channel or [], guild or [], denied=denied), yes, as_json)
    finally:
        store.close()


def _chosen(
    store: Store, settings: Settings, channels: list[int], guilds: list[int], *, denied: bool
) -> list[Standing]:
    """What is to be emptied, or is about to be. Raises UsageError for what is not there or is still captured."""
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
    begun = _begun(store)
    return [one for one in found if one.messages or one.id in begun]


def _begun(store: Store) -> dict[int, int]:
    """Erasures by channel: purges that were asked for before and have not come to their end."""
    return {one.subject: one.id for one in store.erasures.open() if one.kind == "channel"}


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
        require_yes("Take that out for good?")
    begun = _begun(store)
    # all of them before the first message goes: whatever is killed then, they are seen through
    asked = [store.erasures.purge_channel(one.id) if one.messages else begun.get(one.id) for one in chosen]
    given = [erasure_id for erasure_id in asked if erasure_id is not None]
    for erasure_id in given:
        _empty(store.erasures, erasure_id)
    swept = see_through(store, settings, given)
    purged = dict.fromkeys((one.id for one in chosen), 0) | {one.subject: one.messages for one in swept}
    followed = store.purge.searchable(list(purged)) == 0
    if as_json:
        channels = [{**asdict(one), "purged": purged[one.id]} for one in chosen]
        erasures = [document(one) for one in swept]
        print_json(
            {"channels": channels, "purged": sum(purged.values()), "search_followed": followed, "erasures": erasures}
        )
    elif chosen:
        typer.echo(_told(sum(purged.values()), followed))
        for one in swept:
            show_receipt(one)


def _empty(erasures: ErasureStore, erasure_id: int) -> None:
    """Empty the channel from here, whether a syncer runs or not, in slices between which others get to write."""
    began = time.monotonic()
    while erasures.empty_some(erasure_id):
        time.sleep(time.monotonic() - began)  # SQLite's lock goes to whoever asks first, and we would ask first
        began = time.monotonic()


def _id_of(date: str) -> int:
    """The first message id of that day, by the clock of this machine. Raises UsageError."""
    try:
        return from_unix_seconds(datetime.fromisoformat(date).astimezone().timestamp())
    except (ValueError, OverflowError):
        raise UsageError(f"--before {date!r} is no date", hint="as in 2025-01-31, or 2025-01-31T12:00") from None


def _places(store: Store, channel_id: int) -> list[int]:
    """A channel, or the channels of a category. Raises UsageError."""
    found = store.purge.standings([channel_id])
    places = [one.id for one in found if one.id == channel_id] or [
        one.id for one in found if one.parent_id == channel_id
    ]
    if not places:
        raise UsageError(f"nothing was captured of channel {channel_id}", hint="is the id right?")
    return places


def _purge_older(
    store: Store, settings: Settings, channels: list[int], before_id: int, yes: bool, as_json: bool
) -> None:
    channels = [place for one in channels for place in _places(store, one)]
    older = store.erasures.count_older(channels, before_id)
    if as_json and not yes:
        print_json({"older": older, "erasures": None})
        return
    if not yes:
        typer.echo(f"{older:,} messages are older")
        require_yes("Take them out for good?")
    done = see_through(store, settings, store.erasures.forget_before(channels, before_id))
    if as_json:
        print_json({"older": older, "erasures": [document(one) for one in done]})
        return
    for one in done:
        show_receipt(one)


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


def _runs(settings: Settings, process: str) -> bool:
    return collect_status(settings).processes[process].pid is not None


def _told(purged: int, followed: bool) -> str:
    search = "search has followed" if followed else "nobody finds them; their chunks go when the syncer has followed"
    return f"{purged:,} messages taken out; {search}"
