"""The look into the store: how far search is, how much there is, and whether it still takes what is written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ragd.errors import UnavailableError
from ragd.store import Counts, Store
from ragd.store.audits import LastAudits
from ragd.store.health import CheckState, Progress, Tally

BUSY_SECONDS = 5.0
"""How long a lock is waited for. Capture commits in milliseconds, a checkpoint of a large log takes a second or two."""

QUICK_CHECK_SECONDS = 600.0
"""How long SQLite may look at its file: some gigabytes on a slow disk."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What one look saw; what it was not asked for is None."""

    progress: Progress
    wal_bytes: int
    database_bytes: int
    counts: Counts | None = None
    write_seconds: float | None = None
    """How long the commit of the history took, which is the proof that the store can be written."""
    audits: LastAudits | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """History that is to be written."""

    states: Sequence[CheckState]
    tallies: Sequence[Tally]


def survey(database: Path, page: Page | None, *, count: bool) -> Survey:
    """Look once, and write a page if there is one. Raises RagdError; nothing of the page is written then."""
    if not database.exists():
        raise UnavailableError(f"no database at {database} yet")
    write_seconds = None if page is None else _write(database, page)
    with contextlib.closing(Store.open_read_only(database)) as store:
        return Survey(
            store.health.progress(store.chunks.lag()),
            store.wal_bytes(),
            database.stat().st_size,
            store.counts() if count else None,
            write_seconds,
            store.audits.last(),
        )


def _write(database: Path, page: Page) -> float:
    with contextlib.closing(Store.open(database, busy_seconds=BUSY_SECONDS)) as store:
        started = time.monotonic()
        store.health.record(page.states, page.tallies)
        return time.monotonic() - started
