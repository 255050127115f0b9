"""Who but the user that runs ragd may look: the directories' modes decide. Nobody looks into memory.

A directory that ragd makes itself is its own (0700), and so is everything in it. One that was made with 0750, as the
systemd unit has it, lets its group in on purpose: then that group may read files and use sockets. Nobody else ever may.
"""

from __future__ import annotations

import contextlib
import os
import resource
import stat
from pathlib import Path

_GROUP_ENTERS = stat.S_IRGRP | stat.S_IXGRP


def is_shared(directory: Path) -> bool:
    """Whether the directory is there for its group and for nobody beyond; False if it is not there."""
    try:
        mode = directory.stat().st_mode
    except OSError:
        return False
    return mode & _GROUP_ENTERS == _GROUP_ENTERS and not mode & stat.S_IRWXO


def socket_mode(directory: Path) -> int:
    """Of sockets in it: connecting to one takes the right to write."""
    return 0o660 if is_shared(directory) else 0o600


def file_mode(directory: Path) -> int:
    """Of files in it that must have it whatever the umask is."""
    return 0o640 if is_shared(directory) else 0o600


def protect_files(*directories: Path) -> None:
    """Set the umask: what this process makes is for its user, and for the group if all of these let it in."""
    os.umask(0o027 if all(is_shared(directory) for directory in directories) else 0o077)


def protect_memory() -> None:
    """Keep what is in this process's memory, and in that of all it starts, out of core files.

    The limit is for the kernel's own files. A program that it hands cores to instead (core(5)) gets them whatever the
    limit says, so the filter leaves all memory out of them. PR_SET_DUMPABLE would do both, but is forgotten at each
    exec and hides open files from the watchdog, which counts them.
    """
    with contextlib.suppress(OSError, ValueError):  # a service manager that has set limits and forbids to
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # a kernel without core files
        Path("/proc/self/coredump_filter").write_text("0")
