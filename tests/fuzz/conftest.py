"""Counts of inputs, told at the end of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fuzz.effort import Tried

_KEY = "inputs tried: "


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Iterator[Tried]:
    """What a test tells its inputs to."""
    counter = Tried()
    yield counter
    request.node.user_properties += [(_KEY + name, count) for name, count in counter.counts.items()]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line for all: reports carry the counts, from other processes too."""
    counts: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "teardown":
                counts.update({key: n for key, n in report.user_properties if key.startswith(_KEY)})
    if counts:
        each = ", ".join(f"{key.removeprefix(_KEY)} {count:,}" for key, count in sorted(counts.items()))
        terminalreporter.write_line(f"fuzzing: {counts.total():,} inputs tried ({each})")
