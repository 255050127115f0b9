"""One page of a channel for an audit, and what may keep Discord from giving it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import aiohttp
import discord

from ragd.auditing import Place
from ragd.bot.normalise import MessageChannel, can_read
from ragd.bot.reading import page_of, read_rows
from ragd.bot.requests import TokenRefusedError
from ragd.errors import UnavailableError
from ragd.store.events import PageRead

Result = TypeVar("Result")


class AuditFailed(UnavailableError):  # noqa: N818 - an outcome: it is told to who asked
    """The audit cannot be brought to its end; says why."""


class UnreadableChannelError(Exception):
    """The bot may not read it, or cannot find it."""


class GoneChannelError(Exception):
    """Discord has it no more."""


async def guarded(asking: Awaitable[Result]) -> Result:
    """Await an answer of Discord's; discord.py has tried five times before it raises a server's error.

    Raises TokenRefusedError, AuditFailed when Discord does not answer, and as they are the errors that are about the
    thing asked for: Forbidden, NotFound, InvalidData.
    """
    try:
        return await asking
    except (discord.Forbidden, discord.NotFound, discord.InvalidData):
        raise
    except (discord.HTTPException, aiohttp.ClientError, TimeoutError, OSError) as error:
        if isinstance(error, discord.HTTPException) and error.status == 401:
            raise TokenRefusedError from None
        raise AuditFailed(f"Discord does not answer ({_name(error)})") from error


def _name(error: Exception) -> str:
    return f"HTTP status {error.status}" if isinstance(error, discord.HTTPException) else type(error).__name__


class Pages:
    """Reads, and remembers channels that are in no cache."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client
        self._fetched: dict[int, MessageChannel] = {}

    async def read(self, place: Place, limit: int) -> PageRead:
        """The newest messages of a place, and from where to where they are all there are.

        Raises UnreadableChannelError, GoneChannelError, and what `guarded` does.
        """
        channel = await self._channel(place.channel_id)
        _require_readable(channel)
        try:
            rows = await guarded(read_rows(channel, place.end_id, limit))
        except discord.Forbidden:
            raise UnreadableChannelError from None
        except discord.NotFound:
            raise GoneChannelError from None
        if not rows:
            _require_readable(channel)  # without the permission Discord answers with nothing: it may just have gone
        return page_of(place.channel_id, place.guild_id, rows, (place.start_id, place.end_id), limit)

    async def _channel(self, channel_id: int) -> MessageChannel:
        """The channel from the cache or, for an archived thread, over REST."""
        channel: object = self._client.get_channel(channel_id) or self._fetched.get(channel_id)
        if channel is None:
            try:
                channel = await guarded(self._client.fetch_channel(channel_id))
            except discord.NotFound:
                raise GoneChannelError from None
            except (discord.Forbidden, discord.InvalidData):
                raise UnreadableChannelError from None
        if not isinstance(channel, MessageChannel):
            raise UnreadableChannelError
        self._fetched[channel_id] = channel
        return channel


def _require_readable(channel: MessageChannel) -> None:
    if not can_read(channel):
        raise UnreadableChannelError
