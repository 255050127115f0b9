"""One onnxruntime session: how it is set up, fed and read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragd.embedding.folder import MANIFEST
from ragd.errors import ConfigError, DamagedError

# Else it makes itself an id in ~/.cache and tells Microsoft of each session; it looks once, when it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

Vectors = NDArray[np.float32]
SENTENCE_OUTPUTS = ("embedding", "embeddings", "sentence_embedding")


class Graph:
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
    # the arena stays: without it the peak of 300 passages was 195 MB instead of 160, for malloc returns pieces of other
    # sizes each time; what the arena holds stops growing after the longest text
    options.enable_cpu_mem_arena = True
    # the next level may fuse Add + LayerNormalization into a node up to ten times slower on the CPU, and the model
    # that comes with ragd gains nothing from it
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no other base
        raise DamagedError(f"{path}: onnxruntime cannot load it: {error}") from error


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
