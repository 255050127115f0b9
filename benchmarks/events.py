"""A million live events: what capture's memory does meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psutil

from benchmarks.gateway import connected
from benchmarks.million import LONGEST_SECONDS, checkpointed
from benchmarks.stage import last_change, sandbox, texts, variables, worker, workspace
from benchmarks.tables import Table, number
from ragd.errors import RagdError
from ragd.store import Store
from tests.processes import Place, Process, furnish

FULL: dict[str, Any] = {"events": 1_000_000, "samples": 10}
QUICK: dict[str, Any] = {"events": 10_000, "samples": 5}

POSTS, EDITS, BULKS = 890, 100, 10
"""Events of one batch; a bulk delete is one event, and together they delete what the batch before posted."""

BATCH = POSTS + EDITS + BULKS
CHANGES = 2 * POSTS + EDITS
"""Writes to messages that a batch causes: each deleted message is one."""

AHEAD = 3 * CHANGES
"""How far Discord may be ahead of the last commit."""


def run(events: int, samples: int) -> list[Table]:
    """Send them as fast as capture commits them, and look at its memory at equal distances."""
    table = Table("Memory over live events", ["events", "resident MB"])
    with sandbox() as server, workspace() as directory:
        place = furnish(server)  # type: ignore[arg-type]
        with (
            worker("capture", variables(server, directory)) as capture,
            checkpointed(capture.settings.database_path) as store,
        ):
            connected(capture)
            table.add("0", number(resident_mb(capture)))
            began = time.monotonic()
            seen = {0: resident_mb(capture)}
            for done in send(place, store, events):
                if done % (events // samples) < BATCH or done >= events:
                    seen[done] = resident_mb(capture)
                    table.add(f"{done:,}", number(seen[done]))
            seconds = time.monotonic() - began
    late = [mb for done, mb in seen.items() if done >= events / 5]
    table.notes.append(
        f"Growth from a fifth of them to the end: {late[-1] - late[0]:+.1f} MB. {POSTS / BATCH:.0%} posts,"
        f" {EDITS / BATCH:.0%} edits, {BULKS / BATCH:.0%} bulk deletes; {events / seconds:,.0f} events/s, the making of"
        " them included."
    )
    return [table]


def resident_mb(process: Process) -> float:
    return float(psutil.Process(process.process.pid).memory_info().rss) / 1e6


def send(place: Place, store: Store, events: int) -> Iterator[int]:
    """Yield how many events have been sent and all but the last few are committed."""
    contents, before = texts(POSTS), list[int]()
    changes, control = last_change(store), place.control
    for done in range(BATCH, events + BATCH, BATCH):
        posted = control.post_many(place.channel_id, place.member_id, contents)
        control.send("/batch", [*_edits(posted), *_deletes(place.channel_id, before)])
        changes += POSTS + EDITS + len(before)
        before = posted
        _await_change(store, changes if done >= events else changes - AHEAD)
        yield done


def _edits(message_ids: list[int]) -> list[dict[str, Any]]:
    return [{"change": "edit", "message_id": one, "content": f"edited {one}"} for one in message_ids[:EDITS]]


def _deletes(channel_id: int, message_ids: list[int]) -> list[dict[str, Any]]:
    size = POSTS // BULKS
    parts = [message_ids[at : at + size] for at in range(0, len(message_ids), size)]
    return [{"change": "bulk_delete", "channel_id": channel_id, "message_ids": part} for part in parts]


def _await_change(store: Store, wanted: int) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while last_change(store) < wanted:
        if time.monotonic() > deadline:
            raise RagdError(f"change {wanted} is not committed")
        time.sleep(0.005)
