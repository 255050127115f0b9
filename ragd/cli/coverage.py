"""`ragdctl coverage`: of each channel, what is known to be complete, how that was proved, and what is missing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ragd.cli.coverage_bar import follow
from ragd.cli.coverage_view import show_channel, show_channels
from ragd.cli.render import AsJson, console, one_line, print_json
from ragd.config import Settings, load_settings
from ragd.errors import DamagedError, ExitCode, UsageError
from ragd.heartbeat import process_exists, read_heartbeat
from ragd.snowflake import to_unix_ms
from ragd.store import Store
from ragd.store.completeness import ChannelCompleteness, percent
from ragd.store.coverage import Interval, ProvedInterval


def coverage(
    *,
    channel: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Only this channel: its intervals and its holes.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the filling of holes, until none is left.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is complete of each channel, how that was proved, and what is missing.

    On a terminal a bar follows while holes are being filled. Exit code: 0 nothing is missing, 1 something still is.
    """
    settings = load_settings()
    store = Store.open_read_only(settings.database_path)
    try:
        complete = _one(store, channel, as_json) if channel is not None else _all(store, as_json)
        if watch or _may_follow(settings, complete, as_json):
            complete = follow(store, as_json=as_json)
    finally:
        store.close()
    raise typer.Exit(ExitCode.OK if complete else ExitCode.ERROR)


def _may_follow(settings: Settings, complete: bool, as_json: bool) -> bool:
    """A bar nobody asked for is shown to somebody who looks, and while it moves."""
    if complete or as_json or not (console().is_terminal and sys.stdin.isatty()):
        return False
    with contextlib.suppress(DamagedError):
        beat = read_heartbeat(settings.heartbeat_dir, "capture")
        return beat is not None and process_exists(beat.pid) and bool(beat.counters.get("connected"))
    return False


# All channels


def _all(store: Store, as_json: bool) -> bool:
    """Show every channel; returns whether nothing is missing."""
    channels = store.completeness.channels()
    if as_json:
        print_json({**_totals(channels), "channels": [_document(channel) for channel in channels]})
    else:
        show_channels(console(), channels)
    return not any(channel.holes for channel in channels)


def _totals(channels: Sequence[ChannelCompleteness]) -> dict[str, Any]:
    captured = [channel for channel in channels if not channel.left_out]
    holes = [(channel, len(channel.holes)) for channel in captured]
    return {
        "percent": percent(
            sum(channel.covered for channel in captured),
            sum(channel.extent for channel in captured),
            complete=not any(count for _, count in holes),
        ),
        "holes": sum(count for channel, count in holes if not channel.refused_until),
        "refused_holes": sum(count for channel, count in holes if channel.refused_until),
        "messages": sum(channel.messages for channel in channels),
        "captured_channels": len(captured),
        "left_out_channels": len(channels) - len(captured),
    }


def _document(channel: ChannelCompleteness) -> dict[str, Any]:
    return {
        "guild_id": str(channel.guild_id),
        "guild": channel.guild,
        "channel_id": str(channel.channel_id),
        "parent_id": None if channel.parent_id is None else str(channel.parent_id),
        "name": channel.name,
        "type": channel.type,
        "left_out": channel.left_out or None,
        "refused_until": channel.refused_until / 1000 if channel.refused_until else None,
        "percent": None if channel.left_out else channel.percent,
        "intervals": channel.intervals,
        "holes": len(channel.holes),
        "newest_hole": _span(channel.holes[-1]) if channel.holes else None,
        "proved_by": channel.covered_by,
        "messages": channel.messages,
    }


def _span(interval: Interval) -> dict[str, Any]:
    """An interval of ids with its times, Unix seconds."""
    first, last = interval
    return {
        "first_id": str(first),
        "last_id": str(last),
        "first_time": to_unix_ms(first) / 1000,
        "last_time": to_unix_ms(last) / 1000,
    }


# One channel


def _one(store: Store, wanted: str, as_json: bool) -> bool:
    """Show one channel; returns whether nothing of it is missing. Raises UsageError if there is none or several."""
    channel = find_channel(store.completeness.channels(), wanted)
    proofs = store.coverage.proofs(channel.channel_id)
    if as_json:
        print_json(
            {
                **_document(channel),
                "proofs": [_proof(proof) for proof in proofs],
                "open": [_span(hole) for hole in channel.holes],
            }
        )
    else:
        show_channel(console(), channel, proofs)
    return not channel.holes


def _proof(proof: ProvedInterval) -> dict[str, Any]:
    return {
        **_span((proof.start_id, proof.end_id)),
        "source": proof.source,
        "proved_from": proof.proved_from / 1000,
        "proved_at": proof.proved_at / 1000,
    }


def find_channel(channels: Sequence[ChannelCompleteness], wanted: str) -> ChannelCompleteness:
    """The channel of that id, mention (`<#1>`) or name, with or without `#`.

    Raises UsageError if there is none, or more than one of that name.
    """
    name = wanted.strip().removeprefix("<#").removesuffix(">").removeprefix("#")
    found = [channel for channel in channels if str(channel.channel_id) == name]
    found = found or [channel for channel in channels if channel.name.casefold() == name.casefold()]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"--channel={one_line(wanted)}: no channel or thread of that name or id is known",
            hint="`ragdctl coverage` lists them",
        )
    ids = ", ".join(str(channel.channel_id) for channel in found[:5])
    raise UsageError(f"--channel={one_line(wanted)}: {len(found)} channels have that name", hint=f"give an id: {ids}")
