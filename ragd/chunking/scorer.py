"""The learned part of the disentangler: how likely a message goes on from each of its predecessors, or opens anew.

A few small networks, each a tanh layer beside a linear one, whose probabilities are averaged. Trained by
training/disentangler.py; the weights stand in a file of their own with a manifest that vouches for them.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragd.chunking.features import FEATURES_VERSION, Block, Figures, blocks
from ragd.chunking.messages import SourceMessage
from ragd.chunking.reading import Vocabulary, read_segment
from ragd.errors import DamagedError

FOLDER = Path(__file__).parent / "weights"
MANIFEST = FOLDER / "disentangler.json"
WEIGHTS = FOLDER / "disentangler.npz"


@dataclass(frozen=True, slots=True)
class Layers:
    """Some networks side by side that map features to one score each: tanh(X hidden + bias) out + X linear."""

    hidden: Figures
    """(features, networks x units)"""
    bias: Figures
    out: Figures
    """(networks, units)"""
    linear: Figures
    """(features, networks)"""

    def score(self, features: Figures) -> Figures:
        """(..., features) to (..., networks)."""
        units = np.tanh(features @ self.hidden + self.bias).reshape(*features.shape[:-1], *self.out.shape)
        scores: Figures = (units * self.out).sum(-1) + features @ self.linear
        return scores


@dataclass(frozen=True, slots=True)
class Scorer:
    pair: Layers
    opening: Layers
    vocabulary: Vocabulary

    def probabilities(self, messages: Sequence[SourceMessage]) -> Iterator[NDArray[np.float32]]:
        """For each message of a segment, in order: that it opens a conversation, then that it goes on from the message
        one place before it, two places, and so on; 0 where there is none.
        """
        for block in blocks(read_segment(messages, self.vocabulary)):
            yield from self.of_block(block)

    def of_block(self, block: Block) -> NDArray[np.float32]:
        """(messages, 1 + predecessors)"""
        scores = np.concatenate([self.opening.score(block.opening)[:, None, :], self._pair_scores(block)], axis=1)
        scores -= scores.max(axis=1, keepdims=True)
        shares = np.exp(scores)
        shares /= shares.sum(axis=1, keepdims=True)
        mean: NDArray[np.float32] = shares.mean(-1)
        return mean

    def _pair_scores(self, block: Block) -> Figures:
        """-inf where there is no predecessor."""
        scores = np.full((*block.real.shape, self.pair.linear.shape[1]), -np.inf, np.float32)
        scores[block.real] = self.pair.score(block.pairs[block.real])
        return scores


@lru_cache(1)
def bundled_scorer() -> Scorer:
    """The one that ships with ragd. Raises DamagedError when its files are not what training left."""
    return read_scorer(MANIFEST, WEIGHTS)


@lru_cache(1)
def bundled_identity() -> str:
    """Changes whenever the bundled scorer may judge otherwise."""
    return str(_manifest(MANIFEST)["sha256"])


def read_scorer(manifest: Path, weights: Path) -> Scorer:
    """A trained scorer. Raises DamagedError."""
    about = _manifest(manifest)
    try:
        data = weights.read_bytes()
    except OSError as error:
        raise _damaged(weights, str(error.strerror)) from None
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        raise _damaged(weights, f"not the file that {manifest.name} vouches for")
    if about["features_version"] != FEATURES_VERSION:
        raise _damaged(weights, f"made for features {about['features_version']}, this ragd has {FEATURES_VERSION}")
    with np.load(io.BytesIO(data)) as arrays:
        return scorer_of(arrays, about)


def scorer_of(arrays: Mapping[str, Any], about: Mapping[str, Any]) -> Scorer:
    """From the arrays of the weights' file and what the manifest says of words."""
    layers = {
        name: Layers(*(arrays[f"{name}_{part}"].astype(np.float32) for part in ("hidden", "bias", "out", "linear")))
        for name in ("pair", "opening")
    }
    idf = dict(zip(about["words"], arrays["idf"].astype(float).tolist(), strict=True))
    vocabulary = Vocabulary(idf, float(about["rare_idf"]), float(about["names_from_idf"]))
    return Scorer(layers["pair"], layers["opening"], vocabulary)


def _manifest(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except OSError as error:
        raise _damaged(path, str(error.strerror)) from None
    except ValueError:
        raise _damaged(path, "not JSON") from None
    return found


def _damaged(path: Path, why: str) -> DamagedError:
    return DamagedError(f"{path}: {why}", hint="install ragd again, or run `python -m training.disentangler`")
