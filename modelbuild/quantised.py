"""The same encoder in int8: weights quantised when it is built, activations token by token when it runs.

Each token's row is quantised by its own largest value, so nothing of a text depends on its neighbours in a batch or on
data that somebody calibrated with. Integers add up exactly, whatever the order: a text has the same vector alone and
in company, on every CPU that multiplies unsigned by signed bytes without saturation.

Operators are chosen by what onnxruntime 1.32 has fast kernels for (384 x 1536, 256 tokens, one core of an AMD Zen 4):

- QuantizeLinear along axis 0 of a flat tensor, one scale a token, costs what one scale for all costs (58 and 53 us);
  along the last axis, one scale a channel, it takes 8,700 us, so channels are evened out by a product before (24 us).
- MatMulIntegerToFloat of unsigned by signed bytes, which also multiplies by a scale a column, takes 0.7 ms where the
  product in fp32 takes 2.7 ms. Signed by signed takes 9 ms, for that has no kernel of its own, and MatMulNBits (8 bits,
  blocks of 32, also blind to company) 2.1 ms.

What was tried and is not in it, by the share of the ten nearest texts that fp32 finds too (PyScript's chats):

- One scale for a whole tensor, fixed in advance: a tenth faster, .88 without smoothing and .82 with it.
- Tokens' scales without smoothing .949; with it for all channels, other inputs too, .960; for the few large ones .962.
- Weights of 7 bits, which CPUs without VNNI could multiply without saturation: .93 where 8 bits had .95.
- Scales of weights by least squared error instead of by the largest weight: no better.
- Attention by onnxruntime's MultiHeadAttention: as fast as its pieces.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from modelbuild import graph
from modelbuild.graph import Tensors
from modelbuild.smoothing import Shifts, part_of

DOMAIN = "com.microsoft"

CENTRE = 128
"""The byte that stands for 0 where activations are as often negative as positive."""
GELU_CENTRE = 24
GELU_DEPTH = 0.17
"""Gelu never goes below -0.17, so that its outputs leave the room below 0 to the positive ones."""
SMALLEST_STEP = 1e-9
"""Nothing is divided by the 0 of a token whose values are all 0."""


def build_model(tensors: Tensors, version: str, shifts: Shifts) -> onnx.ModelProto:
    """As modelbuild.graph's, of the same inputs and output."""
    return graph.build_model(fold_biases(tensors), version, _Writer(shifts))


def quantise_weights(weight: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Integers in -127..127 and a scale for each row of `weight`, (out, in) and (out,); their product is near it."""
    scales = np.maximum(np.abs(weight).max(axis=1), 1e-9).astype(np.float32) / np.float32(127)
    return np.rint(weight / scales[:, None]).astype(np.int8), scales


def fold_biases(tensors: Tensors) -> Tensors:
    """The same function with no bias on keys and values, which saves two additions a layer.

    A key's bias adds the same to all scores of a query, which softmax does not see. A value's is averaged with weights
    that add up to 1, so it can be added after the output's weights. fsum makes the result the same on every machine.
    """
    folded = dict(tensors)
    for attention in (f"encoder.layer.{layer}.attention" for layer in range(graph.LAYERS)):
        key, value, output = (f"{attention}.{part}" for part in ("self.key", "self.value", "output.dense"))
        passed = tensors[f"{output}.weight"].astype(np.float64) * tensors[f"{value}.bias"]
        moved = [math.fsum([*row, bias]) for row, bias in zip(passed, tensors[f"{output}.bias"], strict=True)]
        folded[f"{output}.bias"] = np.array(moved, np.float32)
        folded[f"{key}.bias"] = folded[f"{value}.bias"] = np.zeros(graph.HIDDEN, np.float32)
    return folded


class _Writer(graph.Graph):
    """Writes every dense part as a product of bytes."""

    def __init__(self, shifts: Shifts) -> None:
        super().__init__()
        self._shifts = shifts
        self._quantised: dict[str, _Bytes] = {}
        self._after_gelu: set[str] = set()
        self._shapes: dict[int, str] = {}
        self._places = self.node("Shape", "input_ids")

    def gelu(self, x: str) -> str:
        """By tanh, which is a third faster; the difference is lost among the roundings."""
        result = self.node("Gelu", x, approximate="tanh")
        self._after_gelu.add(result)
        return result

    def linear(self, x: str, name: str, weight: NDArray[Any], bias: NDArray[Any]) -> str:
        """x @ weight.T + bias in bytes; a bias of zeros costs nothing."""
        part = part_of(name)
        given = self._quantise(x, part, weight.shape[1])
        integers, scales = quantise_weights(np.ldexp(weight, self._shift(part, weight.shape[1])))
        product = self.node(
            "MatMulIntegerToFloat",
            given.values,
            self.constant(f"{name}.weight", integers.T),
            self.scalar(1.0),
            self.constant(f"{name}.scales", scales),
            self.constant(f"centre_{given.centre}", np.array(given.centre, np.uint8)),
            domain=DOMAIN,
        )
        result = self.node("Mul", product, given.steps)
        if bias.any():
            result = self.node("Add", result, self.constant(f"{name}.bias", bias))
        return self.node("Reshape", result, self._shape(weight.shape[0]))

    def _quantise(self, source: str, part: str, width: int) -> _Bytes:
        if source not in self._quantised:
            shift, x = self._shift(part, width), source
            if shift.any():
                x = self.node("Mul", source, self.constant(f"{part}.smoothing", np.ldexp(np.float32(1), -shift)))
            flat = self.node("Reshape", x, self.ints(-1, width))
            steps, centre = self._steps(flat, source in self._after_gelu)
            zero = self.constant(f"zero_{centre}", np.array([centre], np.uint8))
            zeros = self.node("Expand", zero, self.node("Shape", steps))
            values = self.node("QuantizeLinear", flat, steps, zeros, axis=0)
            self._quantised[source] = _Bytes(values, self.node("Unsqueeze", steps, self.ints(1)), centre)
        return self._quantised[source]

    def _steps(self, flat: str, after_gelu: bool) -> tuple[str, int]:
        """What one step of a byte is worth, (tokens,), and the byte that stands for 0."""
        highest = self.node("ReduceMax", flat, self.ints(1), keepdims=0)
        if after_gelu:
            step = self.node("Mul", highest, self.scalar(1 / (255 - GELU_CENTRE)))
            return self.node("Max", step, self.scalar(GELU_DEPTH / GELU_CENTRE)), GELU_CENTRE
        depth = self.node("Neg", self.node("ReduceMin", flat, self.ints(1), keepdims=0))
        step = self.node("Mul", self.node("Max", highest, depth), self.scalar(1 / (255 - CENTRE)))
        return self.node("Max", step, self.scalar(SMALLEST_STEP)), CENTRE

    def _shape(self, width: int) -> str:
        """(batch, tokens, width), as Reshape wants it."""
        if width not in self._shapes:
            self._shapes[width] = self.node("Concat", self._places, self.ints(width), axis=0)
        return self._shapes[width]

    def _shift(self, part: str, width: int) -> NDArray[np.int32]:
        shift = np.zeros(width, np.int32)
        for channel, power in self._shifts.get(part, {}).items():
            shift[channel] = power
        return shift


class _Bytes(NamedTuple):
    """A quantised input."""

    values: str
    """Flat, (tokens, width)."""
    steps: str
    """(tokens, 1)."""
    centre: int
