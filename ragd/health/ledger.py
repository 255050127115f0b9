"""What the checks said: the last word of each, and tallies that wait to be written into the store."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from ragd.health.outcome import Outcome, Verdict
from ragd.health.survey import Page
from ragd.store.health import CheckState, Tally, slot_of

_RUNS, _WARNINGS, _FAILURES = range(3)


class Ledger:
    """For one thread. Tallies are kept until a page with them is written, however long that takes: a row a slot."""

    def __init__(self) -> None:
        self.last: dict[str, Outcome] = {}
        """By name."""
        self.runs: Counter[str] = Counter()
        """Since this watchdog started, by name."""
        self.failures: Counter[str] = Counter()
        self.changed = False
        """Whether a verdict has become another one since the last page."""
        self._waiting: dict[tuple[str, int], list[int]] = {}
        self._since: dict[str, tuple[Verdict, int]] = {}
        self._checked_at: dict[str, int] = {}

    def enter(self, outcome: Outcome) -> None:
        """One run of a check."""
        now = int(time.time())
        name, failed = outcome.name, outcome.verdict is Verdict.FAIL
        if name not in self._since or self._since[name][0] is not outcome.verdict:
            self._since[name] = outcome.verdict, now
            self.changed = True
        self.last[name], self._checked_at[name] = outcome, now
        self.runs[name] += 1
        self.failures[name] += failed
        self._add(name, slot_of(now), (1, outcome.verdict is Verdict.WARN, failed))

    def _add(self, name: str, slot: int, counts: Iterable[int]) -> None:
        row = self._waiting.setdefault((name, slot), [0, 0, 0])
        for column, count in enumerate(counts):
            row[column] += count

    def take(self) -> Page:
        """What is to be written now; `put_back` what could not be."""
        tallies = [
            Tally(name, slot, row[_RUNS], row[_WARNINGS], row[_FAILURES]) for (name, slot), row in self._waiting.items()
        ]
        self._waiting, self.changed = {}, False
        return Page([self._state(outcome) for outcome in self.last.values()], tallies)

    def put_back(self, page: Page) -> None:
        for tally in page.tallies:
            self._add(tally.name, tally.slot, (tally.runs, tally.warnings, tally.failures))

    def _state(self, outcome: Outcome) -> CheckState:
        return CheckState(
            name=outcome.name,
            verdict=outcome.verdict.value,
            figure=outcome.figure,
            unit=outcome.unit,
            text=outcome.text,
            hint=outcome.hint,
            checked_at=self._checked_at[outcome.name],
            changed_at=self._since[outcome.name][1],
        )
