"""The pace of restarts, with time brought along."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragd.restarts import CAPTURE_RULE, DEFAULT_RULE, RestartBudget, RestartRule, is_requested_end, request_end

RULE = RestartRule(burst=3, first_gap_seconds=2, slow_gap_seconds=100, quiet_seconds=300)


def budget(chance: float = 0.0) -> RestartBudget:
    return RestartBudget(RULE, chance=lambda: chance)


def test_the_first_is_free_and_waits_double() -> None:
    waits = []
    kept = budget()
    now = 0.0
    for _ in range(5):
        waits.append(kept.wait_seconds(now))
        now += kept.wait_seconds(now)
        kept.note(now)
    assert waits == [0, 2, 4, 100, 100]


def test_an_end_that_was_asked_for_is_told_from_others(tmp_path: Path) -> None:
    directory = tmp_path / "requests"
    assert not is_requested_end(directory, "syncer", 7), "nobody ever asked"
    request_end(directory, "syncer", 7)
    assert is_requested_end(directory, "syncer", 7)
    assert not is_requested_end(directory, "syncer", 8)
    assert not is_requested_end(directory, "capture", 7)


def test_waiting_counts_down() -> None:
    kept = budget()
    kept.note(10)
    assert kept.wait_seconds(11) == 1
    assert kept.wait_seconds(12) == 0


def test_only_the_slow_pace_is_left_after_the_burst() -> None:
    kept = budget()
    for now in (0, 2, 6):
        assert not kept.spent(now)
        kept.note(now)
    assert kept.spent(6)
    assert kept.streak(6) == 3


def test_a_quiet_time_ends_the_streak() -> None:
    kept = budget()
    for now in (0, 2, 6):
        kept.note(now)
    assert kept.spent(305.9)
    assert not kept.spent(306)
    assert kept.wait_seconds(306) == 0
    kept.note(306)
    assert kept.streak(306) == 1


def test_falling_again_and_again_does_not_win_a_new_burst() -> None:
    kept = budget()
    now, restarts = 0.0, 0
    while now < 3600:
        now += kept.wait_seconds(now)
        kept.note(now)
        restarts += 1
    assert restarts == 3 + 36


def test_jitter_only_lengthens() -> None:
    kept = budget(chance=1.0)
    kept.note(0)
    assert kept.wait_seconds(0) == pytest.approx(2.4)


def test_going_on_with_an_earlier_streak() -> None:
    kept = budget()
    kept.restore(3, 50)
    assert kept.spent(50)
    assert kept.wait_seconds(60) == 90
    kept.restore(0, 60)
    assert kept.wait_seconds(60) == 0


def test_a_day_of_captures_restarts_stays_below_discords_limit() -> None:
    kept = RestartBudget(CAPTURE_RULE, chance=lambda: 0.0)
    now, restarts = 0.0, 0
    while now < 86400:
        now += kept.wait_seconds(now)
        kept.note(now)
        restarts += 1
    tries_of_supervisord = 4
    assert restarts * tries_of_supervisord < 1000


def test_a_streak_outlasts_its_own_slow_gaps() -> None:
    for rule in (DEFAULT_RULE, CAPTURE_RULE):
        assert rule.quiet_seconds > rule.slow_gap_seconds * 1.2
