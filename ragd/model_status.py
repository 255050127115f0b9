"""How far a change of the embedding model is, in words, from the counters of the syncer's heartbeat."""

from __future__ import annotations

from collections.abc import Mapping

from ragd.heartbeat import Counter


def change_ratio(counters: Mapping[str, Counter]) -> float | None:
    """Part of the chunks that have a vector of the model to come, 0 to 1; None while none is to come."""
    done, total = counters.get("model_done"), counters.get("model_total")
    if not isinstance(done, int) or not isinstance(total, int):
        return None
    return min(1.0, done / total) if total else 1.0


def describe_model(counters: Mapping[str, Counter]) -> str:
    """The model that answers questions, or `changing A -> B: 41 %, about 12 min`; empty if nobody knows."""
    model, coming = counters.get("model"), counters.get("model_next")
    if not model:
        return ""
    ratio = change_ratio(counters)
    if not coming or ratio is None:
        return str(model)
    # never 100: that it is complete shows by the change's being over
    parts = [f"{min(99, int(100 * ratio))} %"]
    seconds = counters.get("model_seconds_left")
    if isinstance(seconds, int | float):
        parts.append(f"about {_duration(seconds)}")
    if counters.get("model_problem"):
        parts.append(f"waits: {counters['model_problem']}")
    what = f"changing {model} -> {coming}" if coming != model else f"{model} answers from what it has embedded so far"
    return f"{what}: {', '.join(parts)}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return "a minute"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{round(minutes / 60)} h"
