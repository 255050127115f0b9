"""A model's folder: what it says about its model, and whether its files are the ones it vouches for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragd.embedding.cpu import multiplies_bytes
from ragd.errors import ConfigError, DamagedError

BUNDLED_MODEL = Path(__file__).parent.parent / "model" / "all-MiniLM-L6-v2"
GRAPH, TOKENIZER, MANIFEST = "model.onnx", "tokenizer.json", "manifest.json"
POOLINGS = ("mean", "cls", "none")
FORMS = ("fp32", "int8")
RESTORE = "install ragd again, or restore the folder of RAGD_MODEL_DIR"


@dataclass(frozen=True)
class ModelFolder:
    """What a model's folder says about it, read and checked."""

    path: Path
    graph: Path
    """The ONNX file to run."""
    form: str
    """One of FORMS."""
    name: str
    sha256: str
    limits: str
    """What decides how much text it reads: two models with the same limits take the same chunks."""
    pooling: str
    """`none`: the graph's output is pooled already and nothing more is known."""
    max_tokens: int
    query_prefix: str
    passage_prefix: str


def read_folder(path: Path, wanted: str = "auto") -> ModelFolder:
    """Reads what `path` says about its model and verifies every checksum its manifest gives.

    `wanted` is one of FORMS or `auto`: int8 where the folder has it and this CPU is fast and exact at it, else fp32,
    which is model.onnx in whatever form it is. The forms' vectors differ by a thousandth, and so do their `sha256`.

    Understands ragd's manifest.json and, for what that leaves open, the files of sentence-transformers and the
    tokenizer. Raises ConfigError, DamagedError.
    """
    _require_files(path)
    manifest = _read_json(path / MANIFEST)
    graphs = _graphs(path, manifest)
    form = _choose_form(path, graphs, wanted)
    sums = _verified_sums(path, graphs[form]["file"], manifest.get("files", {}))
    query, passage = _prefixes(path, manifest)
    pooling, max_tokens = _pooling(path, manifest), _max_tokens(path, manifest)
    content = graphs[form].get("fingerprint") or "".join(sums.values())
    return ModelFolder(
        path=path,
        graph=path / graphs[form]["file"],
        form=form,
        name=str(manifest.get("name", path.resolve().name)),
        sha256=hashlib.sha256(f"{content}\0{query}\0{passage}".encode()).hexdigest(),
        limits=f"{max_tokens} {hashlib.sha256(f'{sums[TOKENIZER]}{passage}'.encode()).hexdigest()[:16]}",
        pooling=pooling,
        max_tokens=max_tokens,
        query_prefix=query,
        passage_prefix=passage,
    )


def form_for_this_cpu(path: Path) -> str:
    """What `auto` means for the folder at `path`, of which only the manifest is read. Raises DamagedError."""
    return _choose_form(path, _graphs(path, _read_json(path / MANIFEST)), "auto")


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


def _graphs(path: Path, manifest: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """By form, `file` and, where the manifest has one, `fingerprint`: what the vectors depend on."""
    declared = manifest.get("graphs", {})
    if not isinstance(declared, dict) or not all(isinstance(entry, dict) for entry in declared.values()):
        raise DamagedError(f"{path / MANIFEST}: graphs: must be an object of objects")
    found = {form: declared[form] for form in FORMS if "file" in declared.get(form, {})}
    whole = {"file": GRAPH, "fingerprint": str(manifest.get("fingerprint", ""))}
    return {**found, "fp32": {**whole, **found.get("fp32", {})}}


def _choose_form(path: Path, graphs: Mapping[str, Any], wanted: str) -> str:
    if wanted not in ("auto", *FORMS):
        raise ConfigError(f"RAGD_MODEL_GRAPH={wanted}: must be one of auto, {', '.join(FORMS)}")
    if wanted == "auto":
        return "int8" if "int8" in graphs and multiplies_bytes() else "fp32"
    if wanted not in graphs:
        raise ConfigError(f"RAGD_MODEL_GRAPH={wanted}: {path} has no such graph", hint="set it to auto")
    if wanted == "int8" and not multiplies_bytes():
        raise ConfigError(
            "RAGD_MODEL_GRAPH=int8: this CPU has no dot product of bytes (VNNI, or ARM's asimddp)",
            hint="set it to auto",
        )
    return wanted


def _verified_sums(path: Path, graph: str, expected: Mapping[str, str]) -> dict[str, str]:
    """sha256 by file name, of what the vectors depend on. Raises DamagedError where `expected` says otherwise."""
    # "model.onnx*" takes in the weights that a graph may keep in a file of their own
    names = {TOKENIZER, *expected, *(file.name for file in path.glob(f"{graph}*"))}
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
