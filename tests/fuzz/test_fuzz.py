"""Every parser of what comes from outside, given bytes that were real before they were mutated, and any text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.effort import Tried, effort
from tests.fuzz.seeds import SEEDS, VALUES
from tests.fuzz.targets import TARGETS

_SCALAR = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|true|false|null')


@st.composite
def mutated(draw: Any, seeds: tuple[bytes, ...]) -> bytes:
    """A seed after a few changes: values replaced, bytes flipped, pieces cut out, doubled, moved."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        data = draw(st.sampled_from(_CHANGES))(draw, data)
    return data


def _replace(draw: Any, data: bytes) -> bytes:
    places = list(_SCALAR.finditer(data))
    if not places:
        return data
    place = draw(st.sampled_from(places))
    return data[: place.start()] + draw(st.sampled_from(VALUES)) + data[place.end() :]


def _flip(draw: Any, data: bytes) -> bytes:
    if not data:
        return data
    at = draw(st.integers(0, len(data) - 1))
    return data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]


def _cut(draw: Any, data: bytes) -> bytes:
    start, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
    return data[:start] + data[end:]


def _double(draw: Any, data: bytes) -> bytes:
    start, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
    return data[:end] + data[start:]


def _insert(draw: Any, data: bytes) -> bytes:
    at = draw(st.integers(0, len(data)))
    more = draw(st.one_of(st.sampled_from(VALUES), st.binary(max_size=20), st.text(max_size=10).map(_encoded)))
    return data[:at] + more + data[at:]


def _truncate(draw: Any, data: bytes) -> bytes:
    return data[: draw(st.integers(0, len(data)))]


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


_CHANGES: tuple[Callable[[Any, bytes], bytes], ...] = (_replace, _replace, _flip, _cut, _double, _insert, _truncate)


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_crashes(name: str, tried: Tried) -> None:
    target = TARGETS[name]

    @effort(200)
    @given(st.one_of(mutated(SEEDS[name]), mutated(SEEDS[name]), st.text(max_size=200).map(_encoded), st.binary()))
    def each(data: bytes) -> None:
        tried.count(name)
        target(data)

    for seed in SEEDS[name]:
        target(seed)
    each()
