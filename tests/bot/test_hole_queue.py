"""The order in which holes are read: fair, newest first, and no channel waits for another."""

from __future__ import annotations

from ragd.bot.hole_queue import RETRY_PAUSE_SECONDS, HoleQueue
from ragd.store.coverage import Hole


def hole(channel_id: int, start: int, end: int) -> Hole:
    return Hole(1, channel_id, start, end)


def stocked(*holes: Hole, now: float = 0.0) -> HoleQueue:
    queue = HoleQueue()
    queue.restock(sorted(holes, key=lambda one: one.end_id, reverse=True), now)
    return queue


def test_newest_channels_first_and_of_each_its_newest_hole() -> None:
    queue = stocked(hole(7, 1, 10), hole(7, 50, 90), hole(8, 1, 70), hole(9, 95, 99))
    assert [queue.take(), queue.take(), queue.take(), queue.take()] == [
        hole(9, 95, 99),
        hole(7, 50, 90),
        hole(8, 1, 70),
        None,
    ]


def test_a_long_history_takes_turns() -> None:
    queue, turns = stocked(hole(7, 1, 1000), hole(8, 1, 3)), []
    while taken := queue.take():
        turns.append(taken.channel_id)
        queue.put_back(taken, max(taken.start_id, taken.end_id - (300 if taken.channel_id == 7 else 0)))
    assert turns == [7, 8, 7, 8, 7, 8, 7]


def test_a_slow_channel_holds_up_none_but_itself() -> None:
    queue = stocked(hole(7, 1, 900), hole(8, 1, 800))
    slow = queue.take()
    assert slow == hole(7, 1, 900)
    for reached in (700, 600, 500):
        other = queue.take()
        assert other is not None
        assert other.channel_id == 8
        assert not queue.put_back(other, reached)
    assert queue.put_back(hole(8, 1, 499), 1), "nothing is left of it"


def test_what_failed_is_left_alone_for_a_while_and_no_longer() -> None:
    queue = stocked(hole(7, 1, 9), hole(8, 1, 8))
    queue.block(7, 100.0)
    for now, channels in ((100.0, [8]), (100.0 + RETRY_PAUSE_SECONDS, [7, 8])):
        queue.restock([hole(7, 1, 9), hole(8, 1, 8)], now)
        assert [taken.channel_id for _ in range(len(queue)) if (taken := queue.take())] == channels
