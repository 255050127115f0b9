"""Who may import whom: read from the source, lazy imports included, and looked up in fresh interpreters."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.toytree import ROOT

PACKAGE = ROOT / "ragd"

LAYERS = (
    (
        "errors",
        "snowflake",
        "extra",
        "terms",
        "fusion",
        "answers",
        "restarts",
        "notify",
        "logstream",
        "journald",
        "access",
        "peers",
        "sender",
        "scope",
        "unix_http",
    ),
    ("settings",),
    ("config", "admission", "heartbeat", "alerts", "httpd", "text", "asked", "backup_manifest"),
    (
        "log",
        "store",
        "chunking",
        "embedding",
        "index",
        "worker",
        "supervision",
        "search_client",
        "reach_client",
        "notices",
        "crashes",
    ),
    ("remote_embedding", "model_status", "indexes"),
    ("embedders",),
    ("noise", "chunk_reach"),
    ("search", "follower"),
    (
        "answering",
        "serving",
        "model_change",
        "health",
        "liveness",
        "store_link",
        "soundness",
        "backup",
        "exchange",
        "applied",
        "auditing",
        "trace",
    ),
    ("process_status",),
    ("keeper", "status", "metrics", "erasing"),
    ("bot", "outside"),
    ("capture", "syncer", "searcher", "watchdog"),
    ("cli",),
    ("__main__",),
)
"""Modules and packages right below `ragd`, lowest first: each imports only from layers below its own, or from itself.

`ragd` itself, which holds the version, is below all of them; `sandbox` stands beside them, see the tests.
"""

ENTRY_POINTS = ("capture", "syncer", "searcher", "watchdog")

LEAVES = ("errors", "config", "log", "snowflake", "heartbeat", "extra")

FOREIGN = {
    "capture": {"onnxruntime", "hnswlib", "tokenizers"},
    "watchdog": {"discord", "onnxruntime", "hnswlib", "tokenizers", "openai"},
    "syncer": {"discord", "hnswlib"},
    "searcher": {"discord"},
}
"""What must not be in a process, lest its faults and its memory come with it."""


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Full names of every module or name that a source file imports anywhere in it."""
    return frozenset(_imported(ast.parse(path.read_text(encoding="utf-8")), _module_name(path).split(".")))


def _imported(tree: ast.AST, module: list[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # level 1 is the package that the module is in
            base = ".".join([*module[: len(module) - node.level], *filter(None, [node.module])])
            origin = base if node.level else str(node.module)
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _module_name(path: Path) -> str:
    """`ragd.store.__init__` for a package: so the last part of every name is the file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def sources(unit: str) -> list[Path]:
    """The files of a module or package right below `ragd`."""
    path = PACKAGE / unit
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def units() -> set[str]:
    """Every module and package right below `ragd`, without the sandbox."""
    found = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    return found - {"__init__", "sandbox"}


def uses(unit: str) -> set[str]:
    """The other units of ragd that a unit imports."""
    names = (name.split(".") for path in sources(unit) for name in imports_of(path))
    found = {parts[1] for parts in names if parts[0] == "ragd" and len(parts) > 1}
    return {name for name in found if name != unit and (name in units() or name == "sandbox")}


def reach(unit: str) -> set[str]:
    """Top-level names of everything that a unit imports, by whatever way."""
    seen, todo = set[str](), [unit]
    while todo:
        seen.add(todo[-1])
        todo += [used for used in uses(todo.pop()) if used not in seen]
    return {name.partition(".")[0] for one in seen for path in sources(one) for name in imports_of(path)}


def test_every_module_has_its_layer() -> None:
    placed = [unit for layer in LAYERS for unit in layer]
    assert len(placed) == len(set(placed))
    assert units() - set(placed) == set(), "find the lowest layer that is above everything it imports"


@pytest.mark.parametrize("number", range(len(LAYERS)))
def test_arrows_point_only_downwards(number: int) -> None:
    below = {unit for layer in LAYERS[:number] for unit in layer}
    upwards = {unit: uses(unit) - below for unit in units() & set(LAYERS[number])}
    # the command line starts the demo's sandbox, see below
    if "cli" in upwards:
        upwards["cli"].discard("sandbox")
    assert {unit: above for unit, above in upwards.items() if above} == {}


def test_leaves_import_only_leaves() -> None:
    allowed = {*LEAVES, *LAYERS[0], "settings"}
    assert {leaf: uses(leaf) - allowed for leaf in LEAVES} == {leaf: set() for leaf in LEAVES}


def test_entry_points_never_import_one_another() -> None:
    importers = {
        _module_name(path)
        for path in PACKAGE.rglob("*.py")
        for name in imports_of(path)
        if any(name == f"ragd.{entry}" or name.startswith(f"ragd.{entry}.") for entry in ENTRY_POINTS)
    }
    assert importers == set(), "they meet in SQLite, in heartbeat files and on sockets; `ragd NAME` loads them by name"


def test_only_the_command_line_knows_the_sandbox_and_loads_it_late() -> None:
    importers = {unit for unit in units() if "sandbox" in uses(unit)}
    assert importers <= {"cli"}
    for path in sources("cli"):
        at_import = ast.Module([node for node in ast.parse(path.read_text()).body if _runs_at_import(node)], [])
        assert not any(
            name.startswith("ragd.sandbox") for name in _imported(at_import, _module_name(path).split("."))
        ), path


def _runs_at_import(node: ast.stmt) -> bool:
    return not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def test_the_sandbox_knows_of_ragd_only_its_errors_and_the_exporters_names() -> None:
    assert uses("sandbox") == {"errors", "exchange"}
    names = {name for path in sources("sandbox") for name in imports_of(path) if name.startswith("ragd.exchange")}
    assert {name.rpartition(".")[0] for name in names} == {"ragd.exchange.names"}
    assert imports_of(PACKAGE / "exchange" / "names.py") <= {"__future__.annotations", "collections.abc.Mapping"}


@pytest.mark.parametrize("entry", ENTRY_POINTS)
def test_no_source_of_a_process_imports_what_must_stay_out(entry: str) -> None:
    assert reach(entry) & FOREIGN[entry] == set()


@pytest.mark.parametrize("entry", ENTRY_POINTS)
def test_no_process_loads_what_must_stay_out(entry: str) -> None:
    """As `python -m ragd NAME` does it: through the command line."""
    loaded = modules_after(f"import ragd.cli.daemon, ragd.{entry}")
    others = {f"ragd.{other}" for other in ENTRY_POINTS if other != entry}
    assert loaded & (FOREIGN[entry] | others | {"ragd.sandbox"}) == set()


@pytest.mark.parametrize("statement", [*(f"import ragd.{entry}" for entry in ENTRY_POINTS), "import ragd.cli.control"])
def test_the_language_models_client_is_loaded_when_there_is_something_to_ask(statement: str) -> None:
    assert "openai" not in modules_after(statement)


def test_the_operators_tool_is_light() -> None:
    assert modules_after("import ragd.cli.control") & {"discord", "onnxruntime", "hnswlib", "tokenizers"} == set()


def modules_after(statement: str) -> set[str]:
    """Full names of all modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}; import sys; print(*sys.modules, sep='\\n')"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_nobody_opens_the_live_database_with_the_standard_library() -> None:
    """Its SQLite may be one that loses commits in WAL mode with several processes (ragd/store/database.py)."""
    assert [path for path in PACKAGE.rglob("*.py") if any(n.split(".")[0] == "sqlite3" for n in imports_of(path))] == []
