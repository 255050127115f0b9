"""The judgement on one worker, with time brought along."""

from __future__ import annotations

from typing import Any

from ragd.heartbeat import Counter, Heartbeat
from ragd.liveness import Condition, Limits, Liveness, Verdict
from ragd.supervision import ProcessInfo, ProcessState

LIMITS = Limits(stale_seconds=10, deaf_seconds=120, starting_seconds=60, memory_bytes=100 * 2**20)
RUNNING = ProcessInfo("syncer", ProcessState.RUNNING, pid=5)


def beat_of(beat: int, *, pid: int = 5, state: str = "running", detail: str = "", **counters: Counter) -> Heartbeat:
    return Heartbeat("syncer", pid, 0, 0, beat, state, detail, counters)


class Judge:
    """A judge whose clock goes on by one second a look."""

    def __init__(self) -> None:
        self.liveness = Liveness(LIMITS)
        self.now = 0.0

    def look(
        self, beat: Heartbeat | None, info: ProcessInfo = RUNNING, rss: int | None = 0, step: float = 1
    ) -> Verdict:
        self.now += step
        return self.liveness.judge(self.now, info, beat, rss)

    def seconds_until(self, condition: Condition, *args: Any, **kwargs: Any) -> int:
        for seconds in range(1000):
            if self.look(*args, **kwargs).condition is condition:
                return seconds
        raise AssertionError(f"never {condition}")


def test_a_beating_worker_is_healthy() -> None:
    judge = Judge()
    verdicts = {judge.look(beat_of(n)).condition for n in range(200)}
    assert verdicts == {Condition.HEALTHY}


def test_a_heartbeat_that_stands_still_is_hung() -> None:
    judge = Judge()
    assert judge.seconds_until(Condition.HUNG, beat_of(1)) == 11
    assert judge.look(beat_of(2)).condition is Condition.HEALTHY


def test_no_heartbeat_yet_has_the_longer_allowance() -> None:
    assert Judge().seconds_until(Condition.HUNG, None) == 61
    assert Judge().seconds_until(Condition.HUNG, beat_of(1, state="starting")) == 61
    assert Judge().seconds_until(Condition.HUNG, beat_of(1, pid=4)) == 61


def test_a_new_process_starts_with_a_full_allowance() -> None:
    judge = Judge()
    judge.seconds_until(Condition.HUNG, beat_of(1))
    info = ProcessInfo("syncer", ProcessState.RUNNING, pid=6)
    assert judge.look(beat_of(1), info).condition is Condition.STARTING
    assert judge.look(beat_of(1, pid=6), info).condition is Condition.HEALTHY


def test_a_pause_of_the_judge_itself_is_nobodys_fault() -> None:
    judge = Judge()
    judge.look(beat_of(1))
    assert judge.look(beat_of(1), step=100_000).condition is Condition.HEALTHY


def test_work_waiting_and_none_done_is_deaf() -> None:
    judge = Judge()
    for n in range(120):
        assert judge.look(beat_of(n, backlog=3, done=7)).condition is Condition.HEALTHY
    for n in range(120, 125):
        verdict = judge.look(beat_of(n, backlog=3, done=7))
    assert verdict.condition is Condition.DEAF
    assert verdict.reason.startswith("backlog of 3, nothing done for 12")
    assert judge.look(beat_of(999, backlog=2, done=8)).condition is Condition.HEALTHY


def test_no_work_waiting_is_not_deaf() -> None:
    judge = Judge()
    assert {judge.look(beat_of(n, backlog=0, done=7)).condition for n in range(300)} == {Condition.HEALTHY}
    # work that comes after long idleness has its full time
    assert judge.look(beat_of(301, backlog=1, done=7)).condition is Condition.HEALTHY
    assert judge.look(beat_of(302, backlog=1, done=7)).condition is Condition.HEALTHY


def test_a_worker_that_knows_it_is_degraded_is_not_deaf() -> None:
    judge = Judge()
    beats = (beat_of(n, state="degraded", detail="disk full", backlog=3, done=7) for n in range(300))
    assert {judge.look(beat) for beat in beats} == {Verdict(Condition.DEGRADED, "disk full")}


def test_a_backlog_without_done_is_not_judged() -> None:
    judge = Judge()
    assert {judge.look(beat_of(n, backlog=3)).condition for n in range(300)} == {Condition.HEALTHY}


def test_a_gateway_that_does_not_answer_is_deaf() -> None:
    judge = Judge()
    assert judge.look(beat_of(1, gateway_ack_age_seconds=119.0)).condition is Condition.HEALTHY
    assert judge.look(beat_of(2, gateway_ack_age_seconds=121.0)).condition is Condition.DEAF
    assert judge.look(beat_of(3, gateway_ack_age_seconds=121.0, state="degraded")).condition is Condition.DEGRADED
    assert judge.look(beat_of(4, gateway_ack_age_seconds=None)).condition is Condition.HEALTHY


def test_memory() -> None:
    judge = Judge()
    assert judge.look(beat_of(1), rss=100 * 2**20).condition is Condition.HEALTHY
    verdict = judge.look(beat_of(2), rss=101 * 2**20)
    assert verdict == Verdict(Condition.BLOATED, "101 MiB resident, 100 allowed")
    assert judge.look(beat_of(3), rss=None).condition is Condition.HEALTHY


def test_what_supervisord_says_of_absent_ones() -> None:
    def condition(state: ProcessState, **more: Any) -> Condition:
        return Judge().look(None, ProcessInfo("syncer", state, **more)).condition

    assert condition(ProcessState.STOPPED) is Condition.DOWN
    assert condition(ProcessState.FATAL, spawn_error="Exited too quickly") is Condition.DOWN
    assert condition(ProcessState.EXITED, exit_status=1) is Condition.DOWN
    assert condition(ProcessState.EXITED, exit_status=78) is Condition.MISCONFIGURED
    assert condition(ProcessState.EXITED, exit_status=65) is Condition.DAMAGED
    assert condition(ProcessState.BACKOFF) is Condition.STARTING
    assert condition(ProcessState.STOPPING, pid=5) is Condition.STARTING


def test_a_worker_that_stops_is_neither_healthy_nor_hung_at_once() -> None:
    assert Judge().look(beat_of(9, state="stopping")).condition is Condition.STARTING
