"""What was promised to members, in a small file outside of the database: a restored backup must not break it.

Ids and times alone. SQLite is the truth; this is its copy for the day on which the database is put back to another.
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import apsw
import orjson
from peewee import PeeweeException
from playhouse.apsw_ext import APSWDatabase

from ragd.access import file_mode
from ragd.errors import DamagedError, RagdError
from ragd.store.database import open_database
from ragd.store.erasure import ErasureStore
from ragd.store.rewriting import rewrite_database
from ragd.store.wishes import WISHES, WishQueries

_log = logging.getLogger(__name__)

FILE = "promises.json"
"""In the data directory."""

_TABLES = {
    "person": ("user_id", "opted_out_at", "erased_until"),
    "opt_in_channel": ("channel_id", "since"),
    "consent": ("channel_id", "user_id", "from_id"),
    "cutoff": ("channel_id", "before_id"),
}


@dataclass(frozen=True, slots=True)
class Promises:
    """What was promised up to some moment."""

    wishes: int
    """How many there had been (ragd/store/wishes.py): of a database and a copy, who has counted more is later."""
    tables: dict[str, list[list[int]]]
    """Rows by table, columns as in _TABLES."""


class PromiseStore(WishQueries):
    """Reads them, and has them kept."""

    def all(self) -> Promises:
        with self._snapshot():
            tables = {
                table: [list(row) for row in self._all(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1, 2")]
                for table, columns in _TABLES.items()
            }
            return Promises(self.wishes(), tables)

    def keep(self, promises: Promises) -> bool:
        """Take them over if this database is of before; True if it was. Nothing is stored against them from then on;
        what they say is to be erased waits to be."""
        erasures = ErasureStore(self._database)
        with self._transaction():
            if promises.wishes <= self.wishes():
                return False
            # a wish that was taken back since, or given, is as it was last; from `person` nobody is ever removed
            self._execute("DELETE FROM opt_in_channel")
            self._execute("DELETE FROM consent")
            for table in ("person", "opt_in_channel", "consent"):
                columns = _TABLES[table]
                self._execute_many(
                    f"REPLACE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
                    [tuple(row) for row in promises.tables[table]],
                )
            for user_id, _, erased_until in promises.tables["person"]:
                if erased_until:
                    erasures.forget_user(user_id, erased_until, "operator")
            # each for itself: a thread that was kept longer than its channel has a row of its own, or none
            erasures.keep_from({row[0]: row[1] for row in promises.tables["cutoff"]})
            self._execute(
                "INSERT INTO counter (name, value) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
                WISHES,
                promises.wishes,
            )
        return True


def write_promises(path: Path, promises: Promises) -> None:
    """Replace the file. Raises OSError."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(orjson.dumps({"wishes": promises.wishes, **promises.tables}))
    partial.chmod(file_mode(path.parent))
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def read_promises(path: Path) -> Promises | None:
    """What the file says; None if there is none. Raises RagdError if it cannot be read, DamagedError if it says what
    the database cannot hold."""
    hint = "it says who objected and who was erased: mend it, or move it away to do without"
    try:
        document = orjson.loads(path.read_bytes())
        wishes = _count(document.get("wishes", 0))
        tables = {table: [_row(row, len(columns)) for row in document[table]] for table, columns in _TABLES.items()}
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RagdError(f"{path} cannot be read: {error.strerror}", hint=hint) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path} cannot be read: {error}", hint=hint) from None
    return Promises(wishes, tables)


def _count(value: object) -> int:
    # with room to count on
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError("wishes is no count")
    return value


def _row(values: object, length: int) -> list[int]:
    if not isinstance(values, list) or len(values) != length:
        raise ValueError(f"a row is not of {length} numbers")
    if not all(type(value) is int and abs(value) < 2**63 for value in values):
        raise ValueError("a row has what is no number of 64 bit")
    return values


def keep_promises(database: Path, promises: Promises | None) -> None:
    """Have them kept, and what they say erased, in the database at that path, which nobody else has open; without any,
    or with older ones, it stays as it is. Raises what opening it does."""
    if promises is None:
        return
    opened: APSWDatabase = open_database(database)
    try:
        cut = _erase_rows(opened) if PromiseStore(opened).keep(promises) else 0
    finally:
        opened.close()
    if cut:
        rewrite_database(database)


def _erase_rows(database: APSWDatabase) -> int:
    """Returns how many messages went because they are too old, for which nobody asks to have the file rewritten."""
    erasures = ErasureStore(database)
    for erasure in erasures.open():
        while erasure.state == "rows" and erasures.erase_some(erasure):
            pass
    cut = 0
    while erasures.is_cutting():
        cut += erasures.erase_older()
    return cut


def latest_promises(path: Path, database: Path) -> Promises | None:
    """The later of what the file and what the database says, which is to be replaced and may be damaged, or away.
    Raises RagdError if the file cannot be read."""
    told = read_promises(path)
    if not database.exists():
        return told
    try:
        with contextlib.closing(open_database(database, read_only=True)) as opened:
            last = PromiseStore(opened).all()
    except (RagdError, apsw.Error, PeeweeException):
        return told
    return last if told is None or last.wishes > told.wishes else told


def catch_up(database: APSWDatabase, path: Path) -> bool:
    """Before anything is stored: take over what was promised after the state that this database is of, a new one where
    the old one was moved away, or one that was put back by hand. True if there was something. Raises RagdError."""
    told = read_promises(path)
    if told is None or not PromiseStore(database).keep(told):
        return False
    _log.warning("the database is older than %s: what was promised to members since is kept", path)
    return True
