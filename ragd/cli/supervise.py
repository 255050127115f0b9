"""supervisord as ragd runs it: its own lines go where the workers' go, in the same format.

    python -m ragd.cli.supervise FORMAT [OPTIONS OF SUPERVISORD]

Left alone it writes its own format to standard output, where JSON is no longer JSON and journald takes every line,
FATAL ones too, for information. Nothing else of ragd is loaded here: this process only starts others.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import Any

from supervisor import http, loggers, options, supervisord

from ragd.errors import ExitCode
from ragd.log import complain, make_handler
from ragd.peers import is_welcome, peer_of

PROCESS = "supervisord"

MAX_REQUEST_BYTES = 64 * 1024
"""Of a head, or of a body; calls have some hundreds."""

_LEVELS = {
    loggers.LevelsByName.CRIT: logging.CRITICAL,
    loggers.LevelsByName.ERRO: logging.ERROR,
    loggers.LevelsByName.WARN: logging.WARNING,
    loggers.LevelsByName.INFO: logging.INFO,
}


class Bridge(loggers.Handler):  # type: ignore[misc]
    """A handler of supervisor's own logging that hands on to ours."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler

    def emit(self, record: Any) -> None:
        text = str(record.asdict()["message"])
        # it calls this critical at each start: the mode of its socket is what guards it here
        calm = text.endswith("without any HTTP authentication checking")
        level = logging.INFO if calm else _LEVELS.get(record.level, logging.DEBUG)
        self._handler.handle(logging.LogRecord(PROCESS, level, __file__, 0, text, None, None))

    def reopen(self) -> None:
        """Nothing to reopen: SIGUSR2 asks for it when files were rotated."""

    def remove(self) -> None:
        """Nothing to remove."""

    def close(self) -> None:
        """Before a reload supervisord closes descriptors by their numbers: ours must be gone by then."""
        self._handler.close()


class Channel(http.deferring_http_channel):  # type: ignore[misc]
    """A connection to supervisord's socket: for those whom it is for, with requests of a size that they have.

    Left alone, supervisord asks nobody who he is and keeps whatever it is sent in memory.
    """

    def __init__(self, server: Any, connection: Any, address: Any) -> None:
        super().__init__(server, connection, address)
        self._received = 0
        peer = peer_of(connection)
        if not is_welcome(peer, Path(server.ip)):
            self._refuse("403 Forbidden", f"{peer} may not use {server.ip}")

    def recv(self, size: int) -> bytes:
        data: bytes = super().recv(size)
        self._received += len(data)
        if self._received <= MAX_REQUEST_BYTES:
            return data
        self._refuse("413 Request Entity Too Large", f"a request of more than {MAX_REQUEST_BYTES} bytes")
        return b""

    def found_terminator(self) -> None:
        """Of the head of a request, or of its body."""
        self._received = 0
        super().found_terminator()

    def _refuse(self, status: str, why: str) -> None:
        # beneath two wrappers, which would make a trace of it
        self.server.logger.logger.logger.warn(f"refused: {why}")
        with contextlib.suppress(OSError):
            self.socket.send(f"HTTP/1.0 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        self.close()


def options_class(log_format: str) -> type[Any]:
    """supervisord's options, with that format of RAGD_LOG_FORMAT for its log."""

    class Options(options.ServerOptions):  # type: ignore[misc]
        def make_logger(self) -> None:
            self.logger = loggers.Logger(self.loglevel, [Bridge(make_handler(PROCESS, log_format))])
            for text in self.parse_criticals:
                self.logger.critical(text)
            for text in self.parse_warnings:
                self.logger.warn(text)
            for text in self.parse_infos:
                self.logger.info(text)

        def usage(self, msg: str) -> None:
            """What supervisord cannot start with; its own text goes on about its own options."""
            complain("ragd", f"supervisord does not start: {msg}", process=PROCESS)
            self.exit(int(ExitCode.ERROR))

    return Options


def main() -> None:
    """Become supervisord."""
    log_format, *arguments = sys.argv[1:]
    supervisord.ServerOptions = options_class(log_format)
    http.supervisor_af_unix_http_server.channel_class = Channel
    supervisord.main(arguments)


if __name__ == "__main__":
    main()
