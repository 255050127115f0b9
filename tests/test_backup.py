"""Backups of real databases: under writes, damaged, killed, on a full disk; put back, and gone on with."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from ragd import backup as backup_module
from ragd.backup import (
    DIRECTORY,
    adopt_database,
    advised,
    make_backup,
    newest_good,
    open_backup,
    put_back,
    refuse_sound,
    verify_backup,
)
from ragd.backup_manifest import Backup, list_backups, other_copies
from ragd.errors import ConfigError, DamagedError, ExitCode, RagdError, TransientError, UnavailableError
from ragd.store import Store
from ragd.store.database import DamagedDatabaseError
from ragd.store.events import Posted
from ragd.store.migrations import MIGRATIONS
from ragd.store.promises import FILE as PROMISES
from ragd.store.promises import Promises, write_promises
from tests.damage import fill, flip_bit, flip_page
from tests.processes import Place, Process, assert_complete, running, stored_messages
from tests.store.factories import at, message
from tests.toytree import ROOT


@pytest.fixture
def database(tmp_path: Path) -> Path:
    fill(tmp_path / "ragd.sqlite3")
    return tmp_path / "ragd.sqlite3"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / DIRECTORY


def names(directory: Path) -> set[str]:
    """Endings of the files there are, without the lock."""
    return {path.name for path in directory.iterdir()} - {"lock"}


def test_a_backup_is_a_sound_copy_with_a_manifest(database: Path, directory: Path) -> None:
    backup = make_backup(database, directory, keep=3)
    manifest = json.loads(backup.path.with_suffix(".json").read_text())
    assert manifest["messages"] == 2000
    assert manifest["migration"] == len(MIGRATIONS)
    assert manifest["size_bytes"] == backup.path.stat().st_size
    assert names(directory) == {backup.path.name, backup.path.with_suffix(".json").name}
    assert list_backups(directory) == [backup]
    verify_backup(backup)
    assert stored_messages(backup.path) == stored_messages(database)
    assert 0 <= backup.age_seconds < 60


def test_backups_while_others_write(database: Path, directory: Path) -> None:
    """Each holds a prefix of what was written: nothing torn, nothing out of order."""
    stop, written = threading.Event(), [0]

    def write() -> None:
        store = Store.open(database)
        ingest = store.ingest()
        while not stop.is_set():
            ingest.apply([Posted(message(at(10_000 + written[0]), "y" * 500))])
            written[0] += 1
        store.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            before = written[0]
            backup = make_backup(database, directory, keep=9)
            assert 2000 + before <= backup.manifest.messages <= 2000 + written[0] + 1
            verify_backup(backup)
    finally:
        stop.set()
        writer.join()
    assert written[0] > 10
    assert len(list_backups(directory)) == 5


def test_the_newest_are_kept(database: Path, directory: Path) -> None:
    made = [make_backup(database, directory, keep=2) for _ in range(4)]
    assert list_backups(directory) == [made[3], made[2]]
    assert len(names(directory)) == 4


def test_backups_from_the_future_drive_none_out_and_are_restored_last(database: Path, directory: Path) -> None:
    first = make_backup(database, directory, keep=9)
    for day in (1, 2, 3):
        forge(directory, f"2096010{day}T033000.000000Z", first, created_at=f"2096-01-0{day}T03:30:00+00:00")
    assert len(list_backups(directory)) == 4
    assert newest_good(directory) == (first, [])
    made = json.loads(ragdctl(database.parent, "backup", "--keep", "3", "--json").stdout)
    kept = list_backups(directory)
    assert [backup.path.name[5:9] for backup in kept[2:]] == ["2096"]
    assert [str(backup.path) for backup in kept[:2]] == [made["path"], str(first.path)]
    listed = ragdctl(database.parent, "backup", "list", COLUMNS="200").stdout
    assert re.search(r"2096-01-0\d \d\d:\d\d +\? ", listed)


def test_the_backup_just_made_is_never_removed(database: Path, directory: Path) -> None:
    """Also if there is one of the same second whose name says that it is newer."""
    first = make_backup(database, directory, keep=9)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    forge(directory, "20991231T000000.000000Z", first, created_at=now)
    made = make_backup(database, directory, keep=1)
    assert list_backups(directory) == [made]


def test_what_somebody_else_put_there_stays(database: Path, directory: Path) -> None:
    first = make_backup(database, directory, keep=1)
    copy = directory / "ragd-before-the-upgrade.sqlite3"
    shutil.copyfile(first.path, copy)
    first.path.with_suffix(".json").unlink()
    make_backup(database, directory, keep=1)
    assert copy.exists()
    assert not first.path.exists(), "one of ours that is none any more went"


def test_of_what_is_partial_only_our_own_is_cleared(database: Path, directory: Path) -> None:
    directory.mkdir()
    of_others = {
        "ragd-1.2.tar.gz.partial",
        "ragd-1.2.sqlite3.partial",
        "ragd-20260101T000000.000000Z.sqlite3.partially",
    }
    stamp = "ragd-20260101T000000.000000Z"
    of_ours = {f"{stamp}.sqlite3.partial", f"{stamp}.sqlite3.partial-journal", f"{stamp}.json.partial"}
    for name in of_others | of_ours:
        (directory / name).write_bytes(b"x")
    odd = [directory / "ragd-20270101T000000.000000Z.sqlite3", directory / "ragd-20270101T000000.000000Z.json.partial"]
    for path in odd:
        path.mkdir()
    made = make_backup(database, directory, keep=1)
    assert names(directory) == of_others | {path.name for path in (*odd, made.path, made.path.with_suffix(".json"))}


def test_a_backup_that_was_given_a_name_to_keep_it_is_not_rotated_out(database: Path, directory: Path) -> None:
    kept = forge(directory, "before-the-upgrade", make_backup(database, directory, keep=1))
    made = make_backup(database, directory, keep=1)
    assert {backup.path for backup in list_backups(directory)} == {kept, made.path}


def test_two_that_share_a_directory_remove_only_their_own(database: Path, tmp_path: Path) -> None:
    shared, second = tmp_path / "shared", tmp_path / "second" / "ragd.sqlite3"
    second.parent.mkdir()
    fill(second, 10)
    made: dict[Path, list[Path]] = {database: [], second: []}
    for _ in range(3):
        for source, of_it in made.items():
            of_it.append(make_backup(source, shared, keep=2).path)
    assert {backup.path for backup in list_backups(shared)} == {path for of_it in made.values() for path in of_it[1:]}
    listed = ragdctl(database.parent, "backup", "list", "--to", str(shared), COLUMNS="200").stdout
    numbers = {backup.manifest.instance for backup in list_backups(shared)}
    assert len(numbers) == 2
    assert all(number[:8] in listed for number in numbers)


def test_a_restored_database_goes_on_with_its_own_backups(database: Path, directory: Path) -> None:
    before = make_backup(database, directory, keep=9)
    put_back(before, database, database.parent / "index")
    after = make_backup(database, directory, keep=1)
    assert after.manifest.instance == before.manifest.instance
    assert list_backups(directory) == [after]


def test_a_database_that_was_begun_anew_leaves_the_backups_of_the_lost_one(database: Path, directory: Path) -> None:
    lost = make_backup(database, directory, keep=1)
    for path in database.parent.glob("ragd.sqlite3*"):
        path.unlink()
    fill(database, 10)
    made = make_backup(database, directory, keep=1)
    assert list_backups(directory) == [made, lost]


def test_backups_without_a_number_are_anybodys_unless_beside_the_database(database: Path, tmp_path: Path) -> None:
    for directory, kept in ((tmp_path / DIRECTORY, 1), (tmp_path / "elsewhere", 2)):
        first = make_backup(database, directory, keep=9)
        manifest = asdict(first.manifest)
        del manifest["instance"]
        first.path.with_suffix(".json").write_text(json.dumps(manifest))
        made = make_backup(database, directory, keep=1)
        assert len(list_backups(directory)) == kept
        assert list_backups(directory)[0] == made


def test_an_old_backup_that_cannot_be_removed_is_one_line(database: Path, directory: Path) -> None:
    old = make_backup(database, directory, keep=1)
    manifest = old.path.with_suffix(".json")
    with immutable(manifest):
        run = ragdctl(database.parent, "backup", "--keep", "1")
    assert (run.returncode, len(run.stderr.splitlines())) == (ExitCode.ERROR, 1), run.stderr
    assert "a backup was made, but an old one cannot be removed" in run.stderr
    assert len(list_backups(directory)) == 2


@contextlib.contextmanager
def immutable(path: Path) -> Iterator[None]:
    """Not even root removes it."""
    if subprocess.run(["chattr", "+i", path], capture_output=True).returncode:
        pytest.skip("this file system knows no immutable files")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", path], check=True)


def test_no_database_is_said(tmp_path: Path, directory: Path) -> None:
    with pytest.raises(UnavailableError, match="no database"):
        make_backup(tmp_path / "ragd.sqlite3", directory, keep=1)
    assert not directory.exists()


def test_a_damaged_database_is_not_backed_up_and_drives_no_good_backup_out(database: Path, directory: Path) -> None:
    good = make_backup(database, directory, keep=1)
    flip_page(database)
    with pytest.raises(DamagedDatabaseError):
        make_backup(database, directory, keep=1)
    assert list_backups(directory) == [good]
    assert len(names(directory)) == 2


def test_too_little_space_is_said_before_anything_is_written(
    database: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_module, "SPARE_BYTES", 2**60)
    with pytest.raises(TransientError, match=r"no room in .*backups: \d+ MiB are needed, \d+ MiB are free"):
        make_backup(database, directory, keep=1)
    assert names(directory) == set()


def test_two_at_a_time_are_refused(database: Path, directory: Path) -> None:
    make_backup(database, directory, keep=1)
    with backup_module._alone_in(directory), pytest.raises(TransientError, match="another backup"):
        make_backup(database, directory, keep=1)


MAKE = "import sys; from pathlib import Path; from ragd.backup import make_backup; "
MAKE += "make_backup(Path(sys.argv[1]), Path(sys.argv[2]), 50)"


def test_killed_at_any_moment_it_leaves_nothing_that_counts(tmp_path: Path, directory: Path) -> None:
    database = tmp_path / "ragd.sqlite3"
    fill(database, 40_000)
    for round_ in range(8):
        child = subprocess.Popen([sys.executable, "-c", MAKE, str(database), str(directory)], cwd=ROOT)
        _await_partial(directory, child)
        time.sleep(0.02 * round_)  # another moment each time
        child.kill()
        child.wait()
        for backup in list_backups(directory):
            verify_backup(backup)
    last = make_backup(database, directory, keep=1)
    assert names(directory) == {last.path.name, last.path.with_suffix(".json").name}


def _await_partial(directory: Path, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while child.poll() is None and not list(directory.glob("*.partial")):
        assert time.monotonic() < deadline
        time.sleep(0.002)  # between two looks


def test_a_full_disk_is_one_line_and_leaves_nothing(database: Path, directory: Path) -> None:
    directory.mkdir()
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({200_000}, {200_000})); " + RAGDCTL
    run = ragdctl(database.parent, "backup", code=code)
    assert run.returncode == ExitCode.TEMPORARY, run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert names(directory) == set()
    assert ragdctl(database.parent, "backup").returncode == 0


def test_resource_limit_is_only_the_childs() -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


# Finding the newest good one


def test_damaged_backups_are_passed_over(database: Path, directory: Path) -> None:
    good, flipped, cut, bare = [make_backup(database, directory, keep=9) for _ in range(4)]
    flip_bit(flipped.path)
    with cut.path.open("r+b") as file:
        file.truncate(cut.manifest.size_bytes - 4096)
    bare.path.with_suffix(".json").write_text("{")
    assert list_backups(directory) == [flipped, good]
    chosen, passed_over = newest_good(directory)
    assert chosen == good
    assert [str(error).rpartition(": ")[2] for error in passed_over] == ["its checksum is not that of its manifest"]
    for broken in (cut, bare):
        with pytest.raises(DamagedError, match="manifest"):
            open_backup(broken.path)
    with pytest.raises(UnavailableError):
        open_backup(directory / "none.sqlite3")


def forge(directory: Path, name: str, backup: Backup, **changes: object) -> Path:
    """Another backup with the same content, whose manifest says something else."""
    path = directory / f"ragd-{name}.sqlite3"
    shutil.copyfile(backup.path, path)
    path.with_suffix(".json").write_text(json.dumps({**asdict(backup.manifest), **changes}))
    return path


ODD = (
    {"messages": "x"},
    {"messages": None},
    {"messages": [[1]]},
    {"messages": -1},
    {"messages": 10**30},
    {"keep": "x"},
    {"keep": 0},
    {"keep": 10**12},
    {"size_bytes": 4.0},
    {"sha256": 0},
    {"created_at": "2026-01-01"},
    {"created_at": "2026-01-01T00:00:00"},
    {"created_at": "2026-01-01 00:00:00+00:00"},
    {"created_at": "0001-01-01T00:00:00+23:59"},
    {"created_at": "9999-12-31T23:59:59+00:00"},
    {"created_at": "9999-12-31T23:59:59-23:59"},
    {"created_at": 0},
    {"instance": "mine"},
    {"instance": None},
)


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_a_manifest_that_says_what_cannot_be_is_none(database: Path, directory: Path, odd: dict[str, object]) -> None:
    good = make_backup(database, directory, keep=9)
    path = forge(directory, "20260101T000000.000000Z", good, **odd)
    assert list_backups(directory) == [good]
    assert other_copies(directory) == [path]
    with pytest.raises(DamagedError, match="does not go with a manifest"):
        open_backup(path)
    assert newest_good(directory) == (good, [])


def test_what_a_newer_ragd_adds_to_a_manifest_is_passed_over(database: Path, directory: Path) -> None:
    good = make_backup(database, directory, keep=9)
    path = forge(directory, "20260101T000000.000000Z", good, colour="green")
    assert open_backup(path).manifest == good.manifest


def test_a_file_whose_time_is_beyond_reason_is_adopted_all_the_same(database: Path, tmp_path: Path) -> None:
    for seconds in (-(10**10), 2**40):
        os.utime(database, (seconds, seconds))
        assert adopt_database(database).age_seconds >= 0


def test_a_backup_of_a_newer_ragd_is_refused(database: Path, directory: Path) -> None:
    connection = apsw.Connection(str(database))
    connection.execute("INSERT INTO migration VALUES (99, 'from the future', 0)")
    connection.close()
    with pytest.raises(ConfigError, match="99"):
        make_backup(database, directory, keep=1)


def test_none_is_said_with_another_way_out(directory: Path) -> None:
    with pytest.raises(UnavailableError, match="no sound backup"):
        newest_good(directory)


# Putting one back


def test_put_back_keeps_the_damaged_one_and_its_log_and_clears_indexes(database: Path, directory: Path) -> None:
    backup = make_backup(database, directory, keep=1)
    wanted = stored_messages(database)
    flip_page(database)
    damaged = database.read_bytes()
    log = Path(f"{database}-wal")
    log.write_bytes(b"a log that must not be played into the restored database")
    index = database.parent / "index"
    index.mkdir()
    (index / "CURRENT").write_text("x")
    aside = put_back(backup, database, index)
    assert aside is not None
    assert aside.read_bytes() == damaged
    assert Path(f"{aside}-wal").read_bytes().startswith(b"a log")
    assert not index.exists()
    assert not log.exists() or not log.stat().st_size
    assert stored_messages(database) == wanted
    assert stat.S_IMODE(database.stat().st_mode) & 0o077 == 0
    assert open_backup(backup.path) == backup
    verify_backup(backup)


WRITE_AND_DIE = """
import os, sys
from pathlib import Path
from ragd.store import Store
from ragd.store.events import Posted
from tests.store.factories import at, message

