"""Small sentence models in folders, for the tests that change the model: words count, their order does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ragd.embedding import BUNDLED_MODEL

VOCABULARY = 30_522
"""Of the bundled tokenizer, which these models share."""


def small_model(folder: Path, *, dimension: int = 64, max_tokens: int = 256, seed: int = 1) -> Path:
    """A model that gives each word a vector drawn at random: texts with words in common are near one another.

    Files of 30,522 x `dimension` numbers of two bytes. Another seed is another model. Returns the folder.
    """
    folder.mkdir(parents=True)
    table = np.random.default_rng(seed).standard_normal((VOCABULARY, dimension)).astype(np.float16)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["halves"]),
            helper.make_node("Cast", ["halves"], ["last_hidden_state"], to=TensorProto.FLOAT),
        ],
        "small",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["texts", "tokens"])],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["texts", "tokens", dimension])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, folder / "model.onnx")
    shutil.copyfile(BUNDLED_MODEL / "tokenizer.json", folder / "tokenizer.json")
    (folder / "manifest.json").write_text(
        json.dumps({"name": folder.name, "pooling": "mean", "max_tokens": max_tokens})
    )
    return folder
