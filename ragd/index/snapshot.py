"""Generations of index files in a directory: written so that a crash, a kill or a full disk leaves the old one.

A generation is `rows-N.npy`, `graph-N.hnsw` (if there is a graph) and `manifest-N.json`. Each file is written under
a temporary name, fsynced, measured, hashed and renamed; the manifest comes last, so a generation exists exactly when
its manifest does, and the highest number is the current one. One process writes; everything here may be deleted at
any time, for the database is the truth.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ragd.errors import DamagedError, RagdError, TransientError

logger = logging.getLogger(__name__)

FORMAT = 2
KEPT_GENERATIONS = 2
LARGEST_MANIFEST_BYTES = 64 * 1024
TEMPORARY_SUFFIX = ".tmp"
DAMAGED_PREFIX = "damaged-"

MANIFEST, ROWS, GRAPH = "manifest", "rows", "graph"
SUFFIXES = {MANIFEST: "json", ROWS: "npy", GRAPH: "hnsw"}
FILE_NAME = re.compile(r"(?:manifest|rows|graph)-([0-9]{8,15})\.(?:json|npy|hnsw)")

Writer = Callable[[Path], int | None]
"""Writes a file to the path given and returns how many bytes it must have, or None when errors would have told."""

T = TypeVar("T")


class StaleSnapshotError(RagdError):
    """The snapshot is sound, but of another model, dimension, strategy or format: build from the database."""


class NoSnapshotError(StaleSnapshotError):
    """There is no snapshot yet: build from the database."""


class Identity(NamedTuple):
    """What vectors must have in common to be compared."""

    model_key: str
    dimension: int
    strategy: str


class FileEntry(BaseModel):
    """What a file must be before anything reads it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """The record of one generation. `files` holds bare file names, each the one that its generation dictates."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    format: int
    generation: Annotated[int, Field(ge=1)]
    model_key: str
    dimension: Annotated[int, Field(ge=1)]
    strategy: str
    position: Annotated[int, Field(ge=0)]
    """The change number up to which the database is in this snapshot."""
    count: Annotated[int, Field(ge=0)]
    """Live vectors."""
    deleted: Annotated[int, Field(ge=0)]
    """Removed vectors that the graph's file still holds, until a compaction."""
    unpurged: Annotated[int, Field(ge=0)]
    """Vectors removed since a compaction last rid all files of them; an older generation may hold them."""
    parameters: dict[str, int]
    """Of the graph, as it was built: hnswlib's `m` and `ef_construction`."""
    created_at: str
    files: dict[str, FileEntry]
    checksum: str = ""
    """sha256 of all the other fields."""

    @property
    def identity(self) -> Identity:
        """For comparison with what the reader wants."""
        return Identity(self.model_key, self.dimension, self.strategy)

    def has(self, kind: str) -> bool:
        """Whether the generation has a file of this kind."""
        return file_name(kind, self.generation) in self.files

    def sealed(self) -> Manifest:
        """A copy with the right checksum."""
        content = self.model_dump_json(exclude={"checksum"})
        return self.model_copy(update={"checksum": hashlib.sha256(content.encode()).hexdigest()})


def file_name(kind: str, generation: int) -> str:
    """The only name that a file of this kind and generation may have."""
    return f"{kind}-{generation:08d}.{SUFFIXES[kind]}"


def generations(directory: Path) -> list[int]:
    """Numbers of the generations that have a manifest, newest first; [] for a missing directory.

    Raises DamagedError when the directory cannot be listed.
    """
    try:
        return sorted((n for n, name in _files(directory) if name == file_name(MANIFEST, n)), reverse=True)
    except OSError as error:
        raise DamagedError(f"index directory {directory} cannot be listed: {error}") from error


@dataclass(frozen=True)
class Content:
    """What a manifest says of the vectors in its files; see there."""

    position: int
    count: int
    deleted: int
    unpurged: int
    parameters: dict[str, int]


def write_generation(
    directory: Path, identity: Identity, content: Content, writers: Mapping[str, Writer], *, purge: bool
) -> Manifest:
    """Write the next generation and drop all but it and the one before.

    With `purge` the one before goes too, and so does whatever was set aside: vectors that were removed since are
    then in no file. Raises TransientError when the disk does not take the files, the older generations then stay, and
    when old files cannot be removed.
    """
    generation = 0
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _remove_temporary(directory)
        generation = max((number for number, _ in _files(directory)), default=0) + 1
        files = {}
        for kind, writer in writers.items():
            name = file_name(kind, generation)
            files[name] = _write_file(directory / name, writer)
        manifest = Manifest(
            format=FORMAT,
            generation=generation,
            **identity._asdict(),
            **asdict(content),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            files=files,
        ).sealed()
        _write_file(directory / file_name(MANIFEST, generation), _manifest_writer(manifest))
    except OSError as error:
        with suppress(OSError):  # what cannot be removed now is removed by the next write
            _remove_temporary(directory)
            _remove(path for number, path in _paths(directory) if number == generation)
        raise TransientError(
            f"index snapshot in {directory} was not written: {error}",
            hint="the previous one stays; free disk space or mend the directory",
        ) from error
    try:
        _prune(directory, purge)
    except OSError as error:
        raise TransientError(f"old index files in {directory} were not removed: {error}") from error
    return manifest