store = Store.open(Path(sys.argv[1]))
for first in (5000, 6000):
    store.ingest().apply([Posted(message(at(first + n), "y" * 300)) for n in range(900)])
    store.coverage.add_interval(10, 1, at(first), "rest")
    if first == int(sys.argv[2]):
        store.checkpoint(5.0)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("checkpointed", [0, 5000])
def test_a_log_that_outlived_its_database_is_not_played_into_the_restored_one(
    database: Path, directory: Path, checkpointed: int
) -> None:
    backup = make_backup(database, directory, keep=1)
    wanted = stored_messages(database)
    subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(database), str(checkpointed)], cwd=ROOT, check=False)
    database.unlink()
    log = Path(f"{database}-wal").read_bytes()
    assert log
    journal = Path(f"{database}-journal")
    journal.write_bytes(b"half of a change of the old database")
    done = ragdctl(database.parent, "restore", "--json")
    assert done.returncode == 0, done.stderr
    aside = Path(json.loads(done.stdout)["set_aside"])
    assert aside.name.endswith("-wal")
    assert aside.read_bytes() == log
    assert not journal.exists()
    assert stored_messages(database) == wanted
    store = Store.open(database)
    assert store.coverage.intervals(10) == []
    store.close()
    verify_backup(backup)


@pytest.mark.parametrize(("mode", "wanted"), [(0o700, 0o600), (0o750, 0o640), (0o755, 0o600)])
def test_a_restored_database_is_for_whom_the_directory_is(
    database: Path, directory: Path, mode: int, wanted: int
) -> None:
    data = database.parent
    backup = make_backup(database, directory, keep=1)
    data.chmod(mode)
    write_promises(data / PROMISES, Promises(0, {"person": [], "opt_in_channel": [], "consent": [], "cutoff": []}))
    put_back(backup, database, data / "index")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (database, data / PROMISES)] == [wanted, wanted]


