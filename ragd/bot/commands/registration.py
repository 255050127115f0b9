"""Keeps Discord's list of slash commands equal to ours, with as few writes as can be.

Commands are registered globally, not guild by guild: a bot has one list of them, it holds for guilds that are joined
later, one read tells whether it is right, and clients see a change at once these days.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import discord
from discord.ext import commands, tasks

from ragd.bot.requests import TokenRefusedError

_log = logging.getLogger(__name__)

RETRY_SECONDS = 30

_COMPARED = (
    "name",
    "description",
    "type",
    "options",
    "required",
    "choices",
    "value",
    "channel_types",
    "min_value",
    "max_value",
    "min_length",
    "max_length",
    "autocomplete",
    "nsfw",
    "default_member_permissions",
    "contexts",
    "integration_types",
)
_SETS = ("channel_types", "contexts", "integration_types")


class Registration(commands.Cog):
    """Once a process, when Discord is there: what it cannot do then is tried again until it is done."""

    def __init__(self, bot: commands.Bot) -> None:
        self._bot = bot
        self._done = False

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        if not self._done and not self.register.is_running():
            self.register.start()

    async def cog_unload(self) -> None:
        self.register.cancel()

    @tasks.loop(seconds=RETRY_SECONDS)
    async def register(self) -> None:
        try:
            written = await register_commands(self._bot)
        except discord.HTTPException as error:
            _log.warning("slash commands cannot be registered, trying again in %d s: %s", RETRY_SECONDS, error)
            return
        except TokenRefusedError:
            return  # capture ends by it, and says so
        _log.info("slash commands %s", "registered" if written else "are registered already")
        self._done = True
        self.register.stop()


async def register_commands(bot: commands.Bot) -> bool:
    """Write the list if Discord has another one; True if it was written. Raises discord.HTTPException."""
    if bot.application_id is None:
        raise RuntimeError("the bot has not logged in")
    registered = await bot.http.get_global_commands(bot.application_id)
    if same_commands([command.to_dict(bot.tree) for command in bot.tree.get_commands()], registered):
        return False
    await bot.tree.sync()
    return True


def same_commands(wanted: Sequence[Mapping[str, Any]], registered: Sequence[Mapping[str, Any]]) -> bool:
    """Whether two lists of command payloads mean the same, in whatever order and with whatever defaults left out."""
    return _by_name(wanted) == _by_name(registered)


def _by_name(payloads: Sequence[Mapping[str, Any]]) -> list[Any]:
    return sorted((_canonical(payload) for payload in payloads), key=lambda payload: str(payload.get("name")))


def _canonical(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        parts = {name: _canonical(value[name], name) for name in _COMPARED if name in value}
        return {name: part for name, part in parts.items() if part is not None and part is not False and part != []}
    if isinstance(value, list | tuple):
        return sorted(value) if key in _SETS else [_canonical(item) for item in value]
    return str(value) if key == "default_member_permissions" and value is not None else value
