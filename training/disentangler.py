"""Trains the disentangler that ragd ships (ragd/chunking/scorer.py) on the annotated IRC.

    python -m training.disentangler [--data DIR] [--out DIR]

Deterministic by seed, numpy alone, half a minute on one core (OPENBLAS_NUM_THREADS=1 is fastest). The data is not in
this repository: the dev set of github.com/jkkummerfeld/irc-disentanglement (CC-BY-4.0). What is learned is what each
annotated message most likely answers, by a softmax over all that it could: LOOK_BACK messages before it, and nothing
(it opens a conversation). Where people marked several answers, any of them counts.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragd.chunking.features import FEATURES_VERSION, LOOK_BACK, blocks
from ragd.chunking.reading import Vocabulary, read_segment, words_of
from ragd.chunking.scorer import MANIFEST, WEIGHTS, Scorer, scorer_of
from training.irc import DATA, Day, read_days

Array = NDArray[np.float32]

UNITS = 24
NETWORKS = 4
EPOCHS = 12
BATCH = 32
RATE = 0.003
DECAY = 1e-4
DROPOUT = 0.3
COMMON_WORDS = 1000
SPREAD = 3
"""Files that a word must be in to be listed: no nick of one day, nothing that one day was about."""
EVERYDAY_SHARE = 0.004
"""A name that so large a share of messages has as a word is taken as that word, unless it is clearly addressed."""


@dataclass(frozen=True)
class Examples:
    """Annotated messages, ready to learn from."""

    pairs: Array
    """(examples, LOOK_BACK, pair features)"""
    opening: Array
    real: NDArray[np.bool_]
    answers: NDArray[np.bool_]
    """(examples, 1 + LOOK_BACK): what people marked, opening first; at least one."""

    def take(self, rows: NDArray[np.int64]) -> Examples:
        return Examples(self.pairs[rows], self.opening[rows], self.real[rows], self.answers[rows])


def vocabulary_of(days: Sequence[Day]) -> Vocabulary:
    """How telling the commonest words of some days are."""
    counts, spread = Counter[str](), Counter[str]()
    for day in days:
        said = Counter(word for message in day.messages for word in set(words_of(message.text)))
        counts.update(said)
        spread.update(said.keys())
    total = sum(len(day.messages) for day in days)
    known = [(word, count) for word, count in counts.items() if spread[word] >= SPREAD]
    common = sorted(known, key=lambda item: (-item[1], item[0]))[:COMMON_WORDS]
    idf = {word: round(math.log(total / count), 3) for word, count in common}
    return Vocabulary(idf, rare=8.0, names_from=round(-math.log(EVERYDAY_SHARE), 3))


def examples_of(days: Sequence[Day], vocabulary: Vocabulary) -> Examples:
    """All annotated messages of some days that answer something within reach, or open a conversation."""
    found = [_of_day(day, vocabulary) for day in days]
    return Examples(
        *(np.concatenate([getattr(part, name) for part in found]) for name in Examples.__dataclass_fields__)
    )


def _of_day(day: Day, vocabulary: Vocabulary) -> Examples:
    reading = read_segment(day.messages, vocabulary)
    parts = list(blocks(reading))
    pairs = np.concatenate([_to_full_reach(part.pairs) for part in parts])
    real = np.concatenate([_to_full_reach(part.real) for part in parts])
    opening = np.concatenate([part.opening for part in parts])
    place = {line: at for at, line in enumerate(day.lines)}
    answers = np.zeros((len(day.lines), 1 + LOOK_BACK), bool)
    for line, answered in day.gold.items():
        for other in answered if line in place else ():
            back = place[line] - place.get(other, -LOOK_BACK - 1)
            if back <= LOOK_BACK:
                answers[place[line], back] = True
    rows = np.flatnonzero(answers.any(1))
    return Examples(pairs[rows], opening[rows], real[rows], answers[rows])


def _to_full_reach(figures: NDArray[Any]) -> NDArray[Any]:
    """The first blocks of a day look back less far: nothing where there is nothing."""
    missing = LOOK_BACK - figures.shape[1]
    return np.pad(figures, [(0, 0), (0, missing), *[(0, 0)] * (figures.ndim - 2)])


class Network:
    """One network and its state of training by Adam."""

    def __init__(self, pair_width: int, opening_width: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.random = random
        weights: dict[str, NDArray[np.float64]] = {
            "pair_hidden": random.normal(0, pair_width**-0.5, (pair_width, UNITS)),
            "opening_hidden": random.normal(0, opening_width**-0.5, (opening_width, UNITS)),
            "pair_out": random.normal(0, UNITS**-0.5, UNITS),
            "opening_out": random.normal(0, UNITS**-0.5, UNITS),
            "pair_linear": np.zeros(pair_width),
            "opening_linear": np.zeros(opening_width),
            "pair_bias": np.zeros(UNITS),
            "opening_bias": np.zeros(UNITS),
        }
        self.weights: dict[str, Array] = {name: value.astype(np.float32) for name, value in weights.items()}
        self._means = {name: np.zeros_like(value) for name, value in self.weights.items()}
        self._squares = {name: np.zeros_like(value) for name, value in self.weights.items()}
        self._steps = 0

    def learn(self, batch: Examples, rate: float) -> None:
        """One step down the mean negative log-likelihood of any of the marked answers."""
        features = {"pair": batch.pairs[batch.real], "opening": batch.opening}
        layers = {name: self._forward(name, rows) for name, rows in features.items()}
        scores = np.full(batch.answers.shape, -np.inf, np.float32)
        scores[:, 0] = layers["opening"][0]
        scores[:, 1:][batch.real] = layers["pair"][0]
        slope = _slope(scores, batch.answers)
        slopes = {"pair": slope[:, 1:][batch.real], "opening": slope[:, 0]}
        gradients: dict[str, Array] = {}
        for name, rows in features.items():
            gradients |= self._backward(name, rows, slopes[name], *layers[name][1:])
        self._descend(gradients, rate)

    def _forward(self, name: str, rows: Array) -> tuple[Array, Array, Array]:
        """Scores, the hidden layer, and which of it was kept."""
        hidden = np.tanh(rows @ self.weights[f"{name}_hidden"] + self.weights[f"{name}_bias"])
        kept = (self.random.random(hidden.shape, np.float32) > DROPOUT).astype(np.float32) / (1 - DROPOUT)
        scores = (hidden * kept) @ self.weights[f"{name}_out"] + rows @ self.weights[f"{name}_linear"]
        return scores, hidden, kept

    def _backward(self, name: str, rows: Array, slope: Array, hidden: Array, kept: Array) -> dict[str, Array]:
        inner = np.outer(slope, self.weights[f"{name}_out"]) * kept * (1 - hidden * hidden)
        return {
            f"{name}_out": (hidden * kept).T @ slope,
            f"{name}_linear": rows.T @ slope,
            f"{name}_hidden": rows.T @ inner,
            f"{name}_bias": inner.sum(0),
        }

    def _descend(self, gradients: Mapping[str, Array], rate: float) -> None:
        """Adam (Kingma and Ba, 2015) with weight decay in the gradient."""
        self._steps += 1
        for name, gradient in gradients.items():
            gradient = gradient + DECAY * self.weights[name]
            mean, square = self._means[name], self._squares[name]
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient * gradient - square)
            step = mean / (1 - 0.9**self._steps) / (np.sqrt(square / (1 - 0.999**self._steps)) + 1e-8)
            self.weights[name] -= np.float32(rate) * step


def _slope(scores: Array, answers: NDArray[np.bool_]) -> Array:
    """Of the mean loss, by each score."""
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    right = shares * answers
    right /= np.maximum(right.sum(axis=1, keepdims=True), 1e-9)
    slope: Array = (shares - right) / np.float32(len(scores))
    return slope


def fit(examples: Examples, seed: int) -> Network:
    """A network trained on all of the examples, the rate falling to nothing."""
    network = Network(examples.pairs.shape[-1], examples.opening.shape[-1], seed)
    random = np.random.default_rng(1000 + seed)
    for epoch in range(EPOCHS):
        order = random.permutation(len(examples.answers))
        rate = RATE * (1 - epoch / EPOCHS) + 1e-5
        for start in range(0, len(order), BATCH):
            network.learn(examples.take(order[start : start + BATCH]), rate)
    return network


def train(days: Sequence[Day], networks: int = NETWORKS) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays of the weights' file, and what its manifest says of words."""
    vocabulary = vocabulary_of(days)
    examples = examples_of(days, vocabulary)
    trained = [fit(examples, seed).weights for seed in range(networks)]
    arrays: dict[str, Array] = {"idf": np.array(list(vocabulary.idf.values()), np.float32)}
    for name in ("pair", "opening"):
        arrays[f"{name}_hidden"] = np.concatenate([weights[f"{name}_hidden"] for weights in trained], axis=1)
        arrays[f"{name}_bias"] = np.concatenate([weights[f"{name}_bias"] for weights in trained])
        arrays[f"{name}_out"] = np.stack([weights[f"{name}_out"] for weights in trained])
        arrays[f"{name}_linear"] = np.stack([weights[f"{name}_linear"] for weights in trained], axis=1)
    words = {
        "words": list(vocabulary.idf),
        "rare_idf": vocabulary.rare,
        "names_from_idf": vocabulary.names_from,
    }
    return arrays, words


