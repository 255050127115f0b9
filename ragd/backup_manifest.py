"""What backups there are: manifests as they are written and read, in which order they count, when each is to go."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import AfterValidator, Field, TypeAdapter

DATABASE, MANIFEST, PARTIAL = ".sqlite3", ".json", ".partial"
"""Endings of names. `PARTIAL` is added to another while the file is written."""

OWN_NAME = re.compile(r"ragd-\d{8}T\d{6}\.\d{6}Z\.sqlite3", re.ASCII)
"""What ragd calls a backup. What has another name somebody else put there, or gave it to keep it."""

MOST_KEPT = 10_000
"""How many backups may be wanted to be kept."""

_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def is_plausible(moment: datetime) -> bool:
    """Whether a backup may be of that time: beyond these years it is the clock that is wrong, or the manifest."""
    return _EARLIEST <= moment < _LATEST


def _plain_time(text: str) -> str:
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() != timedelta(0) or moment.isoformat() != text or not is_plausible(moment):
        raise ValueError("no time as a manifest has it")
    return text


_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Word = Annotated[str, Field(max_length=200)]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is, so that it can be told from a damaged one without opening it."""

    sha256: _Word
    size_bytes: _Count
    migration: _Count
    messages: _Count
    created_at: Annotated[str, AfterValidator(_plain_time)]
    """ISO 8601, UTC."""
    ragd_version: _Word
    sqlite_version: _Word
    keep: Annotated[int, Field(ge=1, le=MOST_KEPT)] = 7
    """How many were to be kept when it was made."""
    instance: Annotated[str, Field(pattern=r"^([0-9a-f]{16})?$")] = ""
    """Which database it is of (ragd/store/instance.py); "": made before databases had a number."""


_READER = TypeAdapter(Manifest)


@dataclass(frozen=True, slots=True)
class Backup:
    """`path` is the database's; the manifest has the same name with another ending."""

    path: Path
    manifest: Manifest

    @property
    def made_at(self) -> datetime:
        return datetime.fromisoformat(self.manifest.created_at)

    @property
    def age_seconds(self) -> float:
        return (datetime.now(UTC) - self.made_at).total_seconds()


def list_backups(directory: Path, now: datetime | None = None) -> list[Backup]:
    """The newest first; those of a time to come last, for the clock that they were made by was wrong, and they are not
    to outlast everything that follows. `now` is given by who has a clock of its own.

    What has no manifest, or not its size, is none; checksums are not looked at.
    """
    now = now or datetime.now(UTC)
    found = [backup for path in directory.glob(f"ragd-*{DATABASE}") if (backup := read_backup(path))]
    return sorted(found, key=lambda backup: (backup.made_at <= now, backup.made_at, backup.path.name), reverse=True)


def other_copies(directory: Path) -> list[Path]:
    """Databases here that are no backups: one that is being made, what a killed run left, what does not go with its
    manifest. The last of these no rotation removes."""
    paths = list(directory.glob(f"ragd-*{DATABASE}*"))
    backups = {backup.path for backup in list_backups(directory)}
    return sorted(path for path in paths if path not in backups)


def read_backup(path: Path) -> Backup | None:
    """None if there is no manifest, one that says what cannot be, or that of another file. What it says more than this
    ragd knows is passed over: a newer one wrote it."""
    try:
        manifest = _READER.validate_json(path.with_suffix(MANIFEST).read_bytes(), strict=True)
        same = path.is_file() and path.stat().st_size == manifest.size_bytes
    except (OSError, ValueError):
        return None
    return Backup(path, manifest) if same else None


def write_manifest(backup: Backup) -> None:
    """With it the backup counts. Raises OSError."""
    path = backup.path.with_suffix(MANIFEST)
    partial = path.with_name(path.name + PARTIAL)
    partial.write_bytes(orjson.dumps(asdict(backup.manifest), option=orjson.OPT_INDENT_2))
    sync(partial)
    partial.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Have a file, or a directory's names, on the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def rotated(backups: Sequence[Backup], instance: str, home: Path) -> list[Backup]:
    """Those that later backups of database `instance` drive out: its own, under the names that ragd gave them.

    One without a number may be anybody's. It counts as the database's own in `home` alone, the directory beside it,
    where nobody else's go unless told to; elsewhere it stays until a person removes it.
    """

    def is_own(backup: Backup) -> bool:
        if backup.manifest.instance:
            return backup.manifest.instance == instance
        return backup.path.parent.resolve() == home.resolve()

    return [backup for backup in backups if OWN_NAME.fullmatch(backup.path.name) and is_own(backup)]


def expected_ends(backups: Sequence[Backup], now: datetime) -> list[datetime | None]:
    """When each is removed by those that follow it, if they follow as they did up to now; None: from one alone, or from
    several of one moment, nobody can tell, nor of one of a time to come. `backups` as `rotated` returns them."""
    times = [backup.made_at for backup in backups if backup.made_at <= now]
    unknown: list[datetime | None] = [None] * len(backups)
    if len(times) < 2 or times[0] == times[-1]:
        return unknown
    interval = (times[0] - times[-1]) / (len(times) - 1)
    keep = backups[0].manifest.keep
    newest = max(times[0], now - interval)  # of one that is overdue, only that it does not come before now
    ends = [_after(newest, max(1, keep - newer) * interval) for newer in range(len(times))]
    return ends + unknown[len(times) :]


def _after(moment: datetime, span: timedelta) -> datetime | None:
    try:
        return moment + span
    except OverflowError:
        return None  # beyond the end of the calendar
