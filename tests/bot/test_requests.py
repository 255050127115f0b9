"""Requests as they are counted, held back and refused: by themselves, and by discord.py against the sandbox."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import aiohttp
import discord
import pytest

from ragd.bot import requests
from ragd.bot.client import CaptureClient
from ragd.bot.endpoints import use_endpoints
from ragd.bot.requests import (
    BACKGROUND_PER_SECOND,
    MOST_INVALID,
    ROOM_AGAIN,
    WINDOW_SECONDS,
    Requests,
    TokenRefusedError,
    in_background,
)
from ragd.sandbox.client import SandboxThread
from tests.bot.bots import make_bot
from tests.processes import TOKEN, Place, environment, furnish, settings_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def answered() -> str:
    return "answer"


def refuse(seen: Requests, times: int) -> None:
    for _ in range(times):
        seen.count(403)


# Counting


@pytest.mark.parametrize(
    ("status", "scope", "invalid"),
    [(200, "", 0), (404, "", 0), (500, "", 0), (401, "", 1), (403, "", 1), (429, "user", 1), (429, "shared", 0)],
)
def test_what_discord_counts_against_an_address(status: int, scope: str, invalid: int) -> None:
    seen = Requests()
    seen.count(status, scope)
    assert seen.counters()["requests"] == 1
    assert seen.invalid == invalid


def test_invalid_requests_leave_the_window(clock: Clock) -> None:
    seen = Requests(clock=clock)
    for _ in range(3):
        seen.count(403)
        clock.now += WINDOW_SECONDS / 3
    assert seen.invalid == 2, "the first is exactly as old as the window"
    clock.now += WINDOW_SECONDS
    assert seen.invalid == 0
    assert seen.total == 3


def test_the_gateways_handshake_is_no_request() -> None:
    seen = Requests()
    seen.count(101)
    assert seen.total == 0


def test_an_expired_interaction_is_no_refused_token() -> None:
    seen = Requests()
    seen.count(401, with_token=False)
    assert seen.invalid == 1
    assert not seen.token_refused


def test_an_answer_tells_discords_time() -> None:
    seen = Requests()
    seen.hear_time("")
    assert seen.counters()["clock_ahead_seconds"] is None
    seen.hear_time(format_datetime(datetime.now(UTC) - timedelta(hours=3), usegmt=True))
    assert seen.counters()["clock_ahead_seconds"] == pytest.approx(3 * 3600, abs=60)
    seen.hear_time("yesterday")
    assert seen.counters()["clock_ahead_seconds"] == pytest.approx(3 * 3600, abs=60)


# Waiting


async def test_background_waits_for_room_and_people_do_not(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(requests, "LONGEST_SLEEP_SECONDS", 0.01)
    caplog.set_level(logging.INFO)
    seen = Requests(clock=clock)
    ask = seen.gate(answered)
    refuse(seen, MOST_INVALID - ROOM_AGAIN)
    clock.now += 60
    refuse(seen, ROOM_AGAIN)
    waiting = [asyncio.create_task(in_background(ask())) for _ in range(3)]
    assert await ask() == "answer"
    assert seen.counters()["requests_paused"] is True
    clock.now += WINDOW_SECONDS - 61
    done, _ = await asyncio.wait(waiting, timeout=0.1)
    assert not done
    clock.now += 1.5
    assert await asyncio.wait_for(asyncio.gather(*waiting), 10) == ["answer"] * 3
    told = [record.message for record in caplog.records if record.name == requests.__name__]
    assert ["waits" in line for line in told] == [True, False], "once when it begins, once when it ends"


async def test_background_stays_below_discords_limit_of_all_requests(clock: Clock) -> None:
    seen = Requests(instances=2, clock=clock)
    ask = seen.gate(answered)
    tasks = [asyncio.create_task(in_background(ask())) for _ in range(BACKGROUND_PER_SECOND)]
    done, waiting = await asyncio.wait(tasks, timeout=0.1)
    assert len(done) == BACKGROUND_PER_SECOND // 2, "the other instance has the other half"
    assert await ask() == "answer"
    clock.now += 1.01
    await asyncio.wait_for(asyncio.gather(*waiting), 10)


async def test_whoever_waits_hears_of_a_refused_token(clock: Clock) -> None:
    seen = Requests(clock=clock)
    refuse(seen, MOST_INVALID)
    waiting = asyncio.create_task(in_background(seen.gate(answered)()))
    await asyncio.wait([waiting], timeout=0.05)
    seen.count(401)
    with pytest.raises(TokenRefusedError):
        await asyncio.wait_for(waiting, 10)


# discord.py, against the sandbox


@pytest.fixture
async def place(short_path: Path) -> AsyncIterator[Place]:
    with SandboxThread() as sandbox:
        use_endpoints(settings_of(environment(sandbox, short_path)))
        yield furnish(sandbox)


@pytest.fixture
async def bot(place: Place, short_path: Path) -> AsyncIterator[CaptureClient]:
    bot = await make_bot(short_path)
    await bot.login(TOKEN)
    yield bot
    await bot.close()


def answers(place: Place) -> dict[str, int]:
    found: dict[str, int] = place.control.state()["rest"]["answers"]
    return found


async def test_all_that_discord_answers_is_counted(place: Place, bot: CaptureClient) -> None:
    missing = 1 << 22
    with pytest.raises(discord.NotFound):
        await bot.fetch_channel(missing)
    place.control.rest_fault(status=403, pattern="/channels/*", times=1)
    with pytest.raises(discord.Forbidden):
        await bot.fetch_channel(place.channel_id)
    place.control.rest_fault(status=429, pattern="/channels/*", times=1, retry_after_seconds=0.01)
    await bot.fetch_channel(place.channel_id)
    seen = bot.requests
    assert seen.total == sum(answers(place).values())
    assert (seen.invalid, seen.rate_limited) == (2, 1)


async def test_after_one_401_nothing_more_is_asked(place: Place, bot: CaptureClient) -> None:
    place.control.reset_token(place.bot_id)
    for _ in range(3):
        for ask in (bot.fetch_channel(place.channel_id), bot.http.get_bot_gateway(), bot.tree.sync()):
            with pytest.raises(TokenRefusedError):
                await ask
    assert answers(place)["401"] == 1
    with pytest.raises(TokenRefusedError):
        bot.requests.require_token()


async def test_a_login_that_is_refused_is_told_as_any_other(place: Place, short_path: Path) -> None:
    bot = await make_bot(short_path)
    with pytest.raises(TokenRefusedError):
        await bot.login("wrong")
    await bot.close()


async def test_requests_for_interactions_are_counted_but_have_a_token_of_their_own(
    place: Place, bot: CaptureClient
) -> None:
    webhook = discord.Webhook.partial(1 << 22, "expired", client=bot)
    before = bot.requests.total
    with pytest.raises(discord.HTTPException):
        await webhook.send("too late", wait=True)
    assert bot.requests.total == before + 1
    assert not bot.requests.token_refused


async def test_a_broken_connection_is_no_answer(place: Place, bot: CaptureClient) -> None:
    place.control.refuse(rest=True)
    with pytest.raises(aiohttp.ClientError):
        await bot.http.get_bot_gateway()
    place.control.clear_faults()
    assert bot.requests.total == sum(answers(place).values()) - answers(place).get("499", 0)