def test_a_restored_database_claims_nothing_that_time_has_overtaken(database: Path, directory: Path) -> None:
    store = Store.open(database)
    store.coverage.add_interval(10, 1, at(2000), "rest")
    store.close()
    put_back(make_backup(database, directory, keep=1), database, database.parent / "index")
    store = Store.open(database)
    assert store.coverage.intervals(10) == []
    assert len(store.coverage.holes()) == 1
    store.close()


def make_database_of(number: int, path: Path) -> None:
    """As the ragd left it that knew no later migration."""
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.execute(
            "CREATE TABLE migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER)"
        )
        for migration in MIGRATIONS[:number]:
            for statement in migration.statements:
                connection.execute(statement)
            connection.execute("INSERT INTO migration VALUES (?, ?, 0)", (migration.number, migration.name))


def test_an_older_schema_is_brought_up_to_date(tmp_path: Path, directory: Path) -> None:
    database = tmp_path / "older.sqlite3"
    make_database_of(2, database)
    backup = make_backup(database, directory, keep=1)
    assert backup.manifest.migration == 2
    assert backup.manifest.instance == ""
    put_back(backup, database, database.parent / "index")
    store = Store.open(database)
    assert store.alerts.open_alerts() == []
    store.close()


def test_killed_at_any_moment_a_restore_leaves_a_database(tmp_path: Path, directory: Path) -> None:
    database = tmp_path / "ragd.sqlite3"
    fill(database, 20_000)
    backup = make_backup(database, directory, keep=1)
    wanted = stored_messages(database)
    code = "import sys; from pathlib import Path; from ragd.backup import *; "
    code += "put_back(open_backup(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[2]).parent / 'index')"
    for round_ in range(6):
        child = subprocess.Popen([sys.executable, "-c", code, str(backup.path), str(database)], cwd=ROOT)
        deadline = time.monotonic() + 30
        while child.poll() is None and not Path(f"{database}.restoring").exists():
            assert time.monotonic() < deadline
            time.sleep(0.002)  # between two looks
        time.sleep(0.03 * round_)  # another moment each time
        child.kill()
        child.wait()
        assert stored_messages(database) == wanted
    verify_backup(backup)


