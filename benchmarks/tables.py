"""Tables of figures: what every topic returns, printed and written as Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass
class Table:
    """One topic's figures. Cells are texts; the first column says what was measured."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """How the figures came about; printed below the table."""

    def add(self, *cells: str) -> None:
        """Append a row. Raises ValueError if it has not one cell a column."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells for {len(self.columns)} columns")
        self.rows.append(cells)

    def markdown(self) -> str:
        """Title, table and notes, columns aligned, numbers to the right."""
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = [_line(row, widths) for row in (self.columns, rule, *self.rows)]
        return "\n".join([f"### {self.title}", "", *lines, "", *(f"- {note}" for note in self.notes)]).rstrip() + "\n"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cells[0].ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
    ]
    return f"| {' | '.join(padded)} |"


def quantile(values: Iterable[float], share: float) -> float:
    """The smallest value that so large a share of all is not above (nearest rank). Raises ValueError without values."""
    ranked = sorted(values)
    if not ranked:
        raise ValueError("nothing was measured")
    return ranked[max(0, math.ceil(share * len(ranked) - 1e-9) - 1)]


def p50_p99(values: Sequence[float]) -> tuple[float, float]:
    return quantile(values, 0.5), quantile(values, 0.99)


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def number(value: float) -> str:
    """Three figures that count, thousands set apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values: Sequence[float]) -> str:
    """The median, and the range it comes from when there were several."""
    middle = number(median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))}-{number(max(values))})"


def runs(count: int) -> str:
    """How a figure came about that was measured so often."""
    return "one run" if count == 1 else f"median and range of {count} runs"
