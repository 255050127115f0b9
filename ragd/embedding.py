"""Text to unit vectors on the CPU: a folder with an ONNX graph and its tokenizer, run by onnxruntime.

Nothing is downloaded and nothing is cut in silence. The model that comes with ragd was built with it (see
modelbuild/); RAGD_MODEL_DIR may name the folder of another one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ragd.errors import ConfigError, DamagedError, RagdError

# Else it makes itself an id in ~/.cache and tells Microsoft of each session; it looks once, when it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

Vectors = NDArray[np.float32]
Batch = list[int]
"""Positions of the texts that go through the model together."""

BUNDLED_MODEL = Path(__file__).parent / "model" / "all-MiniLM-L6-v2"
GRAPH, TOKENIZER, MANIFEST = "model.onnx", "tokenizer.json", "manifest.json"
POOLINGS = ("mean", "cls", "none")
SENTENCE_OUTPUTS = ("embedding", "embeddings", "sentence_embedding")
PROBE_TOKENS = 512
"""The most that is tried at start: attention over the 8,192 tokens some models read would take gigabytes."""
TEXT_FORM = 1
"""How `embed` puts a text before the tokenizer: the passage prefix, then the text as it stands. Raise it when that
changes: it is part of the identity, for the hash of a text, under which its vector is kept, does not know of it."""
RESTORE = "install ragd again, or restore the folder of RAGD_MODEL_DIR"
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
    """Over weights, tokenizer and prefixes; for the bundled model not over the graph's form, which may be rewritten."""
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


@dataclass(frozen=True)
class ModelFolder:
    """What a model's folder says about it, read and checked."""

    path: Path
    name: str
    sha256: str
    limits: str
    """What decides how much text it reads: two models with the same limits take the same chunks."""
    pooling: str
    """`none`: the graph's output is pooled already and nothing more is known."""
    max_tokens: int
    query_prefix: str
    passage_prefix: str


class Embedder:
    """One model in memory. Not tied to a thread: `embed` and `embed_query` may run side by side."""

    def __init__(self, folder: ModelFolder, threads: int) -> None:
        """Use `open`, which reads the folder."""
        self._folder = folder
        self._threads = threads
        self._tokenizer = load_tokenizer(folder.path / TOKENIZER)
        self._graph = _Graph(folder.path / GRAPH, folder.pooling)
        dimension = self._probe()
        self.identity = Identity(folder.name, folder.sha256, dimension, folder.pooling, folder.max_tokens)

    @classmethod
    def open(cls, model_dir: Path | None = None, threads: int | None = None) -> Embedder:
        """The model in `model_dir`, None meaning the one that comes with ragd, checked against its manifest.

        `threads` share one session (default: the CPUs this process may use, at most 2). Takes about half a
        second. Raises ConfigError for a folder that is missing or cannot be understood, DamagedError for a file
        that is not what the manifest says or that onnxruntime or tokenizers cannot read.
        """
        if threads is None:
            threads = min(2, len(os.sched_getaffinity(0)))
        return cls(read_folder(model_dir or BUNDLED_MODEL), threads)

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

        A text has the same vector alone and in company, to float32's rounding. Raises TextTooLongError, before
        any work is done, for a text of more than `max_tokens`: what is not read cannot be found.
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


class _Graph:
    """The onnxruntime session, and how to feed and read this graph."""

    def __init__(self, path: Path, pooling: str) -> None:
        self._session = _open_session(path)
        self._inputs = {node.name for node in self._session.get_inputs()}
        if strange := (self._inputs ^ {"input_ids"}) - {"attention_mask", "token_type_ids"}:
            raise ConfigError(f"{path}: cannot feed a model whose inputs differ by {', '.join(sorted(strange))}")
        self._output, self._pooled = _choose_output(path, self._session.get_outputs(), pooling)
        self._pooling = pooling

    def run(self, tokens: Sequence[list[int]]) -> Vectors:
        """Unit vectors, float32 (texts, dimension), of texts given as token ids."""
        ids = np.zeros((len(tokens), max(map(len, tokens))), np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(tokens):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        offered = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        feed = {name: offered[name] for name in self._inputs}
        output: Vectors = self._session.run([self._output], feed)[0]
        return _normalise(output if self._pooled else _pool(output, mask, self._pooling))


def _open_session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    # one thread a run: ragd's own threads share the session, and the default pool would spin on CPUs others need
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # shapes change with every batch, so a memory pattern per shape would only pile up
    options.enable_mem_pattern = False
    # the next level may fuse Add + LayerNormalization into a node up to ten times slower on the CPU, and the model
    # that comes with ragd gains nothing from it
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no other base
        raise DamagedError(f"{path}: onnxruntime cannot load it: {error}") from error


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


def _choose_output(path: Path, outputs: Sequence[Any], pooling: str) -> tuple[str, bool]:
    """The output to read, and whether it is pooled: a sentence's vector by name, else token states, else the only one.

    An unnamed 2-d output beside token states is BERT's pooler, trained for another task.
    """
    named = [node.name for node in outputs if len(node.shape) == 2 and node.name in SENTENCE_OUTPUTS]
    states = [node.name for node in outputs if len(node.shape) == 3]
    if named:
        return named[0], True
    if states and pooling != "none":
        return states[0], False
    if len(outputs) == 1 and len(outputs[0].shape) == 2:
        return outputs[0].name, True
    raise ConfigError(
        f"{path}: cannot tell which output is the text's vector or how to pool it",
        hint=f'put {{"pooling": "mean"}} or "cls" into {MANIFEST} beside it',
    )


def _pool(states: Vectors, mask: NDArray[np.int64], pooling: str) -> Vectors:
    """Token states (texts, tokens, dimension) to (texts, dimension): the first one's, or the mean of the real."""
    if pooling == "cls":
        return states[:, 0]
    weights = mask[:, :, None].astype(np.float32)
    mean: Vectors = (states * weights).sum(axis=1) / weights.sum(axis=1)
    return mean


def _normalise(vectors: Vectors) -> Vectors:
    """Rows divided by their L2 length; whatever a model declares, ragd's index compares directions."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)


def read_folder(path: Path) -> ModelFolder:
    """Reads what `path` says about its model and verifies every checksum its manifest gives.

    Understands ragd's manifest.json and, for what that leaves open, the files of sentence-transformers and the
    tokenizer. Raises ConfigError, DamagedError.
    """
    _require_files(path)
    manifest = _read_json(path / MANIFEST)
    sums = _verified_sums(path, manifest.get("files", {}))
    query, passage = _prefixes(path, manifest)
    pooling, max_tokens = _pooling(path, manifest), _max_tokens(path, manifest)
    content = manifest.get("fingerprint") or "".join(sums.values())
    return ModelFolder(
        path=path,
        name=str(manifest.get("name", path.resolve().name)),
        sha256=hashlib.sha256(f"{content}\0{query}\0{passage}".encode()).hexdigest(),
        limits=f"{max_tokens} {hashlib.sha256(f'{sums[TOKENIZER]}{passage}'.encode()).hexdigest()[:16]}",
        pooling=pooling,
        max_tokens=max_tokens,
        query_prefix=query,
        passage_prefix=passage,
    )


def _require_files(path: Path) -> None:
    missing = [name for name in (GRAPH, TOKENIZER) if not (path / name).is_file()]
    if path == BUNDLED_MODEL and missing:
        raise ConfigError(
            f"{path}: the bundled model is not there", hint="install ragd with pip, or name a folder in RAGD_MODEL_DIR"
        )
    if not path.is_dir():
        raise ConfigError(f"RAGD_MODEL_DIR={path}: must be a folder", hint=f"with {GRAPH} and {TOKENIZER} in it")
    if missing:
        raise ConfigError(f"RAGD_MODEL_DIR={path}: lacks {' and '.join(missing)}")


def _verified_sums(path: Path, expected: Mapping[str, str]) -> dict[str, str]:
    """sha256 by file name, of what the vectors depend on. Raises DamagedError where `expected` says otherwise."""
    # "model.onnx*" takes in the weights that a graph may keep in a file of their own
    names = {TOKENIZER, *expected, *(file.name for file in path.glob(f"{GRAPH}*"))}
    sums = {name: _file_sha256(path / name) for name in sorted(names)}
    for name, checksum in expected.items():
        if sums[name] != checksum:
            raise DamagedError(
                f"{path / name} has sha256 {sums[name][:12]}, its manifest says {checksum[:12]}", hint=RESTORE
            )
    return sums


def _pooling(path: Path, manifest: Mapping[str, Any]) -> str:
    declared = manifest.get("pooling")
    if declared is None:
        modes = _read_json(path / "1_Pooling" / "config.json")
        flags = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}
        declared = next((name for name, flag in flags.items() if modes.get(flag)), "none")
    if declared not in POOLINGS:
        raise ConfigError(f"{path / MANIFEST}: pooling={declared!r}: must be one of {', '.join(POOLINGS)}")
    return str(declared)


def _max_tokens(path: Path, manifest: Mapping[str, Any]) -> int:
    declared = manifest.get("max_tokens") or _read_json(path / "sentence_bert_config.json").get("max_seq_length")
    declared = declared or (_read_json(path / TOKENIZER).get("truncation") or {}).get("max_length")
    if not isinstance(declared, int) or declared < 8:
        raise ConfigError(
            f"{path}: max_tokens={declared!r}: must be a number of at least 8",
            hint=f'put {{"max_tokens": 256}}, or what the model reads, into {MANIFEST} beside it',
        )
    return declared


def _prefixes(path: Path, manifest: Mapping[str, Any]) -> tuple[str, str]:
    """What to write before a question and before a passage."""
    prompts = _read_json(path / "config_sentence_transformers.json").get("prompts", {})
    query = manifest.get("query_prefix", prompts.get("query", ""))
    passage = manifest.get("passage_prefix", prompts.get("document", prompts.get("passage", "")))
    return str(query), str(passage)


def _read_json(path: Path) -> dict[str, Any]:
    """The object in the file; empty when there is no such file."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise DamagedError(f"{path}: must hold a JSON object")
    return found


def _file_sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DamagedError(f"{path}: {error.strerror}", hint=RESTORE) from error
