"""What a check says: a verdict, a figure, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ragd.alerts import Severity


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warn"
    """Nothing is lost or late for anybody yet."""
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of a check. `name` is also the key of its alert, if there is one."""

    name: str
    verdict: Verdict = Verdict.OK
    figure: float | None = None
    unit: str = ""
    """`bytes`, `seconds`, or what is counted, as in `messages`."""
    text: str = ""
    """What is the matter, without figures that change from run to run; empty if nothing is worth saying."""
    hint: str = ""
    alert: Severity | None = None
    """How loudly it is told; None for what is only noted, or told by somebody who knows more."""

    @property
    def sentence(self) -> str:
        """Text, figure and hint in one line, for an alert."""
        figure = f" ({format_figure(self.figure, self.unit)})" if self.figure is not None else ""
        return f"{self.text}{figure}" + (f" - {self.hint}" if self.hint else "")


def ok(name: str, figure: float | None = None, unit: str = "", text: str = "") -> Outcome:
    return Outcome(name, Verdict.OK, figure, unit, text)


def note(name: str, text: str, figure: float | None = None, unit: str = "", hint: str = "") -> Outcome:
    """A warning that disturbs nobody: it is seen by who looks."""
    return Outcome(name, Verdict.WARN, figure, unit, text, hint)


def warn(name: str, text: str, figure: float | None = None, unit: str = "", hint: str = "") -> Outcome:
    """A warning that somebody should hear of."""
    return Outcome(name, Verdict.WARN, figure, unit, text, hint, Severity.WARNING)


def fail(name: str, text: str, figure: float | None = None, unit: str = "", hint: str = "") -> Outcome:
    return Outcome(name, Verdict.FAIL, figure, unit, text, hint, Severity.ERROR)


def fail_quietly(name: str, text: str, figure: float | None = None, unit: str = "", hint: str = "") -> Outcome:
    """A failure whose alert is somebody else's: a worker's keeper, or the check of what it depends on."""
    return Outcome(name, Verdict.FAIL, figure, unit, text, hint)


def format_figure(figure: float | None, unit: str) -> str:
    """`12.0 MiB`, `350 ms`, `3 messages`; empty for None."""
    if figure is None:
        return ""
    if unit == "seconds":
        return f"{figure * 1000:.0f} ms" if 0 < abs(figure) < 1 else f"{figure:,.0f} s"
    if unit == "bytes":
        return f"{figure / 2**20:,.1f} MiB" if figure < 2**30 else f"{figure / 2**30:,.2f} GiB"
    if unit == "percent":
        return f"{figure:.0f} %"
    return f"{figure:,.0f} {unit if figure != 1 else unit.removesuffix('s')}".strip()