def test_only_a_sound_database_is_refused(database: Path) -> None:
    with pytest.raises(RagdError, match="is sound"):
        refuse_sound(database)
    flip_page(database)
    refuse_sound(database)
    database.unlink()
    refuse_sound(database)


def test_a_damaged_database_names_the_backup_to_restore(database: Path, directory: Path) -> None:
    backup = make_backup(database, directory, keep=1)
    with pytest.raises(DamagedDatabaseError) as caught, advised(database.parent):
        raise DamagedDatabaseError("x is damaged")
    assert "`ragdctl restore`" in caught.value.hint
    assert backup.path.name in caught.value.hint


# The commands

RAGDCTL = "import sys; sys.argv[0] = 'ragdctl'; from ragd.cli.control import main; main()"


def ragdctl(data: Path, *arguments: str, code: str = RAGDCTL, **more: str) -> subprocess.CompletedProcess[str]:
    variables = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RAGD_DATA_DIR": str(data),
        "RAGD_RUNTIME_DIR": str(data),
        **more,
    }
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=data, env=variables, capture_output=True, text=True, timeout=60
    )


def test_backup_list_and_restore_on_the_command_line(database: Path, directory: Path) -> None:
    data = database.parent
    made = json.loads(ragdctl(data, "backup", "--json").stdout)
    assert made["messages"] == 2000
    (listed,) = json.loads(ragdctl(data, "backup", "list", "--json").stdout)["backups"]
    assert listed["sha256"] == made["sha256"]
    assert Path(made["path"]).name in ragdctl(data, "backup", "list", COLUMNS="200").stdout
    refused = ragdctl(data, "restore")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "is sound - --force" in refused.stderr
    flip_page(database)
    restored = ragdctl(data, "restore")
    assert restored.returncode == 0, restored.stderr
    assert f"restored {made['path']}" in restored.stdout
    assert "the old database is" in restored.stdout
    assert "start ragd" in restored.stdout
    assert len(stored_messages(database)) == 2000
    forced = json.loads(ragdctl(data, "restore", Path(made["path"]).name, "--force", "--json").stdout)
    assert forced["path"] == made["path"]


