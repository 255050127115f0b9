"""Vectors to measure an index with: real sentences by the bundled model, and as many more like them as are wanted.

`real` embeds the sentences of SciFact's abstracts, the lines of #ubuntu and the messages of the PyScript chats, about
60,000 texts, in some minutes. `like` makes any number from them: each turned up to 40 degrees to
another text's and towards noise, which keeps topics of uneven size, near copies, and the falling spectrum of sentence
embeddings. Where the data are absent, `synthetic` stands in, which is harder for HNSW.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.chats import read_chats
from benchmarks.scifact import DATA as SCIFACT
from benchmarks.scifact import cut, read_lines
from ragd.embedding import Embedder
from training.irc import DATA as IRC

Vectors = NDArray[np.float32]

DIMENSION = 384
BLOCK = 10_000
OTHER_WEIGHT, NOISE_WEIGHT = 0.6, 0.35
SENTENCE_END = re.compile(r"(?<=[.!?]) +(?=[A-Z])")
IRC_LINE = re.compile(r"\[[0-9:]+\] <[^>]*> (.*)")


def texts() -> list[str]:
    """Distinct texts of three words or more, in a fixed random order; none where the data are absent."""
    found = [message.text for channel in read_chats() for message in channel]
    if SCIFACT.is_dir():
        abstracts = [entry["text"] for entry in read_lines(SCIFACT / "corpus.jsonl")]
        found += [sentence for abstract in abstracts for sentence in SENTENCE_END.split(abstract)]
    for path in sorted(Path(IRC).rglob("*.ascii.txt")):
        lines = path.read_text(encoding="utf-8").splitlines()
        found += [match[1] for match in map(IRC_LINE.fullmatch, lines) if match]
    distinct = sorted({text.strip() for text in found if len(text.split()) >= 3})
    return [distinct[position] for position in np.random.default_rng(5).permutation(len(distinct))]


def real(limit: int, cache: Path | None = None) -> Vectors:
    """Vectors of at most `limit` of `texts`, shape (n, 384); kept in `cache` and taken from there."""
    if cache is not None and cache.exists():
        return np.load(cache)[:limit]
    chosen = texts()[:limit]
    if not chosen:
        return np.empty((0, DIMENSION), np.float32)
    embedder = Embedder.open()
    vectors = embedder.embed(cut(chosen, embedder.max_tokens))
    if cache is not None:
        np.save(cache, vectors)
    return vectors


def like(pattern: Vectors, count: int, seed: int) -> Vectors:
    """`count` unit vectors that lie as `pattern` does."""
    random = np.random.default_rng(seed)
    vectors = np.empty((count, pattern.shape[1]), np.float32)
    spread = pattern.std(axis=0)
    for start in range(0, count, BLOCK):
        block = vectors[start : start + BLOCK]
        block[:] = pattern[random.integers(0, len(pattern), len(block))]
        weight = random.uniform(0, OTHER_WEIGHT, (len(block), 1)).astype(np.float32)
        block += weight * pattern[random.integers(0, len(pattern), len(block))]
        weight = random.uniform(0, NOISE_WEIGHT, (len(block), 1)).astype(np.float32)
        block += weight * spread * random.standard_normal(block.shape, np.float32) / np.float32(np.linalg.norm(spread))
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return vectors


def synthetic(count: int, seed: int) -> Vectors:
    """Unit vectors, shape (count, 384): overlapping topics, one per ten vectors, and a falling spectrum."""
    random = np.random.default_rng(seed)
    vectors = np.random.default_rng(1).standard_normal((10_000, DIMENSION), np.float32)
    vectors = vectors[random.integers(0, 10_000, count)]
    for start in range(0, count, BLOCK):
        block = vectors[start : start + BLOCK]
        block += np.float32(1.5) * random.standard_normal(block.shape, np.float32)
    vectors *= np.arange(1, DIMENSION + 1, dtype=np.float32) ** -0.4
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors
