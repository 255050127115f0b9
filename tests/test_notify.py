"""What reaches systemd's socket, here a datagram socket of our own."""

from __future__ import annotations

import logging
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.notify import SystemdNotifier


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ragd-") as directory:
        yield Path(directory)


@pytest.fixture
def systemd(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(directory / "n"))
        listener.settimeout(0.2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(directory / "n"))
        yield listener


@pytest.fixture
def notifier(systemd: socket.socket) -> Iterator[SystemdNotifier]:
    notifier = SystemdNotifier()
    yield notifier
    notifier.close()


def received(listener: socket.socket) -> list[str]:
    messages = []
    try:
        while True:
            messages.append(listener.recv(4096).decode())
    except TimeoutError:
        return messages


def test_each_message_is_a_datagram(systemd: socket.socket, notifier: SystemdNotifier) -> None:
    notifier.ready()
    notifier.status("all well")
    notifier.status("all well")
    notifier.ping()
    notifier.ping()
    notifier.stopping()
    assert received(systemd) == ["READY=1", "STATUS=all well", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]


def test_status_is_one_ascii_line(systemd: socket.socket, notifier: SystemdNotifier) -> None:
    notifier.status("größer\nals 5 €\nWATCHDOG=1 " + "x" * 1000)
    (message,) = received(systemd)
    assert message.isascii()
    assert "\n" not in message
    assert message.startswith("STATUS=gr??er als 5 ? WATCHDOG=1 xxx")
    assert len(message) < 300


def test_a_full_queue_neither_blocks_nor_floods_the_log(
    systemd: socket.socket, notifier: SystemdNotifier, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for _ in range(2000):
            notifier.ping()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert set(received(systemd)) == {"WATCHDOG=1"}
    notifier.ping()
    assert received(systemd) == ["WATCHDOG=1"]


def test_connects_anew(directory: Path, systemd: socket.socket, notifier: SystemdNotifier) -> None:
    notifier.ping()
    systemd.close()
    (directory / "n").unlink()
    notifier.ping()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as another:
        another.bind(str(directory / "n"))
        another.settimeout(0.2)
        notifier.ping()
        assert received(another) == ["WATCHDOG=1"]


def test_a_status_that_was_not_sent_is_sent_again(systemd: socket.socket, notifier: SystemdNotifier) -> None:
    while not received_full(notifier):
        pass
    notifier.status("news")
    received(systemd)
    notifier.status("news")
    assert received(systemd) == ["STATUS=news"]


def received_full(notifier: SystemdNotifier) -> bool:
    """Fill systemd's queue by pings until one is refused."""
    notifier.ping()
    return notifier._failing


@pytest.mark.parametrize("value", [None, ""])
def test_without_systemd_nothing_happens(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if value is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", value)
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    notifier = SystemdNotifier()
    notifier.ready()
    notifier.status("unheard")
    assert notifier.watchdog_seconds is None


@pytest.mark.parametrize(("value", "seconds"), [("30000000", 30.0), ("", None), ("0", None), ("junk", None)])
def test_watchdog_seconds(
    systemd: socket.socket, value: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", value)
    assert SystemdNotifier().watchdog_seconds == seconds
