"""Continuous replication by a real Litestream, as docs/litestream.md sets it up, and the way back."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from ragd.errors import RagdError
from ragd.store import Store
from tests.processes import Place, assert_complete, running, stored_messages, until
from tests.test_backup import ragdctl
from tests.toytree import ROOT

CONFIG = ROOT / "deploy" / "litestream" / "litestream.yml"

OLDEST_LITESTREAM = (0, 5, 17)

MENDED_SQLITE = b"2026-03-13"
"""When 3.51.3 came out."""


def program() -> Path:
    path = Path(sys.executable).with_name("litestream")
    if not path.exists():
        pytest.skip("litestream is not installed: pip install --editable '.[dev]'")
    return path


class Litestream:
    """A replicating Litestream with our own configuration, and what can be had from its replica."""

    def __init__(self, database: Path, home: Path) -> None:
        self.database = database
        self.home = home
        self.config = home / "litestream.yml"
        text = CONFIG.read_text()
        for place, here in (
            ("/var/lib/ragd/ragd.sqlite3", database),
            ("/mnt/backup/ragd-litestream", home / "replica"),
        ):
            assert text.count(place) == 1
            text = text.replace(place, str(here))
        self.config.write_text(text)
        self.log = home / "litestream.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._restored = 0

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [program(), "replicate", "-config", self.config]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restore(self) -> Path | None:
        """The replica's newest state as a file; None if it has none yet."""
        self._restored += 1
        path = self.home / f"restored-{self._restored}.sqlite3"
        command = [program(), "restore", "-config", self.config, "-o", path, self.database]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return path if done.returncode == 0 else None

    def catches_up(self) -> Path:
        """Wait until the replica holds what the database holds; returns a copy."""
        wanted = stored_messages(self.database)

        def equal() -> Path | None:
            path = self.restore()
            with contextlib.suppress(RagdError):
                return path if path and stored_messages(path) == wanted else None
            return None

        copy: Path = until(equal, self.log.read_text()[-2000:])
        return copy


@pytest.fixture
def litestream(variables: dict[str, str], short_path: Path, tmp_path: Path) -> Iterator[Litestream]:
    variables["RAGD_LITESTREAM"] = "true"
    litestream = Litestream(short_path / "ragd.sqlite3", tmp_path)
    yield litestream
    litestream.kill()


def test_its_sqlite_and_ours_may_share_a_write_ahead_log() -> None:
    """Both checkpoint, so neither may be one that loses commits doing that (ragd/store/database.py)."""
    told = subprocess.run([program(), "version"], capture_output=True, text=True, check=True).stdout
    assert tuple(int(part) for part in told.strip().lstrip("v").split(".")) >= OLDEST_LITESTREAM
    # sqlite3_sourceid(): the time of the version that it has in it
    dates = re.findall(rb"(20\d\d-\d\d-\d\d) \d\d:\d\d:\d\d [0-9a-f]{64}", program().read_bytes())
    assert dates
    assert min(dates) >= MENDED_SQLITE


@pytest.mark.timeout(400)
def test_what_was_replicated_comes_back_when_the_disk_is_lost(
    litestream: Litestream, place: Place, variables: dict[str, str], short_path: Path, tmp_path: Path
) -> None:
    with running("capture", variables) as capture, running("syncer", variables) as syncer:
        litestream.start()
        for n in range(60):
            place.post(f"replicated {n}")
        assert_complete(place, capture.settings.database_path)
        litestream.catches_up()
        # away for a while, in which somebody else empties the log: it must notice what it has missed
        litestream.kill()
        emptied = Store.open(litestream.database)
        until(lambda: emptied.checkpoint(1.0))
        emptied.close()
        for n in range(20):
            place.post(f"while nobody replicated {n}")
        assert_complete(place, capture.settings.database_path)
        litestream.start()
        for n in range(20):
            place.post(f"replicated again {n}")
        assert_complete(place, capture.settings.database_path)
        litestream.catches_up()
        # all at once, and nothing but the replica is left
        for process in (capture, syncer):
            process.kill()
        wanted = stored_messages(litestream.database)
        litestream.kill()
    litestream.database.rename(tmp_path / "lost.sqlite3")
    copy = litestream.restore()
    assert copy is not None
    assert quick_check(copy) == "ok"
    assert stored_messages(copy) == wanted
    assert len(wanted) == 100
    assert ragdctl(short_path, "restore", str(copy)).returncode != 0, "it has no manifest, and nobody said so"
    restored = ragdctl(short_path, "restore", "--bare", str(copy))
    assert restored.returncode == 0, restored.stderr
    place.post("after the loss")
    again = {**variables, "RAGD_LITESTREAM": "false"}
    with running("capture", again) as capture:
        assert_complete(place, capture.settings.database_path)


@pytest.mark.timeout(400)
def test_the_log_stays_small_though_the_syncer_leaves_it_alone(
    litestream: Litestream, place: Place, variables: dict[str, str]
) -> None:
    with running("capture", variables) as capture, running("syncer", variables):
        litestream.start()
        assert_complete(place, capture.settings.database_path)
        litestream.catches_up()
        written = write(litestream.database, megabytes=48)
        log = Path(f"{litestream.database}-wal")
        assert written > 3 * log.stat().st_size, "it was begun anew again and again"


def write(path: Path, megabytes: int) -> int:
    """Write so much through the log, a little at a time, into a table of its own; returns bytes."""
    database = apsw.Connection(str(path))
    database.set_busy_timeout(20_000)
    database.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    database.execute("CREATE TABLE ballast (id INTEGER PRIMARY KEY, data BLOB)")
    part = bytes(256 * 1024)
    for _ in range(megabytes * 4):
        database.execute("INSERT INTO ballast (data) VALUES (?)", (part,))
        time.sleep(0.03)  # the pace of a busy server's backfill, not a wait for something
    database.close()
    return megabytes * 2**20


def quick_check(path: Path) -> str:
    with contextlib.closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        return str(connection.execute("PRAGMA quick_check").fetchall()[0][0])
