"""Finds by which powers of two the int8 graph evens out its channels, and writes modelbuild/smoothing.json.

    python -m training.smoothing

Xiao et al. 2023 (SmoothQuant), equation 4 with alpha 0.5, for the inputs of attention and of the first dense part of
each layer, where the same few channels are large in every text: those are divided by the nearest power of two, which
rounds nothing. The other channels and inputs gain nothing by it (top-10 overlap with fp32 .949 without, .960 with all
channels evened out, .962 with the large ones).

The largest activations are those of fp32 over #ubuntu's half-days of 2004-2016 (../shared/data/irc-disentanglement,
CC-BY-4.0), lines joined to passages. Nothing of what the graph is scored on is read.
"""

from __future__ import annotations

import json
import random
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper
from tokenizers import Tokenizer

from modelbuild.smoothing import TABLE, part_of
from ragd.embedding import BUNDLED_MODEL
from training import irc

ALPHA = 0.5
PASSAGES = 400
WORDS = 30
SEED = 1

Values = NDArray[np.float32]


def passages() -> list[str]:
    """Neighbouring lines joined until they have WORDS words, PASSAGES of them, the same ones each time."""
    found, pending = [], []
    for message in (message for day in irc.read_days() for message in day.messages):
        pending.append(message.text)
        if sum(len(text.split()) for text in pending) >= WORDS:
            found.append("\n".join(pending))
            pending = []
    return random.Random(SEED).sample(found, PASSAGES)  # noqa: S311  repeatable on purpose


def watched(model: onnx.ModelProto) -> dict[str, str]:
    """By the input that several dense parts may share, the name that its shifts have."""
    products = (node.input for node in model.graph.node if node.op_type == "MatMul")
    given = {weight.removesuffix(".weight"): states for states, weight in products}
    wanted = (".self.query", ".intermediate.dense")
    return {states: part_of(name) for name, states in given.items() if name.endswith(wanted)}


def largest_activations(model: onnx.ModelProto, texts: Sequence[str]) -> dict[str, Values]:
    """By part, the largest absolute value of each input channel over all tokens of `texts`."""
    inputs = watched(model)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inputs)
    onnx.external_data_helper.load_external_data_for_model(model, str(BUNDLED_MODEL))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(BUNDLED_MODEL / "tokenizer.json"))
    tokenizer.no_padding()
    largest: dict[str, Values] = {}
    for text in texts:  # cut at 128 tokens, as the tokenizer's file has it
        row = np.array([tokenizer.encode(text).ids], np.int64)
        values = session.run(list(inputs), {"input_ids": row, "attention_mask": np.ones_like(row)})
        for part, states in zip(inputs.values(), values, strict=True):
            largest[part] = np.maximum(largest.get(part, np.float32(0)), np.abs(states[0]).max(axis=0))
    return largest


def largest_weights(model: onnx.ModelProto) -> dict[str, Values]:
    """By part, the largest absolute weight that each input channel meets."""
    largest: dict[str, Values] = defaultdict(lambda: np.float32(0))
    for tensor in model.graph.initializer:
        if tensor.name.endswith(".weight") and len(tensor.dims) == 2:
            part = part_of(tensor.name.removesuffix(".weight"))
            largest[part] = np.maximum(largest[part], np.abs(numpy_helper.to_array(tensor)).max(axis=1))
    return largest


def shifts(activations: Mapping[str, Values], weights: Mapping[str, Values]) -> dict[str, dict[str, int]]:
    """Equation 4 of the paper, centred so that the typical channel keeps its size; what is above 0, by channel."""
    found = {}
    for part, largest in sorted(activations.items()):
        exponents = ALPHA * np.log2(largest) - (1 - ALPHA) * np.log2(weights[part])
        rounded = np.rint(exponents - np.median(exponents)).astype(int)
        found[part] = {str(channel): int(rounded[channel]) for channel in np.flatnonzero(rounded > 0)}
    return found


def main() -> None:
    """Reads, runs, writes."""
    if not irc.DATA.is_dir():
        sys.exit("training.smoothing: ../shared/data/irc-disentanglement is absent, nothing changed")
    model = onnx.load(BUNDLED_MODEL / "model.onnx", load_external_data=False)
    activations = largest_activations(model, passages())
    table = shifts(activations, largest_weights(model))
    rows = ",\n".join(f'"{part}": {json.dumps(channels)}' for part, channels in table.items())
    TABLE.write_text(f"{{\n{rows}\n}}\n", encoding="ascii")
    print(f"{TABLE.name}: {sum(map(len, table.values()))} channels of {len(table)} inputs")


if __name__ == "__main__":
    main()
