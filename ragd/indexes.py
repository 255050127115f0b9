"""What can be said of an index as a whole: how it is, and whether it agrees with the store."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np

from ragd.errors import DamagedError, NoPermissionError, RagdError, UsageError
from ragd.index import IndexStats, StaleSnapshotError, VectorIndex
from ragd.index.checking import SAMPLED_VECTORS, Sample
from ragd.index.scan import Labels
from ragd.index.snapshot import DAMAGED_PREFIX, MANIFEST, Manifest, generations, read_manifest, verify_files
from ragd.store.vectors import Members, VectorStore

LOWEST_RECALL = 0.95
"""At the default settings it is .98 and more; a sample of a hundred queries may come out a little lower."""

VECTORS_A_READ = 10_000

Action = Literal["stats", "check", "rebuild"]
ACTIONS: tuple[Action, ...] = ("stats", "check", "rebuild")


@dataclass(frozen=True, slots=True)
class Differences:
    """Between an index and the store, in chunks."""

    missing: int
    """Not in the index, though in the store, with a vector, since before the index followed last."""
    strange: int
    """In the index and not in the store."""


@dataclass(frozen=True, slots=True)
class IndexState:
    """One strategy's index in a searcher that runs."""

    strategy: str
    stats: IndexStats
    position: int
    behind: int
    """Chunk changes not followed yet."""
    expected: int | None
    """How many vectors there are to read from the database; None when it is not being filled."""

    def progress(self) -> str:
        """How far the filling is."""
        if self.expected:
            return f"{self.strategy}: {self.stats.live:,} of {self.expected:,} vectors read from the database"
        return f"{self.strategy}: {self.behind:,} changes to follow"

    def document(self) -> dict[str, Any]:
        """As JSON over the socket."""
        return asdict(self)


def compare(labels: Labels, members: Members) -> Differences:
    """Whether an index holds what it must and nothing that it may not."""
    due, free = np.array(members.due, np.int64), np.array(members.open, np.int64)
    return Differences(
        missing=int(len(due) - np.isin(due, labels).sum()),
        strange=int(len(labels) - np.isin(labels, np.concatenate([due, free])).sum()),
    )


class IndexRequest(NamedTuple):
    """What `ragdctl index` asks of the searcher."""

    action: Action
    strategies: tuple[str, ...]


def read_index_request(asked: object, strategies: Collection[str]) -> IndexRequest:
    """A request's JSON. Raises RagdError naming what is wrong."""
    action = asked.get("action") if isinstance(asked, dict) else None
    if action not in ACTIONS:
        raise RagdError(f"action must be one of {', '.join(ACTIONS)}")
    return IndexRequest(
        cast(Action, action), chosen_strategies(cast(dict[str, Any], asked).get("strategy"), strategies)
    )


def chosen_strategies(strategy: object, strategies: Collection[str]) -> tuple[str, ...]:
    """The one, or all for None. Raises UsageError for one that has no index."""
    if strategy is None:
        return tuple(strategies)
    if strategy not in strategies:
        raise UsageError(f"no index of strategy {strategy!r}", hint=f"there are {', '.join(strategies)}")
    return (str(strategy),)


def require_owner(connection: socket.socket) -> None:
    """Raise NoPermissionError unless who asks is root or the user that we run as: others may search, no more."""
    form = "3i"
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(form))
    _, uid, _ = struct.unpack(form, credentials)
    if uid not in (0, os.geteuid()):
        raise NoPermissionError("only the user that runs ragd may do that")


# The files


@dataclass
class Examination:
    """What was found about the files of one index."""

    strategy: str
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What explains itself, and mends itself."""
    generation: int | None = None
    """The newest sound one, of which all that follows tells."""
    count: int = 0
    behind: int = 0
    """Chunk changes since; the searcher follows them when it starts."""
    recall: float | None = None


def find_manifests(root: Path) -> dict[str, tuple[Path, Manifest]]:
    """Below a directory, of each strategy the newest manifest that can be read, and where it lies."""
    found: dict[str, tuple[Path, Manifest]] = {}
    for directory in sorted({path.parent for path in root.rglob(f"{MANIFEST}-*.json")}):
        for generation in [] if directory.name.startswith(DAMAGED_PREFIX) else generations(directory):
            with suppress(DamagedError):
                manifest = read_manifest(directory, generation)
                known = found.get(manifest.strategy)
                if known is None or known[1].created_at < manifest.created_at:
                    found[manifest.strategy] = directory, manifest
                break
    return found


def examine(strategy: str, directory: Path, store: VectorStore) -> Examination:
    """Look at every generation in a directory, and compare the newest sound one with the store.

    Loads it, so it takes the memory of the searcher, and reads all vectors. A searcher may run and write meanwhile.
    """
    found = Examination(strategy)
    try:
        sound = [generation for generation in generations(directory) if _is_sound(directory, generation, found)]
        if sound:
            _examine_newest(directory, read_manifest(directory, sound[0]), store, found)
        elif not found.faults:
            found.notes.append("there are no files; the searcher makes them in time")
    except (DamagedError, StaleSnapshotError) as error:
        found.faults.append(str(error))
    return found


def _is_sound(directory: Path, generation: int, found: Examination) -> bool:
    try:
        verify_files(directory, read_manifest(directory, generation))
    except DamagedError as error:
        if generation in generations(directory):  # else the searcher has removed it meanwhile
            found.faults.append(str(error))
        return False
    return True


def _examine_newest(directory: Path, manifest: Manifest, store: VectorStore, found: Examination) -> None:
    key, dimension, strategy = manifest.identity
    index, position = VectorIndex.load(directory, model_key=key, dimension=dimension, strategy=strategy)
    found.generation, found.count = manifest.generation, len(index)
    found.behind = max(0, store.last_change() - position)
    model_id = store.model_id(key)
    if model_id is None:
        found.notes.append("the files are of an embedding model of which the database has no vectors")
    elif position > store.last_change():
        found.faults.append(f"the files are of another database: they reach to change {position}")
    elif position < store.oldest_followable():
        found.notes.append("the files are too old to be followed up; the searcher builds the index anew")
    else:
        found.faults += describe_differences(compare(index.live_labels(), store.members(strategy, model_id, position)))
        _sample(index, store, strategy, model_id, found)


def describe_differences(differences: Differences) -> list[str]:
    """Faults in words; none if there are no differences."""
    told = []
    if differences.missing:
        told.append(f"{differences.missing:,} chunks of the database are not in the index")
    if differences.strange:
        told.append(f"{differences.strange:,} vectors of the index are of no chunk in the database")
    return told


def _sample(index: VectorIndex, store: VectorStore, strategy: str, model_id: int, found: Examination) -> None:
    sample, position, more = Sample(index), 0, True
    while more:
        changes = store.changes(strategy, model_id, position, VECTORS_A_READ)
        position, more = changes.position, changes.more
        if changes.added:
            labels = np.array([chunk_id for chunk_id, _ in changes.added], np.int64)
            vectors = np.frombuffer(b"".join(data for _, data in changes.added), "<f4")
            sample.see(labels, vectors.reshape(len(labels), index.dimension))
    found.recall = sample.recall()
    if sample.wrong:
        found.faults.append(f"{sample.wrong:,} of {SAMPLED_VECTORS:,} vectors looked at are not those of the database")
    if found.recall is not None and found.recall < LOWEST_RECALL:
        found.faults.append(f"recall@10 is {found.recall:.3f}, which is less than {LOWEST_RECALL}")
