"""Which cosines mean nothing: they differ from model to model, so each is asked what it gives to unrelated texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ragd.embedders import TextEmbedder

QUESTIONS = (
    "How long does the dough have to rest before it goes into the oven?",
    "which bus goes to the harbour on sundays",
    "Did anybody get the driver for the graphics card to work?",
    "Who won the chess tournament last week?",
    "Why are the leaves of my tomato plants turning yellow?",
    "does anyone have notes of the lecture on Roman law",
)

PASSAGES = (
    "We moved the server into the cellar, it is quieter there. The fan still rattles above sixty degrees.",
    "Grandma's recipe says two cups of lentils, an onion and a bay leaf, and to wait until it thickens.",
    "The referee stopped the match after forty minutes because of the thunderstorm.",
    "I sold my old bike, the new one has better brakes and a lamp that runs off the hub.",
    "thanks, that fixed it! it was a missing comma in line 12",
    "The dentist said to come back in March, and not to eat nuts until then.",
    "Our flight was late, so we missed the ferry and slept at the station.",
    "Episode three is the weakest of the season, the music saves it.",
    "The landlord wants to paint the stairs next week, please move your shoes.",
    "He tuned the guitar down half a step so that she could sing it.",
    "The museum opens at ten, students get in for free on Wednesdays.",
    "Yesterday the owl came back and sat on the chimney until dawn.",
)
"""None answers one of the questions."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Two cosines of a model. A passage at `near` is about what was asked, whatever its words; one at `fair` may be."""

    near: float
    fair: float


BUNDLED = Scale(near=0.38, fair=0.25)
"""all-MiniLM-L6-v2's, tuned on the dev half of the chats in ../shared/data; see benchmarks/retrieval.py."""

BUNDLED_MEAN, BUNDLED_DEVIATION = 0.064, 0.074
"""What that model gives to QUESTIONS with PASSAGES."""


def scale_of(embedder: TextEmbedder) -> Scale:
    """BUNDLED for another model: as many standard deviations above what it gives to what has nothing in common.

    Takes as long as embedding the 18 texts. Raises RagdError as the embedder does.
    """
    mean, deviation = noise_of(embedder)

    def same(cosine: float) -> float:
        there = mean + (cosine - BUNDLED_MEAN) / BUNDLED_DEVIATION * deviation
        return min(there, (1 + mean) / 2)  # of a model that tells nothing apart, some passage can still be near

    return Scale(near=same(BUNDLED.near), fair=same(BUNDLED.fair))


def noise_of(embedder: TextEmbedder) -> tuple[float, float]:
    """Mean and standard deviation of the cosines of QUESTIONS with PASSAGES. Raises RagdError."""
    questions = np.stack([embedder.embed_query(text) for text in QUESTIONS])
    cosines = questions @ embedder.embed(PASSAGES).T
    return float(cosines.mean()), float(cosines.std())
