"""What benchmarks are played on: a sandbox in its own process, ragd's real processes, and an outside view of commits.

Built on the tests' own harness (tests/processes.py), but with the intervals that ragd has in production.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks.embedding import CHATS, ROOT, messages
from ragd.config import Settings
from ragd.errors import DamagedError, RagdError
from ragd.heartbeat import PROCESSES, Heartbeat, read_heartbeat
from ragd.sandbox.client import ControlClient
from ragd.sandbox.snowflake import snowflake_ms
from ragd.store import Counts, Store
from tests.processes import Process, environment, settings_of, until

SETTLING_SECONDS = 180.0
STOPPING_SECONDS = 15.0
NOT_IN_PRODUCTION = ("RAGD_HEARTBEAT_SECONDS", "RAGD_STALE_SECONDS", "OPENBLAS_NUM_THREADS")
"""What the tests shorten, and what benchmarks/index.py sets for itself: ragd's processes must not inherit it."""


CLOCK_TICK_SECONDS = 0.01
"""What the kernel counts CPU time in: less than one reads as none."""


@dataclass(frozen=True)
class SandboxProcess:
    """Offers what tests/processes.py asks of a SandboxThread."""

    api_url: str
    gateway_url: str
    control_url: str

    @property
    def control(self) -> ControlClient:
        return ControlClient(self.control_url, timeout_seconds=120)


@contextlib.contextmanager
def sandbox(
    *, community: str | None = None, like_discord: bool = False, history: tuple[int, int] | None = None
) -> Iterator[SandboxProcess]:
    """A local Discord, empty, with a community, or with so many channels of so many messages (benchmarks/history.py);
    without rate limits or with limits like Discord's.
    """
    command = [sys.executable, "-m", "benchmarks.server"]
    command += ["--like-discord"] if like_discord else []
    command += ["--community", community] if community else []
    command += ["--history", *map(str, history)] if history else []
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield SandboxProcess(**json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()
            _end(process)


def chats(small: bool = False) -> tuple[str, str]:
    """A community for `sandbox`, and what to call it: real conversations, or the demo's where there are none."""
    return (str(CHATS), "PyScript chats") if CHATS.is_dir() and not small else ("demo", "demo community")


def texts(count: int) -> list[str]:
    """So many things that people wrote, repeated when there are fewer; none is a command to the bot."""
    written = [text[:2000] for text in messages() if text.strip() and not text.startswith("!")]
    return [written[at % len(written)] for at in range(count)]


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """A directory for a run, its path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="ragd-bench-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def variables(place: SandboxProcess, directory: Path, **overrides: str) -> dict[str, str]:
    """The environment of ragd's processes, with production's intervals unless `overrides` say otherwise."""
    given = environment(place, directory, **overrides)  # type: ignore[arg-type]
    return {name: value for name, value in given.items() if name in overrides or name not in NOT_IN_PRODUCTION}


@contextlib.contextmanager
def worker(name: str, environ: dict[str, str]) -> Iterator[Process]:
    """One `ragd NAME` that has come up; told to stop at the end."""
    process = Process(name, environ).start()
    try:
        until(lambda: _has_come_up(process), f"{name} has come up", SETTLING_SECONDS)
        yield process
    finally:
        _end(process.process)


def _has_come_up(process: Process) -> bool:
    """Whether it says that it runs. Raises RagdError with the end of its log if it has ended."""
    if process.process.poll() is not None:
        raise RagdError(f"{process.name} has ended:\n{process.tail()}")
    beat = process.beat()
    return beat is not None and beat.state == "running"


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL for what does not listen."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOPPING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Tree:
    """All of ragd, as `ragd` starts it."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.settings: Settings = settings_of(environ)
        self.log = self.settings.data_dir / "ragd.log"
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ragd"], env=environ, cwd=self.settings.data_dir, stdout=log, stderr=log
            )

    def beat(self, name: str) -> Heartbeat | None:
        """The newest heartbeat of a process of the tree; None until there is one."""
        with contextlib.suppress(DamagedError):
            return read_heartbeat(self.settings.heartbeat_dir, name)
        return None

    def running(self) -> Tree:
        """Wait until every process says so."""
        until(self._all_running, "the tree runs", SETTLING_SECONDS)
        return self

    def _all_running(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()[-2000:]
        return all((beat := self.beat(name)) is not None and beat.state == "running" for name in PROCESSES)

    def settled(self) -> Counts:
        """Wait until all history is read, nothing waits, and the searcher knows all vectors."""

        def look() -> Counts | None:
            with outside(self.settings.database_path) as store:
                counts = store.counts()
            capture = self.beat("capture")
            read = capture is not None and capture.counters.get("resyncs") and not counts.holes
            level = indexed(self.beat("searcher")) == counts.vectors == counts.chunks
            return counts if read and level and not counts.lag_messages else None

        found: Counts = until(look, "the tree is level", SETTLING_SECONDS)
        return found

    def pids(self) -> dict[str, int]:
        """Process id by name, supervisord first."""
        beats = {name: self.beat(name) for name in PROCESSES}
        return {"supervisord": self._process.pid, **{name: beat.pid for name, beat in beats.items() if beat}}

    def stop(self) -> None:
        """SIGTERM to supervisord; whatever is left after that is killed."""
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self._process.pid).children(recursive=True)
            for child in family:
                child.send_signal(signal.SIGCONT)  # a frozen one would not hear that it ends
            _end(self._process)
            for survivor in psutil.wait_procs(family, timeout=2)[1]:
                survivor.kill()


@contextlib.contextmanager
def tree(environ: dict[str, str]) -> Iterator[Tree]:
    """The whole tree, running; stopped at the end."""
    started = Tree(environ)
    try:
        yield started.running()
    finally:
        started.stop()


def indexed(beat: Heartbeat | None) -> int:
    """How many vectors the searcher's heartbeat says it holds."""
    counters = beat.counters if beat else {}
    return sum(int(value or 0) for name, value in counters.items() if name.startswith("vectors_"))


@contextlib.contextmanager
def outside(path: Path) -> Iterator[Store]:
    """The store as another process sees it: what shows there is durable, for SQLite shows a commit of the
    write-ahead log only after its fsync (synchronous=FULL).
    """
    store = Store.open_read_only(path)
    try:
        yield store
    finally:
        store.close()


def last_change(store: Store) -> int:
    """Number of the newest committed write to a message: one cheap read."""
    return int(store._one("SELECT value FROM counter WHERE name = 'message_change'")[0])


@dataclass(frozen=True)
class Pace:
    """How fast a process got through its work. Started by the same event for everyone who is compared."""

    messages: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    @property
    def cpu_rate(self) -> float:
        """Messages a CPU second: what a busy machine changes less."""
        return self.messages / max(self.cpu_seconds, CLOCK_TICK_SECONDS)


def await_change(store: Store, wanted: int, pause_seconds: float = 0.005) -> float:
    """Look until change `wanted` is durable; returns when that was seen, Unix seconds."""
    deadline = time.monotonic() + SETTLING_SECONDS
    while (change := last_change(store)) < wanted:
        if time.monotonic() > deadline:
            raise RagdError(f"change {wanted} not within {SETTLING_SECONDS:.0f} s: {change}")
        time.sleep(pause_seconds)
    return time.time()


def cpu_seconds(process: Process) -> float:
    """What a process has used until now."""
    times = psutil.Process(process.process.pid).cpu_times()
    return float(times.user + times.system)


class Peer:
    """`benchmarks.peer` as a process."""

    def __init__(self, environ: dict[str, str], *arguments: str) -> None:
        command = [sys.executable, "-m", "benchmarks.peer", *arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._output = self._process.stdout

    def __enter__(self) -> Peer:
        line = self._output.readline()
        assert line == "ready\n", f"the peer said {line!r}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()

    def report(self) -> dict[str, float]:
        """Wait for what it measured: messages, started_at and ended_at (Unix seconds), cpu_seconds."""
        answer: dict[str, float] = json.loads(self._output.readline())
        return answer


class Poster:
    """Posts over one connection that stays open: a new one would cost more than the message."""

    def __init__(self, place: SandboxProcess) -> None:
        parts = urlsplit(place.control_url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)

    def post(self, channel_id: int, author_id: int, content: str) -> int:
        """Post now; returns the message's id, whose upper bits say when that was."""
        body: dict[str, Any] = {"channel_id": channel_id, "author_id": author_id, "content": content}
        self._connection.request("POST", "/world/post", json.dumps(body))
        return int(json.loads(self._connection.getresponse().read())["id"])

    def close(self) -> None:
        self._connection.close()


def posted_at(message_id: int) -> float:
    """When a message was posted, Unix seconds, from its id: to the millisecond, rounded down."""
    return snowflake_ms(message_id) / 1000


def seed(place: SandboxProcess, channel_id: int, author_id: int, contents: Sequence[str]) -> None:
    """Put history into a channel: one message a minute, the newest two days old."""
    newest_ms = int(time.time() * 1000) - 2 * 86_400_000
    items = [
        {
            "change": "post",
            "channel_id": channel_id,
            "author_id": author_id,
            "content": content,
            "at_ms": newest_ms - 60_000 * (len(contents) - at),
            "silent": True,
        }
        for at, content in enumerate(contents)
    ]
    place.control.send("/batch", items)


def load_average() -> float:
    """Of the last minute."""
    return os.getloadavg()[0]
