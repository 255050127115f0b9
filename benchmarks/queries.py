"""Query latency over the searcher's socket: idle, and while the syncer embeds, by size of the index."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

from benchmarks.stage import SandboxProcess, outside, texts, variables, worker, workspace
from benchmarks.tables import Table, number, p50_p99
from benchmarks.vectors import Vectors, synthetic
from ragd.answers import Allowed, SearchRequest
from ragd.chunking import cell_of, strategy_version
from ragd.embedders import BUNDLED, details, source_of
from ragd.embedding import Embedder
from ragd.search_client import ask_searcher
from ragd.snowflake import from_unix_seconds
from ragd.store import Store
from ragd.store.chunks import Cell, NewChunk, hash_text
from ragd.store.events import ChannelsSeen, GuildSeen, MessageRow, Posted
from tests.processes import Process, settings_of, until
from tests.store.factories import CHANNEL, GUILD, channel

FULL: dict[str, Any] = {"sizes": (1_000, 10_000, 96_000), "queries": 150, "limits": (1, 10, 50), "waiting": 6_000}
QUICK: dict[str, Any] = {"sizes": (1_000,), "queries": 20, "limits": (10,), "waiting": 1_500}

STRATEGIES = ("temporal", "conversation")
LIVELY_CHANNEL = CHANNEL + 1
OPERATOR, MEMBER, EMBEDDING = KINDS = ("operator", "member", "embedding")
ALLOW_LIST = Allowed([CHANNEL])
NOWHERE = SandboxProcess("http://127.0.0.1:9/api", "ws://127.0.0.1:9/", "http://127.0.0.1:9")
"""Searcher and syncer never speak to Discord."""

FIRST_SECOND = 1_600_000_000
BATCH = 1_000


def run(sizes: tuple[int, ...], queries: int, limits: tuple[int, ...], waiting: int) -> list[Table]:
    """For each size: queries when nothing else goes on, then while the syncer works on what is waiting."""
    columns = ("vectors", "index built in s", "limit", *(f"{kind} p{at} ms" for kind in KINDS for at in (50, 99)))
    table = Table("Query latency", columns)
    notes = [
        f"{queries} different questions each, one connection each, client's time; model and index are warm. Half of the"
        " vectors in each of the two strategies, synthetic, real messages behind them.",
        "Index built: from the start of a searcher without a snapshot to its first answer.",
        "Operator: who may read everything. Member: with an allow-list, which holds the channel that has them all.",
        "Embedding: a member, while the syncer embeds real messages with 2 threads on the same cores.",
    ]
    for size in sizes:
        built, taken, still_busy = measure(size, queries, limits, waiting)
        for limit in limits:
            cells = [number(value) for kind in KINDS for value in p50_p99(taken[kind][limit])]
            table.add(f"{size:,}", number(built), str(limit), *cells)
        if not still_busy:
            notes.append(f"At {size:,} vectors the syncer was done before the last question was.")
    table.notes += notes
    return [table]


def measure(
    size: int, queries: int, limits: tuple[int, ...], waiting: int
) -> tuple[float, dict[str, dict[int, list[float]]], bool]:
    """Seconds until the searcher is up; milliseconds by kind and limit; whether work was left at the end."""
    with workspace() as directory:
        environ = variables(NOWHERE, directory)
        path = settings_of(environ).database_path
        fill(path, size)
        begun = time.perf_counter()
        with worker("searcher", environ) as searcher:
            built = time.perf_counter() - begun
            taken = {
                OPERATOR: {limit: ask_many(searcher, queries, limit, "operator") for limit in limits},
                MEMBER: {limit: ask_many(searcher, queries, limit, ALLOW_LIST) for limit in limits},
            }
            leave_work(path, waiting)
            with worker("syncer", environ) as syncer:
                until(lambda: syncer.counter("embedded"), "the syncer embeds")
                taken[EMBEDDING] = {limit: ask_many(searcher, queries, limit, ALLOW_LIST) for limit in limits}
                with outside(path) as store:
                    return built, taken, store.chunks.lag() > 0


def ask_many(searcher: Process, queries: int, limit: int, access: Literal["operator"] | Allowed) -> list[float]:
    """How long each answer takes, in milliseconds; the first question is for warming up."""
    taken = []
    for text in texts(queries + 1):
        request = SearchRequest(" ".join(text.split()[:10]), access, limit)
        begun = time.perf_counter()
        ask_searcher(searcher.settings.search_socket, request)
        taken.append((time.perf_counter() - begun) * 1000)
    return taken[1:]


def fill(path: Path, size: int) -> None:
    """A store with so many chunks and their vectors, one message in each, level with its messages."""
    embedder = Embedder.open(threads=1)
    store = Store.open(path)
    messages = size // len(STRATEGIES)
    ids = [from_unix_seconds(FIRST_SECOND + 60 * at) for at in range(messages)]
    post(store, CHANNEL, ids, texts(messages))
    store.chunks.begin_strategies({strategy: strategy_version(strategy) for strategy in STRATEGIES})
    model_id = store.embeddings.register(details(embedder, source_of(BUNDLED, embedder.form))).id
    store.embeddings.serve(model_id)
    vectors = synthetic(size, seed=2)
    for nth, strategy in enumerate(STRATEGIES):
        add_chunks(store, strategy, ids, vectors[nth * messages :], model_id)
    store._execute("UPDATE sync_state SET position = (SELECT value FROM counter WHERE name = 'message_change')")
    store.checkpoint(1.0)
    store.close()


def post(store: Store, channel_id: int, ids: list[int], contents: list[str]) -> None:
    """Store messages as capture does."""
    ingest = store.ingest()
    ingest.apply([GuildSeen(GUILD, "guild"), ChannelsSeen([channel(ids[-1], id=channel_id, name=str(channel_id))])])
    rows = [
        MessageRow(message_id, GUILD, channel_id, 5 + at % 7, f"author{at % 7}", False, 0, content)
        for at, (message_id, content) in enumerate(zip(ids, contents, strict=True))
    ]
    for start in range(0, len(rows), BATCH):
        ingest.apply([Posted(row) for row in rows[start : start + BATCH]])


def add_chunks(store: Store, strategy: str, ids: list[int], vectors: Vectors, model_id: int) -> None:
    """One chunk a message, as the syncer stores them."""
    for start in range(0, len(ids), BATCH):
        part = ids[start : start + BATCH]
        chunks = [
            NewChunk(f"{strategy} {mid}", [mid], f"{strategy} {mid}", hash_text(f"{strategy} {mid}")) for mid in part
        ]
        embedded = {chunk.text_hash: vectors[start + at].tobytes() for at, chunk in enumerate(chunks)}
        cell = Cell(strategy, CHANNEL, cell_of(part[0]), part[0], part[-1], 0)
        store.chunks.commit_cell(cell, [], chunks, {model_id: embedded})


def leave_work(path: Path, messages: int) -> None:
    """Messages that no chunk holds yet, as after a backfill: every one a little different, so all must be embedded."""
    store = Store.open(path)
    ids = [from_unix_seconds(FIRST_SECOND + 60 * at) + 1 for at in range(messages)]
    post(store, LIVELY_CHANNEL, ids, [f"{text} ({at})" for at, text in enumerate(texts(messages))])
    store.close()
