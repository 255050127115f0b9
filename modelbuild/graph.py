"""Writes the BERT encoder of all-MiniLM-L6-v2 as an ONNX graph that ends in the sentence's vector.

Architecture: Devlin et al. 2019 (post-norm BERT, erf Gelu); pooling and normalisation: the model card of
sentence-transformers/all-MiniLM-L6-v2. Three things differ from what an exporter would write:

- Operators are the standard's own. Matrix products are 83 % of the time, so nothing else is worth a fused operator:
  one product for query, key and value, or Gelu spelt out, were measured within 3 %, which is noise.
- There is no token_type_ids input: a single text is all of type 0, so that row is added to the positions here.
- Mean pooling and L2 normalisation are inside, so a caller gets one vector a text and nothing to get wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 20  # the first with Gelu; onnxruntime has read it since 1.17
IR_VERSION = 9  # what opset 20 came with; a newer onnx would write a newer one that old runtimes refuse

LAYERS = 6
HEADS = 12
HIDDEN = 384
HEAD_SIZE = HIDDEN // HEADS
EPSILON = 1e-12  # layer_norm_eps of upstream's config.json
MASKED = -1e9  # added to the scores of padding: exp() of it is exactly 0 in float32

EXTERNAL_BYTES = 4096
"""Tensors from this size on are stored beside the graph."""

Tensors = Mapping[str, NDArray[Any]]


class Graph:
    """Nodes and constants in the order they are added; every method returns the name of a value."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Adds one operator and returns its output's name."""
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Stores `value` once under `name`."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def ints(self, *values: int) -> str:
        """A 1-d int64 constant, as shapes and axes want it."""
        return self.constant("ints" + "".join(f"_{v}" for v in values), np.array(values, np.int64))

    def scalar(self, value: float) -> str:
        """A 0-d float32 constant."""
        return self.constant(f"scalar_{value!r}", np.array(value, np.float32))

    def linear(self, x: str, name: str, weight: NDArray[Any], bias: NDArray[Any]) -> str:
        """x @ weight.T + bias; `weight` is (out, in) as torch keeps it and is stored transposed."""
        product = self.node("MatMul", x, self.constant(f"{name}.weight", weight.T))
        return self.node("Add", product, self.constant(f"{name}.bias", bias))

    def gelu(self, x: str) -> str:
        """By the error function, as BERT has it."""
        return self.node("Gelu", x)

    def normalise(self, x: str, name: str, tensors: Tensors) -> str:
        """LayerNormalization over the last axis with the tensors `name`.weight and `name`.bias."""
        scale = self.constant(f"{name}.weight", tensors[f"{name}.weight"])
        bias = self.constant(f"{name}.bias", tensors[f"{name}.bias"])
        return self.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON)


def build_model(tensors: Tensors, version: str, graph: Graph | None = None) -> onnx.ModelProto:
    """The whole graph: input_ids and attention_mask, int64 (batch, tokens), to embedding, float32 (batch, 384).

    `version` is written into the file as its producer's version. `graph`, empty, may write some parts its own way.
    """
    graph = graph or Graph()
    mask = graph.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    bias = _attention_bias(graph, mask)
    x = _embed_tokens(graph, tensors)
    for layer in range(LAYERS):
        x = _encode(graph, x, bias, f"encoder.layer.{layer}", tensors)
    graph.node("Identity", _pool(graph, x, mask))
    graph.nodes[-1].output[0] = "embedding"
    return _package(graph, version)


def save(model: onnx.ModelProto, target: Path, shared: onnx.ModelProto | None = None) -> None:
    """Writes the graph to `target` and its large tensors beside it, as `target`.data, both readable by everyone.

    Apart, because onnxruntime maps such a file into memory: the word table is then read where it is touched, shared
    by all processes and free to be dropped, which saves a third of the memory of the single-file form. Tensors that
    `shared`, saved into the same folder before, has too are not written again.
    """
    data = target.with_name(f"{target.name}.data")
    if shared is not None:
        _refer(model, shared)
    onnx.save_model(model, target, save_as_external_data=True, location=data.name, size_threshold=EXTERNAL_BYTES)
    for path in (target, data):
        path.chmod(0o644)  # onnx makes its file private, and a daemon is rarely the user who installed it


def _refer(model: onnx.ModelProto, shared: onnx.ModelProto) -> None:
    """Has tensors of `model` point to where those of `shared` with the same name and shape lie."""
    stored = {tensor.name: tensor for tensor in shared.graph.initializer if tensor.external_data}
    for tensor in model.graph.initializer:
        twin = stored.get(tensor.name)
        if twin is not None and (twin.dims, twin.data_type) == (tensor.dims, tensor.data_type):
            tensor.CopyFrom(twin)
            tensor.ClearField("raw_data")


