"""Measures the bundled embedder: texts a second, memory, and how long a query takes, with 1 and 2 threads.

    python -m benchmarks.embedding [threads ...]

Each row comes from a process of its own, as peak memory does not go down. Texts are neighbouring messages of the
chats in ../shared/data/pyscript-discord, or of the bundled demo community where that folder is absent. On a busy
machine trust the CPU seconds more than the rate.
"""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil

from ragd.embedding import Embedder

ROOT = Path(__file__).resolve().parent.parent
CHATS = ROOT.parent / "shared" / "data" / "pyscript-discord"
DEMO = ROOT / "ragd" / "sandbox" / "demo" / "community.json"
WORDS = 30
TEXTS = 600
QUERIES = 200
ONE_RUN = "--one-run"


def messages() -> list[str]:
    """The text of every message, in the order it was written, channel by channel."""
    if CHATS.is_dir():
        exports = (json.loads(path.read_bytes()) for path in sorted(CHATS.glob("*.json")))
        return [message["content"] for export in exports for message in export["messages"]]
    print("../shared/data/pyscript-discord is absent: the demo community instead", file=sys.stderr)
    demo: dict[str, Any] = json.loads(DEMO.read_bytes())
    return [entry["text"] for entry in [*demo["history"], *demo["chatter"]] if "text" in entry]


def passages(texts: Iterable[str]) -> Iterator[str]:
    """Neighbouring messages joined until they have WORDS words."""
    pending: list[str] = []
    for text in filter(None, texts):
        pending.append(text)
        if sum(len(part.split()) for part in pending) >= WORDS:
            yield "\n".join(pending)
            pending = []


def sample(embedder: Embedder) -> list[str]:
    """TEXTS passages that the model can read, the same ones each time."""
    texts = [text for text in passages(messages()) if embedder.count_tokens(text) <= embedder.max_tokens]
    random.Random(0).shuffle(texts)
    return texts[:TEXTS]


def resident_megabytes() -> float:
    """Memory of this process now."""
    return float(psutil.Process().memory_info().rss / 1e6)


def peak_megabytes() -> float:
    """The most that it ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measure(threads: int) -> None:
    """Prints one row."""
    bare = resident_megabytes()
    begun = time.perf_counter()
    embedder = Embedder.open(threads=threads)
    opening, loaded = time.perf_counter() - begun, resident_megabytes()
    texts = sample(embedder)
    tokens = sum(map(embedder.count_tokens, texts)) / len(texts)
    begun, cpu = time.perf_counter(), time.process_time()
    embedder.embed(texts)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    median, worst = query_milliseconds(embedder, texts)
    print(
        f"{threads} threads  {len(texts) / seconds:5.1f} texts/s  {len(texts) / cpu:5.1f} texts/CPU s"
        f"  ({len(texts)} texts, {tokens:.0f} tokens)  memory: bare {bare:.0f}, loaded {loaded:.0f},"
        f" peak {peak_megabytes():.0f} MB  open {opening:.2f} s  query {median:.1f} ms, p99 {worst:.1f} ms",
        flush=True,
    )


def query_milliseconds(embedder: Embedder, texts: list[str]) -> tuple[float, float]:
    """Median and 99th percentile of the time of embed_query on the first ten words of a passage."""
    times = []
    for text in texts[:QUERIES]:
        begun = time.perf_counter()
        embedder.embed_query(" ".join(text.split()[:10]))
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times), statistics.quantiles(times, n=100)[-1]


def main() -> None:
    """One process for each number of threads given, or for 1 and 2."""
    if sys.argv[1:2] == [ONE_RUN]:
        measure(int(sys.argv[2]))
        return
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} CPUs", flush=True)
    for threads in sys.argv[1:] or ["1", "2"]:
        subprocess.run([sys.executable, "-m", "benchmarks.embedding", ONE_RUN, threads], check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
