"""What commands need of the process they run in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

import discord

from ragd.answering import Answerer
from ragd.config import Settings
from ragd.heartbeat import Counter
from ragd.store import Store

Result = TypeVar("Result")


class Host(Protocol):
    """capture, as its commands see it. All of it belongs to the event loop."""

    @property
    def settings(self) -> Settings: ...

    @property
    def answerer(self) -> Answerer: ...

    def counters(self) -> Mapping[str, Counter]:
        """What capture's heartbeat says, as it stands now."""
        ...

    def in_store(self, work: Callable[[Store], Result]) -> Awaitable[Result]:
        """Do something short in the thread that holds the store: the writer waits for it."""
        ...

    def hears_of(self, guild: discord.Guild) -> bool:
        """Whether there is a gateway session that tells what changes in a guild."""
        ...

    def resync(self) -> None:
        """List archived threads, fill holes, read recent history again; returns at once."""
        ...
