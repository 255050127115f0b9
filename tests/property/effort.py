"""How hard the property tests try: little and always the same in `make test`, long and at random in `make soak`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

SOAK = int(os.environ.get("SOAK", "0"))
"""So many times the examples of `make test`, chosen at random; 0: as few as in `make test`, the same every time."""


def effort(examples: int, steps: int) -> settings:
    """Settings for a state machine. A failure prints its steps, and `print_blob` what replays it."""
    return settings(
        max_examples=examples * max(1, SOAK),
        stateful_step_count=steps,
        deadline=None,
        derandomize=not SOAK,
        database=None,
        print_blob=True,
        # a failure is made smaller only where there is time for it
        phases=[Phase.generate, Phase.shrink] if SOAK else [Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
