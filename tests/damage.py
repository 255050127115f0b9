"""Databases with something in them, and damage to them, for the tests of backup and restore."""

from __future__ import annotations

from pathlib import Path

import apsw

from ragd.store import Store
from ragd.store.events import ChannelsSeen, GuildSeen, Posted
from tests.store.factories import GUILD, at, channel, message

PAGE_BYTES = 4096


def fill(path: Path, messages: int = 2000) -> None:
    """A guild, a channel and messages; everything in the one file."""
    store = Store.open(path)
    posted = (Posted(message(at(n), f"message number {n} " + "x" * 200)) for n in range(messages))
    store.ingest().apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel(at(messages))]), *posted])
    store.checkpoint(5.0)
    store.close()


def flip_page(path: Path, table: str = "message") -> None:
    """Overwrite a table's root page, as a bad disk or a stray write does. Nobody may have the database open."""
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ((root,),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,))
    connection.close()
    with path.open("r+b") as file:
        file.seek((int(root) - 1) * PAGE_BYTES)
        file.write(b"\xaa" * PAGE_BYTES)


def flip_bit(path: Path, offset: int = -2000) -> None:
    """Change one bit, counted from the end if negative."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