def newest(directory: Path, identity: Identity, read: Callable[[Path, Manifest], T]) -> T:
    """What `read` makes of the newest sound generation, whose files are verified before it is called.

    Raises NoSnapshotError when there is none at all, StaleSnapshotError when the newest sound one has another
    identity, DamagedError when none is sound. Changes no file.
    """
    first: DamagedError | None = None
    for generation in generations(directory):
        try:
            manifest = read_manifest(directory, generation)
            _require(manifest, identity)
            verify_files(directory, manifest)
            return read(directory, manifest)
        except DamagedError as error:
            logger.warning("index snapshot is damaged, trying an older one: %s", error)
            first = first or error
    raise first or NoSnapshotError(f"no index snapshot in {directory}", hint="it is built from the database")


def read_manifest(directory: Path, generation: int) -> Manifest:
    """The manifest of a generation. Raises DamagedError unless its form, names and checksum are right."""
    path = directory / file_name(MANIFEST, generation)
    try:
        with path.open("rb") as file:
            manifest = Manifest.model_validate_json(file.read(LARGEST_MANIFEST_BYTES))
    except (OSError, ValidationError) as error:
        raise DamagedError(f"index manifest {path} cannot be read: {_first_line(error)}") from error
    rows, graph = file_name(ROWS, generation), file_name(GRAPH, generation)
    if manifest.generation != generation or manifest.files.keys() not in ({rows}, {rows, graph}):
        raise DamagedError(f"index manifest {path} lists files that are not its own")
    if manifest != manifest.sealed():
        raise DamagedError(f"index manifest {path} does not match its checksum")
    return manifest


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Raise DamagedError unless every file has the size and sha256 that the manifest says."""
    for name, expected in manifest.files.items():
        path = directory / name
        try:
            found = _entry(path)
        except OSError as error:
            raise DamagedError(f"index file {path} cannot be read: {error}") from error
        if found != expected:
            raise DamagedError(f"index file {path} does not match its checksum ({found.size} of {expected.size} bytes)")


def discard(directory: Path) -> None:
    """Remove every generation, manifests first, so that none is left in part. Raises TransientError."""
    try:
        _remove(sorted((path for _, path in _paths(directory)), key=lambda path: path.suffix != ".json"))
        _sync_directory(directory)
    except OSError as error:
        raise TransientError(f"old index files in {directory} were not removed: {error}") from error


def set_aside(directory: Path) -> Path | None:
    """Move the files of every generation newer than the newest sound one into `damaged-N/` and return that.

    N is the newest one's number. None when that is sound. Earlier such directories go, so at most one is ever kept.
    Raises TransientError when the files cannot be moved.
    """
    damaged = list(takewhile(lambda generation: not is_sound(directory, generation), generations(directory)))
    if not damaged:
        return None
    aside = directory / f"{DAMAGED_PREFIX}{damaged[0]}"
    try:
        _remove_set_aside(directory)
        aside.mkdir()
        for number, path in _paths(directory):
            if number in damaged:
                path.rename(aside / path.name)
        _sync_directory(directory)
    except OSError as error:
        raise TransientError(f"damaged index files in {directory} cannot be moved: {error}") from error
    return aside


def is_sound(directory: Path, generation: int) -> bool:
    """Whether a generation's manifest and files are as they were written. Reads all of them."""
    try:
        verify_files(directory, read_manifest(directory, generation))
    except DamagedError:
        return False
    return True


def _require(manifest: Manifest, identity: Identity) -> None:
    if manifest.format != FORMAT:
        raise StaleSnapshotError(f"index snapshot has format {manifest.format}, this program writes {FORMAT}")
    if manifest.identity != identity:
        raise StaleSnapshotError(f"index snapshot is of {manifest.identity}, wanted is {identity}")


def _write_file(path: Path, writer: Writer) -> FileEntry:
    """Write, fsync, measure, hash, rename, fsync the directory. Raises OSError."""
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    expected = writer(temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    entry = _entry(temporary)
    if expected is not None and entry.size != expected:
        raise OSError(errno.ENOSPC, f"only {entry.size} of {expected} bytes were written", str(temporary))
    temporary.rename(path)
    _sync_directory(path.parent)
    return entry


def _manifest_writer(manifest: Manifest) -> Writer:
    return lambda path: path.write_bytes(manifest.model_dump_json(indent=1).encode())


def _entry(path: Path) -> FileEntry:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileEntry(size=file.tell(), sha256=digest)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prune(directory: Path, purge: bool) -> None:
    """Remove all but the newest generations, with what an interrupted write left of others."""
    kept = generations(directory)[: 1 if purge else KEPT_GENERATIONS]
    _remove(path for number, path in _paths(directory) if number not in kept)
    if purge:
        _remove_set_aside(directory)


def _files(directory: Path) -> list[tuple[int, str]]:
    """Generation and name of every file here that has a name of ours."""
    if not directory.is_dir():
        return []
    matches = (FILE_NAME.fullmatch(path.name) for path in directory.iterdir())
    return [(int(match[1]), match[0]) for match in matches if match]


def _paths(directory: Path) -> list[tuple[int, Path]]:
    return [(number, directory / name) for number, name in _files(directory)]


def _remove_temporary(directory: Path) -> None:
    _remove(directory.glob(f"*{TEMPORARY_SUFFIX}"))


def _remove_set_aside(directory: Path) -> None:
    for path in directory.glob(f"{DAMAGED_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        path.unlink(missing_ok=True)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
