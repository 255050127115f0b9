"""The eraser: sees every erasure through to its receipt, and keeps nothing longer than the settings say.

One process has it: the syncer, or `ragdctl` while nothing of ragd runs. An erasure's row says what comes next, so a
kill at any moment costs nothing but time: `rows` (messages, chunks and vectors, in slices), `file` (the database's file
written anew), `log` (its write-ahead log emptied), `index` (the searcher has written its files anew), `done`.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ragd.backup import DIRECTORY
from ragd.backup_manifest import expected_ends, list_backups, other_copies, rotated
from ragd.config import Settings
from ragd.errors import DamagedError, TransientError
from ragd.heartbeat import read_heartbeat
from ragd.snowflake import from_unix_seconds, to_unix_seconds
from ragd.store import Store
from ragd.store.erasure import Erasure
from ragd.store.promises import FILE, PromiseStore, catch_up, write_promises
from ragd.store.rewriting import rewrite_database

_log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
DUE_SECONDS = 10.0
RETENTION_STEP_SECONDS = 3600.0
"""What RAGD_RETENTION_DAYS keeps begins at a full hour, lest each look erase a message or two."""

FRESH_SECONDS = 60.0
"""A heartbeat that is older is none."""

REST_FACTOR = 20
"""So many times as long as the last rewriting took, nothing is rewritten: members may ask as often as they like."""

SPOOL = "capture.spool"
"""Where capture keeps what it cannot write yet; whoever is erased may have written some of that. Gone when read."""

CHECKPOINT_BUSY_SECONDS = 2.0
CHECKPOINT_SECONDS = 30.0
"""Between two tries to empty the log while somebody reads: each holds up whoever writes."""

SPARE_BYTES = 16 * 2**20


def clock_ahead(settings: Settings) -> float | None:
    """How many seconds our clock is ahead of Discord's, as capture saw it last; None while it does not say."""
    with contextlib.suppress(DamagedError, OSError):
        beat = read_heartbeat(settings.heartbeat_dir, "capture")
        ahead = beat.counters.get("clock_ahead_seconds") if beat else None
        if beat and isinstance(ahead, int | float) and abs(time.time() - beat.written_at) < FRESH_SECONDS:
            return ahead
    return None


