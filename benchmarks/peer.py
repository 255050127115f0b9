"""A bare discord.py bot that only counts messages: what capture is compared with.

    python -m benchmarks.peer live MESSAGES       count messages as they are posted
    python -m benchmarks.peer history             read and count every message of every text channel

Prints `ready`, then one line of JSON: messages; started_at (when it was ready) and ended_at, Unix seconds; cpu_seconds
between the two.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import discord
import discord.http
import yarl
from discord.gateway import DiscordWebSocket

from ragd.config import load_settings


class Tally(discord.Client):
    """Counts, and prints what it counted and how long that took."""

    def __init__(self, wanted: int | None) -> None:
        intents = discord.Intents(guilds=True, guild_messages=True, message_content=True)
        super().__init__(intents=intents, max_messages=None)
        self._wanted = wanted
        self._seen = 0
        self._started_at = self._cpu = 0.0

    async def on_ready(self) -> None:
        self._started_at, self._cpu = time.time(), time.process_time()
        print("ready", flush=True)
        if self._wanted is None:
            channels = [channel for guild in self.guilds for channel in guild.text_channels]
            self._seen = sum(await asyncio.gather(*(self._count(channel) for channel in channels)))
            await self._report()

    async def _count(self, channel: discord.TextChannel) -> int:
        return sum([1 async for _ in channel.history(limit=None)])

    async def on_message(self, message: discord.Message) -> None:
        self._seen += 1
        if self._seen == self._wanted:
            await self._report()

    async def _report(self) -> None:
        spent = time.process_time() - self._cpu
        report = {"messages": self._seen, "started_at": self._started_at, "ended_at": time.time(), "cpu_seconds": spent}
        print(json.dumps(report), flush=True)
        await self.close()


def main() -> None:
    """Connect where ragd's settings say, and count."""
    settings = load_settings()
    discord.http.Route.BASE = settings.discord_api_url
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.discord_gateway_url)
    if settings.discord_bot_token is None:
        sys.exit("DISCORD_BOT_TOKEN is not set")
    wanted = int(sys.argv[2]) if sys.argv[1] == "live" else None
    Tally(wanted).run(settings.discord_bot_token.get_secret_value(), log_handler=None)


if __name__ == "__main__":
    main()
