"""The disk is full: told clearly, nothing taken back, and all goes on when there is space again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.record import Record
from tests.faults.subject import Subject, connected
from tests.processes import Place, assert_complete, stored_messages
from tests.tree.audit import assert_sound

pytestmark = pytest.mark.faults

SIZE_MB = 24
IN_MEMORY = 300


@pytest.fixture(scope="module")
def tree(place: Place, home: Path) -> Iterator[Subject]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small tmpfs")
    data = home / "data"
    data.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(data)], check=False)
    if mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        more = {
            "MIN_DISK_GB": str(4 / 1024),
            # the runtime directory is another file system in production too
            "RAGD_RUNTIME_DIR": str(home / "run"),
            "FAULT_IN_MEMORY": str(IN_MEMORY),
            "RAGD_STALE_SECONDS": "10",
        }
        with Subject(place, home, **more) as tree:
            yield tree.start().running()
    finally:
        subprocess.run(["umount", "-l", str(data)], check=False)


def test_disk_full(tree: Subject, record: Record) -> None:
    place, database = tree.place, tree.settings.database_path
    tree.wait(lambda: connected(tree), "connected")
    known = [place.post(f"before {number}") for number in range(20)]
    assert_complete(place, database)
    mark, ballast = tree.mark(), tree.settings.data_dir / "ballast"
    seen = record.begin(
        "disk full",
        by=f"tmpfs of {SIZE_MB} MB filled up",
        seconds=30,
        rule="alert, nothing lost, integrity_check ok",
        production="same; the alert at MIN_DISK_GB=1",
    )
    _fill(ballast)
    texts = [f"while the disk was full {number}" for number in range(600)]
    place.control.post_many(place.channel_id, place.member_id, texts)
    tree.spot(lambda: "no space left" in tree.beats()["capture"].detail, "capture says so")
    tree.spot(lambda: tree.said("alert disk: ", mark), "it is told")
    seen.detected()
    assert tree.beats()["capture"].state == "degraded"
    assert set(known) <= stored_messages(database).keys()
    passes = tree.counter("watchdog", "passes")
    tree.wait(lambda: tree.counter("watchdog", "passes") > passes + 10, "the watchdog sees it many times")
    assert tree.said("alert disk: ", mark) == 1
    freed = record.begin("", by="", production="", seconds=30)
    record.rows.remove(freed.row)
    ballast.unlink()
    assert_complete(place, database)
    freed.recovered()
    seen.row.recovered, seen.row.remark = freed.row.recovered, "after the space came back"
    tree.wait(lambda: tree.beats()["capture"].state == "running", "capture runs again")
    tree.goes_all_the_way()
    assert_sound(database)
    tree.wait(lambda: tree.said("resolved disk: ", mark), "the alert ends")


def _fill(path: Path) -> None:
    """Until not one byte more can be written."""
    with path.open("wb", buffering=0) as file:
        for size in (2**20, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
