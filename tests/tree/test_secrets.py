"""What a running tree tells of its secrets, and to whom: nothing, to nobody."""

from __future__ import annotations

import http.client
import json
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ragd.heartbeat import PROCESSES
from ragd.sandbox.client import SandboxThread
from ragd.searcher import MAX_REQUEST_BYTES
from tests.processes import Place, assert_complete, environment, furnish
from tests.receivers import http_receiver
from tests.test_peers import ask_as, needs_root
from tests.tree.tree import INTERVALS, Tree

pytestmark = pytest.mark.tree

TOKEN = "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs"
HTTP_TOKEN = "for-prometheus-0123456789abcdef"
DSN = "https://0123456789abcdef@127.0.0.1:9/7"
SECRETS = (TOKEN, HTTP_TOKEN, DSN)


PLANTED = ("supervisor", "ragd", "sdnotify", "discord", "hnswlib", "apprise", "sitecustomize")
"""Modules in the working directory, which must not run: whoever writes there would be ragd."""

RAN = "ran"


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with SandboxThread() as sandbox:
        yield furnish(sandbox, TOKEN)


@pytest.fixture(scope="module")
def tree(place: Place, home: Path) -> Iterator[Tree]:
    """With each secret in the environment, which is the worst way; it says all that it can say."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    secrets = {"DISCORD_BOT_TOKEN": TOKEN, "RAGD_HTTP_TOKEN": HTTP_TOKEN, "SENTRY_DSN": DSN}
    for module in PLANTED:
        (home / f"{module}.py").write_text(f"open({str(home / RAN)!r}, 'a').write(__name__)")
    more = {"RAGD_LOG_LEVEL": "DEBUG", "RAGD_HTTP_PORT": str(port), **secrets}
    with Tree({**environment(place.sandbox, home / "data", **INTERVALS), **more}) as tree:
        tree.start().running()
        place.post("nothing to hide")
        assert_complete(place, tree.settings.database_path)
        yield tree


def test_only_who_logs_in_has_the_token_in_its_environment(tree: Tree) -> None:
    holders = {name for name, pid in tree.pids().items() if TOKEN in str(psutil.Process(pid).environ())}
    assert tree.pids().keys() == set(PROCESSES)
    assert holders == {"capture"}


def test_no_secret_stands_in_a_command_line(tree: Tree) -> None:
    processes = [psutil.Process(tree.process.pid), *psutil.Process(tree.process.pid).children(recursive=True)]
    told = " ".join(word for process in processes for word in process.cmdline())
    assert not any(secret in told for secret in SECRETS)


def test_no_memory_goes_into_a_core_file(tree: Tree) -> None:
    for pid in (tree.process.pid, *tree.pids().values()):
        assert psutil.Process(pid).rlimit(resource.RLIMIT_CORE) == (0, 0)
        assert int(Path(f"/proc/{pid}/coredump_filter").read_text(), 16) == 0


@pytest.mark.parametrize("command", [("config",), ("config", "--json"), ("config", "--template"), ("status", "--json")])
def test_the_operators_tool_shows_no_secret(tree: Tree, command: tuple[str, ...]) -> None:
    done = tree.run_other("ragdctl", *command)
    assert done.returncode == 0, done.stderr
    assert not any(secret in done.stdout + done.stderr for secret in SECRETS)


def test_nothing_is_for_others(tree: Tree) -> None:
    data = tree.settings.data_dir
    for path in (data, *data.rglob("*")):
        mode = path.lstat().st_mode & 0o777
        assert mode == (0o700 if path.is_dir() else 0o600), f"{path}: {mode:o}"


def test_the_searcher_keeps_no_request_that_is_too_large(tree: Tree) -> None:
    status, document = post(tree.settings.search_socket, b"x" * (MAX_REQUEST_BYTES + 1))
    assert (status, document["error"]) == (413, f"the request is larger than {MAX_REQUEST_BYTES} bytes")
    assert tree.search("nothing to hide").results


@needs_root
def test_strangers_are_refused_even_where_the_modes_would_let_them_in(tree: Tree, home: Path) -> None:
    sockets = (tree.settings.search_socket, tree.settings.supervisor_socket)
    directories = (home, tree.settings.data_dir, tree.settings.runtime_dir)
    before = {path: path.stat().st_mode & 0o777 for path in (*directories, *sockets)}
    try:
        for path in before:
            path.chmod(0o666 if path in sockets else 0o755)
        for path in sockets:
            assert ask_as(path, groups=[]).endswith("403 Forbidden")
            assert "403" not in ask_as(path, groups=[os.getegid()])
    finally:
        for path, mode in before.items():
            path.chmod(mode)


def test_metrics_are_for_who_knows_the_token(tree: Tree) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", tree.settings.http_port, timeout=10)
    for headers, status in (({}, 401), ({"Authorization": f"Bearer {HTTP_TOKEN}"}, 200)):
        connection.request("GET", "/metrics", headers=headers)
        response = connection.getresponse()
        response.read()
        assert response.status == status
    assert json.loads(tree.run_other("ragdctl", "ready", "--json").stdout)["checks"], "ragdctl knows it"


def test_no_code_is_taken_from_the_working_directory(tree: Tree, home: Path) -> None:
    with http_receiver() as receiver:
        tested = tree.run_other("ragdctl", "alert", "test", "--json", ALERT_URLS=receiver.url)
        assert json.loads(tested.stdout)["ways"][-1]["delivered"], tested.stdout + tested.stderr
    assert all((home / f"{module}.py").exists() for module in PLANTED)
    assert not (home / RAN).exists(), (home / RAN).read_text()


def test_nothing_that_was_written_holds_a_secret(tree: Tree) -> None:
    """Last, so that all of the above has been logged: log, heartbeats, fingerprints, database, indexes."""
    assert tree.stop() == 0
    assert " DEBUG " in tree.log_text()
    for path in (tree.log, *(path for path in tree.settings.data_dir.rglob("*") if path.is_file())):
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in SECRETS), path


def post(path: Path, body: bytes) -> tuple[int, dict[str, str]]:
    """Ask the searcher."""
    connection = http.client.HTTPConnection("localhost", timeout=20)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request("POST", "/search", body)
    response = connection.getresponse()
    document: dict[str, str] = json.loads(response.read())
    connection.close()
    return response.status, document
