"""root steps down: whatever ragd's programs make must belong to the user that the service runs as.

SQLite makes its -wal and -shm files when they are missing, also for a reader, and a service that finds root's may not
write to its own database any more.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from ragd.errors import NoPermissionError


def become_owner(directory: Path) -> None:
    """As root, become for good the user that the directory belongs to; as anybody else, or if it is root's, do nothing.

    Raises NoPermissionError where root may not (a container without CAP_SETUID).
    """
    if os.geteuid() != 0:
        return
    try:
        status = directory.stat()
    except OSError:
        return
    if status.st_uid == 0:
        return
    try:
        _become(status.st_uid, status.st_gid)
    except PermissionError:
        raise NoPermissionError(
            f"root may not become user {status.st_uid}, whose {directory} is", hint="run this as that user"
        ) from None


def _become(uid: int, gid: int) -> None:
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        os.setgroups([])
    else:
        gid = user.pw_gid
        os.initgroups(user.pw_name, gid)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
