"""Text to unit vectors on the CPU: a folder with an ONNX graph and its tokenizer, run by onnxruntime.

Nothing is downloaded and nothing is cut in silence. The model that comes with ragd was built with it (see
modelbuild/); RAGD_MODEL_DIR may name the folder of another one.
"""

from __future__ import annotations

from ragd.embedding.embedder import Embedder, Identity, TextTooLongError, plan_batches
from ragd.embedding.folder import BUNDLED_MODEL, ModelFolder, read_folder
from ragd.embedding.graph import Vectors

__all__ = [
    "BUNDLED_MODEL",
    "Embedder",
    "Identity",
    "ModelFolder",
    "TextTooLongError",
    "Vectors",
    "plan_batches",
    "read_folder",
]
