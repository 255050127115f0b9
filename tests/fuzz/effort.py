"""How many inputs are tried: a few in `make test`, always the same; FUZZ times as many, at random, in `make fuzz`."""

from __future__ import annotations

import os
from collections import Counter

from hypothesis import HealthCheck, settings

FUZZ = int(os.environ.get("FUZZ", "0"))


def effort(examples: int) -> settings:
    return settings(
        max_examples=examples * max(1, FUZZ),
        deadline=None,
        derandomize=not FUZZ,
        database=None,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


class Tried:
    """Counts inputs of one test, by what they were given to."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count(self, name: str) -> None:
        self.counts[name] += 1
