"""What systemd hears, through a datagram socket that is ours: nothing but the truth, and nothing from a sick tree."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tree.stage import Stage
from tests.tree.tree import Tree

pytestmark = pytest.mark.tree


class Systemd:
    """The receiving end of NOTIFY_SOCKET: keeps every datagram in the order they came."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._listen, name="systemd", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while datagram := self._socket.recv(65536):
            self.heard.append(datagram.decode())

    def count(self, message: str) -> int:
        return self.heard.count(message)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.sendto(b"", str(self.path))
        self._thread.join(10)
        self._socket.close()


@pytest.fixture(scope="module")
def seeded() -> float:
    return 0.1


@pytest.fixture(scope="module")
def systemd(home: Path) -> Iterator[Systemd]:
    systemd = Systemd(home / "notify")
    yield systemd
    systemd.close()


@pytest.fixture(scope="module")
def tree(stage: Stage, home: Path, systemd: Systemd) -> Iterator[Tree]:
    with Tree(stage.variables(home)) as tree:
        tree.variables.update(NOTIFY_SOCKET=str(systemd.path), WATCHDOG_USEC="60000000")
        yield tree.start()


def test_ready_comes_once_when_every_worker_works_and_pings_go_on(tree: Tree, systemd: Systemd) -> None:
    tree.wait(lambda: systemd.count("READY=1"), "READY=1")
    assert {name: beat.state for name, beat in tree.beats().items() if name != "watchdog"} == {
        "capture": "running",
        "syncer": "running",
        "searcher": "running",
    }
    pings = systemd.count("WATCHDOG=1")
    tree.wait(lambda: systemd.count("WATCHDOG=1") >= pings + 5, "pings")
    assert systemd.count("READY=1") == 1
    tree.wait(lambda: any(message.startswith("STATUS=healthy") for message in systemd.heard), "STATUS=healthy")
    # one thing a datagram: a STATUS that systemd cannot read must not take a ping with it
    assert all(message.count("=1") <= 1 and "\n" not in message for message in systemd.heard)


def test_no_ping_while_supervisord_is_frozen(tree: Tree, systemd: Systemd) -> None:
    tree.process.send_signal(signal.SIGSTOP)
    try:
        tree.wait(lambda: _says_silent(tree), "the watchdog notices")
        pings, passes = systemd.count("WATCHDOG=1"), tree.counter("watchdog", "passes")
        tree.wait(lambda: tree.counter("watchdog", "passes") >= passes + 2, "two more passes")
        assert systemd.count("WATCHDOG=1") == pings
        assert tree.status().state == "degraded"
    finally:
        tree.process.send_signal(signal.SIGCONT)
    tree.wait(lambda: systemd.count("WATCHDOG=1") > pings, "pings again")
    tree.wait(lambda: tree.status().state == "healthy", "healthy again")


def _says_silent(tree: Tree) -> bool:
    return "supervisord does not answer" in tree.beats()["watchdog"].detail


def test_a_replaced_watchdog_goes_on_without_goodbye(tree: Tree, systemd: Systemd) -> None:
    pid = tree.signal("watchdog", signal.SIGTERM)
    tree.replaced("watchdog", pid)
    pings = systemd.count("WATCHDOG=1")
    tree.wait(lambda: systemd.count("WATCHDOG=1") > pings, "pings")
    assert systemd.count("STOPPING=1") == 0


def test_stopping_is_announced(tree: Tree, systemd: Systemd) -> None:
    assert tree.stop() == 0
    assert systemd.count("STOPPING=1") == 1
    assert "WATCHDOG=1" not in systemd.heard[systemd.heard.index("STOPPING=1") :]
    assert "cannot notify systemd" not in tree.log_text()
