"""A bot with all commands, without a connection; and guilds of the sandbox as discord.py sees them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import discord

from ragd.answering import Answerer
from ragd.bot.client import CaptureClient
from ragd.bot.commands import add_commands
from ragd.bot.journal import Journal
from ragd.bot.scope import CaptureScope
from ragd.bot.spool import Spool
from ragd.config import Settings, load_settings
from ragd.heartbeat import Counter
from ragd.sandbox.entities import Guild
from ragd.sandbox.payloads import guild_create_payload
from ragd.sandbox.world import World
from ragd.scope import Scope
from ragd.store import Store

Result = TypeVar("Result")


def settings_in(directory: Path, **more: str) -> Settings:
    return load_settings(RAGD_DATA_DIR=directory, DISCORD_BOT_TOKEN="x", **more)


class StillHost:
    """A Host whose process does nothing."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.answerer = Answerer(settings, self.in_store)

    def counters(self) -> Mapping[str, Counter]:
        return {}

    def in_store(self, work: Callable[[Store], Result]) -> Awaitable[Result]:
        raise NotImplementedError

    def hears_of(self, guild: discord.Guild) -> bool:
        raise NotImplementedError

    def resync(self) -> None:
        raise NotImplementedError


async def make_bot(directory: Path, **more: str) -> CaptureClient:
    """`more` are settings by variable."""

    async def nothing() -> None: ...

    bot = CaptureClient("!", Journal(Spool(directory / "spool"), nothing), CaptureScope(Scope()))
    await add_commands(bot, StillHost(settings_in(directory, **more)))
    return bot


def as_discord_py_sees_it(world: World, guild: Guild) -> discord.Guild:
    """The guild parsed by discord.py from GUILD_CREATE, with every thread that is not archived."""
    state = discord.Client(intents=discord.Intents.all())._connection
    threads = [thread for thread in guild.threads.values() if thread.thread and not thread.thread.archived]
    return discord.Guild(data=guild_create_payload(world, guild, guild.owner_id, threads=threads), state=state)
