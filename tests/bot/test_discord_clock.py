"""What time it is at Discord, whatever this machine's clock says."""

from __future__ import annotations

import time

from ragd.bot.discord_clock import DiscordClock
from ragd.snowflake import from_unix_seconds, to_unix_seconds


def error_of(clock: DiscordClock, expected: float) -> float:
    return abs(to_unix_seconds(clock.ago(0)) - expected)


def test_before_the_first_message_it_is_ours() -> None:
    assert error_of(DiscordClock(), time.time()) < 60


def test_the_first_message_sets_it_also_backwards() -> None:
    """Our clock was a day ahead."""
    clock, there = DiscordClock(), time.time() - 86_400
    clock.hear(from_unix_seconds(there))
    assert error_of(clock, there) < 60
    assert to_unix_seconds(clock.ago(3600)) < there - 3500


def test_a_message_that_was_long_on_its_way_does_not_set_it_back() -> None:
    clock, there = DiscordClock(), time.time() + 86_400
    clock.hear(from_unix_seconds(there))
    clock.hear(from_unix_seconds(there - 600))
    assert error_of(clock, there) < 60
    clock.hear(from_unix_seconds(there + 600))
    assert error_of(clock, there + 600) < 60