def test_backup_to_another_directory(database: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    for _ in range(3):
        assert ragdctl(database.parent, "backup", "--to", str(other), "--keep", "2").returncode == 0
    assert len(list_backups(other)) == 2
    for command in (("backup", "list", "--to", str(other)), ("backup", "--to", str(other), "list")):
        assert len(json.loads(ragdctl(database.parent, *command, "--json").stdout)["backups"]) == 2
    assert "no backups" in ragdctl(database.parent, "backup", "list").stdout


@pytest.mark.parametrize(
    ("data_mode", "target_mode", "wanted"),
    [(0o750, 0o2775, 0o600), (0o750, 0o700, 0o600), (0o700, 0o750, 0o600), (0o750, 0o750, 0o640), (0o750, None, 0o640)],
)
def test_a_backup_is_for_a_group_only_if_both_directories_are(
    tmp_path: Path, data_mode: int, target_mode: int | None, wanted: int
) -> None:
    data, target = tmp_path / "data", tmp_path / "data" / DIRECTORY
    data.mkdir()
    fill(data / "ragd.sqlite3", 10)
    data.chmod(data_mode)
    if target_mode is not None:
        target = tmp_path / "elsewhere"
        target.mkdir()
        target.chmod(target_mode)
    assert ragdctl(data, "backup", "--to", str(target)).returncode == 0
    assert {stat.S_IMODE(path.stat().st_mode) for path in target.glob("ragd-*")} == {wanted}


@pytest.mark.parametrize("damage", [flip_bit, Path.unlink])
def test_a_backup_that_is_no_good_is_refused_and_nothing_touched(
    database: Path, directory: Path, damage: object
) -> None:
    backup = make_backup(database, directory, keep=1)
    flip_page(database)
    damage(backup.path)  # type: ignore[operator]
    before = database.read_bytes()
    for arguments in ((), (str(backup.path),)):
        run = ragdctl(database.parent, "restore", *arguments)
        assert run.returncode in (ExitCode.DATA, ExitCode.UNAVAILABLE)
        assert len(run.stderr.splitlines()) == 1
    assert database.read_bytes() == before
    assert list(database.parent.glob("*.damaged-*")) == []


def test_a_database_without_a_manifest_is_taken_when_asked_for(database: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "restored.sqlite3"
    copy.parent.mkdir()
    with contextlib.closing(apsw.Connection(str(database))) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    flip_page(database)
    data = database.parent
    assert ragdctl(data, "restore", "--bare").returncode == ExitCode.USAGE
    assert ragdctl(data, "restore", str(copy)).returncode == ExitCode.DATA, "nobody said that it has none"
    done = ragdctl(data, "restore", "--bare", str(copy))
    assert done.returncode == 0, done.stderr
    assert len(stored_messages(database)) == 2000
    flip_page(copy)
    before = database.read_bytes()
    assert ragdctl(data, "restore", "--force", "--bare", str(copy)).returncode == ExitCode.DATA
    assert ragdctl(data, "restore", "--force", "--bare", str(tmp_path / "none")).returncode == ExitCode.UNAVAILABLE
    assert database.read_bytes() == before


MESSAGES, COUNTERS = "CREATE TABLE message (deleted)", "CREATE TABLE counter (name, value)"

NOT_RAGDS = {
    "empty": (),
    "of another program": ("CREATE TABLE song (title)",),
    "a word for a number": ("CREATE TABLE migration (number)", "INSERT INTO migration VALUES ('nine')", MESSAGES),
    "no other table": ("CREATE TABLE migration (number)", MESSAGES, COUNTERS),
    "up to date by its own word": (
        "CREATE TABLE migration (number)",
        f"INSERT INTO migration VALUES ({len(MIGRATIONS)})",
        MESSAGES,
        COUNTERS,
    ),
}


@pytest.mark.parametrize("statements", NOT_RAGDS.values(), ids=NOT_RAGDS)
def test_a_database_that_is_not_ragds_is_refused_in_one_line(
    database: Path, tmp_path: Path, statements: tuple[str, ...]
) -> None:
    other = tmp_path / "other.sqlite3"
    with contextlib.closing(apsw.Connection(str(other))) as connection:
        for statement in ("PRAGMA user_version = 0", *statements):
            connection.execute(statement)
    before = database.read_bytes()
    run = ragdctl(tmp_path, "restore", "--force", "--bare", str(other))
    assert run.returncode == ExitCode.DATA, run.stderr
    assert f"{other} is no database of ragd's" in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert database.read_bytes() == before
    assert not list(tmp_path.glob("*.damaged-*")) + list(tmp_path.glob("*.restoring*"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "ragd", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_another_disk_that_fills_up_is_one_line_and_its_backups_stay(database: Path, small_disk: Path) -> None:
    assert ragdctl(database.parent, "backup", "--to", str(small_disk)).returncode == 0
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    full = ragdctl(database.parent, "backup", "--to", str(small_disk))
    assert full.returncode == ExitCode.TEMPORARY
    assert re.search(r"no room in .*: \d+ MiB are needed, \d+ MiB are free", full.stderr)
    assert len(full.stderr.splitlines()) == 1
    (kept,) = list_backups(small_disk)
    verify_backup(kept)


# With capture


def test_restored_and_started_it_is_complete_again(place: Place, variables: dict[str, str], short_path: Path) -> None:
    """Also as to what was edited and deleted after the backup, at whatever age."""
    old = [place.post(f"before the backup {n}") for n in range(150)]
    with running("capture", {**variables, "RAGD_RECONCILE_HOURS": "0"}) as capture:
        database = capture.settings.database_path
        assert_complete(place, database)
        backed_up = ragdctl(short_path, "backup")
        assert backed_up.returncode == 0, backed_up.stderr
        place.control.edit(old[3], "edited after the backup")
        place.control.delete(old[5])
        for n in range(20):
            place.post(f"after the backup {n}")
        assert_complete(place, database)
        refused = ragdctl(short_path, "restore", "--force", **{"RAGD_RUNTIME_DIR": str(capture.settings.runtime_dir)})
        assert refused.returncode == ExitCode.TEMPORARY
        assert f"capture still runs with pid {capture.process.pid}" in refused.stderr
        assert capture.stop() == 0
    flip_page(database)
    place.post("while it was damaged")
    assert ragdctl(short_path, "restore").returncode == 0
    with running("capture", {**variables, "RAGD_RECONCILE_HOURS": "0"}):
        assert_complete(place, database)


@pytest.mark.parametrize("damage", ["page", "header"])
def test_capture_refuses_a_damaged_database(
    place: Place, variables: dict[str, str], short_path: Path, damage: str
) -> None:
    with running("capture", variables) as capture:
        database = capture.settings.database_path
        assert_complete(place, database)
        assert capture.stop() == 0
    backup = make_backup(database, short_path / DIRECTORY, keep=1)
    if damage == "page":
        flip_page(database, "channel")
    else:
        database.write_bytes(b"no database " * 1000)
    again = Process("capture", variables).start()
    assert again.wait() == ExitCode.DATA
    (line,) = [line for line in again.log.read_text().splitlines() if " ERROR " in line]
    assert f"{database} is damaged" in line
    assert "`ragdctl restore`" in line
    assert backup.path.name in line


def test_a_database_found_sound_is_not_looked_at_again_soon(
    place: Place, variables: dict[str, str], short_path: Path
) -> None:
    with running("capture", variables) as capture:
        mark = capture.settings.runtime_dir / "database.checked"
        assert not mark.exists()  # it has just been made
        capture.process.send_signal(signal.SIGTERM)
        capture.wait()
    times = []
    for _ in range(2):
        with running("capture", variables) as capture:
            times.append(mark.stat().st_mtime_ns)
            assert capture.stop() == 0
    assert times[0] == times[1]
    database = capture.settings.database_path
    put_back(_backed_up(database, short_path), database, short_path / "index")
    with running("capture", variables):
        assert mark.stat().st_mtime_ns > times[1]


def _backed_up(database: Path, directory: Path) -> Backup:
    return make_backup(database, directory / DIRECTORY, keep=1)
