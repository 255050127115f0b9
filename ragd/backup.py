"""Backups of the database: made while ragd runs, checked before they count, rotated, and put back.

A backup is a database and, beside it, a manifest; the manifest is written last, so what has none is no backup.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import ragd
from ragd.access import file_mode
from ragd.backup_manifest import (
    DATABASE,
    MANIFEST,
    OWN_NAME,
    PARTIAL,
    Backup,
    Manifest,
    is_plausible,
    list_backups,
    read_backup,
    rotated,
    sync,
    write_manifest,
)
from ragd.errors import CannotCreateError, DamagedError, RagdError, TransientError, UnavailableError
from ragd.store.copies import as_ragds, check_copy, check_database, copy_database, distrust_copy
from ragd.store.database import DamagedDatabaseError, require_safe_sqlite
from ragd.store.promises import FILE as PROMISES
from ragd.store.promises import keep_promises, latest_promises
from ragd.worker import make_directory

DIRECTORY = "backups"
"""In the data directory, unless another is named."""

SPARE_BYTES = 16 * 2**20
"""Left free beyond what a copy takes: the database itself must go on growing."""

_READ_BYTES = 2**20

_OWN_PARTIAL = re.compile(r"ragd-\d{8}T\d{6}\.\d{6}Z\.(sqlite3|json)\.partial(-wal|-shm|-journal)?", re.ASCII)
"""What is to become a backup under a name that ragd gives."""


# Making one


def make_backup(database: Path, directory: Path, keep: int) -> Backup:
    """Copy, check, write the manifest, and remove all but the newest `keep` that this database has there.

    Raises UnavailableError (no database), DamagedDatabaseError (nothing is kept or removed then), TransientError (no
    space, another backup is being made), CannotCreateError, or RagdError (an old one cannot be removed). Killed at any
    moment it leaves nothing that counts.
    """
    if not database.exists():
        raise UnavailableError(f"no database at {database}", hint="start ragd first, or set RAGD_DATA_DIR")
    make_directory(directory)
    with _alone_in(directory):
        _clear_partial(directory)
        _require_space(directory, _size_with_log(database))
        backup = _make(database, directory, keep)
        _rotate(backup, keep, database.parent / DIRECTORY)
    return backup


def _make(database: Path, directory: Path, keep: int) -> Backup:
    now = datetime.now(UTC)
    if not is_plausible(now):
        raise TransientError(f"no backup is made in the year {now.year}", hint="set the clock")
    name = now.strftime("ragd-%Y%m%dT%H%M%S.%fZ")
    partial = directory / (name + DATABASE + PARTIAL)
    try:
        copy_database(database, partial)
        backup = Backup(directory / (name + DATABASE), _describe(partial, now, keep))
        sync(partial)
        partial.replace(backup.path)
        write_manifest(backup)
    except OSError as error:
        raise TransientError(f"no backup in {directory}: {error.strerror}") from None
    finally:
        _clear_partial(directory)
    return backup


def _describe(path: Path, created_at: datetime, keep: int) -> Manifest:
    contents = check_copy(path)
    return Manifest(
        sha256=_sha256(path),
        size_bytes=path.stat().st_size,
        migration=contents.migration,
        messages=contents.messages,
        created_at=created_at.isoformat(timespec="seconds"),
        ragd_version=ragd.__version__,
        sqlite_version=require_safe_sqlite(),
        keep=keep,
        instance=contents.instance,
    )


@contextlib.contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Held by the kernel for as long as this process lives."""
    try:
        fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotCreateError(f"cannot write in {directory}: {error.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise TransientError(f"another backup is being made in {directory}") from None
    finally:
        os.close(fd)


def _require_space(directory: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed_bytes + SPARE_BYTES:
        raise TransientError(
            f"no room in {directory}: {_mib(needed_bytes + SPARE_BYTES)} MiB are needed, {_mib(free)} MiB are free",
            hint="free some space, or name a directory elsewhere",
        )


def _size_with_log(database: Path) -> int:
    log = Path(f"{database}-wal")
    return database.stat().st_size + (log.stat().st_size if log.exists() else 0)


def _clear_partial(directory: Path) -> None:
    """What a killed run left: partial files, and a database that never got its manifest."""
    for path in directory.glob("ragd-*"):
        orphaned = OWN_NAME.fullmatch(path.name) and not path.with_suffix(MANIFEST).exists()
        if orphaned or _OWN_PARTIAL.fullmatch(path.name):
            with contextlib.suppress(OSError):  # somebody else's after all: a directory, another user's
                path.unlink()


def _rotate(made: Backup, keep: int, home: Path) -> None:
    """Remove all but the newest `keep` of the database's own; the one just made is the newest, whatever others say."""
    own = rotated(list_backups(made.path.parent), made.manifest.instance, home)
    for old in [backup for backup in own if backup != made][keep - 1 :]:
        _remove(old)


def _remove(backup: Backup) -> None:
    try:
        # the manifest first: half a removal leaves what is no backup
        backup.path.with_suffix(MANIFEST).unlink(missing_ok=True)
        backup.path.unlink(missing_ok=True)
    except OSError as error:
        raise RagdError(
            f"a backup was made, but an old one cannot be removed: {backup.path}: {error.strerror}",
            hint="check whose it is",
        ) from None


# Finding one


def adopt_database(path: Path) -> Backup:
    """A database without a manifest, as Litestream restores it, checked from end to end.

    Raises UnavailableError, DamagedError, ConfigError (a newer ragd wrote it).
    """
    if not path.exists():
        raise UnavailableError(f"no database at {path}")
    if _size_with_log(path) > path.stat().st_size:
        raise DamagedError(f"{path} has a write-ahead log", hint="close whatever has it open, or name a restored copy")
    # whatever somebody has made of the file's time
    written_at = datetime.fromtimestamp(min(max(path.stat().st_mtime, 0), time.time()), UTC)
    return Backup(path, _describe(path, written_at, 1))


def open_backup(path: Path) -> Backup:
    """The backup in a file. Raises UnavailableError if there is none, DamagedError if it is not what it was."""
    if not path.exists():
        raise UnavailableError(f"no backup at {path}", hint="`ragdctl backup list` shows what there is")
    backup = read_backup(path)
    if backup is None:
        raise DamagedError(f"{path} does not go with a manifest {path.with_suffix(MANIFEST).name}")
    return backup


def verify_backup(backup: Backup) -> None:
    """Check it from end to end. Raises DamagedError or ConfigError (a newer ragd wrote it)."""
    if _sha256(backup.path) != backup.manifest.sha256:
        raise DamagedError(f"{backup.path} is damaged: its checksum is not that of its manifest")
    check_copy(backup.path)


def newest_good(directory: Path) -> tuple[Backup, list[RagdError]]:
    """The newest backup that is sound, and what is the matter with those after it.

    Raises UnavailableError if there is none.
    """
    bad: list[RagdError] = []
    for backup in list_backups(directory):
        try:
            verify_backup(backup)
        except RagdError as error:
            bad.append(error)
        else:
            return backup, bad
    raise UnavailableError(
        f"no sound backup in {directory}" + "".join(f"; {error}" for error in bad),
        hint="move the database away, with its -wal and -shm, and ragd fetches everything that Discord still has",
    )


# Putting one back


def refuse_sound(database: Path) -> None:
    """Raise RagdError if there is a database that nothing is the matter with."""
    if not database.exists():
        return
    try:
        check_database(database, thorough=True)
    except DamagedDatabaseError:
        return
    raise RagdError(f"{database} is sound", hint="--force puts the backup in its place all the same")


def put_back(backup: Backup, database: Path, index_dir: Path) -> Path | None:
    """Put a verified backup in the database's place; returns where the old one went (its log, if that is all
    there was of it), None if there was none.

    What members were promised since the backup (ragd/store/promises.py) is kept in it before it is put there. Nobody
    else may have the database open. Raises TransientError, DamagedError (the backup is no database of ragd's) or
    RagdError (the promises cannot be read), and the old database is there then. Killed at any moment it leaves that or
    the new one there.
    """
    promises = latest_promises(database.with_name(PROMISES), database)
    partial = database.with_name(database.name + ".restoring")
    _remove_family(partial)
    _require_space(database.parent, backup.manifest.size_bytes)
    try:
        shutil.copyfile(backup.path, partial)
        partial.chmod(file_mode(database.parent))
        with as_ragds(backup.path):
            distrust_copy(partial)
            keep_promises(partial, promises)
            distrust_copy(partial)
        sync(partial)
        aside = _set_aside(database)
        partial.replace(database)
        sync(database.parent)
        # vectors in it may be those of messages that the restored database does not have
        shutil.rmtree(index_dir, ignore_errors=True)
    except OSError as error:
        raise TransientError(f"cannot restore {database}: {error.strerror}") from None
    finally:
        _remove_family(partial)
    return aside


def _remove_family(database: Path) -> None:
    for path in _family(database):
        path.unlink(missing_ok=True)


def _set_aside(database: Path) -> Path | None:
    """Keep what there is of the old database under another name; returns that of its first file, None if there is none.

    The main file keeps its own name as well, until the new one replaces it. Logs go first, and also if they are all
    that is left: SQLite would play them into the new database.
    """
    aside = database.with_name(f"{database.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    both = zip(_family(database), _family(aside), strict=True)
    moved = [(source, target) for source, target in both if source.exists()]
    for source, target in moved:
        if source != database:
            source.replace(target)
    if database.exists():
        try:
            os.link(database, aside)
        except OSError:
            database.replace(aside)  # a file system without hard links
    return moved[0][1] if moved else None


def _family(database: Path) -> list[Path]:
    """The database and what SQLite may have left beside it; each of these it plays into whatever has the name."""
    return [Path(f"{database}{ending}") for ending in ("", "-wal", "-shm", "-journal")]


@contextlib.contextmanager
def advised(data_dir: Path) -> Iterator[None]:
    """Let a damaged database's error say which backup there is."""
    try:
        yield
    except DamagedDatabaseError as error:
        raise DamagedDatabaseError(str(error), hint=_advice(data_dir / DIRECTORY)) from error


def _advice(directory: Path) -> str:
    backups = list_backups(directory)
    if not backups:
        return (
            f"there is no backup in {directory}: stop ragd and move the database away, with its -wal and -shm, and it"
            " fetches everything that Discord still has"
        )
    created_at = backups[0].manifest.created_at
    return f"stop ragd, then `ragdctl restore`: the newest backup is of {created_at} ({backups[0].path.name})"


# Files


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_READ_BYTES):
            digest.update(part)
    return digest.hexdigest()


def _mib(count: int) -> int:
    return -(-count // 2**20)