class Eraser:
    """Belongs to one thread, that of the store."""

    def __init__(
        self, settings: Settings, store: Store, breathe: Callable[[], object] = lambda: None, *, alone: bool = False
    ) -> None:
        """`breathe` is called during long steps. `alone`: nothing else of ragd runs, so that index files may simply
        go."""
        self._settings = settings
        self._store = store
        self._erasures = store.erasures
        self._breathe = breathe
        self._alone = alone
        self._look_due = self._due_due = self._rewrite_due = self._log_due = self._promises_due = 0.0
        self._promised = -1
        self._served = 0
        self.done = 0
        """Slices, and looks at a rewriting that goes on: for the heartbeat, lest a long one pass for a hang."""

    def step(self, now: float) -> bool:
        """Do a slice of what there is to do, if any; True if there is more at once."""
        if now < self._look_due:
            return False
        if now >= self._promises_due:
            self._promises_due = now + DUE_SECONDS  # but for what follows: again at the next look
            self._write_promises()
            self._promises_due = 0.0
        if self._erase_some():
            return True
        self._look_due = now + LOOK_SECONDS
        if now >= self._due_due:
            self._due_due = now + DUE_SECONDS
            self._apply_retention()
            if self._erase_deleted(now):
                return True
        self._finish_files(now)
        return False

    def run(self, seconds: float = float("inf")) -> None:
        """See everything through that is open; with `alone` it comes to an end, or to an error."""
        until = time.monotonic() + seconds
        self._write_promises()
        while self._erasures.open() and time.monotonic() < until:
            self._look_due = self._rewrite_due = self._log_due = 0.0
            if not self._erase_some():
                self._finish_files(time.monotonic())
                if problem := next((one.problem for one in self._erasures.open() if one.problem), ""):
                    raise TransientError(f"not all is erased yet: {problem}", hint="the same command goes on")

    # Rows

    def _erase_some(self) -> bool:
        if waiting := [erasure for erasure in self._erasures.open() if erasure.state == "rows"]:
            # in turn: nobody need wait until a large channel is purged
            erasure = next((one for one in waiting if one.id > self._served), waiting[0])
            self._served = erasure.id
            self._erasures.erase_some(erasure)
            self.done += 1
            return True
        if self._erasures.is_cutting():
            if erased := self._erasures.erase_older():
                _log.info("%d messages erased that are older than is kept", erased)
            return True
        return False

    def _erase_deleted(self, now: float) -> bool:
        now_ms = time.time_ns() // 1_000_000
        # no longer than the setting of today says, whatever it said when they were deleted
        self._erasures.keep_deleted_until(now_ms + int(self._settings.deleted_retention_days * 86_400_000))
        if self._erasures.erase_deleted(now_ms):
            self._due_due = self._look_due = now
            return True
        return False

    def _apply_retention(self) -> None:
        """Have the oldest of each channel erased. Of several rules the most specific counts."""
        days_of = {rule.place_id: rule.days for rule in self._settings.retention_days}
        if not days_of:
            return
        now = self._discord_now()
        now -= now % RETENTION_STEP_SECONDS
        first_kept: dict[int, int] = {}
        for channel_id, path in self._store.standing.places().items():
            if days := next((days_of[place] for place in (*path, 0) if place in days_of), 0):
                first_kept[channel_id] = from_unix_seconds(now - days * 86_400)
        self._erasures.keep_from(first_kept)

    def _discord_now(self) -> float:
        """Unix seconds by Discord's clock, as capture sees it; else when the newest message was written.

        Ours may be set wrong, and what is erased for that nobody can bring back.
        """
        if (ahead := clock_ahead(self._settings)) is not None:
            return time.time() - ahead
        return min(time.time(), to_unix_seconds(self._erasures.newest_id()))

    # Files

    def _finish_files(self, now: float) -> None:
        open_ = self._erasures.open()
        for state, work in (("file", self._rewrite), ("log", self._empty_log), ("index", self._await_index)):
            if of_state := [erasure for erasure in open_ if erasure.state == state]:
                work(of_state, now)

    def _rewrite(self, erasures: Sequence[Erasure], now: float) -> None:
        ids = [erasure.id for erasure in erasures]
        if now < self._rewrite_due:
            self._erasures.wait(ids, "the file was rewritten a short while ago")
            return
        path = self._settings.database_path
        needed = 2 * path.stat().st_size + SPARE_BYTES
        if shutil.disk_usage(path.parent).free < needed:
            self._erasures.wait(ids, f"rewriting the database takes {needed // 2**20} MiB of free space")
            return
        started = time.monotonic()
        try:
            self._merge_words()
            self._drop_orphans()
            rewrite_database(path, self._go_on)
        except TransientError as error:
            self._rewrite_due = now + DUE_SECONDS
            self._erasures.wait(ids, str(error))
            return
        took = time.monotonic() - started
        self._rewrite_due = time.monotonic() + REST_FACTOR * took
        self._erasures.advance(ids, "log")
        _log.info("database rewritten in %.1f s for %d erasures", took, len(ids))

    def _drop_orphans(self) -> None:
        """Vectors of no chunk may be of what is being erased."""
        last = self._store.chunks.drop_orphans()
        while last:
            self._go_on()
            last = self._store.chunks.drop_orphans(last)

    def _merge_words(self) -> None:
        """Words of removed messages stay in the indexes of words until those are merged as a whole."""
        words = self._store.words
        more = words.needs_compaction() and words.compact(begin=True)
        while more:
            self._go_on()
            more = words.compact(begin=False)

    def _go_on(self) -> None:
        self.done += 1
        self._breathe()

    def _empty_log(self, erasures: Sequence[Erasure], now: float) -> None:
        if now < self._log_due:
            return
        ids = [erasure.id for erasure in erasures]
        litestream = self._settings.litestream
        # Litestream reads all the time, so waiting for it would be in vain, and nobody could write meanwhile
        if self._store.checkpoint(0.0 if litestream else CHECKPOINT_BUSY_SECONDS):
            self._erasures.advance(ids, "index")
            return
        self._log_due = now + CHECKPOINT_SECONDS
        who = "Litestream" if litestream else "somebody"
        hint = ": stop it for a minute (docs/litestream.md)" if litestream else ""
        self._erasures.wait(ids, f"{who} reads the database, so its log cannot be emptied{hint}")

    def _await_index(self, erasures: Sequence[Erasure], now: float) -> None:
        strategies = self._settings.auto_sync_strategies
        directory = self._settings.index_dir
        kept = () if self._alone else strategies
        for stale in [path for path in directory.glob("*") if path.name not in kept]:
            shutil.rmtree(stale, ignore_errors=True)
        spool = self._settings.data_dir / SPOOL
        if self._alone:
            spool.unlink(missing_ok=True)
        elif spool.exists():
            self._erasures.wait(
                [one.id for one in erasures], f"capture has events on disk that it has not read: {SPOOL}"
            )
            return
        for erasure in erasures:
            behind = [name for name in kept if self._erasures.index_purged(name) < erasure.index_change]
            if behind:
                self._erasures.wait([erasure.id], f"the searcher has to write its index anew: {', '.join(behind)}")
            else:
                self._erasures.finish(erasure.id, self._receipt(erasure))
                _log.info(
                    "erasure %d is complete: %d messages, %d chunks", erasure.id, erasure.messages, erasure.chunks
                )

    def _receipt(self, erasure: Erasure) -> dict[str, Any]:
        return {
            "database": "rewritten, write-ahead log emptied",
            "index": "removed, to be built anew"
            if self._alone
            else f"written anew after change {erasure.index_change}",
            "captured_again": erasure.kind == "channel" and self._store.purge.is_captured(erasure.subject),
            **copies_left(self._settings, datetime.now(UTC), self._store.instance()),
        }

    def _write_promises(self) -> None:
        """Before messages are erased: however long that takes, a backup that is restored meanwhile must not break them.

        Never of a database that is older than the file: that one catches up first.
        """
        store, path = PromiseStore(self._store.database), self._settings.data_dir / FILE
        if store.wishes() == self._promised:
            return
        try:
            catch_up(self._store.database, path)
        except DamagedError as error:
            if not store.wishes():
                raise
            _log.warning("%s, so it is written anew", error)
        promises = store.all()
        if promises.wishes:
            try:
                write_promises(path, promises)
            except OSError as error:
                raise TransientError(f"{FILE} cannot be written: {error.strerror}") from None
        self._promised = promises.wishes


