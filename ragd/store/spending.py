"""What written answers have cost, in a language model's tokens: by person and day, kept over restarts.

In `counter`, a row a person and day (UTC), 0 for the operator. What is asked for is taken off before the model is
asked: a process that dies meanwhile has spent too much rather than too little. Days of earlier months are deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from playhouse.apsw_ext import APSWDatabase

from ragd.store.database import Queries

OPERATOR = 0

Cap = Literal["person", "day", "month"]

_PREFIX = "llm_tokens "
_LAST = "~"
"""Sorts behind every digit."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Most tokens a day of one person, and a day and a month of all; the operator has no cap of a person's."""

    person: int
    day: int
    month: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """Tokens taken off before they are spent."""

    name: str
    tokens: int


class SpendingStore(Queries):
    def __init__(self, database: APSWDatabase, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(database)
        self.now = now

    def reserve(self, person_id: int, tokens: int, caps: Caps) -> Reservation | Cap:
        """Take tokens off, or say which cap that would break."""
        now = self.now()
        name = f"{_PREFIX}{now:%Y-%m-%d} {person_id}"
        with self._transaction():
            self._execute("DELETE FROM counter WHERE name >= ? AND name < ?", _PREFIX, f"{_PREFIX}{now:%Y-%m}")
            if person_id != OPERATOR and self._sum(name, name) + tokens > caps.person:
                return "person"
            if self.today() + tokens > caps.day:
                return "day"
            if self._sum(f"{_PREFIX}{now:%Y-%m}-", f"{_PREFIX}{now:%Y-%m}-{_LAST}") + tokens > caps.month:
                return "month"
            self._add(name, tokens)
        return Reservation(name, tokens)

    def settle(self, reserved: Reservation, spent: int) -> None:
        """What it has cost in the end, instead of what was taken off."""
        self._add(reserved.name, spent - reserved.tokens)

    def today(self) -> int:
        """Tokens that all have spent today."""
        day = f"{_PREFIX}{self.now():%Y-%m-%d} "
        return self._sum(day, f"{day}{_LAST}")

    def _sum(self, first: str, last: str) -> int:
        """Of the rows with these names and those between."""
        row = self._one("SELECT coalesce(sum(value), 0) FROM counter WHERE name BETWEEN ? AND ?", first, last)
        return int(row[0])

    def _add(self, name: str, tokens: int) -> None:
        self._execute(
            "INSERT INTO counter (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = max(0, value + excluded.value)",
            name,
            tokens,
        )
