"""How often somebody may ask."""

from __future__ import annotations

from ragd.answering import limits
from ragd.answering.limits import Limits, RateLimit

ANN, BOB, GUILD, OTHER = 1, 2, 10, 20


def test_so_many_at_once_then_as_they_come_back() -> None:
    asked = Limits(3, 100)
    assert [asked.take(ANN, GUILD, 0.0) for _ in range(3)] == [None] * 3
    refusal = asked.take(ANN, GUILD, 0.0)
    assert refusal is not None
    assert (refusal.wait_seconds, refusal.whole_server) == (20.0, False)
    assert asked.take(ANN, GUILD, 20.0) is None
    assert asked.take(ANN, GUILD, 20.0) is not None
    assert asked.take(BOB, GUILD, 20.0) is None


def test_a_person_cannot_go_round_it_in_another_server() -> None:
    asked = Limits(1, 100)
    assert asked.take(ANN, GUILD, 0.0) is None
    assert asked.take(ANN, OTHER, 0.0) is not None


def test_a_server_has_a_limit_of_its_own() -> None:
    asked = Limits(5, 2)
    assert [asked.take(user, GUILD, 0.0) for user in (ANN, BOB)] == [None, None]
    refusal = asked.take(3, GUILD, 0.0)
    assert refusal is not None
    assert refusal.whole_server
    assert asked.take(3, OTHER, 0.0) is None


def test_a_refusal_costs_nothing_and_is_told_once() -> None:
    asked = Limits(1, 100)
    asked.take(ANN, GUILD, 0.0)
    told = [asked.take(ANN, GUILD, second) for second in range(5)]
    assert [refusal.first for refusal in told if refusal] == [True, False, False, False, False]
    assert asked.take(ANN, GUILD, 60.0) is None
    refusal = asked.take(ANN, GUILD, 60.0)
    assert refusal is not None
    assert refusal.first


def test_buckets_that_are_full_again_are_forgotten() -> None:
    asked = RateLimit(1)
    for key in range(limits.MOST_BUCKETS):
        asked.bucket(key, 0.0).tokens -= 1
    asked.bucket(-1, 100.0)
    assert len(asked._buckets) == 1
