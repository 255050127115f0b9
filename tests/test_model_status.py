"""How a change of model is told, from whatever a heartbeat says; and the metric of it."""

from __future__ import annotations

import pytest

from ragd.heartbeat import Counter
from ragd.model_status import change_ratio, describe_model

CHANGING: dict[str, Counter] = {"model": "a", "model_next": "b", "model_done": 410, "model_total": 1000}


@pytest.mark.parametrize(
    ("counters", "told"),
    [
        ({}, ""),
        ({"model": "a", "model_next": None}, "a"),
        (CHANGING, "changing a -> b: 41 %"),
        ({**CHANGING, "model_seconds_left": 12.0}, "changing a -> b: 41 %, about a minute"),
        ({**CHANGING, "model_seconds_left": 715.0}, "changing a -> b: 41 %, about 12 min"),
        ({**CHANGING, "model_seconds_left": 40_000.0}, "changing a -> b: 41 %, about 11 h"),
        ({**CHANGING, "model_done": 1000}, "changing a -> b: 99 %"),
        ({**CHANGING, "model_total": 0, "model_done": 0}, "changing a -> b: 99 %"),
        ({**CHANGING, "model_problem": "no answer"}, "changing a -> b: 41 %, waits: no answer"),
        ({**CHANGING, "model_next": "a"}, "a answers from what it has embedded so far: 41 %"),
        ({**CHANGING, "model_done": "many"}, "a"),
    ],
)
def test_a_change_in_words(counters: dict[str, Counter], told: str) -> None:
    assert describe_model(counters) == told


def test_the_ratio() -> None:
    assert change_ratio(CHANGING) == 0.41
    assert change_ratio({"model": "a", "model_done": None}) is None
