"""What needs several looks: durations, jumps of the clock, a backlog."""

from __future__ import annotations

import time

from ragd.health.gauges import Backlog, ClockWatch, Stopwatch
from ragd.store.health import Progress


def test_stopwatch() -> None:
    watch = Stopwatch()
    assert [watch.held(True, now) for now in (10, 12, 15)] == [0, 2, 5]
    assert [watch.held(False, now) for now in (16, 20)] == [0, 0]
    assert [watch.held(True, now) for now in (21, 22)] == [0, 1]


def test_clock_jumps_are_seen_and_slow_passes_are_not() -> None:
    watch = ClockWatch()
    assert watch.observe(100.0, 1_000_000.0) is None
    assert watch.observe(160.0, 1_000_060.0) is None  # a pause of a minute
    assert watch.observe(161.0, 1_000_060.5) is None  # a time service at work
    assert watch.seconds_ago(161.0) is None
    assert watch.observe(162.0, 1_014_461.5) == 14_400.0
    assert watch.observe(163.0, 1_014_462.5) is None
    assert (watch.seconds_ago(172.0), watch.jump_seconds) == (10.0, 14_400.0)
    jump = watch.observe(173.0, 1_000_072.5)
    assert jump is not None
    assert jump < -14_000


def progress(lag: int, followed: int, newest: int = 100, mark: int | None = None) -> Progress:
    return Progress(lag, newest, followed, mark)


def test_a_backlog_grows_old_until_it_is_followed() -> None:
    backlog = Backlog()
    backlog.follow(progress(0, 100), 1, 0.0)
    assert (backlog.behind_seconds, backlog.stuck_seconds) == (0.0, 0.0)
    backlog.follow(progress(5, 100, 105), 1, 5.0)
    backlog.follow(progress(9, 100, 109), 1, 15.0)
    assert backlog.behind_seconds == 10.0
    backlog.follow(progress(9, 100, 109), 1, 20.0)
    assert (backlog.behind_seconds, backlog.stuck_seconds) == (15.0, 5.0)
    backlog.follow(progress(4, 105, 109), 2, 25.0)
    assert (backlog.behind_seconds, backlog.stuck_seconds) == (0.0, 0.0)
    backlog.follow(progress(0, 109, 109), 2, 30.0)
    assert backlog.behind_seconds == 0.0


def test_what_is_marked_counts_from_its_mark() -> None:
    backlog = Backlog()
    backlog.follow(progress(50, 100, mark=int((time.time() - 600) * 1000)), 1, 0.0)
    assert 599 < backlog.behind_seconds < 660
    backlog.follow(progress(50, 100, mark=int((time.time() + 600) * 1000)), 1, 1.0)  # the clock was set back
    assert backlog.behind_seconds == 0.0
