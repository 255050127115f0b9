"""The database is locked and damaged, the index is damaged: nothing is lost, and search answers."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ragd.store import Store
from tests.damage import flip_page
from tests.faults.record import Record
from tests.faults.subject import Subject, connected
from tests.processes import assert_complete, stored_messages

pytestmark = pytest.mark.faults

IN_MEMORY = 200
"""Events; 10,000 in production."""

LOCKED_SECONDS = 60.0

STRATEGIES = ("temporal", "conversation")


@pytest.fixture(scope="module")
def overrides() -> dict[str, str]:
    # as in production: every process may wait for a lock for 2.5 seconds, and is no more hung for that
    # and the searcher is replaced once for each damage, which is no crash loop
    return {"FAULT_IN_MEMORY": str(IN_MEMORY), "RAGD_STALE_SECONDS": "10", "FAULT_RESTARTS": "50 0.01 10 600"}


def test_database_locked(tree: Subject, record: Record) -> None:
    database, place = tree.settings.database_path, tree.place
    pids = tree.pids()
    blocker = Store.open(database)
    seen = record.begin(
        f"database locked {LOCKED_SECONDS:.0f} s",
        by="another process's transaction",
        seconds=LOCKED_SECONDS + 15,
        rule=f"{IN_MEMORY} events in memory, then on disk",
        production="10,000 in memory, then on disk",
    )
    with blocker._transaction():
        ids = place.control.post_many(
            place.channel_id, place.member_id, [f"while it was locked {number}" for number in range(2000)]
        )
        place.control.edit(ids[3], "edited while it was locked")
        place.control.delete(ids[4])
        tree.spot(lambda: tree.beats()["capture"].state == "degraded", "capture says so")
        seen.detected()
        tree.wait(lambda: tree.counter("capture", "spooled"), "events on disk")
        assert (tree.settings.data_dir / "capture.spool").stat().st_size > 0
        tree.wait(lambda: seen.seconds() > LOCKED_SECONDS, "the lock lasts")
        assert not stored_messages(database).keys() & set(ids)
    blocker.close()
    assert_complete(place, database)
    seen.recovered()
    tree.wait(lambda: tree.counter("capture", "spooled") == 0, "nothing is left on disk")
    assert tree.counter("capture", "sessions") == 1, "kept, not fetched again"
    assert tree.pids() == pids, "nobody was replaced for it"
    tree.goes_all_the_way()


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("how", "damage"), [("bit flipped", _flip), ("truncated", _truncate), ("deleted", Path.unlink)]
)
def test_index_damaged(tree: Subject, record: Record, how: str, damage: Callable[[Path], None]) -> None:
    text, message_id = tree.say_something()
    tree.wait(lambda: tree.finds(text, message_id), "it is found")
    assert tree.run_other("ragdctl", "restart", "searcher").returncode == 0  # which writes a snapshot
    tree.wait(lambda: tree.finds(text, message_id), "it is found")
    mark = tree.mark()
    seen = record.begin(
        f"index file {how}", by="in place, then SIGKILL", seconds=8, production="not measured: grows with the index"
    )
    for strategy in STRATEGIES:
        rows = list((tree.settings.index_dir / strategy).glob("rows-*.npy"))
        assert rows, "there is a snapshot"
        for path in rows:
            damage(path)
    assert tree.finds(text, message_id), "the running searcher answers from memory"
    pid = tree.signal("searcher", signal.SIGKILL)
    tree.spot(
        lambda: all(tree.said(f"{s}: building the index from the database", mark) for s in STRATEGIES), "it is seen"
    )
    seen.detected()
    tree.spot(lambda: tree.finds(text, message_id), "it is found again")
    seen.recovered()
    tree.wait(lambda: tree.works("searcher", pid), "searcher works")
    assert all(tree.said(f"{s}: damaged index files set aside", mark) for s in STRATEGIES)


def test_database_damaged(tree: Subject, record: Record) -> None:
    database, place = tree.settings.database_path, tree.place
    backup = tree.run_other("ragdctl", "backup")
    assert backup.returncode == 0, backup.stderr
    place.post("after the backup")
    assert_complete(place, database)
    assert tree.stop() == 0
    flip_page(database)
    mark = tree.mark()
    seen = record.begin(
        "database file damaged",
        by="page overwritten, ragd started",
        rule="refused, with the backup to restore",
        production="same; 2 to 10 s for each GiB",
    )
    tree.start()
    tree.spot(lambda: tree.said(f"{database} is damaged", mark), "it is seen")
    seen.detected()
    tree.wait(lambda: tree.status().processes["capture"].state == "damaged", "capture is left alone")
    (line, *_) = [line for line in tree.log_text()[mark:].splitlines() if f"{database} is damaged" in line]
    assert "`ragdctl restore`: the newest backup is of" in line
    assert tree.said("spawned: 'capture'", mark) == 1
    assert tree.status().state == "degraded"
    assert tree.stop() == 0
    restored = tree.run_other("ragdctl", "restore")
    assert restored.returncode == 0, restored.stderr
    place.post("while nobody listened")
    tree.start().running()
    tree.wait(lambda: connected(tree), "connected")
    assert_complete(place, database)
    seen.row.remark = "by a person: `ragdctl restore`"
    tree.goes_all_the_way()
