"""Text to unit vectors on the CPU: a folder with an ONNX graph and its tokenizer, run by onnxruntime.

Nothing is downloaded and nothing is cut in silence. The model that comes with ragd was built with it (see
modelbuild/); RAGD_MODEL_DIR may name the folder of another one.
"""

from __future__ import annotations

from ragd.embedding.embedder import TEXT_FORM, Embedder, Identity, TextTooLongError, load_tokenizer, plan_batches
from ragd.embedding.folder import BUNDLED_MODEL, TOKENIZER, ModelFolder, form_for_this_cpu, read_folder
from ragd.embedding.graph import Vectors

__all__ = [
    "BUNDLED_MODEL",
    "TEXT_FORM",
    "TOKENIZER",
    "Embedder",
    "Identity",
    "ModelFolder",
    "TextTooLongError",
    "Vectors",
    "form_for_this_cpu",
    "load_tokenizer",
    "plan_batches",
    "read_folder",
]
