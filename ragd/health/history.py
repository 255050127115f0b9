"""The last 24 hours of every check, as the store has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ragd.health.examiner import CHECKS
from ragd.store.health import DAY_SECONDS, CheckState, HealthStore, Tally

HOURS = 24

OK_MARK, WARN_MARK, FAIL_MARK, UNKNOWN_MARK = ".", "!", "x", " "


@dataclass(frozen=True, slots=True)
class CheckHistory:
    """What a check says now, and how its last 24 hours were. Times in Unix seconds."""

    name: str
    verdict: str
    figure: float | None
    unit: str
    text: str
    hint: str
    checked_at: int
    changed_at: int
    """Since when the verdict has been this one."""
    runs_24h: int
    warnings_24h: int
    failures_24h: int
    timeline: str
    """A character an hour, the present one last: the worst it was then, see *_MARK."""


def read_history(store: HealthStore, now: float) -> tuple[CheckHistory, ...]:
    """By the order of CHECKS; checks that this ragd does not know come last. Raises RagdError."""
    tallies = store.tallies(now - DAY_SECONDS)
    found = [
        _history(state, [tally for tally in tallies if tally.name == state.name], now)
        for state in store.states()  # once: the watchdog may add a check at any moment
    ]
    return tuple(sorted(found, key=lambda check: (_rank(check.name), check.name)))


def _rank(name: str) -> int:
    return CHECKS.index(name) if name in CHECKS else len(CHECKS)


def _history(state: CheckState, tallies: list[Tally], now: float) -> CheckHistory:
    return CheckHistory(
        name=state.name,
        verdict=state.verdict,
        figure=state.figure,
        unit=state.unit,
        text=state.text,
        hint=state.hint,
        checked_at=state.checked_at,
        changed_at=state.changed_at,
        runs_24h=sum(tally.runs for tally in tallies),
        warnings_24h=sum(tally.warnings for tally in tallies),
        failures_24h=sum(tally.failures for tally in tallies),
        timeline="".join(_mark(hour) for hour in _hours(tallies, now)),
    )


def _hours(tallies: Iterable[Tally], now: float) -> list[list[Tally]]:
    """Tallies by the hour before `now` in which their slot began, the last one at the end."""
    hours: list[list[Tally]] = [[] for _ in range(HOURS)]
    for tally in tallies:
        ago = int((now - tally.slot) // 3600)
        hours[HOURS - 1 - min(max(0, ago), HOURS - 1)].append(tally)
    return hours


def _mark(hour: list[Tally]) -> str:
    if any(tally.failures for tally in hour):
        return FAIL_MARK
    if any(tally.warnings for tally in hour):
        return WARN_MARK
    return OK_MARK if hour else UNKNOWN_MARK
