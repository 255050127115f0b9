"""Fixtures of the fault tests: a server and a tree a module, and the record of what was measured."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.record import Record, markdown
from tests.faults.subject import Subject, small_server
from tests.processes import Place
from tests.tree.conftest import pytest_runtest_makereport  # noqa: F401 - shows a tree's log with a failure

RECORD = Record()


@pytest.fixture(scope="session")
def record() -> Record:
    return RECORD


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A directory whose path leaves room for UNIX sockets, which end at 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ragd-") as directory:
        yield Path(directory)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with small_server() as place:
        yield place


@pytest.fixture(scope="module")
def overrides() -> dict[str, str]:
    """Settings of a module's tree; a module may override it."""
    return {}


@pytest.fixture(scope="module")
def tree(place: Place, home: Path, overrides: dict[str, str]) -> Iterator[Subject]:
    """A tree that works."""
    with Subject(place, home, **overrides) as tree:
        tree.start().running()
        tree.goes_all_the_way()
        yield tree


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if RECORD.rows:
        terminalreporter.section("faults")
        terminalreporter.write_line(markdown(RECORD.rows))
    if path := os.environ.get("FAULT_REPORT"):
        RECORD.save(Path(path))
