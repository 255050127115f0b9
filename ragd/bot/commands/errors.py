"""The one handler of what goes wrong in commands: one sentence to the asker, a log line where a person must look."""

from __future__ import annotations

import logging
import math
import time

import aiohttp
import discord
from discord import app_commands
from discord.ext import commands

from ragd.answering.limits import Limits
from ragd.bot.commands.replies import Asked, answer, is_private, is_too_late
from ragd.errors import RagdError

_log = logging.getLogger(__name__)

UNEXPECTED = "That did not work. ragd's log says why."
UNAVAILABLE = "The part of ragd that knows this does not answer right now. Try again in a minute; `health` says more."

TOLD_PER_MINUTE, TOLD_GUILD_PER_MINUTE = 6, 60
"""Text commands whose failure a person, and all of a server, are told of: of more they are told nothing."""

_WRAPPERS = (commands.CommandInvokeError, commands.HybridCommandError, app_commands.CommandInvokeError)


NO_SUCH_CHANNEL = "`channel` must be a channel or thread of this server that can be searched from here"
"""The same for what is not there, what the asker may not read, and what those who read the answer may not."""


class ErrorHandler(commands.Cog):
    """A listener on `command_error` takes the place of discord.py's own handler, which prints to the log only."""

    def __init__(self, bot: commands.Bot) -> None:
        self._bot = bot
        self._told = Limits(TOLD_PER_MINUTE, TOLD_GUILD_PER_MINUTE)

    async def cog_load(self) -> None:
        self._bot.tree.error(self.on_tree_error)

    @commands.Cog.listener()
    async def on_command_error(self, context: Asked, error: commands.CommandError) -> None:
        cause = root_cause(error)
        if is_private(context) and is_too_late(cause):
            _log.warning("command %s came to no answer: for Discord it was too late", _name(context))
            return
        text = explain(cause, _usage(context))
        if text is None:
            return
        if text == UNEXPECTED:
            _log_error(_name(context), cause)
        if not self._may_tell(context):
            return
        try:
            await answer(context, text)
        except (discord.HTTPException, aiohttp.ClientError) as failure:
            _log.warning("the asker cannot be told what went wrong: %s", failure)

    def _may_tell(self, context: Asked) -> bool:
        """A slash command must be answered; a flood of text commands must not be by a flood."""
        guild_id = context.guild.id if context.guild else 0
        return is_private(context) or self._told.take(context.author.id, guild_id, time.monotonic()) is None

    async def on_tree_error(
        self, interaction: discord.Interaction[commands.Bot], error: app_commands.AppCommandError
    ) -> None:
        """A slash command that we do not have, or not in this form: Discord has not caught up yet."""
        _log.info("a slash command did not match: %s", type(error).__name__)
        if not interaction.response.is_done():
            await interaction.response.send_message(
                "This command has just changed. Try again in a minute.", ephemeral=True
            )


def root_cause(error: Exception) -> Exception:
    """What a command raised, out of discord.py's wrappers."""
    while isinstance(error, _WRAPPERS):
        error = error.original
    return error


def explain(error: Exception, usage: str) -> str | None:
    """The sentence for the asker; None when there is nothing to say. Never a path, never another's words."""
    if isinstance(error, commands.CommandNotFound):
        return None  # the prefix may be another bot's too
    if isinstance(error, commands.CommandOnCooldown):
        return f"Not so fast: try again in {math.ceil(error.retry_after)} s."
    if isinstance(error, NotYourTurn):
        return error.said
    if isinstance(error, commands.NoPrivateMessage):
        return "ragd answers only in a server: what you may read there decides what you can find."
    if isinstance(error, commands.MissingPermissions):
        return "This command needs the Manage Server permission."
    if isinstance(error, RagdError):
        return UNEXPECTED if error.permanent else UNAVAILABLE
    return _explain_input(error, usage)


def _explain_input(error: Exception, usage: str) -> str:
    if isinstance(error, app_commands.TransformerError):
        return f"{NO_SUCH_CHANNEL}."  # of our options only that one can fail by being unknown
    if not isinstance(error, commands.UserInputError):
        return UNEXPECTED
    flag = ""
    if isinstance(error, commands.BadFlagArgument):
        flag, error = f"`{error.flag.name}`", error.original
    rule = _rule(error, flag)
    return f"{rule}." if rule else f"{flag or 'That'} is not understood. {usage}"


def _rule(error: Exception, flag: str) -> str:
    """What a value must be; `flag` is its name if discord.py tells it."""
    if isinstance(error, commands.RangeError):
        unit = " characters" if isinstance(error.value, str) else ""
        return f"{flag or 'The text'} must be from {error.minimum} to {error.maximum}{unit}"
    if isinstance(error, commands.ChannelNotFound | commands.ThreadNotFound | commands.BadUnionArgument):
        return NO_SUCH_CHANNEL
    if isinstance(error, commands.UserNotFound | commands.MemberNotFound):
        return "`author` must be a mention or a user's id"
    return str(error) if isinstance(error, BadValue) else ""


class BadValue(commands.BadArgument):
    """A value that a command refuses; the message names value and rule, not what was given."""


class NotYourTurn(commands.CheckFailure):
    """Asked more often than RAGD_SEARCH_PER_MINUTE and the like allow; `said` is None if the asker knows already."""

    def __init__(self, said: str | None) -> None:
        super().__init__(said or "too many questions")
        self.said = said


def require_turn(context: Asked, limits: Limits) -> None:
    """Count a question. Raises NotYourTurn, which says so to each slash command, for those must be answered, and to the
    first of several text commands: else who floods a channel with questions would have us flood it too.

    To be asked before options are read: what that costs, and whether it fails, is nobody's to try without end.
    """
    if context.guild is None:
        raise commands.NoPrivateMessage
    refusal = limits.take(context.author.id, context.guild.id, time.monotonic())
    if refusal is None:
        return
    if not (refusal.first or is_private(context)):
        raise NotYourTurn(None)
    many = "This server asks a lot at the moment" if refusal.whole_server else "Not so fast"
    raise NotYourTurn(f"{many}: try again in {math.ceil(refusal.wait_seconds)} s.")


def _name(context: Asked) -> str:
    return context.command.qualified_name if context.command else "?"


def _usage(context: Asked) -> str:
    command = context.command
    if command is None:
        return ""
    line = f"{context.clean_prefix}{command.qualified_name} {command.usage or command.signature}"
    return f"Usage: `{line.rstrip()}`"


def _log_error(name: str, error: Exception) -> None:
    if isinstance(error, discord.HTTPException | aiohttp.ClientError | RagdError):
        _log.warning("command %s failed: %s", name, error)
    else:
        _log.error("command %s failed", name, exc_info=error)
