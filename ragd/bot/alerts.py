"""Delivers the watchdog's alerts from the outbox to a Discord channel."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import aiohttp
import discord
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    RetryError,
    retry_if_exception_type,
    wait_random_exponential,
)

from ragd.alerts import Notice
from ragd.bot.normalise import can_send
from ragd.errors import RagdError, TransientError, UnavailableError
from ragd.store.alerts import AlertStore, StoredAlert
from ragd.worker import wait_for_stop

_log = logging.getLogger(__name__)

POLL_SECONDS = 5.0

LONGEST_PAUSE_SECONDS = 300.0
"""Between two tries while the channel does not take anything: refused requests count against the address."""

LONGEST_MESSAGE = 2000
"""Characters Discord takes."""

InThread = Callable[[Callable[[], Any]], Awaitable[Any]]


class NotAllowedError(discord.DiscordException):
    """The bot has not the permission: nobody asks Discord for what it would refuse."""


class UndeliverableError(UnavailableError):
    """The channel does not take a notice now. Somebody may mend that, so it stays in the outbox."""


async def deliver_alerts(
    client: discord.Client, channel_id: int, alerts: AlertStore, in_thread: InThread, stop: asyncio.Event
) -> None:
    """Send what nobody has been told yet, each once, until stopped. What cannot be sent now stays in the outbox."""
    delivery = _Delivery(client, channel_id, alerts, in_thread)

    async def pause(seconds: float) -> None:
        await wait_for_stop(stop, seconds)

    while not await wait_for_stop(stop, POLL_SECONDS):
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((UndeliverableError, TransientError)),
            wait=wait_random_exponential(multiplier=POLL_SECONDS, max=LONGEST_PAUSE_SECONDS),
            stop=lambda _: stop.is_set(),
            sleep=pause,
            before_sleep=delivery.complain,
        )
        try:
            await retrying(delivery.send_all)
        except RetryError:
            return  # told to stop


class _Delivery:
    """Sends to one channel."""

    def __init__(self, client: discord.Client, channel_id: int, alerts: AlertStore, in_thread: InThread) -> None:
        self._client = client
        self._channel_id = channel_id
        self._alerts = alerts
        self._in_thread = in_thread
        self._complaint = ""

    async def send_all(self) -> None:
        """Send what waits, oldest first. Raises UndeliverableError or TransientError at the first that fails."""
        if not self._client.is_ready():
            return
        for stored in await self._in_thread(self._alerts.unannounced):
            notice = stored.pending()
            if notice is not None:
                await self._send_one(stored, notice)
        self._complaint = ""

    async def _send_one(self, stored: StoredAlert, notice: Notice) -> None:
        try:
            await self._send(render_notice(notice, time.time()))
        except (discord.DiscordException, aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = _explain(error, self._channel_id)
            await self._in_thread(partial(self._alerts.mark_failed, stored, problem))
            raise UndeliverableError(problem) from error
        await self._in_thread(partial(self._alerts.mark_announced, stored))

    async def _send(self, text: str) -> None:
        known = self._client.get_channel(self._channel_id)
        channel = known or await self._client.fetch_channel(self._channel_id)
        if not isinstance(channel, discord.abc.Messageable):
            raise discord.InvalidData("it is no channel that takes messages")
        if isinstance(known, discord.abc.GuildChannel | discord.Thread) and not can_send(known):
            raise NotAllowedError
        await channel.send(text)

    def complain(self, state: RetryCallState) -> None:
        """Log a failure when it begins and when it becomes another one."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, RagdError) and str(error) != self._complaint:
            _log.warning("an alert cannot be delivered: %s", error)
            self._complaint = str(error)


def _explain(error: Exception, channel_id: int) -> str:
    """One line that says what to do where somebody can do something."""
    match error:
        case discord.Forbidden() | NotAllowedError():
            return f"the bot may not write in ALERT_CHANNEL_ID={channel_id}: give it View Channel and Send Messages"
        case discord.NotFound():
            return f"ALERT_CHANNEL_ID={channel_id} is no channel that the bot knows: name another"
        case discord.InvalidData():
            return f"ALERT_CHANNEL_ID={channel_id}: {error}"
        case discord.HTTPException():
            return f"Discord answered with HTTP status {error.status}"
        case _:
            return f"Discord cannot be reached ({type(error).__name__})"


def render_notice(notice: Notice, now: float) -> str:
    """What people read in Discord: what happened in bold, then the condition."""
    return f"**{notice.head(now)}**: {notice.alert.text}"[:LONGEST_MESSAGE]
