"""A real supervisord over toy workers that use ragd's own loop and heartbeat, for the tests of supervision."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import psutil

from ragd.config import Settings
from ragd.errors import UnavailableError
from ragd.heartbeat import WORKERS
from ragd.supervision import ProcessInfo, SupervisorClient, SupervisorState

ROOT = Path(__file__).resolve().parent.parent

TOY = '''
"""A worker that behaves as the file beside it says: toy.py NAME."""
import os, sys, time
from pathlib import Path
from ragd.logstream import take_log_stream

take_log_stream()
name = sys.argv[-1]
here = Path(__file__).parent
behaviour = (here / f"{name}.behaviour").read_text()
with (here / f"{name}.spawns").open("a") as spawns:
    spawns.write(f"{os.getpid()}\\n")
(here / f"{name}.env").write_text("\\n".join(f"{k}={v}" for k, v in os.environ.items()))
if behaviour == "exit1":
    sys.exit(1)

from ragd.config import load_settings
from ragd.worker import Pulse, StopFlag, run_worker

if behaviour in ("exit65", "exit78"):
    time.sleep(1.5)
    sys.exit(int(behaviour[4:]))
if behaviour == "hog":
    ballast = os.urandom(1) * 300_000_000


class Toy:
    idle_seconds = 0.05

    def __init__(self):
        self.steps = 0
        self.until = time.monotonic() + 1.5

    def step(self, now):
        self.steps += 1
        if behaviour == "late" and now > self.until:
            os._exit(3)
        if behaviour == "chatty":
            print("x" * 8192, flush=True)
            print("x" * 8192, file=sys.stderr, flush=True)
        return False

    def counters(self):
        if behaviour == "deaf":
            return {"backlog": 3, "done": 7}
        return {"backlog": 0, "done": self.steps}

    def close(self):
        pass


print(f"toy {name} works", file=sys.stderr, flush=True)
stop = StopFlag()
stop.install()
toy = Toy()
run_worker(toy, Pulse(load_settings(), name, toy.counters), stop)
'''

_HEAD = """
[supervisord]
nodaemon = true
logfile = /dev/null
logfile_maxbytes = 0
pidfile = {directory}/supervisord.pid
nocleanup = true
[unix_http_server]
file = {directory}/supervisor.sock
chmod = 0700
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[group:ragd]
programs = {names}
"""

_PROGRAM = """
[program:{name}]
command = {command}
autorestart = unexpected
exitcodes = 65,78
startsecs = 1
startretries = 1
stopwaitsecs = 3
stopasgroup = true
stdout_logfile = NONE
redirect_stderr = true
{environment}
"""


class ToyTree:
    """Use as a context manager. Paths are short: a UNIX socket's may have 107 bytes."""

    def __init__(self, *, watchdog: bool = False, environment: Mapping[str, str] | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ragd-"))
        self.variables = {
            "RAGD_DATA_DIR": str(self.directory),
            "RAGD_RUNTIME_DIR": str(self.directory),
            "DISCORD_BOT_TOKEN": "toy",
            "RAGD_HEARTBEAT_SECONDS": "0.1",
            "RAGD_STALE_SECONDS": "1",
            "RAGD_DEAF_SECONDS": "1",
            "MIN_DISK_GB": "0",
            "RAGD_HTTP_PORT": "0",
        }
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), **self.variables, **(environment or {})}
        self.settings = settings_of(self.variables)
        self.client = SupervisorClient(self.settings.supervisor_socket)
        self._watchdog = watchdog
        self.process: subprocess.Popen[bytes] | None = None
        (self.directory / "toy.py").write_text(TOY)
        for name in WORKERS:
            self.behave(name, "steady")

    def behave(self, name: str, behaviour: str) -> None:
        """How the worker's next process behaves."""
        (self.directory / f"{name}.behaviour").write_text(behaviour)

    def spawns(self, name: str) -> list[int]:
        """The pids of every process the worker ever had."""
        path = self.directory / f"{name}.spawns"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def info(self, name: str) -> ProcessInfo:
        return self.client.processes()[name]

    def pid(self, name: str) -> int:
        pid = self.info(name).pid
        assert pid is not None
        return pid

    def start(self) -> Self:
        conf = self.directory / "supervisord.conf"
        conf.write_text(self._conf())
        log = (self.directory / "supervisord.log").open("wb")
        with log:
            command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(conf)]
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        wait_until(self._serves, 20, "supervisord serves")
        return self

    def _serves(self) -> bool:
        # the socket is there a moment before anybody listens
        with contextlib.suppress(UnavailableError):
            return self.client.state() is SupervisorState.RUNNING
        return False

    def _conf(self) -> str:
        toy = f'"{sys.executable}" "{self.directory}/toy.py"'
        programs = [_PROGRAM.format(name=n, command=f"{toy} {n}", environment="") for n in WORKERS]
        if self._watchdog:
            command = f'"{sys.executable}" -m ragd watchdog'
            programs.append(_PROGRAM.format(name="watchdog", command=command, environment="priority = 1000"))
        names = ",".join([*WORKERS, *["watchdog"] * self._watchdog])
        return _HEAD.format(directory=self.directory, names=names) + "".join(programs)

    def signal(self, number: signal.Signals) -> None:
        """Signal supervisord."""
        assert self.process is not None
        self.process.send_signal(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            end_process_tree(self.process)
        shutil.rmtree(self.directory)


def settings_of(variables: Mapping[str, str]) -> Settings:
    """Settings from these variables, whatever the environment says."""
    return Settings(_env_file=None, **variables)


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Poll until the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def end_process_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its descendants, which live in process groups of their own, and reap it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        parent.suspend()  # supervisord must not start another while we kill
        descendants = parent.children(recursive=True)
        for victim in (*descendants, parent):
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        psutil.wait_procs(descendants, timeout=10)
    process.wait(10)
