"""What ragd's source never does, read from the source: run data as code, start a shell, put data into SQL."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.toytree import ROOT

SOURCES = sorted([*(ROOT / "ragd").rglob("*.py"), *(ROOT / "modelbuild").rglob("*.py")])

FOREIGN_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code", "pty"}
"""They make code of what they read, or a shell."""

FOREIGN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "pd.read_pickle"}

STATEMENTS = {"execute", "executemany", "execute_sql", "_all", "_one", "_execute", "_execute_many", "_count"}
"""What takes a statement first: apsw's and peewee's methods, and those of `Queries`."""

SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|PRAGMA|FROM|WHERE|JOIN|VALUES)\b|\bIN \(")

CONSTANT = re.compile(r"_?[A-Z][A-Z_0-9]*")

PUT_TOGETHER = {
    "store/__init__.py": {
        "int(busy_seconds * 1000)",
        "int(self._database.timeout * 1000)",
        "kinds",  # numbers of PUBLIC_THREADS
        "mine",  # a clause with the canary's channel
        "rest",  # clauses of counts()
    },
    "store/alerts.py": {"where"},
    "store/audits.py": {"', '.join((f'{name} = ?' for name in columns))", "of_thread", "rest", "there"},
    "store/copies.py": {"check"},  # one of two names
    "store/coverage.py": {"','.join(map(str, sorted(THREAD_PARENTS)))", "FIRST_ID - 1", "condition"},
    "store/erasure.py": {"rest", "of_channel"},
    "store/health.py": {"table"},  # of the schema, as SQLite names it
    "store/imports.py": {"marks"},
    # of_messages() and reach() in store/scope.py; constants
    "store/lookup.py": {"table", "where", "within", "hits", "among", "_score(term, table)"},
    "store/promises.py": {"table", "', '.join(columns)", "', '.join('?' * len(columns))"},  # of _TABLES
    "store/refusals.py": {"count", "until", "below", "where"},  # columns of _COLUMNS
    "store/rewriting.py": {"pragma", "quoted"},  # the data directory, its quotes doubled: PRAGMA binds nothing
    "store/scope.py": {"' AND '.join(where)", "within", "sql", "table"},
    "store/standing.py": {"kinds"},
    "store/surroundings.py": {"where"},
    "store/traces.py": {"', '.join((column.name for column in columns))", "table"},
    "store/vectors.py": {"where", "within", "_marks(part)", "FINDABLE.format('ch')", "OPEN.format('p')"},
    "store/withholding.py": {"_marks(author_ids)", "_marks(channel_ids)", "_marks(message_ids)"},
    "store/words.py": {"table"},
}
"""What else stands in statements, by file below `ragd`: clauses and names that the same function chooses, and question
marks. Whoever adds one has looked: nothing of it may come from a message, a member, a setting or a command line."""


def parsed() -> Iterator[tuple[str, ast.AST]]:
    """Every node of every source, with the path that it is told by."""
    for path in SOURCES:
        name = path.relative_to(ROOT).as_posix().removeprefix("ragd/")
        yield from ((name, node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.fixture(scope="module")
def nodes() -> list[tuple[str, ast.AST]]:
    return list(parsed())


def test_nothing_makes_code_of_what_it_reads(nodes: list[tuple[str, ast.AST]]) -> None:
    found = []
    for path, node in nodes:
        if isinstance(node, ast.Import):
            found += [f"{path}: {alias.name}" for alias in node.names if alias.name.split(".")[0] in FOREIGN_MODULES]
        elif (
            isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] in FOREIGN_MODULES
        ):
            found.append(f"{path}: {node.module}")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in FOREIGN_CALLS:
            found.append(f"{path}:{node.lineno}: {ast.unparse(node.func)}")
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            found.append(f"{path}:{node.value.lineno}: allow_pickle")
    assert found == []


def test_nothing_starts_a_shell(nodes: list[tuple[str, ast.AST]]) -> None:
    found = [
        f"{path}:{node.value.lineno}"
        for path, node in nodes
        if isinstance(node, ast.keyword) and node.arg == "shell" and ast.unparse(node.value) != "False"
    ]
    words = [
        f"{path}:{node.lineno}"
        for path, node in nodes
        if isinstance(node, ast.Constant) and node.value in ("/bin/sh", "/bin/bash", "sh", "bash")
    ]
    assert (found, words) == ([], [])


def test_what_stands_in_sql_is_ours(nodes: list[tuple[str, ast.AST]]) -> None:
    """Values are bound; what an f-string puts in is a constant of the module, or is in the list above."""
    used: dict[str, set[str]] = {}
    for path, node in nodes:
        if isinstance(node, ast.JoinedStr) and path.startswith("store/") and _is_sql(node):
            for part in node.values:
                if isinstance(part, ast.FormattedValue) and not CONSTANT.fullmatch(ast.unparse(part.value)):
                    used.setdefault(path, set()).add(ast.unparse(part.value))
    unknown = {path: found - PUT_TOGETHER.get(path, set()) for path, found in used.items()}
    assert {path: found for path, found in unknown.items() if found} == {}
    assert used, "the look finds something"


def test_statements_are_not_pasted_in_other_ways(nodes: list[tuple[str, ast.AST]]) -> None:
    found = [
        f"{path}:{node.lineno}: {ast.unparse(node)[:80]}"
        for path, node in nodes
        if isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Add | ast.Mod)
        and any(isinstance(side, ast.Constant | ast.JoinedStr) and _is_sql(side) for side in (node.left, node.right))
    ]
    assert found == []


def test_only_the_store_speaks_sql(nodes: list[tuple[str, ast.AST]]) -> None:
    found = [
        f"{path}:{node.lineno}: {ast.unparse(node)[:80]}"
        for path, node in nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in STATEMENTS
        and node.args
        and _is_sql(node.args[0])
        and not path.startswith("store/")
    ]
    assert found == []


def _is_sql(node: ast.expr) -> bool:
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    text = " ".join(part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str))
    return SQL.search(text) is not None


def test_every_source_is_looked_at() -> None:
    assert {path.name for path in SOURCES} >= {"database.py", "searcher.py", "backend.py"}
    assert all(isinstance(path, Path) for path in SOURCES)
