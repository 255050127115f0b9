"""Import of files: some hundred messages a transaction, so that one that was interrupted can simply be repeated."""

from __future__ import annotations

import re
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from ragd.errors import NoPermissionError, TransientError, UsageError
from ragd.exchange.fileimport import FileImport, Part
from ragd.exchange.jsonstream import JsonStream
from ragd.exchange.report import FileReport
from ragd.store import Store
from ragd.store.events import Event

PATIENCE_SECONDS = 60.0
"""How long a database that others keep locked, or that has no room, is waited for."""

LOG_BYTES = 256 * 2**20
"""Above this the write-ahead log is emptied here: the syncer, who does it otherwise, does not run then."""

_PART = re.compile(r"(.*) \[part (\d+)\]")


def find_files(paths: Iterable[Path]) -> list[Path]:
    """The files, and of folders their *.json, parts of an export in order.

    Raises UsageError for what is not there, NoPermissionError for what may not be read; before anything is imported.
    """
    files = [file for path in paths for file in _files(path)]
    for file in files:
        try:
            file.open("rb").close()
        except FileNotFoundError:
            raise UsageError(f"{file}: no such file") from None
        except OSError as error:
            raise NoPermissionError(f"{file}: {error.strerror}", hint="ragd's user must be able to read it") from None
    return files


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.json"), key=_part_of)
    if not files:
        raise UsageError(f"{path}: holds no *.json")
    return files


def _part_of(file: Path) -> tuple[str, int]:
    """The name that the parts of an export share, and which one this is; the first has no number."""
    match = _PART.fullmatch(file.stem)
    return (match[1], int(match[2])) if match else (file.stem, 1)


class Importer:
    """Imports files into a store that others may be using."""

    def __init__(
        self, store: Store, *, coverage: bool = True, index_bots: bool = False, command_prefix: str = ""
    ) -> None:
        """`coverage`: believe that files are complete. For the rest see `SearchPolicy`."""
        self._store = store
        self._index_bots = index_bots
        self._command_prefix = command_prefix
        self._coverage = coverage
        self._ends: dict[tuple[Path, str, int], int] = {}
        """The last id of each part of an export that was read whole."""

    def run(self, path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> FileReport:
        """Import one file; `on_bytes` hears how far it is. What is wrong with the file stands in the report.

        Whatever is in the store when this ends, in whatever way, is whole messages, committed. Raises TransientError if
        the store does not take them, NoPermissionError if the file cannot be read to its end.
        """
        begun = time.monotonic()
        name, number = _part_of(path)
        try:
            with path.open("rb") as file:
                reading = FileImport(
                    JsonStream(file, path.name),
                    self._commit,
                    self._part(path, name, number),
                    coverage=self._coverage,
                    on_bytes=on_bytes,
                )
                reading.run()
        except OSError as error:
            raise NoPermissionError(f"{path}: {error.strerror}") from None
        self._ends[path.parent, name, number] = reading.last_id
        reading.report.seconds = time.monotonic() - begun
        return reading.report

    def _part(self, path: Path, name: str, number: int) -> Part:
        before = self._ends.get((path.parent, name, number - 1), 0)
        follower = path.with_name(f"{name} [part {number + 1}]{path.suffix}")
        return Part(number, before + 1 if before else None, is_last=not follower.exists())

    def _commit(self, events: Sequence[Event]) -> Tally[str]:
        ingest = self._store.ingest(index_bots=self._index_bots, command_prefix=self._command_prefix)
        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            wait=wait_random_exponential(multiplier=0.1, max=2.0),
            stop=stop_after_delay(PATIENCE_SECONDS),
            reraise=True,
        )
        retrying(ingest.apply, events)
        if self._store.wal_bytes() > LOG_BYTES:
            self._store.checkpoint(busy_seconds=1.0)
        return ingest.totals
