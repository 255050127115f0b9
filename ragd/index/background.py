"""Writing a snapshot without holding anybody up: a fork of this process writes what memory held at that moment.

hnswlib holds Python's lock while it saves, up to a second per 100,000 vectors, in which no query would be answered and
no heartbeat written. The fork shares memory until one of the two changes it, so it costs little, and it
uses nothing but numpy, hnswlib and files: no SQLite, no model, no logging, whose locks another thread may have held.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from ragd.errors import TransientError

NICENESS = 10
LONGEST_ERROR_BYTES = 1000

_PR_SET_PDEATHSIG = 1
"""prctl(2): have the kernel send us a signal when our parent dies, or there could be two writers."""

_LIBC = ctypes.CDLL(None)  # looked up before any fork: loading takes locks


class BackgroundSave:
    """One save in a forked child. Made, asked and awaited by one thread, which must live as long as the child."""

    def __init__(self, save: Callable[[], object]) -> None:
        """Begin. Raises TransientError where no process can be made."""
        self._pipe, there = os.pipe()
        parent = os.getpid()
        try:
            with warnings.catch_warnings():  # later Pythons warn of forks beside threads; see above what it keeps from
                warnings.simplefilter("ignore", DeprecationWarning)
                self._pid = os.fork()
        except OSError as error:
            os.close(self._pipe)
            raise TransientError(f"no process can be made to write a snapshot: {error}") from error
        finally:
            if os.getpid() == parent:
                os.close(there)
        if self._pid == 0:
            _write_and_exit(save, there, parent)

    def is_over(self) -> bool:
        """Whether `result` would return at once."""
        return bool(select.select([self._pipe], [], [], 0)[0])

    def result(self) -> None:
        """Wait for the end. Raises TransientError when nothing was saved. To be called once."""
        try:
            with os.fdopen(self._pipe, "rb") as file:
                told = file.read().decode(errors="replace")
        finally:
            _, status = os.waitpid(self._pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            raise TransientError(f"what wrote an index snapshot was ended by {signal.Signals(-code).name}")
        if code:
            raise TransientError(told or f"what wrote an index snapshot ended with exit code {code}")


def _write_and_exit(save: Callable[[], object], pipe: int, parent: int) -> NoReturn:
    """The child's life. Whatever happens, nothing of the parent's cleaning up runs here."""
    code = 1
    try:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.set_wakeup_fd(-1)  # it is the parent's
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # sent to the whole group; the parent waits for us
        os.nice(NICENESS)
        if os.getppid() == parent:
            save()
            code = 0
    except BaseException as error:  # noqa: BLE001 - told to the parent, which logs it
        with suppress(OSError):
            os.write(pipe, str(error).encode()[:LONGEST_ERROR_BYTES])
    finally:
        os._exit(code)
