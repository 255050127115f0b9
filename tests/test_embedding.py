"""Embedder: the bundled model's promises, and models of another kind in a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from ragd.embedding import BUNDLED_MODEL, TEXT_FORM, Embedder, TextTooLongError, plan_batches
from ragd.errors import ConfigError, DamagedError

TEXTS = ["the bot is down again", "", "héllo wörld 👋", "pip install fails on 3.13 " * 30, "ok", "the bot is down"]


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    return (a * b).sum(axis=1)


class TestBundledModel:
    def test_vectors_are_unit_float32_rows(self, embedder: Embedder) -> None:
        vectors = embedder.embed(TEXTS)
        assert (vectors.dtype, vectors.shape) == (np.float32, (len(TEXTS), embedder.dimension))
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)

    def test_no_texts_no_vectors(self, embedder: Embedder) -> None:
        assert embedder.embed([]).shape == (0, 384)

    def test_meaning_is_near_meaning(self, embedder: Embedder) -> None:
        near, far = embedder.embed(["the gateway disconnected", "my cat sleeps all day"])
        query = embedder.embed_query("we lost the connection to the gateway")
        assert query @ near > 0.6 > 0.2 > query @ far

    @pytest.mark.parametrize("threads", [1, 2])
    def test_order_and_company_do_not_matter(self, embedder: Embedder, threads: int) -> None:
        alone = np.vstack([embedder.embed([text]) for text in TEXTS])
        together = Embedder.open(threads=threads).embed(TEXTS * 3)
        assert cosines(np.tile(alone, (3, 1)), together).min() > 0.99999

    def test_the_same_call_gives_the_same_bytes(self, embedder: Embedder) -> None:
        assert embedder.embed(TEXTS).tobytes() == embedder.embed(TEXTS).tobytes()

    def test_a_short_query_is_embedded_as_a_passage_is(self, embedder: Embedder) -> None:
        assert embedder.embed_query(TEXTS[0]) @ embedder.embed([TEXTS[0]])[0] > 0.99999

    def test_tokens_are_counted_uncut_with_special_tokens(self, embedder: Embedder) -> None:
        assert embedder.count_tokens("") == 2
        assert embedder.count_tokens("word " * 1000) == 1002

    def test_the_longest_text_is_embedded_and_one_token_more_is_refused(self, embedder: Embedder) -> None:
        longest = "word " * (embedder.max_tokens - 2)
        assert embedder.embed([longest]).shape == (1, 384)
        with pytest.raises(TextTooLongError, match="text 1 has 257 tokens, the model reads 256") as caught:
            embedder.embed(["fine", longest + "word"])
        assert (caught.value.position, caught.value.tokens) == (1, 257)

    def test_a_long_query_is_cut_at_its_end(self, embedder: Embedder) -> None:
        longest = "word " * (embedder.max_tokens - 2)
        assert embedder.embed_query(longest + "other " * 50) @ embedder.embed([longest])[0] > 0.99999

    def test_the_identity_names_the_model(self, embedder: Embedder) -> None:
        identity = embedder.identity
        assert (identity.name, identity.dimension, identity.pooling, identity.max_tokens) == (
            "all-MiniLM-L6-v2",
            384,
            "mean",
            256,
        )
        # stored with every vector: a change of this line means that every server is embedded anew
        assert identity.key == "all-MiniLM-L6-v2-384-dc5a3051005e78f4"

    def test_the_text_form_is_part_of_the_identity(self, embedder: Embedder) -> None:
        assert embedder.identity.text_form == TEXT_FORM
        assert replace(embedder.identity, text_form=TEXT_FORM + 1).key != embedder.identity.key


class TestDamage:
    @pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data", "tokenizer.json"])
    def test_one_flipped_bit_is_found(self, tmp_path: Path, name: str) -> None:
        folder = shutil.copytree(BUNDLED_MODEL, tmp_path / "model")
        with (folder / name).open("r+b") as file:
            file.seek(5000)
            byte = file.read(1)[0]
            file.seek(5000)
            file.write(bytes([byte ^ 1]))
        with pytest.raises(DamagedError, match=f"{name} has sha256") as caught:
            Embedder.open(folder)
        assert "install ragd again" in caught.value.hint

    def test_a_file_of_the_manifest_is_missing(self, tmp_path: Path) -> None:
        folder = shutil.copytree(BUNDLED_MODEL, tmp_path / "model")
        (folder / "model.onnx.data").unlink()
        with pytest.raises(DamagedError, match=r"model\.onnx\.data: No such file"):
            Embedder.open(folder)

    def test_the_manifest_is_no_json(self, tmp_path: Path) -> None:
        folder = shutil.copytree(BUNDLED_MODEL, tmp_path / "model")
        (folder / "manifest.json").write_text("[1]")
        with pytest.raises(DamagedError, match=r"manifest\.json: must hold a JSON object"):
            Embedder.open(folder)


WORDS = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "red": 4, "green": 5, "blue": 6, "query:": 7}
TABLE = np.random.default_rng(3).normal(size=(len(WORDS), 8)).astype(np.float32)

FolderMaker = Callable[..., Path]


def tiny_graph(path: Path, inputs: tuple[str, ...], pooler: bool) -> None:
    """Token states are rows of TABLE, plus 0 times every other input; `pooler` adds a 2-d output, first and zero."""
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["looked_up"])]
    total = "looked_up"
    for name in inputs[1:]:
        nodes += [
            helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", [f"{name}_float", "last"], [f"{name}_wide"]),
            helper.make_node("Mul", [f"{name}_wide", "zero"], [f"{name}_nothing"]),
            helper.make_node("Add", [total, f"{name}_nothing"], [f"{name}_total"]),
        ]
        total = f"{name}_total"
    nodes.append(helper.make_node("Identity", [total], ["last_hidden_state"]))
    outputs = [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["b", "t", 8])]
    if pooler:
        nodes.append(helper.make_node("ReduceSum", ["last_hidden_state", "middle"], ["pooler_output"], keepdims=0))
        outputs.insert(0, helper.make_tensor_value_info("pooler_output", TensorProto.FLOAT, ["b", 8]))
    constants = {"table": TABLE, "last": np.array([-1]), "middle": np.array([1]), "zero": np.float32(0)}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "t"]) for name in inputs],
        outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def tiny_tokenizer(path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=12)
    tokenizer.save(str(path))


@pytest.fixture
def make_folder(tmp_path: Path) -> FolderMaker:
    """Makes a folder with a tiny model that gives token states; keywords become files of JSON."""

    def make(
        inputs: tuple[str, ...] = ("input_ids", "attention_mask"), pooler: bool = False, **files: dict[str, Any]
    ) -> Path:
        folder = tmp_path / "tiny"
        folder.mkdir(exist_ok=True)
        tiny_graph(folder / "model.onnx", inputs, pooler)
        tiny_tokenizer(folder / "tokenizer.json")
        for name, content in files.items():
            path = folder / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.with_suffix(".json").write_text(json.dumps(content))
        return folder

    return make


def unit(*ids: int) -> NDArray[np.float32]:
    mean = TABLE[list(ids)].mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


class TestForeignModel:
    def test_mean_pooling_leaves_padding_out(self, make_folder: FolderMaker) -> None:
        embedder = Embedder.open(make_folder(manifest={"pooling": "mean", "max_tokens": 16}), threads=1)
        vectors = embedder.embed(["red", "red green blue"])
        assert vectors == pytest.approx(np.vstack([unit(2, 4, 3), unit(2, 4, 5, 6, 3)]), abs=1e-6)
        assert (embedder.dimension, embedder.max_tokens, embedder.count_tokens("red " * 50)) == (8, 16, 52)

    def test_cls_pooling_takes_the_first_token(self, make_folder: FolderMaker) -> None:
        embedder = Embedder.open(make_folder(manifest={"pooling": "cls", "max_tokens": 16}), threads=1)
        assert embedder.embed(["red", "blue green"]) == pytest.approx(np.vstack([unit(2), unit(2)]), abs=1e-6)

    def test_a_pooler_output_is_not_mistaken_for_the_vector(self, make_folder: FolderMaker) -> None:
        folder = make_folder(pooler=True, manifest={"pooling": "mean", "max_tokens": 16})
        assert Embedder.open(folder).embed_query("blue") == pytest.approx(unit(2, 6, 3), abs=1e-6)

    def test_sentence_transformers_files_are_understood(self, make_folder: FolderMaker) -> None:
        folder = make_folder(
            inputs=("input_ids", "attention_mask", "token_type_ids"),
            sentence_bert_config={"max_seq_length": 9},
            config_sentence_transformers={"prompts": {"query": "query: ", "document": ""}},
            **{"1_Pooling__config": {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}},
        )
        embedder = Embedder.open(folder)
        assert embedder.max_tokens == 9
        assert embedder.embed_query("red") == pytest.approx(unit(2, 7, 4, 3), abs=1e-6)
        assert embedder.embed(["red"])[0] == pytest.approx(unit(2, 4, 3), abs=1e-6)

    def test_a_prefix_counts(self, make_folder: FolderMaker) -> None:
        folder = make_folder(manifest={"pooling": "mean", "max_tokens": 16, "passage_prefix": "green "})
        embedder = Embedder.open(folder)
        assert embedder.count_tokens("red") == 4
        assert embedder.embed(["red"])[0] == pytest.approx(unit(2, 5, 4, 3), abs=1e-6)

    def test_what_changes_vectors_changes_the_identity(self, make_folder: FolderMaker) -> None:
        settings = {"pooling": "mean", "max_tokens": 16}
        variations: list[dict[str, Any]] = [{}, {"pooling": "cls"}, {"query_prefix": "query: "}, {"max_tokens": 17}]
        keys = [Embedder.open(make_folder(manifest=settings | change)).identity.key for change in variations]
        assert len(set(keys)) == len(keys)

    def test_pooling_is_never_guessed(self, make_folder: FolderMaker) -> None:
        with pytest.raises(ConfigError, match="how to pool") as caught:
            Embedder.open(make_folder(manifest={"max_tokens": 16}))
        assert '"pooling"' in caught.value.hint

    @pytest.mark.parametrize(
        ("manifest", "message"),
        [
            ({"pooling": "max"}, "pooling='max': must be one of mean, cls, none"),
            ({"pooling": "mean"}, "max_tokens=4: must be a number of at least 8"),
            ({"pooling": "mean", "max_tokens": "many"}, "max_tokens='many'"),
        ],
    )
    def test_a_wrong_setting_names_its_rule(
        self, make_folder: FolderMaker, manifest: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            Embedder.open(make_folder(manifest=manifest))

    def test_an_input_nobody_can_feed_is_refused(self, make_folder: FolderMaker) -> None:
        folder = make_folder(inputs=("input_ids", "pixels"), manifest={"pooling": "mean", "max_tokens": 16})
        with pytest.raises(ConfigError, match="pixels"):
            Embedder.open(folder)

    def test_a_tokenizer_of_another_model_is_found_at_start(self, make_folder: FolderMaker) -> None:
        folder = make_folder(manifest={"pooling": "mean", "max_tokens": 16})
        shutil.copyfile(BUNDLED_MODEL / "tokenizer.json", folder / "tokenizer.json")
        with pytest.raises(DamagedError, match="cannot run on 16 tokens of its tokenizer"):
            Embedder.open(folder)

    @pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
    def test_an_unreadable_file_is_named(self, make_folder: FolderMaker, name: str) -> None:
        folder = make_folder(manifest={"pooling": "mean", "max_tokens": 16})
        (folder / name).write_text("{}")
        with pytest.raises(DamagedError, match=name):
            Embedder.open(folder)

    def test_a_missing_folder_names_the_setting(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"RAGD_MODEL_DIR=.*absent: must be a folder"):
            Embedder.open(tmp_path / "absent")

    def test_missing_files_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"RAGD_MODEL_DIR=.*lacks model\.onnx and tokenizer\.json"):
            Embedder.open(tmp_path)


class TestPlanBatches:
    def test_every_text_once_longest_first_within_the_budget(self) -> None:
        lengths = [3, 300, 50, 7, 120, 90, 2, 60, 60]
        batches = plan_batches(lengths, 256)
        assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
        assert batches[0] == [1], "longer than the budget: alone"
        assert all(len(batch) * max(lengths[i] for i in batch) <= 256 for batch in batches[1:])

    def test_nothing_to_plan(self) -> None:
        assert plan_batches([], 256) == []
