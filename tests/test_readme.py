"""README.md and the code say the same: settings, commands, exit codes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ragd.config import Settings, variable
from ragd.errors import ExitCode
from tests.toytree import ROOT


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme_tables", ROOT / "tools" / "readme_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EMPTY = "\n".join(
    f"# {name}\n<!-- {name} -->\n<!-- /{name} -->" for name in ("settings", "ragd", "ragdctl", "exit-codes")
)


def test_readme_is_up_to_date(tool: ModuleType) -> None:
    _, changed = tool.update((ROOT / "README.md").read_text("utf-8"))
    assert changed == [], "run tools/readme_tables.py"


def test_every_setting_has_its_row(tool: ModuleType) -> None:
    rows = tool.settings_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [variable(name) for name in Settings.model_fields]
    for row, field in zip(rows, Settings.model_fields.values(), strict=True):
        assert field.description in row


def test_every_command_has_its_row(tool: ModuleType) -> None:
    filled, _ = tool.update(EMPTY)
    for command in ("ragd`", "ragd capture`", "ragd syncer`", "ragd searcher`", "ragd watchdog`", "ragd sandbox "):
        assert f"| `{command}" in filled
    for command in (
        "status",
        "search TEXT",
        "why LINK",
        "audit ",
        "watch",
        "restart WORKER",
        "config",
        "--version`",
        "alert list",
        "alert test",
        "backup ",
        "backup list",
        "restore ",
        "import FILE... ",
        "export ",
    ):
        assert f"| `ragdctl {command}" in filled


def test_every_exit_code_has_its_row(tool: ModuleType) -> None:
    rows = tool.exit_codes_table().splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == [f"| {int(code)}" for code in ExitCode]
    assert all(len(row.split(" | ")[1]) > 5 for row in rows)


def test_a_second_run_changes_nothing(tool: ModuleType) -> None:
    filled, changed = tool.update(EMPTY)
    assert changed == list(tool.BLOCKS)
    assert tool.update(filled) == (filled, [])


def test_a_missing_block_is_named(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match="ragdctl"):
        tool.update(EMPTY.replace("<!-- /ragdctl -->", ""))


def test_check_names_what_is_out_of_date(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(EMPTY)
    monkeypatch.setattr(tool, "README", readme)
    monkeypatch.setattr(sys, "argv", ["readme_tables.py", "--check"])
    assert tool.main() == 1
    assert "block settings is out of date" in capsys.readouterr().err
    assert readme.read_text("utf-8") == EMPTY
    monkeypatch.setattr(sys, "argv", ["readme_tables.py"])
    assert tool.main() == 0
    assert tool.update(readme.read_text("utf-8"))[1] == []
