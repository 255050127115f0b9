"""`ragd` and every process under it, as a person or systemd starts it: started, hurt, looked at, and always ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

import psutil

from ragd.errors import DamagedError, UnavailableError
from ragd.heartbeat import PROCESSES, Heartbeat, read_heartbeat
from ragd.search_client import SearchAnswer, SearchRequest, ask_searcher
from ragd.status import Status, collect_status
from tests.processes import settings_of
from tests.toytree import ROOT, end_process_tree

DEADLINE_SECONDS = 60.0
"""For anything that takes a second or two here when nobody else works on the machine."""

STOP_SECONDS = 15.0
"""The design promises 10."""

INTERVALS = {
    "RAGD_HEARTBEAT_SECONDS": "0.3",
    # ten seconds by default: on a busy machine a worker that is merely slow must not pass for one that hangs
    "RAGD_STALE_SECONDS": "20",
    "MIN_DISK_GB": "0",
    "PYTHONPATH": str(ROOT),
}
"""Over those of tests.processes.environment."""


class Tree:
    """One data directory and the `ragd` on it. Use as a context manager: at its end nothing of it lives."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = {name: value for name, value in variables.items() if not name.startswith(("NOTIFY", "WATCHD"))}
        self.settings = settings_of(self.variables)
        self.home = self.settings.data_dir.parent
        self.log = self.home / "ragd.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    # Start and end

    def start(self, **more: str) -> Self:
        """Start `ragd`; return at once."""
        assert self._process is None or self._process.poll() is not None, "it runs already"
        # not in the checkout, whose .env is nobody's business here
        with self.log.open("ab") as log:
            command = [sys.executable, "-P", "-m", "ragd"]
            self._process = subprocess.Popen(
                command, env={**self.variables, **more}, cwd=self.home, stdout=log, stderr=log
            )
        return self

    def running(self) -> Self:
        """Wait until every process says that it works."""
        self.wait(self._is_healthy, "all healthy")
        return self

    def _is_healthy(self) -> bool:
        if set(self.beats()) != set(PROCESSES):
            assert "entered FATAL state" not in self.log_text(), self.tail()
            return False
        return self.status().state == "healthy"

    def run_other(self, command: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run `ragd` or `ragdctl` beside it, with the same settings, to its end."""
        entry_point = {"ragd": "ragd.cli.daemon", "ragdctl": "ragd.cli.control"}[command]
        return subprocess.run(
            [sys.executable, "-P", "-c", f"from {entry_point} import main; main()", *arguments],
            env={**self.variables, **more},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """`ragd` itself, which is supervisord a moment later."""
        assert self._process is not None, "not started"
        return self._process

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def end(self) -> None:
        """Kill whatever of it lives, all at once as a power cut would."""
        if self._process is not None and self._process.poll() is None:
            end_process_tree(self._process)
        for straggler in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                straggler.kill()

    # Its processes

    def processes(self) -> list[psutil.Process]:
        """Everything on this machine that was started for this data directory."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("RAGD_DATA_DIR") == str(self.settings.data_dir):
                    found.append(process)
        return found

    def pids(self) -> dict[str, int]:
        """Of the processes of ragd, by name, as the kernel knows them."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                found.update(dict.fromkeys(child.cmdline()[-1:], child.pid))
        return {name: pid for name, pid in found.items() if name in PROCESSES}

    def pid_of(self, name: str) -> int:
        return self.pids()[name]

    def signal(self, name: str, number: signal.Signals) -> int:
        """Signal a process by its name; returns the pid that got it."""
        pid = self.pid_of(name)
        os.kill(pid, number)
        return pid

    def replaced(self, name: str, pid: int) -> None:
        """Wait until another process than that has taken over and works."""

        def works() -> bool:
            now, beat = self.pids().get(name), self.beats().get(name)
            return now not in (None, pid) and beat is not None and beat.pid == now and beat.state == "running"

        self.wait(works, f"{name}, pid {pid}, is replaced")

    # What it says of itself

    def beats(self) -> dict[str, Heartbeat]:
        """The newest heartbeats by process."""
        found = {}
        for name in PROCESSES:
            with contextlib.suppress(DamagedError):
                if beat := read_heartbeat(self.settings.heartbeat_dir, name):
                    found[name] = beat
        return found

    def counter(self, name: str, counter: str) -> Any:
        beat = self.beats().get(name)
        return beat.counters.get(counter) if beat else None

    def status(self) -> Status:
        return collect_status(self.settings)

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self) -> str:
        return "\n".join(self.log_text().splitlines()[-60:])

    # Search

    def search(self, query: str, limit: int = 5, **more: Any) -> SearchAnswer:
        return ask_searcher(self.settings.search_socket, SearchRequest(query, "operator", limit, **more))

    def finds(self, query: str, message_id: int, limit: int = 5) -> bool:
        """Whether a query finds a message; a searcher that is just being replaced finds nothing."""
        try:
            answer = self.search(query, limit)
        except UnavailableError:
            return False
        return any(str(message_id) in result.message_ids for result in answer.results)

    # Waiting

    def wait(
        self, condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS, *, pause: float = 0.1
    ) -> Any:
        """Poll until the condition is true and return what it gave; fail when it is too late or `ragd` has ended."""
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            code = self.process.poll()
            assert code is None, f"ragd ended with {code} while waiting for: {what}\n{self.tail()}"
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}\n{self.status()}\n{self.tail()}"
            time.sleep(pause)  # between two looks, not a wait for something
        return result

    def settle(self, seconds: float = DEADLINE_SECONDS) -> None:
        """Wait until everything captured is chunked and embedded."""

        def level() -> bool:
            store = self.status().store
            return store is not None and store.lag_messages == store.holes == 0 and store.vectors == store.chunks

        # looking costs what the syncer could use
        self.wait(level, "everything captured is searchable", seconds, pause=0.3)
