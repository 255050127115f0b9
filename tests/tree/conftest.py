"""Fixtures of the acceptance tests: a stage and a tree a module, whose log is shown with every failure."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.tree.stage import Stage
from tests.tree.tree import Tree


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A directory whose path leaves room for UNIX sockets, which end at 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ragd-") as directory:
        yield Path(directory)


@pytest.fixture(scope="module")
def seeded() -> float:
    """How much of the community's history is past when the module begins; a module may override it."""
    return 1.0


@pytest.fixture(scope="module")
def stage(seeded: float) -> Iterator[Stage]:
    with Stage(seeded=seeded) as stage:
        yield stage


@pytest.fixture(scope="module")
def tree(stage: Stage, home: Path) -> Iterator[Tree]:
    """A tree that works."""
    with Tree(stage.variables(home)) as tree:
        yield tree.start().running()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Tree):
                report.sections.append(("the log of ragd", value.tail()))
    return report
