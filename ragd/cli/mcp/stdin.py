"""Standard input, line by line, for a server that must be able to stop while nobody writes."""

from __future__ import annotations

import asyncio
import logging
import os
import threading

_log = logging.getLogger(__name__)

LONGEST_LINE = 1 << 20
"""Bytes of a message: the longest query takes some 24 KB, every character of it escaped."""

_READ_BYTES = 1 << 16


class Lines:
    """Lines of a file descriptor as text, without end; a thread of its own reads, which nobody has to wait for.

    The library's own reader blocks in a thread that asyncio waits for, so a signal would end nothing. A line
    that is longer than LONGEST_LINE is dropped and logged.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue(8)
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> str:
        line = await self._lines.get()
        if line is None:
            raise StopAsyncIteration
        return line

    def _read(self) -> None:
        rest, skipping = b"", False
        while data := self._next():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if skipping or len(line) > LONGEST_LINE:
                    _log.warning("a message of more than %d bytes was dropped", LONGEST_LINE)
                else:
                    self._put(line.decode("utf-8", "replace"))
                skipping = False
            if len(rest) > LONGEST_LINE:
                rest, skipping = b"", True
        if rest and not skipping:
            self._put(rest.decode("utf-8", "replace"))
        self._put(None)

    def _next(self) -> bytes:
        try:
            return os.read(self._descriptor, _READ_BYTES)
        except OSError as error:
            _log.warning("standard input cannot be read: %s", error)
            return b""

    def _put(self, line: str | None) -> None:
        """Wait until there is room, so that a client that writes fast is held up and not stored up."""
        asyncio.run_coroutine_threadsafe(self._lines.put(line), self._loop).result()
