"""Texts to tokens, tokens to batches, batches to vectors in the order of the texts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ragd.embedding.folder import BUNDLED_MODEL, TOKENIZER, ModelFolder, read_folder
from ragd.embedding.graph import Graph, Vectors
from ragd.errors import DamagedError, RagdError

Batch = list[int]
"""Positions of the texts that go through the model together."""

PROBE_TOKENS = 512
"""The most that is tried at start: attention over the 8,192 tokens some models read would take gigabytes."""
TEXT_FORM = 1
"""How `embed` puts a text before the tokenizer: the passage prefix, then the text as it stands. Raise it when that
changes: it is part of the identity, for the hash of a text, under which its vector is kept, does not know of it."""
BATCH_TOKENS = 256
"""Padding included. Measured on real messages of 44 tokens a text, one thread: alone 74 texts/s, 128 86, 256 87,
512 87, 1024 78, and less the more padding; 256 needs no more memory than the longest single text."""


class TextTooLongError(RagdError):
    """A text has more tokens than the model reads; `position` is its place in the sequence given."""

    def __init__(self, position: int, tokens: int, max_tokens: int) -> None:
        super().__init__(
            f"text {position} has {tokens} tokens, the model reads {max_tokens}", hint="chunk it smaller or cut it"
        )
        self.position = position
        self.tokens = tokens


@dataclass(frozen=True)
class Identity:
    """What a stored vector depends on. Vectors of different identities must never be compared."""

    name: str
    sha256: str
    """Over weights, tokenizer and prefixes, and the arithmetic of an int8 graph; for the bundled model not over how the
    graph is written, which may change."""
    dimension: int
    pooling: str
    max_tokens: int
    text_form: int = TEXT_FORM

    @property
    def key(self) -> str:
        """A short string, the same on every machine: name, dimension and 16 hex digits over all fields."""
        fields = f"{self.name}\0{self.sha256}\0{self.dimension}\0{self.pooling}\0{self.max_tokens}"
        # the first form came before forms were counted, and its vectors are good
        fields += f"\0{self.text_form}" if self.text_form > 1 else ""
        return f"{self.name}-{self.dimension}-{hashlib.sha256(fields.encode()).hexdigest()[:16]}"


class Embedder:
    """One model in memory. Not tied to a thread: `embed` and `embed_query` may run side by side."""

    def __init__(self, folder: ModelFolder, threads: int) -> None:
        """Use `open`, which reads the folder."""
        self._folder = folder
        self._threads = threads
        self._tokenizer = load_tokenizer(folder.path / TOKENIZER)
        self._graph = Graph(folder.graph, folder.pooling)
        dimension = self._probe()
        self.identity = Identity(folder.name, folder.sha256, dimension, folder.pooling, folder.max_tokens)

    @classmethod
    def open(cls, model_dir: Path | None = None, threads: int | None = None, graph: str = "auto") -> Embedder:
        """The model in `model_dir`, None meaning the one that comes with ragd, checked against its manifest.

        `graph` is `auto`, `int8` or `fp32`, see `read_folder`. `threads` share one session (default: the CPUs this
        process may use, at most 2). Takes about half a second. Raises ConfigError for a folder that is missing or
        cannot be understood, DamagedError for a file that is not what the manifest says or that onnxruntime or
        tokenizers cannot read.
        """
        if threads is None:
            threads = min(2, len(os.sched_getaffinity(0)))
        return cls(read_folder(model_dir or BUNDLED_MODEL, graph), threads)

    @property
    def form(self) -> str:
        """`int8` or `fp32`: the graph in use."""
        return self._folder.form

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.identity.dimension

    @property
    def max_tokens(self) -> int:
        """How many tokens the model reads, special tokens included."""
        return self.identity.max_tokens

    @property
    def limits(self) -> str:
        """What decides `count_tokens` and `max_tokens`: the same for models that take the same chunks."""
        return self._folder.limits

    def count_tokens(self, text: str) -> int:
        """Tokens that `embed` would read for `text`: special tokens and the model's prefix included, nothing cut."""
        return len(self._encode(self._folder.passage_prefix + text))

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 (len(texts), dimension), in the order of `texts`.

        A text has the same vector alone and in company, to float32's rounding, in int8 too. Raises TextTooLongError,
        before any work is done, for a text of more than `max_tokens`: what is not read cannot be found.
        """
        tokens = [self._encode(self._folder.passage_prefix + text) for text in texts]
        for position, ids in enumerate(tokens):
            if len(ids) > self.max_tokens:
                raise TextTooLongError(position, len(ids), self.max_tokens)
        return self._embed_tokens(tokens)

    def embed_query(self, text: str) -> Vectors:
        """The unit vector of a question, float32 (dimension,). A text past `max_tokens` is cut at its end."""
        encoding = self._tokenizer.encode(self._folder.query_prefix + text, add_special_tokens=False)
        encoding.truncate(self.max_tokens - self._tokenizer.num_special_tokens_to_add(False))
        vector: Vectors = self._graph.run([self._tokenizer.post_process(encoding).ids])[0]
        return vector

    def _encode(self, text: str) -> list[int]:
        # not encode_batch: it starts a pool of threads for work that is 1 % of the model's
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def _probe(self) -> int:
        """The dimension; runs the graph once on a long text, for what would fail later had better fail at start."""
        length = min(self._folder.max_tokens, PROBE_TOKENS)
        try:
            vectors = self._graph.run([(self._encode("any text") * length)[:length]])
        except Exception as error:  # onnxruntime's exceptions share no other base
            path = self._folder.path
            raise DamagedError(f"{path}: the graph cannot run on {length} tokens of its tokenizer: {error}") from error
        return int(vectors.shape[1])

    def _embed_tokens(self, tokens: Sequence[list[int]]) -> Vectors:
        vectors = np.empty((len(tokens), self.dimension), np.float32)

        def fill(batch: Batch) -> None:
            vectors[batch] = self._graph.run([tokens[position] for position in batch])

        batches = plan_batches([len(ids) for ids in tokens], BATCH_TOKENS)
        if self._threads == 1 or len(batches) < 2:
            for batch in batches:
                fill(batch)
        else:
            with ThreadPoolExecutor(self._threads, "embed") as pool:
                list(pool.map(fill, batches))
        return vectors


def plan_batches(lengths: Sequence[int], budget: int) -> list[Batch]:
    """Groups of texts of like length, longest first, each at most `budget` tokens with its padding, or one text.

    Padding costs as much as text, so the order of arrival, where a long text pads its neighbours, is the one
    order never to batch in. The longest go first so that threads finish together.
    """
    batches: list[Batch] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(position)
        else:
            batches.append([position])
    return batches


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a file, without cutting and padding. Raises DamagedError."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more precise
        raise DamagedError(f"{path}: tokenizers cannot read it: {error}") from error
    # upstream bakes in a cut at 128 tokens and padding to 128: both would be silent here
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
