"""The loop every worker runs: step, beat, wait on the stop flag; signals only set flags."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Protocol

from ragd.access import is_shared
from ragd.config import Settings
from ragd.errors import CannotCreateError, ExitCode, RagdError, TransientError
from ragd.heartbeat import Counter, Heartbeat, write_heartbeat

_log = logging.getLogger(__name__)

STACK_SIGNAL = signal.SIGUSR1
"""Has a process write the stacks of its threads to its log."""

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopFlag:
    """Set by the first SIGTERM or SIGINT; the second ends the process at once."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._wakers: list[Callable[[], object]] = []

    def install(self) -> None:
        """Take over the stop signals. Main thread only."""
        for number in _STOP_SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._event.is_set():
            os._exit(128 + number)
        self.set()

    def on_set(self, waker: Callable[[], object]) -> None:
        """Call `waker` when the flag is set; it must be safe in a signal handler."""
        self._wakers.append(waker)

    def set(self) -> None:
        self._event.set()
        for waker in self._wakers:
            waker()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait at most so long; True if the flag is set."""
        return self._event.wait(seconds)


class Pulse:
    """Writes a process's heartbeat, at most one an interval. For the working loop alone, never for a timer."""

    def __init__(
        self, settings: Settings, process: str, counters: Callable[[], Mapping[str, Counter]] | None = None
    ) -> None:
        self._directory = settings.heartbeat_dir
        self._interval = settings.heartbeat_seconds
        self._process = process
        self._counters = counters or dict
        self._started_at = time.time()
        self._beats = 0
        self._due = 0.0
        self.state = "starting"
        self.detail = ""
        make_directory(self._directory)

    def beat(self, *, force: bool = False) -> None:
        """Say that the loop has come round. A full disk is no reason to stop working: it is logged."""
        now = time.monotonic()
        if not force and now < self._due:
            return
        self._due = now + self._interval
        self._beats += 1
        try:
            write_heartbeat(self._directory, self._current())
        except OSError as error:
            _log.warning("cannot write heartbeat: %s", error)

    def _current(self) -> Heartbeat:
        return Heartbeat(
            process=self._process,
            pid=os.getpid(),
            started_at=self._started_at,
            written_at=time.time(),
            beat=self._beats,
            state=self.state,
            detail=self.detail,
            counters=dict(self._counters()),
        )

    def enter(self, state: str, detail: str = "") -> None:
        """Change state and beat at once."""
        if (state, detail) != (self.state, self.detail):
            _log.log(_level_of(state), "%s%s", state, f": {detail}" if detail else "")
        self.state, self.detail = state, detail
        self.beat(force=True)

    def settle(self, state: str, detail: str = "") -> None:
        """Be in a state; beats at once only if that is a change."""
        if (state, detail) != (self.state, self.detail):
            self.enter(state, detail)


def _level_of(state: str) -> int:
    return logging.WARNING if state == "degraded" else logging.INFO


class Worker(Protocol):
    """A synchronous worker; `run_worker` drives it."""

    idle_seconds: float
    """How long to wait when a step found nothing to do."""

    def step(self, now: float) -> bool:
        """Do one bounded piece of work at monotonic time `now`; True if there is more to do."""
        ...

    def close(self) -> None:
        """Release everything; called once, after the last step."""
        ...


def run_worker(worker: Worker, pulse: Pulse, stop: StopFlag) -> None:
    """Drive a worker until the stop flag is set, beating after each step.

    A passing error (a locked or full database) degrades the worker until a step succeeds again; what a worker says of
    its state by itself stays.
    """
    pulse.enter("running")
    failed = False
    try:
        while not stop.is_set():
            more, failed = _step(worker, pulse, failed)
            pulse.beat()
            if not more:
                stop.wait(worker.idle_seconds)
        pulse.enter("stopping")
    finally:
        worker.close()


def _step(worker: Worker, pulse: Pulse, failed_before: bool) -> tuple[bool, bool]:
    """One step: whether there is more to do, and whether it failed."""
    try:
        more = worker.step(time.monotonic())
    except TransientError as error:
        pulse.enter("degraded", str(error))
        return False, True
    if failed_before:
        pulse.enter("running")
    return more, False


async def wait_for_stop(stop: asyncio.Event, seconds: float) -> bool:
    """Wait at most so long for the event; True if it is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return stop.is_set()


def run_async(main: Callable[[asyncio.Event], Awaitable[None]], stop: StopFlag) -> None:
    """Run a coroutine that ends soon after its event is set; the stop flag sets it."""

    async def runner() -> None:
        event = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.on_set(lambda: loop.call_soon_threadsafe(event.set))
        if stop.is_set():
            event.set()
        await main(event)

    asyncio.run(runner())


def run_process(
    process: str,
    body: Callable[[StopFlag], None],
    report_crash: Callable[[BaseException], None] = lambda _: None,
) -> int:
    """Run a process's body with signals taken over; returns its exit code.

    A RagdError is logged here, once, as one line; anything else with its traceback, for it is a bug, and reported.
    """
    stop = StopFlag()
    stop.install()
    # What the watchdog asks for before it kills a hung worker: each thread's stack, files and lines only.
    faulthandler.register(STACK_SIGNAL, all_threads=True)
    try:
        body(stop)
    except RagdError as error:
        _log.error("%s", error.one_line())
        return int(error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last line of defence: logged with its traceback, told by the code
        _log.critical("%s ends by an error of its own", process, exc_info=sys.exc_info())
        report_crash(error)
        return int(ExitCode.ERROR)
    return int(ExitCode.OK)


def make_directory(path: Path) -> None:
    """Create a directory with its parents, private (0700) or open to a group as its parent is (ragd/access.py).

    Raises CannotCreateError.
    """
    try:
        path.mkdir(mode=0o750 if is_shared(path.parent) else 0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotCreateError(
            f"cannot create {path}: {error.strerror}", hint="set RAGD_DATA_DIR to a directory this user may write to"
        ) from None
