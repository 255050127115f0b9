"""Who may use a UNIX socket of ragd's, and how much may be asked over it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.cli.supervise import MAX_REQUEST_BYTES
from ragd.peers import Peer, is_welcome, peer_of
from ragd.supervision import SupervisorClient, SupervisorState
from tests.processes import until
from tests.toytree import ROOT, end_process_tree

STRANGER = 65_534
"""A user that nobody here is."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")

ASK = f"""
import os, socket, sys
# not by subprocess: a stranger may not execute our interpreter
os.setgroups([int(group) for group in sys.argv[2:]])
os.setresgid({STRANGER}, {STRANGER}, {STRANGER})
os.setresuid({STRANGER}, {STRANGER}, {STRANGER})
with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(20)
    connection.connect(sys.argv[1])
    try:
        connection.sendall(b"POST /RPC2 HTTP/1.0\\r\\nContent-Type: text/xml\\r\\n\\r\\n")
    except BrokenPipeError:
        pass  # it need not be heard to be refused
    print(connection.recv(1000).split(b"\\r\\n")[0].decode())
"""


def test_the_kernel_tells_who_asks() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = peer_of(ours)
    assert (peer.pid, peer.uid) == (os.getpid(), os.geteuid())
    assert peer.gids == {os.getegid(), *os.getgroups()}


@pytest.mark.parametrize(
    ("uid", "groups", "mode", "welcome"),
    [
        (0, [], 0o600, True),
        (os.geteuid(), [], 0o600, True),
        (STRANGER, [os.getegid()], 0o660, True),
        (STRANGER, [os.getegid()], 0o600, False),
        (STRANGER, [STRANGER], 0o660, False),
        # whoever opened it to all by hand, opened it to nobody
        (STRANGER, [STRANGER], 0o666, False),
    ],
)
def test_root_our_user_and_a_group_that_is_let_in(
    tmp_path: Path, uid: int, groups: list[int], mode: int, welcome: bool
) -> None:
    path = tmp_path / "socket"
    path.touch()
    path.chmod(mode)
    os.chown(path, -1, os.getegid())
    assert is_welcome(Peer(1, uid, frozenset(groups)), path) is welcome


def test_no_socket_no_welcome(tmp_path: Path) -> None:
    assert not is_welcome(Peer(1, STRANGER, frozenset({STRANGER})), tmp_path / "none")


# supervisord's socket

CONF = """
[supervisord]
nodaemon = true
logfile = /dev/null
logfile_maxbytes = 0
pidfile = {directory}/pid
[unix_http_server]
file = {directory}/s.sock
chmod = 0600
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""


@pytest.fixture
def supervisor(short_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes], Path]]:
    """Its socket, itself and its log."""
    (short_path / "conf").write_text(CONF.format(directory=short_path))
    command = [sys.executable, "-m", "ragd.cli.supervise", "plain", "-n", "-c", str(short_path / "conf")]
    log = short_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
    try:
        client = SupervisorClient(short_path / "s.sock")
        until(lambda: (short_path / "s.sock").exists() and _serves(client), log.read_text())
        yield short_path / "s.sock", process, log
    finally:
        end_process_tree(process)


def _serves(client: SupervisorClient) -> bool:
    try:
        return client.state() is SupervisorState.RUNNING
    except Exception:  # noqa: BLE001 - the socket is there a moment before anybody listens
        return False


@pytest.mark.parametrize(
    "head",
    [
        b"POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: 999999999\r\n\r\n",
        b"GET /",
        b"GET / HTTP/1.0\r\nX: ",
    ],
)
def test_supervisord_keeps_no_request_that_is_too_large(
    supervisor: tuple[Path, subprocess.Popen[bytes], Path], head: bytes
) -> None:
    path, _, log = supervisor
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        sent = len(head)
        connection.sendall(head)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 1000 * MAX_REQUEST_BYTES:
                sent += connection.send(b"x" * MAX_REQUEST_BYTES)
        assert connection.recv(100).startswith(b"HTTP/1.0 413 ")
    assert sent < 20 * MAX_REQUEST_BYTES, "it took no more than a socket's buffers hold"
    assert SupervisorClient(path).state() is SupervisorState.RUNNING
    assert "refused: a request of more than 65536 bytes" in log.read_text()


@needs_root
def test_supervisord_answers_no_stranger_even_where_the_mode_would_let_him(
    supervisor: tuple[Path, subprocess.Popen[bytes], Path],
) -> None:
    path, _, log = supervisor
    path.parent.chmod(0o755)
    path.chmod(0o666)
    assert ask_as(path, groups=[]) == "HTTP/1.0 403 Forbidden"
    assert f"refused: user {STRANGER} with pid" in log.read_text()
    assert ask_as(path, groups=[path.stat().st_gid]).startswith("HTTP/1.0 4"), "411: let in, and asked for nothing"
    assert "403" not in ask_as(path, groups=[path.stat().st_gid])


def ask_as(path: Path, groups: list[int]) -> str:
    """The first line of the answer to a stranger in these groups."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(path), *map(str, groups)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
