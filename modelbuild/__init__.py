"""Builds the embedding model that ragd ships: pinned weights in, a verified ONNX folder out.

Runs while a wheel is built (`modelbuild.backend`) or by hand (`python -m modelbuild --out DIR`), never in the
daemon. Needs numpy and onnx; neither torch nor a model hub.
"""

from __future__ import annotations


class ModelBuildError(Exception):
    """The model cannot be built; the message is one line that says why and what to do."""
