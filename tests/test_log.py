"""Where a line goes and what it looks like: for a terminal, for machines, for journald, heard or unheard."""

from __future__ import annotations

import array
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragd import journald
from ragd.cli.supervise import Bridge
from ragd.errors import ConfigError
from ragd.journald import JournalHandler, encode_entry, is_journal
from ragd.log import MASK, JsonFormatter, PlainFormatter, PrefixFormatter, TextFormatter, complain, make_handler
from tests.toytree import ROOT, settings_of

SECRET = "a-token-nobody-may-see"


def record(text: str, level: int = logging.INFO, *, error: bool = False) -> logging.LogRecord:
    """A record as a logger of ragd makes it."""
    caught = None
    if error:
        try:
            raise ConfigError(f"bad {SECRET}")  # noqa: TRY301
        except ConfigError:
            caught = sys.exc_info()
    return logging.LogRecord("ragd.capture", level, "capture.py", 7, text, None, caught, "run")


class Journal:
    """The receiving end of journald's socket: what it hears, decoded as the protocol says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(5)

    def next(self) -> dict[str, str]:
        data, ancillary, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        for _, _, rights in ancillary:
            fd = array.array("i", rights)[0]
            data = os.pread(fd, 1 << 26, 0)
            os.close(fd)
        return decode(data)

    def fill(self) -> int:
        """Send until nothing more fits; returns how many datagrams that took."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.setblocking(False)
            for count in range(100_000):
                try:
                    speaker.sendto(b"MESSAGE=filler\n", str(self.path))
                except BlockingIOError:
                    return count
        raise AssertionError("it takes everything")


def decode(data: bytes) -> dict[str, str]:
    """The reverse of encode_entry, written from the protocol's description."""
    fields = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if equals:
            data = rest
        else:
            length = int.from_bytes(rest[:8], "little")
            value, data = rest[8 : 8 + length], rest[9 + length :]
        fields[name.decode()] = value.decode()
    return fields


@pytest.fixture
def journal(short_path: Path) -> Iterator[Journal]:
    journal = Journal(short_path / "journal")
    yield journal
    journal.socket.close()


@pytest.fixture
def handler(journal: Journal) -> Iterator[JournalHandler]:
    handler = JournalHandler("capture", str(journal.path))
    handler.setFormatter(TextFormatter("capture", [SECRET]))
    yield handler
    handler.close()


# Formats


def test_plain() -> None:
    line = PlainFormatter("capture").format(record("connected"))
    assert line[10] == "T"
    assert line[24:] == " capture  INFO    connected"


def test_prefixes_stand_before_every_line() -> None:
    lines = PrefixFormatter("capture").format(record("it failed", logging.ERROR, error=True)).splitlines()
    assert len(lines) > 3
    assert all(line.startswith("<3>capture: ") for line in lines)


def test_json_is_one_line() -> None:
    line = JsonFormatter("capture").format(record("it\nfailed", logging.ERROR, error=True))
    assert "\n" not in line
    fields = json.loads(line)
    assert fields.keys() == {"time", "level", "process", "logger", "message", "error"}
    assert (fields["level"], fields["process"], fields["message"]) == ("error", "capture", "it\nfailed")


@pytest.mark.parametrize("formatter", [PlainFormatter, PrefixFormatter, JsonFormatter, TextFormatter])
def test_secrets_are_masked_in_message_and_traceback(formatter: type[TextFormatter]) -> None:
    text = formatter("capture", [SECRET]).format(record(f"see {SECRET}", error=True))
    assert SECRET not in text
    assert text.count("********") == 2


def test_one_secret_that_begins_with_another_is_masked_whole() -> None:
    assert TextFormatter("capture", [SECRET, SECRET + "-and-more"]).harmless(f"{SECRET}-and-more") == MASK


@pytest.mark.parametrize("formatter", [PlainFormatter, PrefixFormatter, JsonFormatter, TextFormatter])
def test_what_a_stranger_said_moves_no_terminal(formatter: type[TextFormatter]) -> None:
    text = formatter("capture").format(record("a\x1b]0;x\x07\x9b2J\r\u202eb\ud800 é🎉", error=True))
    assert not set(text) & set("\x1b\x07\x9b\r\u202e\ud800")
    assert "é🎉" in text


def test_a_line_end_forges_no_line() -> None:
    forged = "2026-01-31T12:00:00.000Z capture  ERROR   the token is bad"
    lines = PlainFormatter("capture").format(record(f"no such name: x\n{forged}")).split("\n")
    assert lines[1:] == [f"    {forged}"]


def test_secrets_are_every_secret_setting_that_is_long_enough() -> None:
    settings = settings_of({"DISCORD_BOT_TOKEN": SECRET, "ALERT_URLS": "json://one.example, json://two.example"})
    assert settings.secrets() == (SECRET, "json://one.example", "json://two.example")
    assert settings_of({"DISCORD_BOT_TOKEN": "wrong"}).secrets() == ()


# journald's protocol


def test_an_entry_reads_as_it_was_written() -> None:
    fields = {"MESSAGE": "two\nlines = 2", "PRIORITY": 6, "EMPTY": "", "ODD": "a=b"}
    assert decode(encode_entry(fields)) == {name: str(value) for name, value in fields.items()}


