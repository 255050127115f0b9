"""Which shards this process holds, and how the gateway session of each is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ragd.config import Settings
from ragd.store.events import SessionBroken


@dataclass(frozen=True, slots=True)
class Shards:
    """The part of a bot's servers that this process serves: those with `(guild_id >> 22) % count` among `ids`."""

    ids: tuple[int, ...] = (0,)
    count: int = 1

    @classmethod
    def of(cls, settings: Settings) -> Shards:
        return cls(settings.held_shards, settings.shard_count)

    @property
    def several(self) -> bool:
        return len(self.ids) > 1

    @property
    def instances(self) -> int:
        """How many processes share the bot, if all hold as many shards as this one."""
        return -(-self.count // len(self.ids))

    def options(self) -> dict[str, Any]:
        """What discord.py's client is told."""
        if self.several:
            return {"shard_ids": list(self.ids), "shard_count": self.count}
        return {"shard_id": self.ids[0], "shard_count": self.count} if self.count > 1 else {}

    def shard_of(self, guild_id: int) -> int:
        """The shard that Discord serves a guild by (reference, "Sharding")."""
        return (guild_id >> 22) % self.count

    def broken(self, shard_id: int) -> SessionBroken:
        """The event of a break: with one shard, it concerns all that this process has."""
        return SessionBroken((shard_id, self.count) if self.several else None)


class Sessions:
    """Of each shard: since when there is a session, or none."""

    def __init__(self, shard_ids: Sequence[int]) -> None:
        now = time.monotonic()
        self._since = dict.fromkeys(shard_ids, now)
        self._began_at = now
        self._connected: set[int] = set()
        self.begun = 0
        self.resumed = 0

    def begin(self, shard_id: int) -> None:
        self.begun += 1
        self._began_at = time.monotonic()
        self._connected.add(shard_id)

    def resume(self, shard_id: int) -> None:
        self.resumed += 1
        self._connected.add(shard_id)

    def lose(self, shard_id: int) -> bool:
        """False if there was none to lose."""
        if shard_id not in self._connected:
            return False
        self._connected.remove(shard_id)
        self._since[shard_id] = time.monotonic()
        return True

    def has(self, shard_id: int) -> bool:
        return shard_id in self._connected

    @property
    def away(self) -> list[int]:
        """Shards without a session."""
        return [shard_id for shard_id in self._since if shard_id not in self._connected]

    @property
    def away_seconds(self) -> float:
        """For how long a shard has had no session, the longest of them; 0 while all have one."""
        now = time.monotonic()
        return max((now - self._since[shard_id] for shard_id in self.away), default=0.0)

    @property
    def age_seconds(self) -> float:
        """Of the youngest session."""
        return time.monotonic() - self._began_at
