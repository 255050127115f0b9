"""Training and its metrics: on a few lines made up here, and against brute force."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragd.chunking.features import LOOK_BACK
from ragd.chunking.scorer import MANIFEST, WEIGHTS, read_scorer
from training import disentangler
from training.irc import Day, assign, evaluate, read_days, score_clusters

LINES = """[23:58] <ann> how do I mount a disk?
=== bob [bob@host]  has joined #ubuntu
[23:59] <bob> my sound is gone, what now?
[00:01] <cal> ann: with mount
[00:02] * dan nods at bob
[00:03] <ann> cal: thanks
"""
LINKS = "0 0 -\n1 1 -\n2 2 -\n0 3 -\n2 4 -\n3 5 -\n"


@pytest.fixture
def day(tmp_path: Path) -> Day:
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.ascii.txt").write_text(LINES)
        (tmp_path / f"{name}.annotation.txt").write_text(LINKS)
    return read_days(tmp_path)[0]


def test_people_are_read_and_the_system_is_not(day: Day) -> None:
    assert list(day.lines) == [0, 2, 3, 4, 5]
    assert [message.author_name for message in day.messages] == ["ann", "bob", "cal", "dan", "ann"]
    assert day.messages[3].text == "nods at bob"
    assert day.gold == {0: {0}, 1: {1}, 2: {2}, 3: {0}, 4: {2}, 5: {3}}


def test_the_clock_goes_on_past_midnight(day: Day) -> None:
    ids = [message.id for message in day.messages]
    assert ids == sorted(ids)
    assert (ids[-1] - ids[0]) >> 22 == 5 * 60_000


def test_what_was_annotated_scores_a_hundred(day: Day) -> None:
    scores = evaluate([day], {day.name: day.gold})
    assert (scores.one_to_one, scores.exact, scores.link) == (100, 100, 100)
    assert scores.information == pytest.approx(100)


def test_scores_by_hand(day: Day) -> None:
    """All alone: of six lines the biggest part of each of three conversations; three of six links."""
    scores = evaluate([day], {day.name: {}})
    assert scores.one_to_one == pytest.approx(100 * 3 / 6)
    assert scores.link == pytest.approx(100 * 3 / 6)
    assert scores.exact == 0
    lost_bits = 3 / 6 * np.log2(3) + 2 / 6
    assert scores.information == pytest.approx(100 * (1 - lost_bits / np.log2(6)))


@settings(deadline=None)
@given(
    costs=st.integers(1, 5).flatmap(
        lambda width: st.lists(st.lists(st.integers(-9, 9), min_size=width, max_size=width), min_size=1, max_size=5)
    )
)
def test_the_pairing_is_the_cheapest(costs: list[list[int]]) -> None:
    cost = np.array(costs)
    rows, columns = assign(cost)
    assert len(set(rows.tolist())) == len(set(columns.tolist())) == min(cost.shape)
    flat = cost if cost.shape[0] <= cost.shape[1] else cost.T
    best = min(
        sum(flat[at, column] for at, column in enumerate(order))
        for order in permutations(range(flat.shape[1]), flat.shape[0])
    )
    assert cost[rows, columns].sum() == best


def test_singletons_do_not_count_as_found_whole() -> None:
    lines = [("f", number) for number in range(3)]
    gold = [frozenset(lines[:2]), frozenset(lines[2:])]
    assert score_clusters(gold, gold)[2] == 100
    assert score_clusters(gold, [frozenset([line]) for line in lines])[2] == 0


def test_training_learns_and_writes_the_same_bytes_each_time(
    day: Day, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disentangler, "EPOCHS", 60)
    days = read_days(tmp_path)
    written = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        disentangler.save(*disentangler.train(days, networks=1), days, folder)
        written.append([(folder / name).read_bytes() for name in (WEIGHTS.name, MANIFEST.name)])
    assert written[0] == written[1]
    scorer = read_scorer(tmp_path / "a" / MANIFEST.name, tmp_path / "a" / WEIGHTS.name)
    best = [int(each.argmax()) for each in scorer.probabilities(day.messages)]
    assert best == [0, 0, 2, 2, 2], "ann and bob open, cal answers ann, dan bob, ann cal"


def test_examples_leave_out_what_is_out_of_reach(day: Day) -> None:
    far = Day(day.name, day.messages, day.lines, {5: {-LOOK_BACK}, 4: {2}})
    examples = disentangler.examples_of([far], disentangler.vocabulary_of([far]))
    assert examples.answers.shape == (1, 1 + LOOK_BACK)
    assert np.flatnonzero(examples.answers[0]).tolist() == [2]


def test_only_words_of_several_days_are_learned(tmp_path: Path, day: Day) -> None:
    odd = tmp_path / "two.ascii.txt"
    odd.write_text(LINES.replace("sound", "sedimentary"))
    idf = disentangler.vocabulary_of(read_days(tmp_path)).idf
    assert "mount" in idf
    assert not {"sound", "sedimentary"} & set(idf)
