"""Measures ragd and prints one table a topic.

    python -m benchmarks [--quick] [--write] [topic ...]

Everything is real: a local Discord in its own process, ragd's own processes, real files. `--write` puts the tables
into BENCHMARKS.md, together with the command and the machine that made them.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time

from benchmarks.report import describe_run, write_block
from benchmarks.stage import load_average
from benchmarks.tables import Table

TOPICS = (
    *("gateway", "events", "backfill", "million", "exchange"),
    *("sync", "latency", "queries", "retrieval", "growth", "memory", "recovery", "disentangle"),
)


def measure(topic: str, quick: bool) -> list[Table]:
    """One topic's tables, in full or in a size that only shows that it works."""
    module = importlib.import_module(f"benchmarks.{topic}")
    tables: list[Table] = module.run(**(module.QUICK if quick else module.FULL))
    return tables


def main() -> None:
    """Measure the topics asked for, or all."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every process is ended on the way out
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("topics", nargs="*", metavar="topic", help="default: all of " + ", ".join(TOPICS))
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works, measures little")
    parser.add_argument("--write", action="store_true", help="update BENCHMARKS.md")
    asked = parser.parse_args()
    if unknown := set(asked.topics) - set(TOPICS):
        parser.error(f"no topic called {', '.join(sorted(unknown))}; there are {', '.join(TOPICS)}")
    if asked.quick and asked.write:
        parser.error("--quick measures too little to be written down")
    for topic in asked.topics or TOPICS:
        load, begun = load_average(), time.monotonic()
        tables = measure(topic, asked.quick)
        about = describe_run(topic, load, time.monotonic() - begun)
        text = "\n".join([*(table.markdown() for table in tables), about])
        print(text, flush=True)
        if asked.write and tables:
            write_block(topic, text)


if __name__ == "__main__":
    main()
