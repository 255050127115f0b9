"""Looking at what capture made of channels and guilds, for the tests of what it loses and leaves out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ragd.store import Store
from tests.processes import Process, until

Result = TypeVar("Result")


def look(process: Process, query: Callable[[Store], Result]) -> Result:
    """Ask the store of a process."""
    store = Store.open_read_only(process.settings.database_path)
    try:
        return query(store)
    finally:
        store.close()


def connected(process: Process) -> Process:
    """Wait until everything has been stated and read once."""
    until(lambda: process.counter("connected") and process.counter("resyncs"), process.tail())
    return process


def row(process: Process, channel_id: int) -> dict[str, Any]:
    """A channel's row; empty before there is one."""
    names = ("readable", "archived", "deleted", "excluded", "last_message_id")
    found = look(process, lambda s: s._all(f"SELECT {', '.join(names)} FROM channel WHERE id = ?", channel_id))
    return dict(zip(names, found[0], strict=True)) if found else {}


def texts(process: Process, *channel_ids: int) -> set[str]:
    """What the store has of the channels and is not deleted."""
    marks = ",".join(map(str, channel_ids))
    query = f"SELECT content FROM message WHERE channel_id IN ({marks}) AND NOT deleted AND content <> ''"
    return {found[0] for found in look(process, lambda store: store._all(query))}


def holes(process: Process) -> list[int]:
    """Channels with holes that count."""
    return [hole.channel_id for hole in look(process, lambda store: store.coverage.holes())]


def until_texts(process: Process, channel_id: int, wanted: Iterable[str]) -> None:
    """Wait until the channel holds just that."""
    expected = set(wanted)
    try:
        until(lambda: texts(process, channel_id) == expected)
    except AssertionError:
        raise AssertionError(f"{texts(process, channel_id)} instead of {expected}\n{process.tail()}") from None


def complete(process: Process, channel_id: int) -> bool:
    """Whether coverage says that all of the channel is there, up to its newest message."""
    intervals = look(process, lambda store: store.coverage.intervals(channel_id))
    return bool(intervals) and intervals[0][0] == 1 and intervals[-1][1] >= row(process, channel_id)["last_message_id"]
