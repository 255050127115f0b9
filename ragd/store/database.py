"""The SQLite connection: ragd's own SQLite, its PRAGMAs, transactions, and what may go wrong with them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import apsw
from peewee import DatabaseError
from playhouse.apsw_ext import APSWDatabase

from ragd.errors import CannotCreateError, ConfigError, DamagedError, TransientError, UnavailableError

OLDEST_SQLITE = (3, 51, 3)
"""Older ones lose acknowledged commits in WAL mode with several processes (sqlite.org/wal.html#walresetbug)."""

Row = tuple[Any, ...]

Durability = Literal["FULL", "NORMAL"]

BUSY_SECONDS = 5.0


class DamagedDatabaseError(DamagedError):
    """SQLite's file is damaged or none of SQLite's: only a backup, or fetching everything anew, can help."""


class OverdueError(TransientError):
    """Reading took longer than there was time for."""


_DEADLINE_CHECK_STEPS = 1_000
"""Of SQLite's virtual machine, between two looks at the clock."""

_PASSING = (apsw.BusyError, apsw.LockedError, apsw.IOError, apsw.InterruptError, apsw.ProtocolError)


def require_safe_sqlite() -> str:
    """The version of the SQLite in use. Raises ConfigError if it is one that can lose commits."""
    version = str(apsw.sqlite_lib_version())
    if tuple(int(part) for part in version.split(".")) < OLDEST_SQLITE:
        needed = ".".join(map(str, OLDEST_SQLITE))
        raise ConfigError(
            f"SQLite {version} can lose commits; {needed} or newer is needed", hint="pip install --upgrade apsw"
        )
    return version


def open_database(
    path: Path, *, durability: Durability = "NORMAL", read_only: bool = False, busy_seconds: float = BUSY_SECONDS
) -> APSWDatabase:
    """Connect. A reader never creates the file; a writer does.

    Raises UnavailableError (nothing there to read), CannotCreateError, DamagedError or TransientError (locked).
    """
    require_safe_sqlite()
    if read_only and not path.exists():
        raise UnavailableError(f"no database at {path}", hint="start ragd first, or set RAGD_DATA_DIR")
    left_behind = read_only and _wal_bytes(path) > 0
    database = APSWDatabase(str(path), pragmas=_pragmas(durability, read_only), timeout=busy_seconds)
    try:
        with translated_errors(path):
            database.connect()
            database.execute_sql("SELECT count(*) FROM sqlite_schema").fetchone()
        if left_behind:
            # The last connection to close would write what a killed daemon left in its log into the file: a reader
            # must not. An empty log is its own to delete.
            database.connection().config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    except BaseException:
        database.close()
        raise
    return database


def _wal_bytes(path: Path) -> int:
    wal = Path(f"{path}-wal")
    return wal.stat().st_size if wal.exists() else 0


def _pragmas(durability: Durability, read_only: bool) -> list[tuple[str, Any]]:
    return [
        # Readers go on while capture writes; one file of record whatever happens to a process.
        ("journal_mode", "wal"),
        # FULL: a commit that was acknowledged outlives a power cut, and group commit makes it nearly free.
        # NORMAL: chunks and vectors are derived, what a power cut takes is made again.
        ("synchronous", durability),
        # One process checkpoints, with TRUNCATE (`Store.checkpoint`); never a commit by the way, never PASSIVE.
        ("wal_autocheckpoint", 0),
        ("foreign_keys", 0),
        ("temp_store", "memory"),
        ("cache_size", -16_000),
        # What is deleted is overwritten with zeros, within its page (ragd/store/rewriting.py does the rest).
        ("secure_delete", 1),
        ("query_only", int(read_only)),
    ]


@contextmanager
def translated_errors(path: Path | str = "the database") -> Iterator[None]:
    """Turn SQLite's errors into ours: transient ones may be retried, permanent ones name the file and a way out."""
    try:
        yield
    except (DatabaseError, apsw.Error) as error:
        raise _translate(error, path) from error


def _translate(error: Exception, path: Path | str) -> Exception:
    causes = _causes(error)
    if any(isinstance(cause, apsw.FullError) for cause in causes):
        return TransientError("no space left for the database", hint="free some space on its file system")
    if any(isinstance(cause, apsw.CorruptError | apsw.NotADBError) for cause in causes):
        return DamagedDatabaseError(f"{path} is damaged: {error}", hint="`ragdctl restore` puts a backup in its place")
    if any(isinstance(cause, apsw.CantOpenError | apsw.ReadOnlyError | apsw.PermissionsError) for cause in causes):
        return CannotCreateError(f"cannot open {path}: {error}", hint="check that this user may write there")
    if any(isinstance(cause, _PASSING) for cause in causes):
        return TransientError(f"database: {error}")
    return error


def _causes(error: BaseException) -> list[BaseException]:
    """The whole chain: a failed rollback hides the disk that was full in `__context__`."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain


class Queries:
    """Base of the store's query classes: one database, errors translated, cursors never left open."""

    def __init__(self, database: APSWDatabase) -> None:
        self._database = database

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # IMMEDIATE waits for the write lock; a deferred one that turns to writing would fail at once when busy.
        with translated_errors(), self._database.atomic("IMMEDIATE"):
            yield

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Several reads of one and the same state, whatever is committed meanwhile."""
        with translated_errors(), self._database.atomic("DEFERRED"):
            yield

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """What is read by this connection meanwhile ends at the deadline. Raises OverdueError then."""
        connection, deadline = self._database.connection(), time.monotonic() + seconds
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _DEADLINE_CHECK_STEPS, id=(self, deadline))
        try:
            yield
        except TransientError as error:
            if time.monotonic() > deadline:
                raise OverdueError("this takes too long to look for: ask with fewer words") from error
            raise
        finally:
            connection.set_progress_handler(None, id=(self, deadline))

    def _all(self, sql: str, *parameters: object) -> list[Row]:
        with translated_errors():
            rows: list[Row] = self._database.execute_sql(sql, parameters).fetchall()
        return rows

    def _execute(self, sql: str, *parameters: object) -> int:
        """Run a writing statement; returns how many rows it changed."""
        with translated_errors():
            self._database.execute_sql(sql, parameters)
            return int(self._database.connection().changes())

    def _execute_many(self, sql: str, rows: Iterable[tuple[object, ...]]) -> None:
        # apsw's own executemany prepares once: a third faster than one statement a row through peewee.
        with translated_errors():
            self._database.connection().cursor().executemany(sql, rows)

    def _one(self, sql: str, *parameters: object) -> Row:
        """The only row of a query that always has one."""
        return self._all(sql, *parameters)[0]