def fold(days: Sequence[Day], held_out: Day) -> Scorer:
    """A scorer that knows nothing of one day: neither its links nor its words."""
    return scorer_of(*train([day for day in days if day is not held_out]))


def save(arrays: Mapping[str, Array], words: Mapping[str, Any], days: Sequence[Day], folder: Path) -> None:
    """Weights and manifest, as ragd reads them; the same bytes for the same arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # typeshed takes the names for options
    about = {
        "features_version": FEATURES_VERSION,
        "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
        "trained_on": "github.com/jkkummerfeld/irc-disentanglement, dev: " + ", ".join(day.name for day in days),
        "reference": "Kummerfeld et al., A Large-Scale Corpus for Conversation Disentanglement, ACL 2019",
        "data_license": "CC-BY-4.0",
        "figures": "BENCHMARKS.md, `disentangle`: by cross-validation over the files",
        "networks": NETWORKS,
        "units": UNITS,
        "epochs": EPOCHS,
        **words,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS.name).write_bytes(buffer.getvalue())
    text = json.dumps(about, ensure_ascii=False, indent=1)
    (folder / MANIFEST.name).write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Reads the command line, trains on all files, writes what ships."""
    parser = argparse.ArgumentParser(prog="python -m training.disentangler", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of *.ascii.txt and *.annotation.txt")
    parser.add_argument("--out", type=Path, default=WEIGHTS.parent, help="folder to write (default: ragd's own)")
    asked = parser.parse_args()
    days = read_days(asked.data)
    if not days:
        parser.error(f"{asked.data}: holds no *.ascii.txt")
    save(*train(days), days, asked.out)
    print(f"{asked.out / WEIGHTS.name}: trained on {len(days)} files")


if __name__ == "__main__":
    main()
