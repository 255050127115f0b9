"""Discord's snowflake ids: 42 bits of milliseconds since 2015, then 22 bits that tell ids of one millisecond apart."""

from __future__ import annotations

DISCORD_EPOCH_MS = 1_420_070_400_000
"""2015-01-01T00:00:00Z in Unix milliseconds (Discord developer documentation, "Snowflakes")."""

_TIME_SHIFT = 22


def to_unix_ms(snowflake: int) -> int:
    """When the id was made, in Unix milliseconds."""
    return (snowflake >> _TIME_SHIFT) + DISCORD_EPOCH_MS


def to_unix_seconds(snowflake: int) -> float:
    """When the id was made, in Unix seconds."""
    return to_unix_ms(snowflake) / 1000


def from_unix_seconds(seconds: float) -> int:
    """The lowest id of that moment; 0 for moments before Discord's epoch."""
    return max(0, int(seconds * 1000) - DISCORD_EPOCH_MS) << _TIME_SHIFT


def read_snowflake(text: str) -> int | None:
    """An id as people type it, None for anything else; never one that SQLite cannot hold."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None
    return number if number is not None and number < 1 << 63 else None