def test_fields(journal: Journal, handler: JournalHandler) -> None:
    handler.handle(record("trouble", logging.WARNING))
    assert journal.next() == {
        "MESSAGE": "trouble",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "ragd-capture",
        "RAGD_PROCESS": "capture",
        "LOGGER": "ragd.capture",
        "CODE_FILE": "capture.py",
        "CODE_LINE": "7",
        "CODE_FUNC": "run",
    }


def test_a_traceback_is_one_entry(journal: Journal, handler: JournalHandler) -> None:
    handler.handle(record("it failed", logging.ERROR, error=True))
    entry = journal.next()
    assert entry["PRIORITY"] == "3"
    assert entry["MESSAGE"].startswith("it failed\nTraceback ")
    assert SECRET not in entry["MESSAGE"]


def test_what_no_datagram_holds_arrives_as_a_file(journal: Journal, handler: JournalHandler) -> None:
    handler.handle(record("x" * 5_000_000))
    assert len(journal.next()["MESSAGE"]) == 5_000_000


def test_a_text_that_is_no_utf8_arrives(journal: Journal, handler: JournalHandler) -> None:
    handler.handle(record("a lone \udcff"))
    assert journal.next()["MESSAGE"] == "a lone \\udcff"


def test_a_stuck_journald_holds_up_one_line_and_is_told_of_the_rest(
    journal: Journal, handler: JournalHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journald, "PATIENCE_SECONDS", 0.3)
    waiting = journal.fill()
    begun = time.monotonic()
    for _ in range(100):
        handler.handle(record("lost"))
    assert time.monotonic() - begun < 3
    for _ in range(waiting):
        journal.next()
    handler.handle(record("here again"))
    assert journal.next()["MESSAGE"] == "journald did not take 100 lines"
    assert journal.next()["MESSAGE"] == "here again"


def test_another_journald_at_the_same_place_is_found(journal: Journal, handler: JournalHandler) -> None:
    handler.handle(record("one"))
    assert journal.next()["MESSAGE"] == "one"
    journal.socket.close()
    journal.path.unlink()
    second = Journal(journal.path)
    handler.handle(record("two"))
    assert second.next()["MESSAGE"] == "two"
    second.socket.close()


def test_without_a_socket_lines_go_to_standard_error(short_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    handler = JournalHandler("capture", str(short_path / "nobody"))
    handler.handle(record("one\ntwo", logging.ERROR))
    handler.close()
    assert capfd.readouterr().err == "<3>capture: one\n<3>capture: two\n"


def test_debug_is_for_our_own_lines(short_path: Path) -> None:
    code = (
        "import logging; from ragd.config import load_settings; from ragd.log import configure_logging\n"
        "configure_logging('capture', load_settings())\n"
        "for name in ('ragd.x', 'peewee', 'discord.gateway'): logging.getLogger(name).debug('from %s', name)\n"
    )
    environment = {**os.environ, "RAGD_LOG_LEVEL": "DEBUG", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=short_path, capture_output=True, text=True, check=True)
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("from ragd.x\n")


# Which of them


def test_only_the_stream_that_is_named_is_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    status = os.fstat(writer)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    assert is_journal(writer)
    with Path(os.devnull).open() as elsewhere:
        assert not is_journal(elsewhere.fileno())
    monkeypatch.delenv("JOURNAL_STREAM")
    assert not is_journal(writer)
    os.close(reader)
    os.close(writer)
    assert not is_journal(writer)


def formatter_of(wanted: str) -> Any:
    handler = make_handler("capture", wanted)
    handler.close()
    return type(handler.formatter)


def test_formats_of_a_terminal_or_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    # left over from whoever started us, and not about our standard error
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    assert formatter_of("auto") is formatter_of("plain") is PlainFormatter
    assert formatter_of("json") is JsonFormatter
    assert formatter_of("journal") is PrefixFormatter


def test_in_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragd.log.is_journal", lambda fd: fd == 2)
    for wanted in ("auto", "journal"):
        handler = make_handler("capture", wanted)
        assert isinstance(handler, JournalHandler)
        handler.close()
    assert formatter_of("json") is JsonFormatter


def test_a_complaint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    complain("ragdctl", "no such thing")
    assert capsys.readouterr().err == "ragdctl: no such thing\n"


# supervisord's own lines


def test_supervisords_levels_become_ours() -> None:
    from supervisor import loggers

    heard: list[tuple[int, str]] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append((record.levelno, record.getMessage()))

    logger = loggers.Logger(loggers.LevelsByName.INFO, [Bridge(Listener())])
    logger.info("spawned: %(name)r with pid 1 at 100%%", name="capture")
    logger.warn("exited: capture (100% dead)")
    logger.critical("cannot go on")
    logger.critical("Server 'unix_http_server' running without any HTTP authentication checking")
    logger.debug("nothing to see")
    assert heard == [
        (logging.INFO, "spawned: 'capture' with pid 1 at 100%"),
        (logging.WARNING, "exited: capture (100% dead)"),
        (logging.CRITICAL, "cannot go on"),
        (logging.INFO, "Server 'unix_http_server' running without any HTTP authentication checking"),
    ]


def test_supervisords_process_loads_no_settings() -> None:
    code = "import sys, ragd.cli.supervise; print([m for m in sys.modules if m.split('.')[0] in ('pydantic', 'apsw')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_supervisord_says_in_one_line_what_it_cannot_start_with(short_path: Path) -> None:
    command = [sys.executable, "-m", "ragd.cli.supervise", "plain", "-n", "-c", str(short_path / "absent.conf")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("ragd: supervisord does not start: ")
    assert done.stderr.count("\n") == 1
