"""The tree that faults are done to, in a small server of its own, with hooks that make its processes sick on order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ragd.sandbox.client import SandboxThread
from ragd.sandbox.gateway import GatewayOptions
from ragd.sandbox.server import SandboxOptions
from tests.processes import Place, environment, furnish
from tests.toytree import ROOT
from tests.tree.tree import Tree

HOOKS = Path(__file__).parent / "hooks"

SLOW_GAP_SECONDS = 10.0
"""From one start of a worker that ends again and again to the next; 300 or 600 in production."""

INTERVALS = {
    "RAGD_HEARTBEAT_SECONDS": "0.5",
    # eight beats and not two: on a machine that does other things besides, a worker may well be late by some
    "RAGD_STALE_SECONDS": "4",
    "RAGD_DEAF_SECONDS": "20",
    "RAGD_EMBED_THREADS": "1",
    "MIN_DISK_GB": "0",
    # as in production, but for the slow pace
    "FAULT_RESTARTS": f"5 1 {SLOW_GAP_SECONDS} 600",
}
"""Those of this suite; the table names production's beside them."""

PAUSE_SECONDS = 0.03
"""Between two looks: the resolution of what is measured."""


class Subject(Tree):
    """A tree, and what can be done to it."""

    def __init__(self, place: Place, home: Path, **overrides: str) -> None:
        orders = home / "orders"
        orders.mkdir(exist_ok=True)
        super().__init__(
            {
                **environment(place.sandbox, home / "data"),
                **INTERVALS,
                "PYTHONPATH": f"{HOOKS}:{ROOT}",
                "FAULT_ORDERS": str(orders),
                **overrides,
            }
        )
        self.place = place
        self.orders = orders
        self._posted = 0

    # Orders

    def order(self, name: str, what: str) -> None:
        """See hooks/sitecustomize.py."""
        (self.orders / f"{name}.{what}").touch()

    def withdraw(self, name: str, what: str) -> None:
        (self.orders / f"{name}.{what}").unlink()

    def starts(self, name: str) -> list[int]:
        """The pids of every process of that name."""
        return [int(pid) for pid in (self.orders / f"{name}.starts").read_text().split()]

    # Looking

    def spot(self, condition: Callable[[], Any], what: str, **more: float) -> Any:
        """`wait` with short pauses."""
        return self.wait(condition, what, pause=PAUSE_SECONDS, **more)

    def works(self, name: str, pid: int) -> bool:
        """Whether another process than that has taken over and its loop goes round."""
        now, beat = self.pids().get(name), self.beats().get(name)
        return now not in (None, pid) and beat is not None and beat.pid == now and beat.state == "running"

    def mark(self) -> int:
        """Where the log ends now, for `said`."""
        return len(self.log_text())

    def said(self, text: str, since: int = 0) -> int:
        """How often the log says that, from a mark on."""
        return self.log_text()[since:].count(text)

    def say_something(self) -> tuple[str, int]:
        """Post what nobody has posted before; returns it and its id."""
        self._posted += 1
        text = f"Notice {self._posted}: the boathouse needs {self._posted} new oars and a coat of green paint"
        return text, self.place.post(text)

    def goes_all_the_way(self) -> None:
        """Wait until something that is posted now is found."""
        text, message_id = self.say_something()
        self.spot(lambda: self.finds(text, message_id), "a new message is found")


@contextmanager
def small_server() -> Iterator[Place]:
    # heartbeats often enough for a test to see them stop
    with SandboxThread(SandboxOptions(gateway=GatewayOptions(heartbeat_interval_ms=500))) as sandbox:
        yield furnish(sandbox)


def connected(tree: Tree) -> bool:
    """Whether capture has a session and has stated and filled everything."""
    return bool(tree.counter("capture", "connected") and tree.counter("capture", "resyncs"))
