"""Migrations, the models' view of them, and the SQLite they run on."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from ragd.errors import ConfigError, DamagedError, UnavailableError
from ragd.store import Store
from ragd.store import database as database_module
from ragd.store.database import open_database, require_safe_sqlite
from ragd.store.migrations import MIGRATIONS, migrate
from ragd.store.models import MODELS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Store.open(tmp_path / "ragd.sqlite3").close()
    return tmp_path / "ragd.sqlite3"


def test_models_and_migrations_agree(path: Path) -> None:
    connection = apsw.Connection(str(path))
    for model in MODELS:
        table = model._meta.table_name
        columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        assert columns == {field.column_name for field in model._meta.sorted_fields}, table
    connection.close()


def test_migrations_are_recorded_once_and_repeatable(path: Path) -> None:
    store = Store.open(path)
    assert migrate(store._database) == len(MIGRATIONS)
    recorded = store._all("SELECT number, name FROM migration ORDER BY number")
    assert recorded == [(migration.number, migration.name) for migration in MIGRATIONS]
    store.close()


def test_every_database_has_a_number_of_its_own_for_life(path: Path, tmp_path: Path) -> None:
    numbers = []
    for one in (path, path, tmp_path / "another.sqlite3"):
        store = Store.open(one)
        numbers.append(store.instance())
        store.close()
    assert numbers[0] == numbers[1] != numbers[2]
    assert all(len(number) == 16 for number in numbers)


def test_a_database_that_is_up_to_date_is_opened_while_somebody_writes(path: Path) -> None:
    writer = Store.open(path)
    with writer._transaction():
        Store.open(path, busy_seconds=0.0).close()
    writer.close()


def test_numbers_ascend_without_a_gap() -> None:
    assert [migration.number for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_a_database_of_a_newer_ragd_is_refused(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO migration VALUES (99, 'from the future', 0)")
    connection.close()
    with pytest.raises(ConfigError, match="99"):
        Store.open(path)


def test_a_reader_waits_for_the_whole_schema(tmp_path: Path) -> None:
    path = tmp_path / "ragd.sqlite3"
    open_database(path).close()
    with pytest.raises(UnavailableError, match=f"migration 0 of {len(MIGRATIONS)}"):
        Store.open_read_only(path)
    Store.open(path).close()
    connection = apsw.Connection(str(path))
    connection.execute("DELETE FROM migration WHERE number = ?", (len(MIGRATIONS),))
    connection.close()
    with pytest.raises(UnavailableError, match=f"migration {len(MIGRATIONS) - 1} of {len(MIGRATIONS)}"):
        Store.open_read_only(path)


def test_a_reader_refuses_what_a_newer_ragd_wrote(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO migration VALUES (99, 'from the future', 0)")
    connection.close()
    with pytest.raises(ConfigError, match="99"):
        Store.open_read_only(path)


def test_a_reader_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no database"):
        Store.open_read_only(tmp_path / "none.sqlite3")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ragd.sqlite3"
    path.write_bytes(b"not a database, certainly " * 400)
    with pytest.raises(DamagedError, match=r"ragd\.sqlite3"):
        Store.open(path)


def test_a_reader_cannot_write(path: Path) -> None:
    store = Store.open_read_only(path)
    with pytest.raises(Exception, match=r"readonly|read-only|query_only"):
        store._execute("UPDATE counter SET value = 1")
    store.close()


def test_the_sqlite_in_use_keeps_its_commits() -> None:
    assert tuple(map(int, require_safe_sqlite().split("."))) >= (3, 51, 3)


def test_an_sqlite_that_loses_commits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module.apsw, "sqlite_lib_version", lambda: "3.40.1")
    with pytest.raises(ConfigError, match=r"3\.40\.1"):
        require_safe_sqlite()


def test_wal_is_only_checkpointed_on_demand(path: Path) -> None:
    store = Store.open(path)
    with store._transaction():
        store._execute("CREATE TABLE big (x)")
        store._execute_many("INSERT INTO big VALUES (?)", ((bytes(1000),) for _ in range(8000)))
    assert store.wal_bytes() > 8_000_000
    assert store.checkpoint(1.0)
    assert store.wal_bytes() == 0
    store.close()


def test_open_database_reports_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="cannot open"):
        open_database(tmp_path / "no" / "ragd.sqlite3")
