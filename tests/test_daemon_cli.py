"""`ragd` as a person or systemd starts it: real processes, deploy/supervisord.conf itself."""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ragd.cli import daemon, demo, launch
from ragd.errors import ConfigError, TransientError
from ragd.heartbeat import PROCESSES, read_heartbeat
from ragd.logstream import FIRST_KEPT_FD
from tests.toytree import ROOT, TOY, end_process_tree, settings_of, wait_until

CONF = ROOT / "deploy" / "supervisord.conf"

LAUNCHER = """
import sys
from pathlib import Path
from ragd.cli import launch
from ragd.config import load_settings

launch.find_conf = lambda: Path(sys.argv[1])
settings = load_settings()
launch.claim_directories(settings)
launch.become_supervisord(settings)
"""
"""What `ragd` does, with toys for workers."""


@pytest.fixture
def variables(short_path: Path) -> dict[str, str]:
    return {"RAGD_DATA_DIR": str(short_path / "data"), "DISCORD_BOT_TOKEN": "toy"}


@pytest.fixture
def environment(variables: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **variables, "PYTHONPATH": str(ROOT)}


def run_ragd(
    environment: dict[str, str], *arguments: str, cwd: Path | None = None, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ragd", *arguments]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=seconds)


@contextlib.contextmanager
def started(
    command: list[str], environment: dict[str, str], output: int, cwd: Path
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=cwd)
    try:
        yield process
    finally:
        end_process_tree(process)


# Before anything is started


@pytest.mark.parametrize("arguments", [(), ("capture",)])
def test_a_bad_setting_is_one_line_and_78(environment: dict[str, str], short_path: Path, arguments: tuple[str]) -> None:
    run = run_ragd({**environment, "MAX_MEMORY_MB": "lots"}, *arguments, cwd=short_path)
    assert run.returncode == 78
    assert run.stdout == ""
    assert run.stderr.count("\n") == 1
    assert run.stderr.startswith("ragd: MAX_MEMORY_MB='lots': ")
    assert list(short_path.iterdir()) == []


def test_a_supervised_configuration_error_is_held_back(environment: dict[str, str], short_path: Path) -> None:
    environment |= {"MAX_MEMORY_MB": "lots", "SUPERVISOR_ENABLED": "1"}
    begun = time.monotonic()
    assert run_ragd(environment, "capture", cwd=short_path).returncode == 78
    assert time.monotonic() - begun > daemon.FINAL_AFTER_SECONDS


def test_a_second_instance_is_refused(environment: dict[str, str], variables: dict[str, str], short_path: Path) -> None:
    settings = settings_of(variables)
    settings.data_dir.mkdir()
    with (settings.data_dir / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4321\n")
        lock.flush()
        run = run_ragd(environment, cwd=short_path)
    assert run.returncode == 75
    assert f"{settings.data_dir} is in use by ragd with pid 4321" in run.stderr
    assert run.stderr.count("\n") == 1


def test_a_live_supervisord_in_the_runtime_directory_is_left_alone(short_path: Path) -> None:
    settings = settings_of({"RAGD_DATA_DIR": str(short_path)})
    settings.runtime_dir.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(settings.supervisor_socket))
        listener.listen()
        with pytest.raises(TransientError, match="another supervisord listens"):
            launch._clear_runtime(settings)
    launch._clear_runtime(settings)
    assert not settings.supervisor_socket.exists()


def test_an_unknown_process_is_told(environment: dict[str, str], short_path: Path) -> None:
    run = run_ragd(environment, "captor", cwd=short_path)
    assert run.returncode == 64
    assert run.stderr.startswith("ragd: no process is called 'captor' - there are capture, syncer, searcher, watchdog")
    assert run.stderr.count("\n") == 1


def test_a_stale_socket_is_in_nobodys_way(variables: dict[str, str]) -> None:
    settings = settings_of(variables)
    settings.runtime_dir.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(settings.supervisor_socket))
    launch._clear_runtime(settings)
    assert not settings.supervisor_socket.exists()


def test_an_unwritable_place_is_told(environment: dict[str, str], short_path: Path) -> None:
    (short_path / "data").write_text("a file")
    run = run_ragd(environment, cwd=short_path)
    assert run.returncode == 73
    assert "cannot create" in run.stderr


FIRST_UNPRIVILEGED = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())

WITHOUT_PRIVILEGE = """
import ctypes, os, sys
PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE = 24, 10
ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-m", "ragd"])
"""


