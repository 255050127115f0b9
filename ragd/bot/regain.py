"""Channels that the bot may read again: what their newest messages are, only REST knows.

While a channel is hidden its messages do not come, so discord.py's idea of its newest one is as old as the loss. To
call it live from there on would claim what was missed.
"""

from __future__ import annotations

import logging

import aiohttp
import discord
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from ragd.bot.normalise import last_id

_log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 60.0


async def refresh_last_ids(guild: discord.Guild) -> bool:
    """Bring the cache's newest message ids up to date. Tries for as long as Discord cannot be reached; False if it
    refuses.
    """
    retrying = AsyncRetrying(
        retry=retry_if_exception_type((discord.DiscordServerError, aiohttp.ClientError, TimeoutError)),
        wait=wait_random_exponential(multiplier=1, max=LONGEST_PAUSE_SECONDS),
    )
    try:
        listed = [*await retrying(guild.fetch_channels), *await retrying(guild.active_threads)]
    except discord.HTTPException as error:
        _log.warning("the channels of guild %d cannot be listed: %s", guild.id, error)
        return False
    for shown in listed:
        known = guild.get_channel_or_thread(shown.id)
        if known is not None and last_id(shown) > last_id(known):
            known.last_message_id = last_id(shown)  # type: ignore[union-attr]
    return True