def _package(graph: Graph, version: str) -> onnx.ModelProto:
    ids, mask = (
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask")
    )
    out = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", HIDDEN])
    domains = sorted({node.domain for node in graph.nodes})
    body = helper.make_graph(graph.nodes, "all-MiniLM-L6-v2", [ids, mask], [out], list(graph.constants.values()))
    return helper.make_model(
        body,
        opset_imports=[helper.make_opsetid(domain, 1 if domain else OPSET) for domain in domains],
        ir_version=IR_VERSION,
        producer_name="ragd",
        producer_version=version,
    )


def _attention_bias(graph: Graph, mask: str) -> str:
    """(batch, 1, 1, tokens): 0 for a token, a large negative number for padding."""
    absent = graph.node("Sub", graph.scalar(1.0), graph.node("Unsqueeze", mask, graph.ints(1, 2)))
    return graph.node("Mul", absent, graph.scalar(MASKED))


def _embed_tokens(graph: Graph, tensors: Tensors) -> str:
    words = graph.constant("words", tensors["embeddings.word_embeddings.weight"])
    types = tensors["embeddings.token_type_embeddings.weight"]
    positions = graph.constant("positions", tensors["embeddings.position_embeddings.weight"] + types[0])
    length = graph.node("Shape", "input_ids", start=1, end=2)
    placed = graph.node("Slice", positions, graph.ints(0), length, graph.ints(0))
    summed = graph.node("Add", graph.node("Gather", words, "input_ids"), placed)
    return graph.normalise(summed, "embeddings.LayerNorm", tensors)


def _encode(graph: Graph, x: str, bias: str, layer: str, tensors: Tensors) -> str:
    """One layer: attention, then the feed-forward part, each added to its input and normalised."""
    attended = _attend(graph, x, bias, f"{layer}.attention", tensors)
    x = graph.normalise(graph.node("Add", attended, x), f"{layer}.attention.output.LayerNorm", tensors)
    wide = graph.gelu(_dense(graph, x, f"{layer}.intermediate.dense", tensors))
    narrow = _dense(graph, wide, f"{layer}.output.dense", tensors)
    return graph.normalise(graph.node("Add", narrow, x), f"{layer}.output.LayerNorm", tensors)


def _dense(graph: Graph, x: str, name: str, tensors: Tensors) -> str:
    return graph.linear(x, name, tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def _attend(graph: Graph, x: str, bias: str, name: str, tensors: Tensors) -> str:
    """Multi-head attention and its output projection, (batch, tokens, 384) to the same shape."""
    # the division of the scores by sqrt(head size) is done here, in the query's weights
    query = _project(graph, x, f"{name}.self.query", HEAD_SIZE**-0.5, tensors)
    key = _project(graph, x, f"{name}.self.key", 1.0, tensors)
    value = _project(graph, x, f"{name}.self.value", 1.0, tensors)
    query = graph.node("Transpose", query, perm=[0, 2, 1, 3])
    key = graph.node("Transpose", key, perm=[0, 2, 3, 1])
    value = graph.node("Transpose", value, perm=[0, 2, 1, 3])
    scores = graph.node("Add", graph.node("MatMul", query, key), bias)
    mixed = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), value)
    together = graph.node("Reshape", graph.node("Transpose", mixed, perm=[0, 2, 1, 3]), graph.ints(0, 0, HIDDEN))
    return _dense(graph, together, f"{name}.output.dense", tensors)


def _project(graph: Graph, x: str, name: str, scale: float, tensors: Tensors) -> str:
    """A query, key or value times `scale`: (batch, tokens, heads, head size)."""
    factor = np.float32(scale)
    projected = graph.linear(x, name, tensors[f"{name}.weight"] * factor, tensors[f"{name}.bias"] * factor)
    return graph.node("Reshape", projected, graph.ints(0, 0, HEADS, HEAD_SIZE))


def _pool(graph: Graph, x: str, mask: str) -> str:
    """Mean over the tokens that are not padding, then L2 normalisation: (batch, 384).

    The mean's division is left out: it does not change a direction, and the normalisation divides anyway.
    """
    weights = graph.node("Unsqueeze", mask, graph.ints(-1))
    summed = graph.node("ReduceSum", graph.node("Mul", x, weights), graph.ints(1), keepdims=0)
    length = graph.node("ReduceL2", summed, graph.ints(-1), keepdims=1)
    return graph.node("Div", summed, graph.node("Max", length, graph.scalar(1e-12)))