@pytest.mark.skipif(FIRST_UNPRIVILEGED <= 80, reason="anybody may listen on port 80 here")
def test_a_privileged_port_is_told_and_nothing_started(environment: dict[str, str], short_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_PRIVILEGE]
    run = subprocess.run(
        command, env={**environment, "RAGD_HTTP_PORT": "80"}, cwd=short_path, capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stderr.count("\n"), run.stdout) == (73, 1, ""), run.stderr
    assert "may not listen on port 80 - set RAGD_HTTP_PORT to one from 1024 on" in run.stderr
    assert list(short_path.iterdir()) == []


# deploy/supervisord.conf


def test_conf_agrees_with_the_code() -> None:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    parser.read(CONF)
    programs = {name: parser[f"program:{name}"] for name in PROCESSES}
    assert parser.getint("supervisord", "minfds") == FIRST_KEPT_FD
    assert not parser.has_section("inet_http_server")
    assert parser["group:ragd"]["programs"].split(",") == list(programs), "a stop tells all at once"
    # supervisord may see TERM a second late, and each end another
    assert max(program.getint("stopwaitsecs") for program in programs.values()) + 2 < 10
    assert list(programs) == sorted(programs, key=lambda name: programs[name].getint("priority"))
    for name, program in programs.items():
        assert program["command"] == f'"%(ENV_RAGD_PYTHON)s" -P -m ragd {name}'
        assert program.getint("startsecs") < daemon.FINAL_AFTER_SECONDS
        # the watchdog stays whatever it found: nobody else would tell
        assert program["exitcodes"] == ("78" if name == "watchdog" else "65,78")
        assert ('NOTIFY_SOCKET=""' in program["environment"]) is (name != "watchdog")


def test_an_include_pattern_survives_odd_paths(short_path: Path) -> None:
    odd = short_path / "my [own] dir" / "demo.conf"
    odd.parent.mkdir()
    odd.touch()
    pattern = launch._as_glob(odd)
    assert pattern.split() == [pattern]
    assert list(short_path.glob(str(Path(pattern).relative_to(short_path)))) == [odd]


@pytest.fixture
def toy_command(short_path: Path) -> list[str]:
    """`ragd` on the real conf, in a directory with a blank in its name, with toys for workers."""
    toys = short_path / "to ys"
    toys.mkdir()
    (toys / "toy.py").write_text(TOY)
    (toys / "launcher.py").write_text(LAUNCHER)
    for name in PROCESSES:
        (toys / f"{name}.behaviour").write_text("steady")
    conf = CONF.read_text().replace("-P -m ragd", f'"{toys}/toy.py"')
    (toys / "supervisord.conf").write_text(conf)
    return [sys.executable, str(toys / "launcher.py"), str(toys / "supervisord.conf")]


def test_the_tree_lives_and_ends(
    environment: dict[str, str], variables: dict[str, str], toy_command: list[str], short_path: Path
) -> None:
    settings = settings_of(variables)
    environment["NOTIFY_SOCKET"] = "/nowhere"
    # as under journald: standard output and error are a socket, which no name opens
    ours, theirs = socket.socketpair()
    with ours, started(toy_command, environment, theirs.fileno(), short_path) as process:
        theirs.close()
        wait_until(lambda: all(_beats(settings.heartbeat_dir, name) for name in PROCESSES), 60, "all beat")
        assert settings.data_dir.stat().st_mode & 0o777 == 0o700
        assert settings.supervisor_socket.stat().st_mode & 0o777 == 0o600
        for name in PROCESSES:
            lines = (short_path / "to ys" / f"{name}.env").read_text().splitlines()
            assert ("NOTIFY_SOCKET=/nowhere" in lines) is (name == "watchdog")
            assert f"RAGD_DATA_DIR={settings.data_dir}" in lines
        holder = run_ragd(environment, cwd=short_path)
        assert holder.returncode == 75
        assert f"pid {process.pid} " in holder.stderr
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert not any(child.is_running() for child in children)
        log = _read_all(ours)
    for name in PROCESSES:
        assert f"toy {name} works" in log
        assert f"stopped: {name} (exit status 0)" in log
    assert "SIGKILL" not in log


def test_a_stopped_supervisord_blocks_no_worker(
    environment: dict[str, str], variables: dict[str, str], toy_command: list[str], short_path: Path
) -> None:
    settings = settings_of(variables)
    environment["RAGD_HEARTBEAT_SECONDS"] = "0.1"
    for name in PROCESSES:
        (short_path / "to ys" / f"{name}.behaviour").write_text("chatty")
    with started(toy_command, environment, subprocess.DEVNULL, short_path) as process:
        wait_until(lambda: all(_beats(settings.heartbeat_dir, name) for name in PROCESSES), 60, "all beat")
        process.send_signal(signal.SIGSTOP)
        # 20 beats are some 300 KiB each on standard output and standard error; a pipe holds 64
        goals = {name: _beats(settings.heartbeat_dir, name) + 20 for name in PROCESSES}
        wait_until(lambda: all(_beats(settings.heartbeat_dir, n) > g for n, g in goals.items()), 60, "they go on")


