"""How often somebody may ask: a bucket of tokens a person and one a server. In memory, for one event loop."""

from __future__ import annotations

from dataclasses import dataclass

MOST_BUCKETS = 10_000
"""Kept of each kind; those that are full again are forgotten before there are more."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float
    told: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """When to try again, and whether the asker has not been told that since the last question that was let through."""

    wait_seconds: float
    whole_server: bool
    first: bool


class RateLimit:
    """So many a minute and key, all at once if somebody likes; `now` is monotonic, in seconds."""

    def __init__(self, per_minute: int) -> None:
        self._most = float(per_minute)
        self._per_second = per_minute / 60
        self._buckets: dict[int, _Bucket] = {}

    def bucket(self, key: int, now: float) -> _Bucket:
        """The key's bucket, filled up to now."""
        bucket = self._buckets.get(key)
        if bucket is None:
            self._forget_full(now)
            bucket = self._buckets[key] = _Bucket(self._most, now)
        bucket.tokens = self._level(bucket, now)
        bucket.filled_at = now
        return bucket

    def wait_seconds(self, bucket: _Bucket) -> float:
        """How long until there is a token; 0 if there is one."""
        return max(0.0, (1 - bucket.tokens) / self._per_second)

    def _level(self, bucket: _Bucket, now: float) -> float:
        return min(self._most, bucket.tokens + (now - bucket.filled_at) * self._per_second)

    def _forget_full(self, now: float) -> None:
        if len(self._buckets) >= MOST_BUCKETS:
            kept = {key: one for key, one in self._buckets.items() if self._level(one, now) < self._most}
            self._buckets = kept


class Limits:
    """One kind of question: as often as a person may ask it, wherever, and as all of a server together may."""

    def __init__(self, per_minute: int, guild_per_minute: int) -> None:
        self._people = RateLimit(per_minute)
        self._guilds = RateLimit(guild_per_minute)

    def take(self, user_id: int, guild_id: int, now: float) -> Refusal | None:
        """Count a question; None if it may be answered. One that may not costs nothing."""
        person, guild = self._people.bucket(user_id, now), self._guilds.bucket(guild_id, now)
        waits = self._people.wait_seconds(person), self._guilds.wait_seconds(guild)
        if not any(waits):
            person.tokens -= 1
            guild.tokens -= 1
            person.told = False
            return None
        first, person.told = not person.told, True
        return Refusal(max(waits), waits[1] > waits[0], first)
