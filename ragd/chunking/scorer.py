"""The learned part of the disentangler: how likely a message goes on from each of its predecessors, or opens anew.

A few small networks, each a tanh layer beside a linear one, whose probabilities are averaged. Trained by
training/disentangler.py; the weights stand in a file of their own with a manifest that vouches for them.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragd.chunking.features import BLOCK, FEATURES_VERSION, Block, Figures, blocks
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


BLOCKS_KEPT = 512
"""16,000 messages' worth, 7 MB: so a busy channel's newest message costs one block, not its whole segment."""


class Scorer:
    """Judges messages by what came before them. What it remembers changes nothing but the time that takes."""

    def __init__(self, pair: Layers, opening: Layers, vocabulary: Vocabulary) -> None:
        self.pair, self.opening, self.vocabulary = pair, opening, vocabulary
        self._judged: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        """By a hash of a segment up to the end of a whole block: that block's probabilities."""

    def probabilities(self, messages: Sequence[SourceMessage]) -> Iterator[NDArray[np.float32]]:
        """For each message of a segment, in order: that it opens a conversation, then that it goes on from the message
        one place before it, two places, and so on; 0 where there is none.
        """
        keys = _block_keys(messages)
        known = [self._recall(key) for key in takewhile(self._judged.__contains__, keys)]
        for judged in known:
            yield from judged
        for number, block in enumerate(blocks(read_segment(messages, self.vocabulary), len(known)), len(known)):
            judged = self.of_block(block)
            if number < len(keys):
                self._keep(keys[number], judged)
            yield from judged

    def _recall(self, key: bytes) -> NDArray[np.float32]:
        self._judged.move_to_end(key)
        return self._judged[key]

    def _keep(self, key: bytes, judged: NDArray[np.float32]) -> None:
        self._judged[key] = judged
        while len(self._judged) > BLOCKS_KEPT:
            self._judged.popitem(last=False)

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


def _block_keys(messages: Sequence[SourceMessage]) -> list[bytes]:
    """A hash for each whole block, of everything up to its end."""
    digest = hashlib.blake2b(digest_size=16)
    keys = []
    for at, message in enumerate(messages, start=1):
        parts = (message.id, message.author_id, message.author_name, message.text, message.reply_to_id)
        digest.update(repr((*parts, message.mention_ids)).encode("utf-8", "surrogatepass"))
        if at % BLOCK == 0:
            keys.append(digest.digest())
    return keys


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
