"""What can be said of an index as a whole: how it is, and whether it agrees with the store."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, cast

import numpy as np

from ragd.errors import NoPermissionError, RagdError, UsageError
from ragd.index import IndexStats
from ragd.index.scan import Labels
from ragd.store.vectors import Members

Action = Literal["stats", "check", "rebuild"]
ACTIONS: tuple[Action, ...] = ("stats", "check", "rebuild")


@dataclass(frozen=True, slots=True)
class Differences:
    """Between an index and the store, in chunks."""

    missing: int
    """Not in the index, though in the store, with a vector, since before the index followed last."""
    strange: int
    """In the index and not in the store."""


@dataclass(frozen=True, slots=True)
class IndexState:
    """One strategy's index in a searcher that runs."""

    strategy: str
    stats: IndexStats
    position: int
    behind: int
    """Chunk changes not followed yet."""
    expected: int | None
    """How many vectors there are to read from the database; None when it is not being filled."""

    def progress(self) -> str:
        """How far the filling is."""
        if self.expected:
            return f"{self.strategy}: {self.stats.live:,} of {self.expected:,} vectors read from the database"
        return f"{self.strategy}: {self.behind:,} changes to follow"

    def document(self) -> dict[str, Any]:
        """As JSON over the socket."""
        return asdict(self)


def compare(labels: Labels, members: Members) -> Differences:
    """Whether an index holds what it must and nothing that it may not."""
    due, free = np.array(members.due, np.int64), np.array(members.open, np.int64)
    return Differences(
        missing=int(len(due) - np.isin(due, labels).sum()),
        strange=int(len(labels) - np.isin(labels, np.concatenate([due, free])).sum()),
    )


class IndexRequest(NamedTuple):
    """What `ragdctl index` asks of the searcher."""

    action: Action
    strategies: tuple[str, ...]


def read_index_request(asked: object, strategies: Collection[str]) -> IndexRequest:
    """A request's JSON. Raises RagdError naming what is wrong."""
    action = asked.get("action") if isinstance(asked, dict) else None
    if action not in ACTIONS:
        raise RagdError(f"action must be one of {', '.join(ACTIONS)}")
    return IndexRequest(
        cast(Action, action), chosen_strategies(cast(dict[str, Any], asked).get("strategy"), strategies)
    )


def chosen_strategies(strategy: object, strategies: Collection[str]) -> tuple[str, ...]:
    """The one, or all for None. Raises UsageError for one that has no index."""
    if strategy is None:
        return tuple(strategies)
    if strategy not in strategies:
        raise UsageError(f"no index of strategy {strategy!r}", hint=f"there are {', '.join(strategies)}")
    return (str(strategy),)


def require_owner(connection: socket.socket) -> None:
    """Raise NoPermissionError unless who asks is root or the user that we run as: others may search, no more."""
    form = "3i"
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(form))
    _, uid, _ = struct.unpack(form, credentials)
    if uid not in (0, os.geteuid()):
        raise NoPermissionError("only the user that runs ragd may do that")
