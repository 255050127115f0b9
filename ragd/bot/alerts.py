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

from ragd.errors import TransientError
from ragd.store.alerts import AlertStore, Announcement
from ragd.worker import wait_for_stop

_log = logging.getLogger(__name__)

POLL_SECONDS = 5.0

InThread = Callable[[Callable[[], Any]], Awaitable[Any]]


async def deliver_alerts(
    client: discord.Client, channel_id: int, alerts: AlertStore, in_thread: InThread, stop: asyncio.Event
) -> None:
    """Send what nobody has been told yet, each once, until stopped. What cannot be sent now stays in the outbox."""
    while not await wait_for_stop(stop, POLL_SECONDS):
        if not client.is_ready():
            continue
        try:
            for announcement in await in_thread(alerts.unannounced):
                await _send(client, channel_id, render_alert(announcement))
                await in_thread(partial(alerts.mark_announced, announcement))
        except (discord.HTTPException, discord.InvalidData, aiohttp.ClientError, TimeoutError, TransientError) as error:
            _log.warning("an alert could not be delivered to channel %d: %s", channel_id, error)


async def _send(client: discord.Client, channel_id: int, text: str) -> None:
    channel = client.get_channel(channel_id) or await client.fetch_channel(channel_id)
    if not isinstance(channel, discord.abc.Messageable):
        raise discord.InvalidData(f"ALERT_CHANNEL_ID={channel_id} is no channel that takes messages")
    await channel.send(text)


def render_alert(announcement: Announcement) -> str:
    """What people read: the condition, or that it is over and how long it took."""
    if announcement.resolved_at is None:
        return f"**{announcement.severity}**: {announcement.text}"
    minutes = max(1, round((announcement.resolved_at - announcement.raised_at) / 60))
    return f"**recovered** after {minutes} min: {announcement.text} ({time.strftime('%H:%M', time.gmtime())} UTC)"
