"""When an index is written to disk, and that a fork writes it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from ragd.errors import TransientError
from ragd.index.background import BackgroundSave
from ragd.index.snapshot import Identity
from ragd.index.vector_index import VectorIndex

logger = logging.getLogger(__name__)

SNAPSHOT_SECONDS = 300.0
SNAPSHOT_WORTH = 100
"""Fewer changes wait for an hour: following them again takes milliseconds, and the canary alone makes a few each time
that health is checked, for which an idle server should not write its whole index."""

SNAPSHOT_LATEST_SECONDS = 3600.0
SNAPSHOT_AT_ONCE = 5_000
"""Changes after which a snapshot does not wait for its time: following them again would take seconds at a restart."""

SNAPSHOT_AT_ONCE_SHARE = 0.1
"""The same as a share of the index: a large one is not written anew for every hundredth of it."""

SMALL = 20_000
LEFT_AT_CLOSE_SHARE = 0.05
"""supervisord waits seven seconds for a process to stop, and an index of more than SMALL takes its part of that."""


@dataclass(frozen=True)
class _Save:
    """A save under way, and what will be on disk after it."""

    work: BackgroundSave
    position: int
    count: int
    purge: int


@dataclass
class Saver:
    """Writes one index, as often as is worth it. Belongs to the index's thread; one process may write to a directory.

    A disk that does not take a snapshot is logged and tried again: the database has everything.
    """

    index: VectorIndex
    directory: Path
    identity: Identity
    position: int
    """The change number up to which the newest files reach; 0 without any."""
    _due: float = 0.0
    _failed: bool = False
    _save: _Save | None = None

    def __post_init__(self) -> None:
        self._due = time.monotonic() + SNAPSHOT_SECONDS

    def step(self, now: float, position: int) -> None:
        """Take note of a save that is over, or begin one of the index as of `position`, if that is worth it."""
        if self._save is not None:
            if self._save.work.is_over():
                self.wait()
        elif self._is_worth_it(now, position):
            self._begin(position)

    def save(self, position: int) -> None:
        """Write the index unless it is on disk already, and wait for that."""
        self.wait()
        if position != self.position or self.index.purge_due:
            self._begin(position)
            self.wait()

    def close(self, position: int) -> None:
        """As `save`, unless that would take longer than following the changes again after the next start."""
        if position - self.position > LEFT_AT_CLOSE_SHARE * len(self.index) or len(self.index) <= SMALL:
            self.save(position)
        else:
            self.wait()

    def wait(self) -> None:
        """Wait for the save that is under way, if any."""
        save, self._save = self._save, None
        if save is None:
            return
        try:
            save.work.result()
        except TransientError as error:
            self._fail(error)
            return
        self._failed = False
        self.index.saved(purge=save.purge)
        self.position = save.position
        logger.info("%s: index snapshot with %d vectors", self.identity.strategy, save.count)

    def _is_worth_it(self, now: float, position: int) -> bool:
        late, changed = now - self._due, position - self.position
        much = changed >= max(SNAPSHOT_AT_ONCE, SNAPSHOT_AT_ONCE_SHARE * len(self.index))
        if much or self.index.purge_due:
            return late >= 0 or not self._failed
        return (changed >= SNAPSHOT_WORTH and late >= 0) or (
            changed > 0 and late >= SNAPSHOT_LATEST_SECONDS - SNAPSHOT_SECONDS
        )

    def _begin(self, position: int) -> None:
        self._due = time.monotonic() + SNAPSHOT_SECONDS
        model_key, _, strategy = self.identity
        try:
            work = BackgroundSave(
                lambda: self.index.save(self.directory, position=position, model_key=model_key, strategy=strategy)
            )
        except TransientError as error:
            self._fail(error)
        else:
            self._save = _Save(work, position, len(self.index), self.index.purge)

    def _fail(self, error: TransientError) -> None:
        self._failed = True
        logger.warning("%s: index snapshot failed: %s", self.identity.strategy, error)
