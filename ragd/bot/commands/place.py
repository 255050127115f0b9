"""The option `channel` of `/search` and `/ask`: taken as it is given, and looked for within reach alone.

discord.py's own converters look among all that the bot sees, and refuse what is not there before other options are
read: so a second option that is refused too would tell a hidden channel from none, and a hidden name would stand before
one that the asker sees.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import discord
from discord import app_commands
from discord.ext import commands

Named: TypeAlias = int | str
"""A channel or thread as somebody names it: its id, or what it may be called."""

_BY_ID = re.compile(r"<#([0-9]{15,20})>|([0-9]{15,20})")


class SearchPlace(commands.Converter[Named], app_commands.Transformer):
    """A channel: picked from Discord's list, or in a text command a mention, an id or a name. Refuses nothing."""

    @property
    def type(self) -> discord.AppCommandOptionType:
        return discord.AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        kind = discord.ChannelType
        threads = [kind.news_thread, kind.public_thread, kind.private_thread]
        return [kind.text, kind.news, kind.voice, kind.stage_voice, kind.forum, kind.media, *threads]

    async def transform(self, _: discord.Interaction, value: discord.abc.Snowflake, /) -> Named:
        return value.id

    async def convert(self, _: commands.Context[Any], argument: str) -> Named:
        found = _BY_ID.fullmatch(argument)
        return int(found[1] or found[2]) if found else argument


def find_place(guild: discord.Guild, reach: Mapping[int, int], named: Named) -> int | None:
    """The id of what is named, if it is within reach; of several with one name a channel goes before a thread."""
    if isinstance(named, int):
        return named if named in reach else None
    return next((one.id for one in (*guild.channels, *guild.threads) if one.name == named and one.id in reach), None)
