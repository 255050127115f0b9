"""The client against a real supervisord, and against sockets that misbehave."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ragd.errors import UnavailableError
from ragd.supervision import ProcessState, RefusedError, ShuttingDownError, SupervisorClient, SupervisorState
from tests.toytree import ToyTree, wait_until


@pytest.fixture
def tree() -> Iterator[ToyTree]:
    with ToyTree() as tree:
        yield tree


@pytest.fixture
def socket_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ragd-") as directory:
        yield Path(directory) / "s"


def test_tells_state_and_processes(tree: ToyTree) -> None:
    tree.start()
    assert tree.client.state() is SupervisorState.RUNNING
    wait_until(lambda: tree.info("capture").state is ProcessState.RUNNING, 20, "capture runs")
    answer = tree.client.tree()
    capture = answer.processes["capture"]
    assert tree.process is not None
    assert answer.pid == tree.process.pid
    assert sorted(answer.processes) == ["capture", "searcher", "syncer"]
    assert capture.pid is not None
    os.kill(capture.pid, 0)
    assert capture.exit_status is None
    assert capture.started_at == pytest.approx(time.time(), abs=30)


def test_kill_and_terminate_lead_to_a_new_process(tree: ToyTree) -> None:
    tree.start()
    wait_until(lambda: tree.info("syncer").state is ProcessState.RUNNING, 20, "syncer runs")
    for order in (tree.client.kill, tree.client.terminate):
        before = tree.pid("syncer")
        order("syncer")
        wait_until(lambda before=before: tree.info("syncer").pid not in (before, None), 20, "another pid")
        wait_until(lambda: tree.info("syncer").state is ProcessState.RUNNING, 20, "syncer runs")


def test_stop_and_start_may_be_repeated(tree: ToyTree) -> None:
    tree.start()
    tree.client.stop("capture")
    wait_until(lambda: tree.info("capture").state is ProcessState.STOPPED, 20, "stopped")
    tree.client.stop("capture")
    tree.client.start("capture")
    tree.client.start("capture")
    assert tree.info("capture").state in (ProcessState.STARTING, ProcessState.RUNNING)


def test_exit_status_of_an_expected_end(tree: ToyTree) -> None:
    tree.behave("searcher", "exit78")
    tree.start()
    wait_until(lambda: tree.info("searcher").state is ProcessState.EXITED, 20, "it ends")
    assert tree.info("searcher").exit_status == 78
    assert tree.info("searcher").pid is None


def test_gives_up_on_what_ends_at_once(tree: ToyTree) -> None:
    tree.behave("searcher", "exit1")
    tree.start()
    wait_until(lambda: tree.info("searcher").state is ProcessState.FATAL, 20, "given up")
    info = tree.info("searcher")
    assert info.exit_status is None
    assert "too quickly" in info.spawn_error
    assert len(tree.spawns("searcher")) == 2


def test_a_refusal_names_the_process(tree: ToyTree) -> None:
    tree.start()
    with pytest.raises(RefusedError, match="signalProcess of nobody: BAD_NAME"):
        tree.client.kill("nobody")


def test_shutdown_is_an_answer(tree: ToyTree) -> None:
    tree.start()
    wait_until(lambda: tree.info("capture").state is ProcessState.RUNNING, 20, "capture runs")
    os.kill(tree.pid("capture"), signal.SIGSTOP)  # it will not end by itself, so there is time to ask
    tree.client.shutdown()
    assert tree.client.state() is SupervisorState.STOPPING
    with pytest.raises(ShuttingDownError):
        tree.client.tree()
    with pytest.raises(ShuttingDownError):
        tree.client.start("capture")
    assert tree.process is not None
    assert tree.process.wait(20) == 0
    with pytest.raises(UnavailableError):
        tree.client.state()


def test_a_stopped_supervisord_costs_no_more_than_the_timeout(tree: ToyTree) -> None:
    tree.start()
    tree.signal(signal.SIGSTOP)
    client = SupervisorClient(tree.settings.supervisor_socket, timeout_seconds=0.5)
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"within 0\.5 s"):
        client.state()
    assert time.monotonic() - started < 2


def test_no_socket_and_a_stale_one(socket_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be reached"):
        SupervisorClient(socket_path).state()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left_behind:
        left_behind.bind(str(socket_path))
    with pytest.raises(UnavailableError, match="cannot be reached"):
        SupervisorClient(socket_path).state()


def test_a_trickle_does_not_prolong_the_deadline(socket_path: Path) -> None:
    def trickle(connection: socket.socket) -> None:
        for _ in range(100):
            connection.sendall(b"x")
            time.sleep(0.05)

    with _server(socket_path, trickle):
        started = time.monotonic()
        with pytest.raises(UnavailableError, match=r"within 0\.4 s"):
            SupervisorClient(socket_path, timeout_seconds=0.4).state()
        assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.0 500 Oops\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 99\r\n\r\nshort",
        b"HTTP/1.0 200 OK\r\n\r\nno xml",
        b"HTTP/1.0 200 OK\r\n\r\n<?xml version='1.0'?><methodResponse></methodResponse>",
    ],
)
def test_nonsense_counts_as_no_answer(socket_path: Path, answer: bytes) -> None:
    with _server(socket_path, lambda connection: connection.sendall(answer)), pytest.raises(UnavailableError):
        SupervisorClient(socket_path).state()


@contextlib.contextmanager
def _server(path: Path, reply: Callable[[socket.socket], None]) -> Iterator[None]:
    """Takes one connection, reads the request and replies."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            reply(connection)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield
        thread.join(10)
