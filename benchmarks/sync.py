"""From stored to searchable: how fast chunks are embedded, and how fast the syncer gets through real conversations."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from benchmarks.embedding import sample
from benchmarks.stage import (
    SETTLING_SECONDS,
    chats,
    cpu_seconds,
    indexed,
    outside,
    sandbox,
    variables,
    worker,
    workspace,
)
from benchmarks.tables import Table, number, runs, spread
from ragd.embedding import Embedder
from ragd.store import Counts
from tests.processes import Process, until

FULL: dict[str, Any] = {"rounds": 3, "passages": 300, "threads": (1, 2), "small": False}
QUICK: dict[str, Any] = {"rounds": 1, "passages": 100, "threads": (1, 2), "small": True}

CAPTURE_SECONDS = 60.0


def run(rounds: int, passages: int, threads: tuple[int, ...], small: bool) -> list[Table]:
    """The embedder alone, then syncer and searcher on conversations that capture has stored."""
    return [measure_embedding(rounds, passages, threads), measure_syncer(small)]


def measure_embedding(rounds: int, passages: int, threads: tuple[int, ...]) -> Table:
    """Passages a second, each number of threads in turn."""
    embedders = {count: Embedder.open(threads=count) for count in threads}
    texts = sample(embedders[threads[0]])[:passages]
    rates: dict[int, list[tuple[float, float]]] = {count: [] for count in threads}
    for _ in range(rounds):
        for count, embedder in embedders.items():
            begun, cpu = time.perf_counter(), time.process_time()
            embedder.embed(texts)
            seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
            rates[count].append((len(texts) / seconds, len(texts) / cpu))
    table = Table("Embedding", ["threads", "chunks/s", "chunks/CPU s"])
    for count, measured in rates.items():
        table.add(str(count), spread([rate for rate, _ in measured]), spread([rate for _, rate in measured]))
    tokens = sum(map(embedders[threads[0]].count_tokens, texts)) / len(texts)
    table.notes.append(
        f"{len(texts)} passages of neighbouring messages from the {chats()[1]}, {tokens:.0f} tokens each on average,"
        f" tokenising included; {runs(rounds)}, in turn. Memory and single queries: `python -m benchmarks embedding`."
    )
    return table


@dataclass(frozen=True)
class Synced:
    """What syncer and searcher did with a store."""

    counts: Counts
    texts: list[str]
    """What the chunks say, equal ones once: so many had to be embedded."""
    seconds: float
    cpu_seconds: float


def measure_syncer(small: bool) -> Table:
    """Messages a second from stored to searchable."""
    community, name = chats(small)
    done = sync(community)
    embedded = len(done.texts)
    tokens = sum(map(Embedder.open(threads=1).count_tokens, done.texts)) / embedded
    table = Table("Stored to searchable", ["", "messages", "chunks", "embedded", "seconds", "messages/s", "chunks/s"])
    table.add(
        name,
        f"{done.counts.messages:,}",
        f"{done.counts.chunks:,}",
        f"{embedded:,}",
        number(done.seconds),
        number(done.counts.messages / done.seconds),
        number(embedded / done.seconds),
    )
    table.notes.append(
        "All messages stored by capture beforehand; from the syncer's being up to the searcher's holding a vector of"
        f" every chunk of both strategies. {done.cpu_seconds:.0f} CPU seconds of the syncer. Equal texts are embedded"
        f" once; {tokens:.0f} tokens each on average. One run."
    )
    return table


def sync(community: str) -> Synced:
    """Let capture store a community, stop it, and then let syncer and searcher work on that."""
    with sandbox(community=community) as server, workspace() as directory:
        environ = variables(server, directory, RAGD_HEARTBEAT_SECONDS="0.1")
        with worker("capture", environ) as capture, outside(capture.settings.database_path) as store:
            until(lambda: capture.counter("resyncs"), "history is read", CAPTURE_SECONDS)
            until(lambda: not store.coverage.holes(), "no hole", CAPTURE_SECONDS)
        with worker("searcher", environ) as searcher, worker("syncer", environ) as syncer:
            return _follow(syncer, searcher)


def _follow(syncer: Process, searcher: Process) -> Synced:
    begun = time.perf_counter()
    with outside(syncer.settings.database_path) as store:

        def level() -> Counts | None:
            if store.chunks.lag():
                return None
            counts = store.counts()
            return counts if indexed(searcher.beat()) == counts.vectors == counts.chunks else None

        counts: Counts = until(level, "searcher is level", SETTLING_SECONDS)
        seconds, cpu = time.perf_counter() - begun, cpu_seconds(syncer)
        texts = [row[0] for row in store._all("SELECT DISTINCT text FROM chunk")]
        return Synced(counts, texts, seconds, cpu)
