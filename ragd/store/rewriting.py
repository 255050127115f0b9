"""Writes the whole database file anew, so that nothing of what was deleted is left between its rows.

`secure_delete` alone does not see to that: when SQLite moves rows to another page to make room, copies of them stay in
the free space of the page that they came from, and nothing overwrites those when the rows are deleted later.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import apsw

from ragd.store.database import BUSY_SECONDS, translated_errors

_LOOK_SECONDS = 0.2


def rewrite_database(path: Path, breathe: Callable[[], object] = lambda: None) -> None:
    """VACUUM. Others may read meanwhile, but not write. Takes twice the file's size on its disk until the log is
    emptied; some 10 s for each GB.

    `breathe` is called a few times a second; what it raises ends the rewriting, which leaves the file as it was.
    Raises TransientError (locked, no space) or DamagedDatabaseError.
    """
    failures: list[BaseException] = []
    with translated_errors(path), contextlib.closing(apsw.Connection(str(path))) as connection:
        thread = threading.Thread(target=_vacuum, args=(connection, path.parent, failures), name="rewrite")
        thread.start()
        try:
            while thread.is_alive():
                breathe()
                thread.join(_LOOK_SECONDS)
        except BaseException:
            connection.interrupt()
            raise
        finally:
            thread.join()
        if failures:
            raise failures[0]


def _vacuum(connection: apsw.Connection, directory: Path, failures: list[BaseException]) -> None:
    try:
        connection.set_busy_timeout(int(BUSY_SECONDS * 1000))
        for pragma in ("wal_autocheckpoint = 0", "secure_delete = 1", "temp_store = file"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        # the copy that VACUUM makes: on the disk that has room for it, not in a /tmp in memory
        quoted = str(directory).replace("'", "''")
        connection.execute(f"PRAGMA temp_store_directory = '{quoted}'").fetchall()
        connection.execute("VACUUM")
    except apsw.Error as error:
        failures.append(error)
