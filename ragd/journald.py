"""journald's own protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL): an entry a datagram, with fields of ours.

A line on standard error has a text and a priority; an entry also says which process and which part of it speaks, and
keeps a traceback together. Standard library only: supervisord's process loads this too.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import struct
import sys
from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"

PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""syslog(3) priorities by logging level."""

PATIENCE_SECONDS = 1.0
"""How long a journald that takes nothing may hold up its first line; those after it are dropped at once."""

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

_TOO_LARGE = (errno.EMSGSIZE, errno.ENOBUFS)


def is_journal(fd: int) -> bool:
    """Whether a descriptor leads to journald: $JOURNAL_STREAM names its device and inode (systemd.exec(5)).

    The variable alone says nothing: whoever starts us may have redirected the descriptor since.
    """
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def identifier(process: str) -> str:
    """What `journalctl -t` selects by, and what stands before each line: `ragd-capture`."""
    return process if process.startswith("ragd") else f"ragd-{process}"


def encode_entry(fields: Mapping[str, object]) -> bytes:
    """One entry. A value with a line break goes with its length before it, any other as `NAME=value`."""
    parts = []
    for name, value in fields.items():
        data = str(value).encode("utf-8", "backslashreplace")
        head = b"\n" + struct.pack("<Q", len(data)) if b"\n" in data else b"="
        parts.append(name.encode() + head + data + b"\n")
    return b"".join(parts)


class JournalSocket:
    """The way to journald. Connected to nothing, so that it outlives a journald that is started anew."""

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def send(self, entry: bytes, patience_seconds: float) -> None:
        """Hand over an entry of any size. Raises OSError; TimeoutError or BlockingIOError if journald takes none."""
        self._socket.settimeout(patience_seconds)
        try:
            self._socket.sendto(entry, self._path)
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            self._send_file(entry)

    def _send_file(self, entry: bytes) -> None:
        """What is too large for a datagram goes as a sealed file in memory, whose descriptor is all that is sent."""
        fd = os.memfd_create("ragd-journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with os.fdopen(fd, "wb") as file:
            file.write(entry)
            file.flush()
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))]
            self._socket.sendmsg([], rights, 0, self._path)

    def close(self) -> None:
        self._socket.close()


class JournalHandler(logging.Handler):
    """Sends records to journald as one process of ragd. The formatter makes the text, traceback included.

    Never blocks a worker for long: what a stuck journald does not take is dropped and counted, and the count is the
    first thing it hears when it takes entries again. Without its socket lines go to standard error.
    """

    def __init__(self, process: str, path: str = SOCKET) -> None:
        super().__init__()
        self._process = process
        self._socket = JournalSocket(path)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            self._deliver(record.levelno, text, self._fields(record))
        except Exception:  # noqa: BLE001 - as every handler of `logging`: a log line must not end the process
            self.handleError(record)

    def close(self) -> None:
        self._socket.close()
        super().close()

    def _fields(self, record: logging.LogRecord) -> dict[str, object]:
        return {
            "LOGGER": record.name,
            "CODE_FILE": record.pathname,
            "CODE_LINE": record.lineno,
            "CODE_FUNC": record.funcName or "",
        }

    def _deliver(self, level: int, text: str, more: Mapping[str, object]) -> None:
        try:
            self._send(level, text, more)
        except (TimeoutError, BlockingIOError):
            self._lost += 1
        except OSError:
            prefix = f"<{_priority(level)}>{self._process}: "
            print("\n".join(prefix + line for line in text.splitlines()), file=sys.stderr, flush=True)

    def _send(self, level: int, text: str, more: Mapping[str, object]) -> None:
        patience = 0.0 if self._lost else PATIENCE_SECONDS
        if self._lost:
            self._socket.send(self._entry(logging.WARNING, f"journald did not take {self._lost} lines", {}), patience)
            self._lost = 0
        self._socket.send(self._entry(level, text, more), patience)

    def _entry(self, level: int, text: str, more: Mapping[str, object]) -> bytes:
        return encode_entry(
            {
                "MESSAGE": text,
                "PRIORITY": _priority(level),
                "SYSLOG_IDENTIFIER": identifier(self._process),
                "RAGD_PROCESS": self._process,
                **more,
            }
        )


def _priority(level: int) -> int:
    return PRIORITIES.get(level, 6)
