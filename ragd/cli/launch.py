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
from ragd.access import protect_files, socket_mode
from ragd.cli import supervise
from ragd.config import Settings
from ragd.errors import CannotCreateError, ConfigError, RagdError, TransientError
from ragd.logstream import keep_open, offer_log_stream
from ragd.soundness import MARK
from ragd.worker import make_directory

LOCK = "lock"
"""In the data directory; holds the pid of the process that holds it."""

TOKEN_FILE = "/etc/ragd/discord_bot_token"  # noqa: S105 - a path
"""Where the unit's LoadCredential= reads the token."""

_CONF = "supervisord.conf"


def claim_directories(settings: Settings) -> None:
    """Make data and runtime directory ours for as long as one process of the tree lives.

    Raises TransientError naming the holder if another tree has one of them, CannotCreateError if they can't be made
    or written to.
    """
    protect_files(settings.data_dir, settings.runtime_dir)
    for directory, setting in ((settings.data_dir, "RAGD_DATA_DIR"), (settings.runtime_dir, "RAGD_RUNTIME_DIR")):
        make_directory(directory)
        _require_writable(directory, setting)
    lock_directory(settings.data_dir)
    _clear_runtime(settings)


def _require_writable(directory: Path, setting: str) -> None:
    if not os.access(directory, os.W_OK | os.X_OK):
        raise CannotCreateError(
            f"{directory} may not be written to by user {os.geteuid()}",
            hint=f"give it to that user, or set {setting} to another directory",
        )


def require_port(settings: Settings) -> None:
    """Raises CannotCreateError if this user may never listen on the port. One that somebody else has now may be free
    later: the watchdog tries again."""
    host = settings.http_host
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, settings.http_port))
        except PermissionError:
            raise CannotCreateError(
                f"user {os.geteuid()} may not listen on port {settings.http_port}",
                hint="set RAGD_HTTP_PORT to one from 1024 on, or to 0 for none",
            ) from None
        except OSError:
            return


def lock_directory(directory: Path) -> None:
    """Take the flock on `<directory>/lock` with a descriptor that exec and children inherit.

    The children too, on purpose: a worker that outlived its supervisord still writes to the same database.
    """
    path = directory / LOCK
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotCreateError(f"cannot open {path}: {error.strerror}", hint="give it to this user") from None
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


def require_token(settings: Settings) -> None:
    """Raises ConfigError if there is no token to connect with, naming where to put it."""
    if settings.discord_bot_token is not None:
        return
    if settings.discord_bot_token_file is not None:
        raise ConfigError(
            f"DISCORD_BOT_TOKEN_FILE={settings.discord_bot_token_file}: this user may not read it",
            hint="under systemd let LoadCredential= hand it over",
        )
    raise ConfigError(
        "DISCORD_BOT_TOKEN is not set", hint=f"write the token to {TOKEN_FILE}, then `systemctl restart ragd`"
    )


def require_http_token(settings: Settings) -> None:
    """Raises ConfigError if a token for HTTP is meant to be there and cannot be read: nobody could ask then."""
    if settings.http_token_file is not None and settings.http_token is None:
        raise ConfigError(
            f"RAGD_HTTP_TOKEN_FILE={settings.http_token_file}: is empty, or this user may not read it",
            hint="write a token into it, or take the setting away",
        )


def become_supervisord(settings: Settings, *, include: Path | None = None) -> NoReturn:
    """Replace this process by supervisord; it keeps our pid, environment, umask, lock and standard error."""
    conf = find_conf()
    os.environ.update(
        RAGD_DATA_DIR=str(settings.data_dir),
        RAGD_RUNTIME_DIR=str(settings.runtime_dir),
        RAGD_PYTHON=sys.executable,
        RAGD_SOCKET_MODE=f"{socket_mode(settings.runtime_dir):04o}",
        RAGD_SUPERVISOR_INCLUDE=_as_glob(include) if include else "",
    )
    # as root it would otherwise complain that nobody told it which user to be
    user = ["-u", "0"] if os.geteuid() == 0 else []
    sys.stdout.flush()
    offer_log_stream()
    supervisord = [sys.executable, "-P", "-m", supervise.__name__, settings.log_format]
    os.execv(sys.executable, [*supervisord, "-n", "-c", str(conf), *user])  # noqa: S606


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
    """Remove what an earlier run left: its socket, and what would be mistaken for word of this one."""
    if _answers(settings.supervisor_socket):
        raise TransientError(
            f"another supervisord listens at {settings.supervisor_socket}", hint="set another RAGD_RUNTIME_DIR"
        )
    settings.supervisor_socket.unlink(missing_ok=True)
    (settings.runtime_dir / MARK).unlink(missing_ok=True)
    for directory in (settings.heartbeat_dir, settings.applied_dir):
        for word in directory.glob("*.json"):
            word.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(path))
        return True
    return False
