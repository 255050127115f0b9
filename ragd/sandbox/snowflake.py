"""Discord ids: milliseconds since 2015 in the upper 42 bits, a counter in the lower 22.

Source: https://discord.com/developers/docs/reference#snowflakes
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

EPOCH_MS = 1_420_070_400_000
_LOW_BITS = 22
_LOW_MASK = (1 << _LOW_BITS) - 1


def snowflake_ms(snowflake: int) -> int:
    """Unix time in milliseconds at which `snowflake` was made."""
    return (snowflake >> _LOW_BITS) + EPOCH_MS


def snowflake_at(unix_ms: int, low: int = 0) -> int:
    """The snowflake of a Unix time in milliseconds; `low` = 0 gives the smallest one of that millisecond."""
    return ((unix_ms - EPOCH_MS) << _LOW_BITS) | (low & _LOW_MASK)


def iso(unix_ms: int) -> str:
    """`unix_ms` as Discord writes timestamps: ISO 8601 with microseconds and +00:00."""
    seconds, ms = divmod(unix_ms, 1000)
    stamp = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{stamp}.{ms * 1000:06d}+00:00"


def parse_iso(text: str) -> int:
    """Unix milliseconds of an ISO 8601 timestamp; one without zone counts as UTC. Raises ValueError."""
    stamp = datetime.fromisoformat(text)
    if stamp.tzinfo is None:
        stamp = stamp.replace(tzinfo=UTC)
    return round(stamp.timestamp() * 1000)


class SnowflakeClock:
    """Makes ids: `fresh()` for what happens now (strictly increasing), `at()` for history."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last = 0
        self._seeded = 0

    def now_ms(self) -> int:
        """The world's present, Unix milliseconds."""
        return int(self._now() * 1000)

    def fresh(self) -> int:
        """An id of now, greater than every id handed out or noted before."""
        self._last = max(self._last + 1, snowflake_at(self.now_ms()))
        return self._last

    def at(self, unix_ms: int) -> int:
        """An id of a given past millisecond, different from the last four million such ids."""
        self._seeded += 1
        snowflake = snowflake_at(unix_ms, self._seeded)
        self.note(snowflake)
        return snowflake

    def note(self, snowflake: int) -> None:
        """Keep later `fresh()` ids above an id that came from outside (ids of the future are taken at their word)."""
        self._last = max(self._last, snowflake)
