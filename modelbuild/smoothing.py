"""Which channels the int8 graph divides before it rounds them, and what its vectors depend on. Needs no numpy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

ARITHMETIC_VERSION = 1
"""Of modelbuild.quantised: raise it when other vectors come out of the same weights, so that all texts are embedded
anew."""

TABLE = Path(__file__).with_name("smoothing.json")
"""Written by training/smoothing.py."""

Shifts = Mapping[str, Mapping[int, int]]
"""By the input of dense parts and by channel: the power of two that its values are divided by, its weights multiplied.
Other channels stay as they are."""


def read_shifts() -> Shifts:
    """The table."""
    table = json.loads(TABLE.read_bytes())
    return {part: {int(channel): shift for channel, shift in found.items()} for part, found in table.items()}


def part_of(dense: str) -> str:
    """The name in the table of the input that the dense part `dense` has: query, key and value share one."""
    before, shared, _ = dense.partition(".self.")
    return f"{before}.self" if shared else dense


def fingerprint(weights: str) -> str:
    """What vectors of the int8 graph depend on, given the fingerprint of weights and tokenizer."""
    return hashlib.sha256(f"{weights}\0int8\0{ARITHMETIC_VERSION}\0".encode() + TABLE.read_bytes()).hexdigest()
