"""The canary's flight: store, chunk, vector, index, query - the way of every message, timed from end to end."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from ragd.errors import UnavailableError
from ragd.search_client import ask_for_canaries
from ragd.store import Store
from ragd.store.canary import CanaryStore

FLIGHT_SECONDS = 60.0
"""After so long it is lost. A new message is found within a second or two; behind a large cell that is being embedded
on a slow core it may be tens of seconds."""

RECALL_SECONDS = 5.0
"""How long the cleaning up is waited for; what is left then, the next flight cleans up."""

POLL_SECONDS = 0.05
ASK_SECONDS = 5.0
BUSY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Flight:
    """How one ended."""

    seconds: float | None
    """From the commit to the answer that has it; None if it never came."""
    lost_at: str = ""
    """Whose turn it was then: `syncer` or `searcher`."""
    problem: str = ""
    """What the searcher said last, if it did not answer."""


def fly(database: Path, search_socket: Path, stopped: threading.Event, limit_seconds: float = FLIGHT_SECONDS) -> Flight:
    """Release one and look for it. Leaves nothing in the store but what a next flight takes away.

    Takes limit_seconds + RECALL_SECONDS and a little at most. Raises RagdError when the store takes no canary.
    """
    with contextlib.closing(Store.open(database, busy_seconds=BUSY_SECONDS)) as store:
        _clean_up(store.canary, stopped, 0.0)
        words = f"ragd canary {uuid4().hex}"
        started = time.monotonic()
        message_id = store.canary.release(words)
        try:
            return _await(store.canary, message_id, words, search_socket, stopped, started, limit_seconds)
        finally:
            _clean_up(store.canary, stopped, RECALL_SECONDS)


def _await(
    canaries: CanaryStore,
    message_id: int,
    words: str,
    search_socket: Path,
    stopped: threading.Event,
    started: float,
    limit_seconds: float,
) -> Flight:
    problem = ""
    while (seconds := time.monotonic() - started) < limit_seconds and not stopped.is_set():
        try:
            problem = ""
            if message_id in ask_for_canaries(search_socket, words, ASK_SECONDS):
                return Flight(time.monotonic() - started)
        except UnavailableError as error:
            problem = error.one_line()
        stopped.wait(POLL_SECONDS if seconds < 1 else 5 * POLL_SECONDS)
    return Flight(None, canaries.waits_for(message_id), problem)


def _clean_up(canaries: CanaryStore, stopped: threading.Event, seconds: float) -> None:
    canaries.recall()
    deadline = time.monotonic() + seconds
    while canaries.bury() and time.monotonic() < deadline and not stopped.is_set():
        stopped.wait(POLL_SECONDS)
