"""What concerns one message costs the same in a channel of a hundred messages and in one of thousands.

SQLite chooses its own way through a query, and one index more may send it through the whole channel for each row. Time
tells only where there are many; the steps of its virtual machine tell at once, and are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ragd.chunking import cell_of
from ragd.store import Store
from ragd.store.chunks import Cell, NewChunk, hash_text
from ragd.store.events import ChannelsSeen, Deleted, Edited, GuildSeen, PageRead, Posted, Reacted
from ragd.store.scope import Filter
from tests.store.factories import CHANNEL, GUILD, at, channel, message
from tests.store.test_erasure import MODEL

STRATEGY = "temporal"
SMALL, LARGE = 100, 4_000
MARGIN = 2.5
"""Trees of pages are deeper where there is more; a walk through the channel would cost 40 times as much."""

LONELY = 77
"""Wrote a single message."""

READER = Filter(frozenset([CHANNEL]))


def filled(path: Path, messages: int) -> Store:
    """A channel with so many messages, each in a chunk of its own."""
    store = Store.open(path)
    ids = [at(nth) for nth in range(messages)]
    ingest = store.ingest()
    ingest.apply([GuildSeen(GUILD, "guild"), ChannelsSeen([channel(ids[-1])])])
    ingest.apply(
        [Posted(message(one, f"words {nth}", author_id=LONELY if nth == 5 else 5)) for nth, one in enumerate(ids)]
    )
    store.chunks.begin_strategies({STRATEGY: 1})
    commit(store, ids)
    store._execute("UPDATE sync_state SET position = (SELECT value FROM counter WHERE name = 'message_change')")
    return store


def commit(store: Store, ids: list[int]) -> None:
    model_id = store.embeddings.register(MODEL).id
    chunks = [NewChunk(f"key {mid}", [mid], f"text {mid}", hash_text(f"text {mid}")) for mid in ids]
    cell = Cell(STRATEGY, CHANNEL, cell_of(ids[0]), ids[0], ids[-1], 0)
    store.chunks.commit_cell(cell, [], chunks, {model_id: {chunk.text_hash: bytes(4) for chunk in chunks}})


def chunk_of(store: Store, message_id: int) -> int:
    return store.vectors.homes([message_id], [STRATEGY])[message_id]


def replace_chunk(store: Store) -> None:
    cell = Cell(STRATEGY, CHANNEL, cell_of(MIDDLE), MIDDLE, MIDDLE, 0)
    new = NewChunk("new", [MIDDLE], "new text", hash_text("new text"))
    store.chunks.commit_cell(
        cell, [chunk_of(store, MIDDLE)], [new], {store.embeddings.register(MODEL).id: {new.text_hash: bytes(4)}}
    )


def forget(store: Store) -> None:
    store.people.opt_out(LONELY)
    store.erasures.forget_user(LONELY, at(10**6), "operator")
    for erasure in store.erasures.open():
        store.erasures.erase_some(erasure)


MIDDLE = at(50)
NEW = at(10**6)
KNOWN = message(MIDDLE, "words 50")

OPERATIONS: dict[str, Callable[[Store], object]] = {
    "passages": lambda store: store.vectors.passages([chunk_of(store, MIDDLE)]),
    "bare passages": lambda store: store.vectors.bare_passages([MIDDLE]),
    "neighbours": lambda store: store.vectors.neighbours(CHANNEL, MIDDLE, 3),
    "where new chunks are": lambda store: store.vectors.place_changes(
        STRATEGY, 2 * LARGE, store.vectors.last_change() - 1
    ),
    "canaries": lambda store: store.vectors.canaries_in([chunk_of(store, MIDDLE)]),
    "surroundings": lambda store: store.surroundings.around(MIDDLE, READER, 3, 3),
    "people": lambda store: store.surroundings.people("nobody"),
    "a rare word": lambda store: store.lookup.ranked([store.lookup.term("50", READER)], READER, 10),
    "newest": lambda store: store.lookup.newest_id(READER),
    "lag": lambda store: store.lookup.lag(READER),
    "trace": lambda store: (store.traces.message(MIDDLE), store.traces.chunks(MIDDLE)),
    "what is kept of a member": lambda store: store.people.kept(LONELY),
    "post": lambda store: store.ingest().apply([Posted(message(NEW))]),
    "page": lambda store: store.ingest().apply([PageRead(GUILD, CHANNEL, NEW, NEW, [message(NEW)])]),
    "page that is known": lambda store: store.ingest().apply([PageRead(GUILD, CHANNEL, MIDDLE, MIDDLE, [KNOWN])]),
    "reaction": lambda store: store.ingest().apply([Reacted(MIDDLE, "+", 1)]),
    "channel": lambda store: store.ingest().apply([ChannelsSeen([channel(NEW, name="renamed")])]),
    "edit": lambda store: store.ingest().apply([Edited(message(MIDDLE, "other", edited_at=1_700_000_100_000))]),
    "delete": lambda store: store.ingest().apply([Deleted(GUILD, CHANNEL, [MIDDLE])]),
    "chunk": lambda store: commit(store, [NEW]),
    "replace a chunk": replace_chunk,
    "dirty cells": lambda store: store.chunks.dirty_cells(STRATEGY, 10),
    "forget a member": forget,
    "keep all": lambda store: store.erasures.keep_from({CHANNEL: at(0)}),
    "mark as deleted in time": lambda store: store.erasures.keep_deleted_until(2_000_000_000_000),
    "coverage": lambda store: store.coverage.holes(),
    "erase deleted": lambda store: store.erasures.erase_deleted(2_000_000_000_000),
}


def steps_of(store: Store, operation: Callable[[Store], object]) -> int:
    """Instructions of SQLite's virtual machine."""
    taken = 0

    def count() -> bool:
        nonlocal taken
        taken += 1
        return False

    connection = store.database.connection()
    connection.set_progress_handler(count, 1)
    try:
        operation(store)
    finally:
        connection.set_progress_handler(None)
    return taken


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    home = tmp_path_factory.mktemp("costs")
    for name, messages in (("small", SMALL), ("large", LARGE)):
        filled(home / name, messages).close()
    return home / "small", home / "large"


@pytest.mark.parametrize("name", OPERATIONS)
def test_one_message_costs_the_same_in_a_large_channel(paths: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    steps = []
    for path in paths:
        copy = tmp_path / path.name
        copy.write_bytes(path.read_bytes())
        store = Store.open(copy)
        steps.append(steps_of(store, OPERATIONS[name]))
        store.close()
    small, large = steps
    assert 0 < large <= MARGIN * small, f"{small} steps among {SMALL} messages, {large} among {LARGE}"
