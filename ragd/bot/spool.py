"""Events on disk while there are too many for memory: one JSON line each, in order, gone when read.

Not a second truth: a process that dies leaves its spool behind unread, and REST brings what was in it.
"""

from __future__ import annotations

from pathlib import Path
from types import UnionType
from typing import IO, Any, get_args

import orjson
from pydantic import TypeAdapter

from ragd.store.events import Event

MAX_BYTES = 512 * 1024 * 1024
"""About half a million events; beyond that REST is the better memory."""


def _kinds(union: UnionType) -> dict[str, TypeAdapter[Any]]:
    return {kind.__name__: TypeAdapter(kind) for kind in get_args(union)}


_KINDS = _kinds(Event)


class Spool:
    """A queue in a file. For one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.unlink(missing_ok=True)
        self._writer: IO[bytes] | None = None
        self._reader: IO[bytes] | None = None
        self._waiting = 0
        self._bytes = 0

    def __len__(self) -> int:
        return self._waiting

    def append(self, event: Event) -> None:
        """Add at the end. Raises OSError when the disk does not take it, or the spool is as long as it may get."""
        if self._bytes > MAX_BYTES:
            raise OSError(f"{self.path} has reached {MAX_BYTES} bytes")
        if self._writer is None:
            self._writer = self.path.open("ab", buffering=0)
            self.path.chmod(0o600)
        line = orjson.dumps({"kind": type(event).__name__, "event": event}) + b"\n"
        if self._writer.write(line) != len(line):
            raise OSError(f"{self.path}: the disk took only a part of an event")
        self._waiting += 1
        self._bytes += len(line)

    def take(self, count: int) -> list[Event]:
        """Take up to `count` events from the front; the file goes with the last one."""
        if not self._waiting:
            return []
        if self._reader is None:
            self._reader = self.path.open("rb")
        count = min(count, self._waiting)
        events = [_parse(self._reader.readline()) for _ in range(count)]
        self._waiting -= count
        if not self._waiting:
            self.clear()
        return events

    def clear(self) -> None:
        """Forget everything."""
        for file in (self._writer, self._reader):
            if file is not None:
                file.close()
        self._writer = self._reader = None
        self._waiting = self._bytes = 0
        self.path.unlink(missing_ok=True)


def _parse(line: bytes) -> Event:
    raw = orjson.loads(line)
    event: Event = _KINDS[raw["kind"]].validate_python(raw["event"])
    return event
