"""A look at the whole database before anything is captured into it; once in a while, not at every restart."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from ragd.config import Settings
from ragd.store.copies import check_database

MARK = "database.checked"
"""In the runtime directory: names the database that was found sound, at the time of the file. `ragd` removes it, so
that every start of the whole looks, and the restart of a crashed capture does not."""

GOOD_FOR_SECONDS = 86_400.0
"""A crashed capture is to be back in a second, and the check takes two to ten for each GiB."""


def require_sound(settings: Settings, progress: Callable[[], object]) -> None:
    """Check the database, if there is one and it has not been found sound lately; calls `progress` meanwhile.

    Raises DamagedDatabaseError, TransientError.
    """
    database, mark = settings.database_path, settings.runtime_dir / MARK
    if not database.exists() or _is_marked(mark, database):
        return
    mark.unlink(missing_ok=True)
    check_database(database, thorough=False, progress=progress)
    with contextlib.suppress(OSError):
        mark.write_text(_identity(database))


def _is_marked(mark: Path, database: Path) -> bool:
    try:
        age = time.time() - mark.stat().st_mtime
        return 0 <= age < GOOD_FOR_SECONDS and mark.read_text() == _identity(database)
    except (OSError, UnicodeDecodeError):
        return False


def _identity(database: Path) -> str:
    """Of the file, not its content: a restored database is another."""
    status = database.stat()
    return f"{status.st_dev} {status.st_ino}"
