"""What was promised to members, in a small file outside of the database: a restored backup must not break it.

Ids and times alone. SQLite is the truth; this is its copy for the day on which the database is put back to another.
"""

from __future__ import annotations

import os
from pathlib import Path

import orjson
from playhouse.apsw_ext import APSWDatabase

from ragd.access import file_mode
from ragd.errors import RagdError
from ragd.store.database import Queries, open_database
from ragd.store.erasure import ErasureStore

FILE = "promises.json"
"""In the data directory."""

_TABLES = {
    "person": ("user_id", "opted_out_at", "erased_until"),
    "opt_in_channel": ("channel_id", "since"),
    "consent": ("channel_id", "user_id", "from_id"),
    "cutoff": ("channel_id", "before_id"),
}

Promises = dict[str, list[list[int]]]
"""Rows by table, columns as in _TABLES."""


class PromiseStore(Queries):
    """Reads them, and has them kept."""

    def all(self) -> Promises:
        return {
            table: [list(row) for row in self._all(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1, 2")]
            for table, columns in _TABLES.items()
        }

    def keep(self, promises: Promises) -> None:
        """Take them over in an older database and erase in it what they say; what is then left in the pages of its file
        goes with the next rewriting, which is asked for."""
        erasures = ErasureStore(self._database)
        with self._transaction():
            # a wish that was taken back since, or given, is as it was last; from `person` nobody is ever removed
            self._execute("DELETE FROM opt_in_channel")
            self._execute("DELETE FROM consent")
            for table in ("person", "opt_in_channel", "consent"):
                columns = _TABLES[table]
                self._execute_many(
                    f"REPLACE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
                    [tuple(row) for row in promises[table]],
                )
        for user_id, _, erased_until in promises["person"]:
            if erased_until:
                erasures.forget_user(user_id, erased_until, "operator")
        for channel_id, before_id in promises["cutoff"]:
            erasures.forget_before([channel_id] if channel_id else [], before_id)
        for erasure in erasures.open():
            while erasure.state == "rows" and erasures.erase_some(erasure):
                pass


def write_promises(path: Path, promises: Promises) -> None:
    """Replace the file. Raises OSError."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(orjson.dumps(promises))
    partial.chmod(file_mode(path.parent))
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def read_promises(path: Path) -> Promises | None:
    """What the file says; None if there is none. Raises RagdError for one that cannot be read, or says what the
    database cannot hold."""
    try:
        document = orjson.loads(path.read_bytes())
        return {table: [_row(row, len(columns)) for row in document[table]] for table, columns in _TABLES.items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RagdError(
            f"{path} cannot be read: {error}",
            hint="it says who was erased since the backup: mend it, or move it away to restore without",
        ) from None


def _row(values: object, length: int) -> list[int]:
    if not isinstance(values, list) or len(values) != length:
        raise ValueError(f"a row is not of {length} numbers")
    if not all(type(value) is int and abs(value) < 2**63 for value in values):
        raise ValueError("a row has what is no number of 64 bit")
    return values


def keep_promises(database: Path, promises: Promises | None) -> None:
    """Have them kept in the database at that path, which nobody else has open; without any it stays as it is. Raises
    what opening it does."""
    if promises is None:
        return
    opened: APSWDatabase = open_database(database)
    try:
        PromiseStore(opened).keep(promises)
    finally:
        opened.close()
