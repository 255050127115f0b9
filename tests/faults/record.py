"""What was measured: a row a fault, and the table of them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SLACK = float(os.environ.get("RAGD_FAULT_SLACK", "2"))
"""Bounds are asserted times this, and times the machine's load a core if that is more than one: a machine that does
other work besides starts a process that much later. What is shown is what was measured."""

HEAD = ("fault", "injected by", "detected after", "recovered after", "bound in the suite", "production default")


@dataclass
class Row:
    """One fault. Seconds since it was injected; None where there is nothing to detect or to recover from."""

    fault: str
    injected: str
    bound: str
    production: str
    detected: float | None = None
    recovered: float | None = None
    remark: str = ""

    def cells(self) -> tuple[str, ...]:
        recovered = self.remark if self.recovered is None else _seconds(self.recovered)
        return self.fault, self.injected, _seconds(self.detected), recovered or "-", self.bound, self.production


class Observation:
    """Takes the times of one fault from the moment it is made on."""

    def __init__(self, row: Row, bound_seconds: float | None) -> None:
        self.row = row
        self._bound_seconds = bound_seconds
        self._started = time.monotonic()

    def detected(self) -> None:
        self.row.detected = self.seconds()

    def recovered(self) -> None:
        """Asserts the bound."""
        self.row.recovered = self.seconds()
        if self._bound_seconds is not None:
            slack = SLACK * max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))
            assert self.row.recovered <= self._bound_seconds * slack, (
                f"{self.row.fault}: recovered after {self.row.recovered:.1f} s,"
                f" {self._bound_seconds:g} s times a slack of {slack:.1f} are allowed"
            )

    def detected_before(self, seconds: float) -> None:
        """It was seen so many seconds ago."""
        self.row.detected = round(self.seconds() - seconds, 2)

    def seconds(self) -> float:
        """Since it began."""
        return round(time.monotonic() - self._started, 2)


class Record:
    """All rows of a run."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def begin(
        self, fault: str, *, by: str, production: str, seconds: float | None = None, rule: str = ""
    ) -> Observation:
        """Call right before the fault; `seconds` to recovery are allowed, and `rule` says it if that is no number."""
        bound = "; ".join(part for part in (f"{seconds:g} s" if seconds is not None else "", rule) if part)
        row = Row(fault, by, bound, production)
        self.rows.append(row)
        return Observation(row, seconds)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps([asdict(row) for row in self.rows]))


def load(path: Path) -> list[Row]:
    return [Row(**row) for row in json.loads(path.read_text())]


def markdown(rows: Sequence[Row]) -> str:
    lines = [HEAD, ("---",) * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"
