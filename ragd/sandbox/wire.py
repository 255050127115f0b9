"""Bytes on a gateway connection: compression, and websocket frames written in batches.

aiohttp's own `send_bytes` costs an await and a drain per message. Here whole bursts become one `transport.write`.
"""

from __future__ import annotations

import asyncio
import zlib
from importlib import import_module
from typing import Any, Protocol

_FINAL_TEXT, _FINAL_BINARY = 0x81, 0x82
MAX_UNREAD_BYTES = 64 * 1024 * 1024
"""A client that lets this much pile up is cut off."""


class Encoder(Protocol):
    """Turns one JSON message into the payload of one frame."""

    first_byte: int

    def encode(self, message: bytes) -> bytes:
        """The frame's payload."""


class PlainEncoder:
    """No compression: text frames."""

    first_byte = _FINAL_TEXT

    def encode(self, message: bytes) -> bytes:
        """The message itself."""
        return message


class ZlibEncoder:
    """`zlib-stream`: one zlib context per connection, each message ended by a sync flush (00 00 FF FF)."""

    first_byte = _FINAL_BINARY

    def __init__(self) -> None:
        self._context = zlib.compressobj(level=1)

    def encode(self, message: bytes) -> bytes:
        """The compressed message with its flush."""
        return self._context.compress(message) + self._context.flush(zlib.Z_SYNC_FLUSH)


class ZstdEncoder:
    """`zstd-stream`: one zstandard frame per connection, flushed after each message. Needs Python 3.14."""

    first_byte = _FINAL_BINARY

    def __init__(self) -> None:
        zstd: Any = import_module("compression.zstd")
        self._context = zstd.ZstdCompressor()
        self._flush_mode = self._context.FLUSH_BLOCK

    def encode(self, message: bytes) -> bytes:
        """The compressed message with its flush."""
        return bytes(self._context.compress(message, self._flush_mode))


ENCODERS: dict[str, type[Encoder]] = {"": PlainEncoder, "zlib-stream": ZlibEncoder, "zstd-stream": ZstdEncoder}
"""By the value of the `compress` query parameter."""


def frame(first_byte: int, payload: bytes) -> bytes:
    """An unmasked, unfragmented websocket frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((first_byte, size)) + payload
    if size < 1 << 16:
        return bytes((first_byte, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first_byte, 127)) + size.to_bytes(8, "big") + payload


class BatchWriter:
    """Collects messages for a transport and writes them once per turn of the event loop, in order."""

    def __init__(self, transport: asyncio.Transport, encoder: Encoder) -> None:
        self._transport = transport
        self._encoder = encoder
        self._frames: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    def send(self, message: bytes) -> None:
        """Queue a message; sending to a closed transport does nothing."""
        if self._transport.is_closing():
            return
        if not self._frames:
            self._loop.call_soon(self.flush)
        self._frames.append(frame(self._encoder.first_byte, self._encoder.encode(message)))

    def flush(self) -> None:
        """Write what is queued, or cut off a client that does not read."""
        frames, self._frames = self._frames, []
        if not frames or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self._transport.abort()
            return
        self._transport.write(b"".join(frames))

    def abort(self) -> None:
        """Break the connection without a close frame; what is queued is lost."""
        self._frames.clear()
        self._transport.abort()
