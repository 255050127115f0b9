"""What a member would find by `/search` now, for an operator who asks on the member's behalf."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
import discord

from ragd.bot.client import CaptureClient
from ragd.bot.commands.access import private_threads, readable, within
from ragd.bot.permissions import as_member
from ragd.errors import UnavailableError, UsageError
from ragd.store import Store

InStore = Callable[[Callable[[Store], dict[int, int]]], Awaitable[dict[int, int]]]

MOST_GUILDS = 25
"""Servers that are asked about one user: each is a request to Discord. With more, one has to be named."""


async def reach_of(client: CaptureClient, in_store: InStore, user_id: int, guild: str | None) -> list[int]:
    """Ids of channels and threads, as ragd/reach_client.py says.

    Discord is asked who the member is, so roles are those of now; channels are as the gateway tells, and without it
    nobody knows. Age-restricted channels are left out, as where `/search` is asked elsewhere. Raises UsageError,
    UnavailableError.
    """
    guilds = _guilds(client, guild)
    members = [member for member in await asyncio.gather(*(_fetch(one, user_id) for one in guilds)) if member]
    if not members:
        where = f"server {guilds[0].name!r}" if len(guilds) == 1 else "any server that ragd is in"
        raise UsageError(f"user {user_id} is not a member of {where}")
    channels: list[int] = []
    for member in members:
        channels += await _readable_by(member, in_store)
    return channels


async def _readable_by(member: discord.Member, in_store: InStore) -> list[int]:
    guild_id = member.guild.id
    threads = await in_store(lambda store: store.public_threads(guild_id))
    reach = readable(member.guild, as_member(member), threads, age_restricted=False)
    return within(reach | await private_threads(member.guild, member, reach), None)


def _guilds(client: CaptureClient, wanted: str | None) -> Sequence[discord.Guild]:
    """Those to look at, all of them connected."""
    if not client.is_ready():
        raise UnavailableError("capture is not connected to Discord, and only Discord knows what a member may read")
    found = [guild for guild in client.guilds if wanted is None or wanted in (str(guild.id), guild.name)]
    if not found:
        raise UsageError(f"ragd is in no server {wanted!r}" if wanted else "ragd is in no server yet")
    if len(found) > (MOST_GUILDS if wanted is None else 1):
        raise UsageError(
            f"ragd is in {len(found)} servers{f' called {wanted!r}' if wanted else ''}",
            hint="name one by its id: --guild ID",
        )
    away = [guild for guild in found if guild.unavailable or not client.sessions.has(guild.shard_id)]
    if away:
        raise UnavailableError(
            f"capture is not connected to server {away[0].name!r}, whose permissions may have changed"
        )
    return found


async def _fetch(guild: discord.Guild, user_id: int) -> discord.Member | None:
    try:
        return await guild.fetch_member(user_id)
    except discord.NotFound:
        return None
    except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
        raise UnavailableError(f"Discord does not say who is in server {guild.name!r}: {error}") from None
