"""Standard input, line by line, for a server that must be able to stop while nobody writes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading

import orjson

_log = logging.getLogger(__name__)

LONGEST_LINE = 1 << 20
"""Bytes of a message: the longest query takes some 24 KB, every character of it escaped."""

LINGER_SECONDS = 30.0
"""Longest that answers are waited for when input has ended."""

_READ_BYTES = 1 << 16


class Lines:
    """Lines of a file descriptor as text, without end; a thread of its own reads, which nobody has to wait for.

    The library's own reader blocks in a thread that asyncio waits for, so a signal would end nothing. A line
    that is longer than LONGEST_LINE is dropped and logged. Where input ends the lines end only when what was asked has
    been answered: `printf ... | ragdctl mcp` gets its answers.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue(8)
        self._open: set[str | int] = set()
        self._all_answered = asyncio.Event()
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> str:
        line = await self._lines.get()
        if line is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._drain(), LINGER_SECONDS)
            raise StopAsyncIteration
        self._note(line)
        return line

    def settle(self, request_id: str | int | None) -> None:
        """The request has its answer, or nobody wants one any more."""
        if request_id is not None:
            self._open.discard(request_id)
        if not self._open:
            self._all_answered.set()

    def _note(self, line: str) -> None:
        try:
            message = orjson.loads(line)
        except ValueError:
            return  # the server says so
        if not isinstance(message, dict) or "method" not in message:
            return
        if isinstance(message.get("id"), str | int):
            self._open.add(message["id"])
            self._all_answered.clear()
        elif message["method"] == "notifications/cancelled" and isinstance(message.get("params"), dict):
            cancelled = message["params"].get("requestId")
            self.settle(cancelled if isinstance(cancelled, str | int) else None)

    async def _drain(self) -> None:
        if self._open:
            await self._all_answered.wait()

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
