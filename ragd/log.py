"""Logging: one handler on standard error or into the journal; a format for people, for machines, for journald."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson

from ragd.journald import PRIORITIES, JournalHandler, is_journal

if TYPE_CHECKING:
    # only then: supervisord's process logs through here, and has no use for the settings and their libraries
    from ragd.config import Settings

MASK = "********"

_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\U000e0000-\U000e0fff]"
)
"""Control characters, zero-width and bidirectional ones, halves of characters, tags."""


class TextFormatter(logging.Formatter):
    """The message and, if there is one, the traceback; secrets masked wherever they come from."""

    def __init__(self, process: str, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._process = process
        self._secrets = sorted(secrets, key=len, reverse=True)  # one may begin with another

    def format(self, record: logging.LogRecord) -> str:
        parts = [record.getMessage()]
        if record.exc_info:
            parts.append(self.formatException(record.exc_info))
        return self.harmless("\n".join(parts))

    def harmless(self, text: str) -> str:
        """Without secrets, and without what moves a terminal: an error may quote a stranger. Line ends stay."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class PlainFormatter(TextFormatter):
    """`2026-01-31T12:00:00.000Z capture INFO connected`: for terminals and files."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        # further lines further in: what begins like one of ours is one of ours
        text = super().format(record).replace("\n", "\n    ")
        return f"{when}Z {self._process:<8} {record.levelname:<7} {text}"


class PrefixFormatter(TextFormatter):
    """`<4>capture: text`, as sd-daemon(3) wants it: for a journald that has only our standard error."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{PRIORITIES.get(record.levelno, 6)}>{self._process}: "
        return "\n".join(prefix + line for line in super().format(record).splitlines())


class JsonFormatter(TextFormatter):
    """One JSON object a line: time, level, process, logger, message, and `error` with a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": self.harmless(record.getMessage()),
        }
        if record.exc_info:
            fields["error"] = self.harmless(self.formatException(record.exc_info))
        return orjson.dumps(fields).decode()


def configure_logging(process: str, settings: Settings) -> None:
    """Send this process's log to standard error or the journal. Called once, by an entry point."""
    root = logging.getLogger()
    root.handlers[:] = [make_handler(process, settings.log_format, settings.secrets())]
    # DEBUG is for our own lines: there discord.py quotes what came from the gateway and peewee each value it binds,
    # and message text must never reach a log.
    logging.getLogger("ragd").setLevel(settings.log_level)
    root.setLevel(max(logging.INFO, logging.getLevelNamesMapping()[settings.log_level]))
    for chatty in ("aiohttp.access", "httpx2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("discord.client").addFilter(_brief_reconnect)


def _brief_reconnect(record: logging.LogRecord) -> bool:
    """discord.py logs each attempt to reconnect as an error with some 45 lines of traceback: one line says it all."""
    if record.exc_info and record.exc_info[1] and str(record.msg).startswith("Attempting a reconnect"):
        record.msg, record.args = (
            f"{record.getMessage()}: {record.exc_info[1] or type(record.exc_info[1]).__name__}",
            (),
        )
        record.exc_info = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def make_handler(process: str, wanted: str, secrets: Iterable[str] = ()) -> logging.Handler:
    """The handler for a value of RAGD_LOG_FORMAT."""
    if wanted in ("auto", "journal") and is_journal(2):
        handler: logging.Handler = JournalHandler(process)
        handler.setFormatter(TextFormatter(process, secrets))
        return handler
    handler = logging.StreamHandler(sys.stderr)
    formatter = {"journal": PrefixFormatter, "json": JsonFormatter}.get(wanted, PlainFormatter)
    handler.setFormatter(formatter(process, secrets))
    return handler


def complain(program: str, line: str, *, process: str | None = None) -> None:
    """Say in one line why a program ends whose log may not be set up: `PROGRAM: LINE`, or an error in the journal."""
    if not is_journal(2):
        print(f"{program}: {TextFormatter(program).harmless(line)}", file=sys.stderr, flush=True)
        return
    record = logging.LogRecord(program, logging.ERROR, __file__, 0, line, None, None)
    JournalHandler(process or program).handle(record)
