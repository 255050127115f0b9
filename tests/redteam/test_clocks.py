"""A private answer stays private whatever this machine's clock says of how late it is."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from ragd.sandbox.client import ControlError, SandboxThread
from ragd.sandbox.world import World
from tests.processes import until
from tests.redteam.stage import SECRETS, Stage

TOO_LATE_SECONDS = 16 * 60.0


class DiscordsClock:
    """Behind this machine's at first by more than an interaction lives."""

    def __init__(self) -> None:
        self.ahead_seconds = -TOO_LATE_SECONDS

    def __call__(self) -> float:
        return time.time() + self.ahead_seconds


@pytest.fixture(scope="module")
def clock() -> DiscordsClock:
    return DiscordsClock()


@pytest.fixture(scope="module")
def stage(clock: DiscordsClock) -> Iterator[Stage]:
    with (
        SandboxThread(world=World(clock)) as sandbox,
        tempfile.TemporaryDirectory(prefix="ragd-") as directory,
        ExitStack() as stack,
    ):
        stage = Stage(sandbox, Path(directory))
        stage.start(stack)
        yield stage


def said_in_public(stage: Stage) -> list[int]:
    """What the bot wrote where others read it."""
    bot = stage.place.bot_id
    return [entry.id for entry in stage.place.ledger().messages.values() if entry.author_id == bot]


def is_taken(stage: Stage, user: int) -> bool:
    """Whether the bot has asked for time to answer somebody."""
    sandbox = stage.place.sandbox
    questions = sandbox.call(lambda: list(sandbox.world.interactions.values()))
    return any(one.user_id == user and one.deferred for one in questions)


@pytest.mark.parametrize("text", ["rain gauge safe", "in:general before:nonsense rain"])
def test_with_a_clock_ahead_only_the_asker_reads_the_answer(stage: Stage, text: str) -> None:
    options = {"text": text, "limit": 10}
    report = stage.control.run_command(stage.general, stage.insider(), "search", options, wait_seconds=30)
    assert [message["ephemeral"] for message in report["messages"]] == [True]
    assert said_in_public(stage) == []
    if "safe" in text:
        assert SECRETS["vault"] in str(report["messages"])


@pytest.mark.parametrize("command", ["health", "privacy", "privacy-channel", "forget-me", "listener_stats"])
def test_with_a_clock_ahead_no_command_answers_in_public(stage: Stage, command: str) -> None:
    """Answers, refusals, and what is said without gaining time before."""
    options = {"mode": "opt-in"} if command == "privacy-channel" else {}
    report = stage.control.run_command(stage.general, stage.outsider(), command, options, wait_seconds=30)
    assert [message["ephemeral"] for message in report["messages"]] == [True]
    assert said_in_public(stage) == []


def test_what_is_too_late_for_discord_is_said_nowhere(stage: Stage, clock: DiscordsClock) -> None:
    """As when capture was suspended between question and answer."""
    searcher, capture = stage.processes["searcher"].process, stage.processes["capture"]
    options, user = {"text": "rain gauge safe"}, stage.insider()
    with ThreadPoolExecutor(1) as beside:
        searcher.send_signal(signal.SIGSTOP)
        try:
            asked = beside.submit(stage.control.run_command, stage.general, user, "search", options, wait_seconds=10)
            until(lambda: is_taken(stage, user), "the question is taken")
            clock.ahead_seconds += TOO_LATE_SECONDS
        finally:
            searcher.send_signal(signal.SIGCONT)
        until(lambda: "command search came to no answer: for Discord it was too late" in capture.log.read_text())
        with pytest.raises(ControlError, match="has not answered"):
            asked.result()
    assert said_in_public(stage) == []
    log = capture.log.read_text()
    assert log.count("too late") == 1
    assert "Traceback" not in log
    assert "rain gauge" not in log
