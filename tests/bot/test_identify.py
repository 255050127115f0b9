"""How the IDENTIFY budget is spent: by a normal day, by crash loops, and by several instances of a bot."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragd.bot.identify import KEPT, SAME_KEY_SECONDS, UNHURRIED, WAIT_SECONDS, Budget, IdentifyPacer

DAY = 86_400.0


@dataclass
class Discord:
    """Discord's side: so many IDENTIFYs from the first one on, new ones a day later."""

    total: int = 1000
    spent: int = 0
    resets_at: float = 0.0
    most_spent: int = 0

    def budget(self, now: float) -> Budget:
        if now >= self.resets_at:
            self.spent, self.resets_at = 0, now + DAY
        return Budget(self.total, self.total - self.spent, self.resets_at - now)

    def spend(self, now: float) -> None:
        self.budget(now)
        self.spent += 1
        self.most_spent = max(self.most_spent, self.spent)


def loop(discord: Discord, lives: list[list[float]], days: float) -> int:
    """Let processes start, wait as they are told, IDENTIFY and be killed, again and again.

    `lives` are, for each process, how long its successive lives last, in turn. Returns how many sessions began.
    """
    begun, instances = 0, len(lives)
    events = [(0.0, number, 0) for number in range(instances)]
    while events[0][0] < days * DAY:
        now, number, turn = heapq.heappop(events)
        killed_at = now + lives[number][turn % len(lives[number])]
        pause = discord.budget(now).pause_seconds(instances)
        identifies_at = now + pause
        while identifies_at <= killed_at:
            if not discord.budget(identifies_at).exhausted:
                discord.spend(identifies_at)
                begun += 1
                break
            identifies_at += max(1.0, discord.budget(identifies_at).pause_seconds(instances))
        heapq.heappush(events, (max(killed_at, now + 0.1), number, turn + 1))
    return begun


def test_most_of_a_budget_is_spent_without_waiting() -> None:
    assert Budget(1000, 1000, DAY).pause_seconds() == 0
    assert Budget(1000, 501, 60).pause_seconds() == 0


def test_the_rest_is_spread_until_the_reset() -> None:
    budget = Budget(1000, 500, DAY)
    assert budget.pause_seconds() * (500 - KEPT) == DAY
    assert budget.pause_seconds(instances=4) == 4 * budget.pause_seconds()


def test_the_last_are_left_alone() -> None:
    assert Budget(1000, KEPT, 3600).exhausted
    assert Budget(1000, KEPT, 3600).pause_seconds() == 3600
    assert not Budget(1000, KEPT + 1, 3600).exhausted


def test_a_small_budget_is_no_exception() -> None:
    assert not Budget(4, 4, DAY).exhausted
    assert Budget(4, 2, DAY).exhausted


def test_a_normal_days_restarts_wait_for_nothing() -> None:
    discord = Discord()
    assert loop(discord, [[DAY / 300]], days=3) == 900
    assert discord.most_spent < discord.total * UNHURRIED


def test_a_crash_loop_slows_down_and_never_stops() -> None:
    discord = Discord()
    begun = loop(discord, [[2.0, 120.0, 2.0, 300.0]], days=1)
    assert discord.most_spent <= discord.total - KEPT
    assert begun > discord.total * UNHURRIED, "it still works now and then"


@settings(deadline=None, max_examples=50)
@given(
    lives=st.lists(st.lists(st.floats(20, 4 * 3600), min_size=1, max_size=4), min_size=1, max_size=4),
    total=st.integers(20, 2000),
    spent=st.floats(0, 1),
)
def test_no_loop_spends_more_than_the_budget(lives: list[list[float]], total: int, spent: float) -> None:
    discord = Discord(total, int(spent * (total - KEPT)), resets_at=DAY / 2)
    loop(discord, lives, days=1.5)
    assert discord.most_spent <= discord.total - KEPT


# A process that waits


class Waiting:
    """A pacer whose clock goes on only while it sleeps."""

    def __init__(self, *budgets: Budget, instances: int = 1) -> None:
        self.now = 0.0
        self._budgets: Sequence[Budget] = budgets
        self._asked = 0
        self.pacer = IdentifyPacer(self._fetch, instances, lambda: self.now, self._sleep)

    async def _fetch(self) -> Budget:
        self._asked += 1
        return self._budgets[min(self._asked, len(self._budgets)) - 1]

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds

    async def identify(self, shard_id: int = 0) -> float:
        """Ask until it may; the time at which it may."""
        while True:
            try:
                await self.pacer.wait(shard_id)
            except TimeoutError:
                assert self.pacer.waiting
                continue
            assert not self.pacer.waiting
            return self.now


async def test_a_wait_that_a_connection_does_not_live_to_see_goes_on_in_the_next() -> None:
    budget = Budget(1000, 400, 390 * 10 * WAIT_SECONDS)
    assert await Waiting(budget).identify() == pytest.approx(10 * WAIT_SECONDS)


async def test_without_budget_it_waits_for_another_one() -> None:
    none, fresh = Budget(1000, KEPT, 100.0), Budget(1000, 1000, DAY)
    assert await Waiting(none, none, none, fresh).identify() == 3 * WAIT_SECONDS


async def test_a_budget_that_came_anew_meanwhile_ends_the_wait() -> None:
    low, fresh = Budget(1000, KEPT + 1, DAY), Budget(1000, 1000, DAY)
    waiting = Waiting(low, fresh)
    assert await waiting.identify() == WAIT_SECONDS


@pytest.mark.parametrize(("max_concurrency", "times"), [(1, [0, 5, 10, 15]), (2, [0, 0, 5, 5]), (16, [0, 0, 0, 0])])
async def test_shards_take_turns(max_concurrency: int, times: list[int]) -> None:
    waiting = Waiting(Budget(1000, 900, DAY, max_concurrency))
    assert [await waiting.identify(shard) for shard in range(4)] == [step / 5 * SAME_KEY_SECONDS for step in times]