def test_orphans_hold_the_lock(
    environment: dict[str, str], variables: dict[str, str], toy_command: list[str], short_path: Path
) -> None:
    """The toys do not ask for a signal at their parent's death: they stand for workers that hang."""
    settings = settings_of(variables)
    with started(toy_command, environment, subprocess.DEVNULL, short_path) as process:
        wait_until(lambda: all(_beats(settings.heartbeat_dir, name) for name in PROCESSES), 60, "all beat")
        orphans = psutil.Process(process.pid).children()
        process.kill()
        process.wait(10)
        try:
            with pytest.raises(TransientError, match=f"pid {process.pid}"):
                launch.lock_directory(settings.data_dir)
        finally:
            for orphan in orphans:
                orphan.kill()
        psutil.wait_procs(orphans, timeout=10)
        with _lock_of(settings.data_dir):
            pass


def test_a_worker_is_told_when_its_supervisord_dies(environment: dict[str, str], short_path: Path) -> None:
    (short_path / "data" / "run").mkdir(parents=True)
    parent_code = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-m', 'ragd', 'watchdog']); time.sleep(99)"
    )
    environment["SUPERVISOR_ENABLED"] = "1"
    with started([sys.executable, "-c", parent_code], environment, subprocess.DEVNULL, short_path) as parent:
        heartbeats = short_path / "data" / "run" / "heartbeat"
        wait_until(lambda: _beats(heartbeats, "watchdog"), 60, "beats")
        worker = psutil.Process(parent.pid).children()[0]
        parent.kill()
        parent.wait(10)
        try:
            assert worker.wait(20) in (0, None)
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()


# The demo


def test_the_demo_empties_only_its_own_directory(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    outside = short_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    settings = settings_of({"RAGD_DATA_DIR": str(short_path / "data")})
    launch.make_directory(settings.runtime_dir)
    (settings.data_dir / "lock").touch()

    prepared = demo.prepare_demo(settings)
    assert not prepared.is_demo
    assert prepared.data_dir == settings.data_dir
    assert prepared.discord_api_url.startswith("http://127.0.0.1:")

    (settings.data_dir / "ragd.sqlite3").touch()
    (settings.data_dir / "index").mkdir()
    (settings.data_dir / "index" / "one").touch()
    (settings.data_dir / "link").symlink_to(outside)
    demo.prepare_demo(settings)
    assert sorted(entry.name for entry in settings.data_dir.iterdir()) == ["demo", "lock", "run"]
    assert (outside / "precious").exists()


def test_the_demo_refuses_what_it_did_not_make(environment: dict[str, str], short_path: Path) -> None:
    del environment["DISCORD_BOT_TOKEN"]
    (short_path / "data").mkdir()
    (short_path / "data" / "ragd.sqlite3").touch()
    run = run_ragd(environment, cwd=short_path)
    assert run.returncode == 78
    assert "holds ragd.sqlite3, which the demo did not make" in run.stderr
    assert (short_path / "data" / "ragd.sqlite3").exists()


def test_a_real_run_refuses_the_demos_directory(short_path: Path) -> None:
    settings = settings_of({"RAGD_DATA_DIR": str(short_path), "DISCORD_BOT_TOKEN": "x"})
    demo.refuse_demo_data(settings)
    (short_path / demo.MARKER).touch()
    with pytest.raises(ConfigError, match="the demo's directory"):
        demo.refuse_demo_data(settings)


@pytest.mark.tree
def test_the_demo_runs(environment: dict[str, str], short_path: Path) -> None:
    environment["DISCORD_BOT_TOKEN"] = ""
    command = [sys.executable, "-m", "ragd"]
    output = short_path / "log"
    with output.open("wb") as log, started(command, environment, log.fileno(), short_path) as process:
        runtime = short_path / "data" / "run"
        wait_until((runtime / demo.READY_FILE).exists, 60, "sandbox serves")
        wait_until(lambda: _beats(runtime / "heartbeat", "watchdog"), 60, "watchdog beats")
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == len(PROCESSES) + 1
        assert not any(demo.TOKEN in word for child in children for word in child.cmdline())
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert not any(child.is_running() for child in children)
    text = output.read_text()
    assert "ragdctl search" in text
    assert "stopped: sandbox" in text


def _beats(directory: Path, name: str) -> int:
    """How often it has beaten."""
    beat = read_heartbeat(directory, name)
    return beat.beat if beat else 0


@contextlib.contextmanager
def _lock_of(directory: Path) -> Iterator[None]:
    with (directory / launch.LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _read_all(connection: socket.socket) -> str:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts).decode()
