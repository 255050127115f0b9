"""Counts what members and operators have wished not to be kept, so that of two copies the later one can be told."""

from __future__ import annotations

from ragd.store.database import Queries

WISHES = "wishes"
"""Counter: it grows with every change of `person`, `opt_in_channel`, `consent` and `cutoff`."""


class WishQueries(Queries):
    """Base of who changes one of these tables."""

    def wishes(self) -> int:
        """How many there have been; 0 in a new database."""
        rows = self._all("SELECT value FROM counter WHERE name = ?", WISHES)
        return int(rows[0][0]) if rows else 0

    def _count_wish(self) -> None:
        """To be called in the transaction that changes one of them."""
        self._execute(
            "INSERT INTO counter (name, value) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1", WISHES
        )
