"""What is near by one model's cosines is near by another's, whatever their scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ragd.embedding import Embedder, Vectors
from ragd.errors import TransientError
from ragd.noise import BUNDLED, BUNDLED_DEVIATION, BUNDLED_MEAN, PASSAGES, QUESTIONS, noise_of, scale_of
from ragd.search import Query
from tests.test_search import World

ABOUT = "why does my gauge measure too much rain?"
NOISE = "the mating habits of arctic foxes"


class Skewed(Embedder):
    """The bundled model with something in all vectors alike, as models have whose cosines are all high."""

    common = 0.7
    fails = 0

    def embed(self, texts: Sequence[str]) -> Vectors:
        if texts == PASSAGES and self.fails:
            self.fails -= 1
            raise TransientError("the endpoint answered 500")
        return self._skewed(super().embed(texts))

    def embed_query(self, text: str) -> Vectors:
        return self._skewed(super().embed_query(text)[None])[0]

    def _skewed(self, vectors: Vectors) -> Vectors:
        alike = np.random.default_rng(1).normal(size=vectors.shape[1]).astype(np.float32)
        alike /= np.linalg.norm(alike)
        own = vectors - (vectors @ alike)[:, None] * alike
        own /= np.linalg.norm(own, axis=1, keepdims=True)
        skewed: Vectors = self.common**0.5 * alike + (1 - self.common) ** 0.5 * own
        return skewed


@pytest.fixture(scope="module")
def skewed() -> Skewed:
    return Skewed.open()  # type: ignore[return-value]


def test_the_bundled_models_noise_is_what_the_constants_say(embedder: Embedder) -> None:
    mean, deviation = noise_of(embedder)
    assert mean == pytest.approx(BUNDLED_MEAN, abs=0.003)
    assert deviation == pytest.approx(BUNDLED_DEVIATION, abs=0.003)
    scale = scale_of(embedder)
    assert (scale.near, scale.fair) == pytest.approx((BUNDLED.near, BUNDLED.fair), abs=0.01)


def test_no_passage_answers_a_question(embedder: Embedder) -> None:
    cosines = np.stack([embedder.embed_query(text) for text in QUESTIONS]) @ embedder.embed(PASSAGES).T
    assert cosines.max() < BUNDLED.near


def test_a_model_of_high_cosines_gets_high_bounds(embedder: Embedder, skewed: Skewed) -> None:
    common = Skewed.common
    wanted = [common + (1 - common) * cosine for cosine in (scale_of(embedder).near, scale_of(embedder).fair)]
    scale = scale_of(skewed)
    assert [scale.near, scale.fair] == pytest.approx(wanted, abs=0.01)


def test_the_same_is_found_and_the_same_is_not(tmp_path: Path, embedder: Embedder, skewed: Skewed) -> None:
    for name, model in (("plain", embedder), ("skewed", skewed)):
        (tmp_path / name).mkdir()
        world = World(tmp_path / name, model)
        assert "reed switch bounces" in world.best(ABOUT)[0]
        assert world.search.answer(Query(NOISE, None)).results == [], name
        world.store.close()


def test_an_endpoint_that_fails_is_measured_at_the_next_question(tmp_path: Path, skewed: Skewed) -> None:
    world = World(tmp_path, skewed)
    skewed.fails = 1
    assert world.best(NOISE) != [], "by the bundled model's bounds all of this model's cosines are near"
    assert world.best(NOISE) == []
    world.store.close()
