"""The log's way around supervisord: workers write to the very terminal, file or journal that `ragd` was given.

supervisord reads its children's output through pipes. Passing it on is not possible under journald, whose socket
cannot be opened by name, and a supervisord that is stopped would block every worker as soon as its pipe is full. So
`ragd` leaves a descriptor open for its workers, with a number above those that supervisord closes in its children.
Standard library only: this runs before anything that could fail and would want to say so.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys

VARIABLE = "RAGD_LOG_FD"

FIRST_KEPT_FD = 64
"""`minfds` in deploy/supervisord.conf: supervisord closes what is below it."""


def keep_open(fd: int) -> int:
    """Duplicate a descriptor to where it outlives exec and supervisord's cleaning up; returns the new one."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD, FIRST_KEPT_FD)


def offer_log_stream() -> None:
    """In `ragd`, before it becomes supervisord: leave standard error for the workers, and log there too."""
    os.environ[VARIABLE] = str(keep_open(sys.stderr.fileno()))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def take_log_stream() -> None:
    """In a worker: write to what `ragd` left. Does nothing when started by hand."""
    number = os.environ.pop(VARIABLE, "")
    if not number.isdecimal():
        return
    with contextlib.suppress(OSError):
        # supervisord waits up to a second longer for a child whose pipe it does not see closing at its end
        os.dup(1)
        os.dup2(int(number), 1)
        os.dup2(int(number), 2)
        os.close(int(number))
    # in a terminal with `stty tostop`, writing from a process group of one's own would stop the worker
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
