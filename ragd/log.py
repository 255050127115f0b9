"""Logging: one handler on standard error, one format for people, one for machines, one for journald."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime

import orjson

from ragd.config import Settings

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""syslog(3) priorities by logging level, as sd-daemon(3) wants them before each line."""


class PlainFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z capture INFO connected`: for terminals and files."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        return f"{when}Z {self._process:<8} {record.levelname:<7} {self._text(record)}"

    def _text(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return text


class JournalFormatter(PlainFormatter):
    """`<4>capture: text`: journald adds the time, and takes the priority off each line of a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>{self._process}: "
        return "\n".join(prefix + line for line in self._text(record).splitlines())


class JsonFormatter(PlainFormatter):
    """One JSON object a line: time, level, process, logger, message, and `error` with a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return orjson.dumps(fields).decode()


def configure_logging(process: str, settings: Settings) -> None:
    """Send this process's log to standard error. Called once, by an entry point."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(process, settings.log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    # discord.py logs every gateway payload at DEBUG, message text included, which must never reach a log.
    logging.getLogger("discord").setLevel(max(logging.INFO, root.level))
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def _formatter(process: str, wanted: str) -> logging.Formatter:
    if wanted == "auto":
        wanted = "journal" if os.environ.get("JOURNAL_STREAM") else "plain"
    return {"plain": PlainFormatter, "journal": JournalFormatter, "json": JsonFormatter}[wanted](process)
