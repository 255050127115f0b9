"""Copies of the database: made while others write, checked, and made fit to be gone on with."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw
from peewee import PeeweeException

from ragd.errors import ConfigError
from ragd.store.alerts import AlertStore
from ragd.store.database import DamagedDatabaseError, Queries, open_database, translated_errors
from ragd.store.instance import INSTANCE_SQL, instance_of
from ragd.store.migrations import MIGRATIONS, migrate

_PROGRESS_STEPS = 200_000
"""Steps of SQLite's virtual machine between two calls of `progress`: some milliseconds."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a copy holds."""

    migration: int
    messages: int
    instance: str


def copy_database(source: Path, target: Path) -> None:
    """SQLite's online backup into a new file, without a write-ahead log beside it. Others may write meanwhile.

    In one step: a stepped one begins anew whenever somebody writes. Raises UnavailableError without a source,
    DamagedDatabaseError, TransientError (no space, locked).
    """
    database = open_database(source, read_only=True)
    try:
        with translated_errors(target), contextlib.closing(apsw.Connection(str(target))) as copy:
            with copy.backup("main", database.connection(), "main") as backup:
                while not backup.done:
                    backup.step(-1)
            copy.execute("PRAGMA journal_mode = delete").fetchall()
    finally:
        database.close()


def check_copy(path: Path) -> Contents:
    """Check a file that nobody writes to from end to end, leaving nothing beside it.

    Raises DamagedDatabaseError (also if it is SQLite's and not ragd's), ConfigError when a newer ragd wrote it.
    """
    with _opened_immutable(path) as connection:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
        if found != ["ok"]:
            raise DamagedDatabaseError(f"{path} is damaged: {'; '.join(' '.join(line.split()) for line in found)}")
        with as_ragds(path):
            contents = _read_contents(connection)
    newest = MIGRATIONS[-1].number
    if contents.migration > newest:
        raise ConfigError(f"{path} has migration {contents.migration}, this ragd knows {newest}", hint="upgrade ragd")
    return contents


@contextlib.contextmanager
def _opened_immutable(path: Path) -> Iterator[apsw.Connection]:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    with translated_errors(path):
        connection = apsw.Connection(f"file:{urllib.parse.quote(str(path))}?immutable=1", flags)
        try:
            yield connection
        finally:
            connection.close()


def _read_contents(connection: apsw.Connection) -> Contents:
    asked = ("SELECT coalesce(max(number), 0) FROM migration", "SELECT count(*) FROM message WHERE NOT deleted")
    migration, messages = (int(str(connection.execute(sql).fetchall()[0][0])) for sql in asked)
    return Contents(migration, messages, instance_of(connection.execute(INSTANCE_SQL).fetchall()))


@contextlib.contextmanager
def as_ragds(path: Path) -> Iterator[None]:
    """Let a file whose pages are sound and whose tables are not those of ragd be told as damaged, in one line."""
    try:
        yield
    except (apsw.Error, PeeweeException, ValueError, OverflowError) as error:
        raise DamagedDatabaseError(
            f"{path} is no database of ragd's: {' '.join(str(error).split())}", hint="name a backup, or ragd's own file"
        ) from error


def check_database(path: Path, *, thorough: bool, progress: Callable[[], object] = lambda: None) -> None:
    """Check the live database, which others may write to. Raises DamagedDatabaseError, TransientError.

    `thorough` holds indexes against their tables as well, which takes four times as long. `progress` is called now
    and then.
    """
    database = open_database(path, read_only=True)
    try:
        connection = database.connection()
        connection.set_progress_handler(lambda: bool(progress()) and False, _PROGRESS_STEPS)
        with translated_errors(path):
            check = "integrity_check" if thorough else "quick_check"
            found = [row[0] for row in connection.execute(f"PRAGMA {check}(3)")]
    finally:
        database.close()
    if found != ["ok"]:
        raise DamagedDatabaseError(
            f"{path} is damaged: {'; '.join(' '.join(line.split()) for line in found)}",
            hint="`ragdctl restore` puts a backup in its place",
        )


def distrust_copy(path: Path) -> None:
    """Make a copy fit to be gone on with: bring its schema up to date, and take back what time has overtaken.

    What was edited or deleted after the copy was made shows only when it is read again, at whatever age: so no interval
    counts as complete any more, and capture reads the whole history once more, newest first.
    """
    database = open_database(path)
    try:
        with translated_errors(path):
            migrate(database)
        Distrust(database).all()
        AlertStore(database).close_all()
        with translated_errors(path):
            database.execute_sql("PRAGMA journal_mode = delete").fetchall()
    finally:
        database.close()


class Distrust(Queries):
    """What a restored database must no longer claim."""

    def all(self) -> None:
        with self._transaction():
            self._execute("DELETE FROM coverage")
            self._execute("UPDATE channel SET threads_listed_at = 0")
