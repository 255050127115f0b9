"""Starting the whole tree: make its directories, lock its data, and become supervisord."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

import ragd
from ragd.config import Settings
from ragd.errors import CannotCreateError, RagdError, TransientError
from ragd.logstream import keep_open, offer_log_stream
from ragd.worker import make_directory

LOCK = "lock"
"""In the data directory; holds the pid of the process that holds it."""

_CONF = "supervisord.conf"


def claim_directories(settings: Settings) -> None:
    """Make data and runtime directory ours for as long as one process of the tree lives.

    Raises TransientError naming the holder if another tree has one of them, CannotCreateError if they can't be made.
    """
    make_directory(settings.data_dir)
    make_directory(settings.runtime_dir)
    lock_directory(settings.data_dir)
    _clear_runtime(settings)


def lock_directory(directory: Path) -> None:
    """Take the flock on `<directory>/lock` with a descriptor that exec and children inherit.

    The children too, on purpose: a worker that outlived its supervisord still writes to the same database.
    """
    path = directory / LOCK
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotCreateError(f"cannot open {path}: {error.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 20).decode(errors="replace").strip()
        raise TransientError(
            f"{directory} is in use by ragd with pid {holder or 'unknown'}",
            hint="stop that one first, or set another RAGD_DATA_DIR",
        ) from None
    else:
        os.ftruncate(fd, 0)
        os.write(fd, b"%d\n" % os.getpid())
        keep_open(fd)
    finally:
        os.close(fd)


def become_supervisord(settings: Settings, *, include: Path | None = None) -> NoReturn:
    """Replace this process by supervisord; it keeps our pid, environment, lock and standard error."""
    conf = find_conf()
    os.environ.update(
        RAGD_DATA_DIR=str(settings.data_dir),
        RAGD_RUNTIME_DIR=str(settings.runtime_dir),
        RAGD_PYTHON=sys.executable,
        RAGD_SUPERVISOR_INCLUDE=_as_glob(include) if include else "",
    )
    # supervisord's own `umask` holds only for daemons that go to the background
    os.umask(0o077)
    # as root it would otherwise complain that nobody told it which user to be
    user = ["-u", "0"] if os.geteuid() == 0 else []
    sys.stdout.flush()
    offer_log_stream()
    os.execv(sys.executable, [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(conf), *user])  # noqa: S606


def find_conf() -> Path:
    """supervisord.conf of a source checkout, else of the installation. Raises RagdError if there is none."""
    checkout = Path(ragd.__file__).resolve().parent.parent / "deploy" / _CONF
    installed = Path(sys.prefix) / "share" / "ragd" / _CONF
    for candidate in (checkout, installed):
        if candidate.is_file():
            return candidate
    raise RagdError(f"{installed} is missing", hint="install ragd anew")


def _as_glob(path: Path) -> str:
    """A pattern for supervisord's [include], which splits at blanks and takes `*?[` for wildcards."""
    return "".join("?" if char.isspace() or char in "*?[" else char for char in str(path))


def _clear_runtime(settings: Settings) -> None:
    """Remove what an earlier run left: its socket, and heartbeats that would be mistaken for news."""
    if _answers(settings.supervisor_socket):
        raise TransientError(
            f"another supervisord listens at {settings.supervisor_socket}", hint="set another RAGD_RUNTIME_DIR"
        )
    settings.supervisor_socket.unlink(missing_ok=True)
    for heartbeat in settings.heartbeat_dir.glob("*.json"):
        heartbeat.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(path))
        return True
    return False
