"""Interval sets: whatever is added in whatever order, they say exactly what was proved."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragd.store import Store
from ragd.store.coverage import Interval, Proof, holes_between

SPAN = st.tuples(st.integers(1, 60), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def ids_of(intervals: list[tuple[int, int]]) -> set[int]:
    return {i for first, last in intervals for i in range(first, last + 1)}


@given(st.lists(SPAN, max_size=8), st.integers(0, 80))
def test_holes_are_what_intervals_leave_out(spans: list[tuple[int, int]], last_id: int) -> None:
    holes = holes_between(spans, last_id)
    assert ids_of(holes) == set(range(1, last_id + 1)) - ids_of(spans)
    assert holes == sorted(holes)


@given(spans=st.lists(SPAN, max_size=12))
@settings(max_examples=60, deadline=None)
def test_adding_intervals_gives_their_union(spans: list[tuple[int, int]]) -> None:
    store = Store.open(Path(":memory:"))
    for first, last in spans:
        store.coverage.add_interval(7, first, last, "rest")
    stored = store.coverage.intervals(7)
    assert ids_of(stored) == ids_of(spans)
    assert all(one[1] + 1 < other[0] for one, other in pairwise(stored)), "disjoint, not adjacent"
    store.close()


PROOF = st.tuples(SPAN, st.sampled_from(["gateway", "rest", "import"]))


@given(proofs=st.lists(PROOF, max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_last_proof_of_each_id_counts_and_a_file_only_fills_holes(proofs: list[tuple[Interval, Proof]]) -> None:
    store, expected = Store.open(Path(":memory:")), dict[int, str]()
    for (first, last), source in proofs:
        store.coverage.add_interval(7, first, last, source)
        for message_id in range(first, last + 1):
            if source != "import" or message_id not in expected:
                expected[message_id] = source
    stored = store.coverage.proofs(7)
    assert {i: proof.source for proof in stored for i in range(proof.start_id, proof.end_id + 1)} == expected
    assert all(one.end_id < other.start_id for one, other in pairwise(stored)), "disjoint"
    touching = [(one, other) for one, other in pairwise(stored) if one.end_id + 1 == other.start_id]
    assert all(one.source != other.source for one, other in touching), "joined if proved alike"
    assert all(0 < proof.proved_from <= proof.proved_at for proof in stored)
    store.close()


def test_live_goes_on_after_a_page_was_read_again() -> None:
    store = Store.open(Path(":memory:"))
    store.coverage.extend_live(7, 10, 20)
    store.coverage.add_interval(7, 1, 20, "rest")
    store.coverage.extend_live(7, 10, 25)
    store.coverage.extend_live(7, 10, 27)
    assert [(p.start_id, p.end_id, p.source) for p in store.coverage.proofs(7)] == [
        (1, 20, "rest"),
        (21, 27, "gateway"),
    ]
    store.close()


@pytest.mark.parametrize(
    ("intervals", "live_from", "newest", "expected"),
    [
        ([(1, 9)], 10, 14, [(1, 14)]),
        ([(1, 9)], 8, 14, [(1, 14)]),
        ([(1, 5)], 10, 14, [(1, 5), (10, 14)]),
        ([], 10, 14, [(10, 14)]),
        ([(1, 5), (10, 20)], 10, 14, [(1, 5), (10, 20)]),
    ],
)
def test_live_events_never_jump_a_hole(
    tmp_path: Path,
    intervals: list[tuple[int, int]],
    live_from: int,
    newest: int,
    expected: list[tuple[int, int]],
) -> None:
    store = Store.open(tmp_path / "ragd.sqlite3")
    for first, last in intervals:
        store.coverage.add_interval(7, first, last, "rest")
    store.coverage.extend_live(7, live_from, newest)
    assert store.coverage.intervals(7) == expected
    store.close()