def copies_left(settings: Settings, now: datetime, instance: str) -> dict[str, Any]:
    """What may still hold what was erased: backups with the time at which rotation is expected to remove them (None:
    not known, or none does as they are another database's), copies that are no backups (yet), and databases set
    aside."""
    # whatever they say of when they were made: a clock that was set back must hide none
    home = settings.data_dir / DIRECTORY
    backups = list_backups(home, now)
    own = rotated(backups, instance, home)
    ends = dict(zip([backup.path for backup in own], expected_ends(own, now), strict=True))
    return {
        "backups": [
            {
                "path": str(backup.path),
                "created_at": backup.manifest.created_at,
                "rotated": backup.path in ends,
                "expected_until": end.isoformat(timespec="seconds") if (end := ends.get(backup.path)) else None,
            }
            for backup in backups
        ],
        "unfinished": [str(path) for path in other_copies(settings.data_dir / DIRECTORY)],
        "set_aside": [str(path) for path in _set_aside(settings.database_path)],
    }


def _set_aside(database: Path) -> list[Path]:
    """Damaged databases that `ragdctl restore` keeps, and what one that was killed left."""
    directory = database.parent
    return sorted(path for kind in ("damaged-", "restoring") for path in directory.glob(f"{database.name}.{kind}*"))
