"""`ragdctl reload`: which processes a changed setting concerns. How they are restarted: tests/systemd."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path

import pytest

from ragd.applied import read_applied, record_settings
from ragd.cli.reload import FIXED, ORDER, READERS, TAKEN_OVER, changed_settings
from ragd.config import Settings, variable
from ragd.errors import ConfigError, UnavailableError
from ragd.heartbeat import PROCESSES
from tests.test_architecture import sources, uses
from tests.toytree import settings_of

ONLY_NEAR = {("capture", name) for name in ("HEALTH_CHECK_INTERVAL_MINUTES", "MAX_MEMORY_MB", "MIN_DISK_GB")} | {
    ("searcher", "RAGD_MODEL_DIR"),
    ("searcher", "RAGD_MODEL_GRAPH"),
}
"""What a process could read in what it imports, and does not: capture shows findings, it does not make them. The
searcher takes the model that serves, which the store tells, and the setting only where there is none."""


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(variable(field), raising=False)


def settings_in(directory: Path, **more: str) -> Settings:
    return settings_of({"RAGD_DATA_DIR": str(directory), "DISCORD_BOT_TOKEN": "one", **more})


def concerned(directory: Path, **more: str) -> dict[str, set[str]]:
    now = settings_in(directory, **more)
    return {process: set(names) for process in ORDER if (names := changed_settings(now, process))}


@pytest.fixture
def applied(short_path: Path) -> Path:
    for process in PROCESSES:
        record_settings(process, settings_in(short_path))
    return short_path


def test_every_process_has_its_turn_and_the_watchdog_the_last() -> None:
    assert sorted(ORDER) == sorted(PROCESSES)
    assert ORDER[-1] == "watchdog"


def test_nothing_changed(applied: Path) -> None:
    assert concerned(applied) == {}


def test_each_setting_concerns_its_readers(applied: Path) -> None:
    assert concerned(applied, MAX_MEMORY_MB="900") == {"watchdog": {"MAX_MEMORY_MB"}}
    assert concerned(applied, COMMAND_PREFIX="?", RAGD_MODEL_DIR="/x") == {
        "capture": {"COMMAND_PREFIX"},
        "syncer": {"RAGD_MODEL_DIR"},
    }
    assert concerned(applied, RAGD_LOG_LEVEL="DEBUG").keys() == set(PROCESSES)


def test_lists_are_taken_over_without_a_restart(applied: Path) -> None:
    assert concerned(applied, RAGD_DENY_IDS="12") == {"capture": {"RAGD_DENY_IDS"}}
    for process, names in TAKEN_OVER.items():
        assert all(process in READERS[name] for name in names)


def test_a_changed_secret_is_noticed_and_not_kept(applied: Path) -> None:
    assert concerned(applied, DISCORD_BOT_TOKEN="two") == {"capture": {"DISCORD_BOT_TOKEN"}}
    assert "ALERT_URLS" in concerned(applied, ALERT_URLS="json://one.example")["watchdog"]
    written = "".join(path.read_text() for path in (applied / "run" / "settings").iterdir())
    assert '"one"' not in written


@pytest.mark.parametrize("name", FIXED)
def test_where_things_are_kept_needs_a_restart(applied: Path, name: str) -> None:
    now = settings_in(applied).model_copy(update={name.removeprefix("RAGD_").lower(): applied / "other"})
    if name == "RAGD_RUNTIME_DIR":
        with pytest.raises(UnavailableError, match="nobody knows what syncer was started with"):
            changed_settings(now, "syncer")
        return
    now = now.model_copy(update={"runtime_dir": applied / "run"})
    with pytest.raises(ConfigError, match=f"{name} cannot change while ragd runs"):
        changed_settings(now, "syncer")


def test_what_stands_in_the_environment_no_file_can_change(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_MEMORY_MB", "1024")
    record_settings("watchdog", settings_in(short_path))
    assert changed_settings(settings_in(short_path, MAX_MEMORY_MB="900"), "watchdog") == frozenset()


def test_a_credential_is_handed_over_once(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(short_path))
    (short_path / "discord_bot_token").write_text("one")
    record_settings("capture", settings_in(short_path))
    assert changed_settings(settings_in(short_path, DISCORD_BOT_TOKEN="two"), "capture") == frozenset()
    applied = settings_in(short_path).applied_dir / "capture.json"
    assert "DISCORD_BOT_TOKEN" not in json.loads(applied.read_text())["fingerprints"], "nobody would compare it"


def test_fingerprints_of_a_secret_cannot_be_told_from_lists(short_path: Path) -> None:
    """The group may read them."""
    settings = settings_in(short_path)
    for process in ("capture", "syncer"):
        record_settings(process, settings)
    records = [read_applied(settings.applied_dir, process).fingerprints for process in ("capture", "syncer")]
    first, second = (record["DISCORD_BOT_TOKEN"] for record in records)
    assert first != second, "salted"
    assert hashlib.sha256(b"one").hexdigest()[:16] not in (first, second)
    assert records[0]["COMMAND_PREFIX"] == records[1]["COMMAND_PREFIX"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"fingerprints": 3, "fixed": []}'])
def test_a_damaged_record_is_told(short_path: Path, content: str) -> None:
    settings = settings_in(short_path)
    record_settings("syncer", settings)
    (settings.applied_dir / "syncer.json").write_text(content)
    with pytest.raises(UnavailableError, match="nobody knows what syncer was started with"):
        changed_settings(settings, "syncer")


def test_readers_are_named_as_the_code_reads() -> None:
    """Whoever has `settings.NAME` in its source, or in what it imports, must be restarted when NAME changes."""
    fields = {variable(field): field for field in Settings.model_fields}
    assert set(READERS) <= set(fields)
    for process in PROCESSES:
        read = {node.attr for path in reach_files(process) for node in settings_attributes(path)}
        for name, processes in READERS.items():
            if fields[name] in read:
                assert process in processes or (process, name) in ONLY_NEAR, f"{process} reads {name}"


def reach_files(unit: str) -> list[Path]:
    """The sources of a unit and of everything of ours that it imports, by whatever way."""
    seen, todo = set[str](), [unit]
    while todo:
        seen.add(todo[-1])
        todo += [used for used in uses(todo.pop()) if used not in seen]
    return [path for one in seen for path in sources(one)]


def settings_attributes(path: Path) -> list[ast.Attribute]:
    """`settings.x` and `self._settings.x` in a file."""
    tree = ast.parse(path.read_text())
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("settings")
    ]
