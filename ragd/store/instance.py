"""Which database this is: a random number that it has for life, so in every backup and after every restore."""

from __future__ import annotations

from collections.abc import Sequence

from ragd.store.database import Row

INSTANCE_SQL = "SELECT value FROM counter WHERE name = 'instance'"


def instance_of(rows: Sequence[Row]) -> str:
    """16 hexadecimal digits from what INSTANCE_SQL returns; "" for a database from before migration 9."""
    return f"{int(str(rows[0][0])) % 2**64:016x}" if rows else ""
