"""Who but the user that runs ragd may look: the directories' modes decide.

A directory that ragd makes itself is its own (0700), and so is everything in it. One that was made with 0750, as the
systemd unit has it, lets its group in on purpose: then that group may read files and use sockets. Nobody else ever may.
"""

from __future__ import annotations

import os
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


def protect_files(*directories: Path) -> None:
    """Set the umask: what this process makes is for its user, and for the group if all of these let it in."""
    os.umask(0o027 if all(is_shared(directory) for directory in directories) else 0o077)
