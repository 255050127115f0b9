"""One sentence for each thing that can go wrong, and never a path or a stranger's words."""

from __future__ import annotations

import discord
import pytest
from discord import app_commands
from discord.ext import commands

from ragd.bot.commands.errors import UNAVAILABLE, UNEXPECTED, BadValue, explain, root_cause
from ragd.errors import DamagedError, TransientError, UnavailableError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (commands.CommandNotFound("x"), None),
        (commands.NoPrivateMessage(), "only in a server"),
        (commands.MissingPermissions(["manage_guild"]), "Manage Server"),
        (commands.CommandOnCooldown(commands.Cooldown(1, 60), 41.2, commands.BucketType.guild), "42 s"),
        (commands.MissingRequiredArgument(commands.Parameter("x", commands.Parameter.KEYWORD_ONLY)), "Usage: x"),
        (commands.ChannelNotFound("#x"), "must be a channel"),
        (commands.UserNotFound("x"), "a mention or a user's id"),
        (commands.RangeError(50, minimum=1, maximum=10), "The text must be from 1 to 10."),
        (commands.RangeError("xx", minimum=1, maximum=500), "1 to 500 characters"),
        (BadValue("`since` must be a date"), "`since` must be a date"),
        (UnavailableError("no searcher at /run/ragd"), UNAVAILABLE),
        (TransientError("database is locked: /srv"), UNAVAILABLE),
        (DamagedError("/srv/x is damaged"), UNEXPECTED),
        (
            app_commands.TransformerError("x", discord.AppCommandOptionType.channel, app_commands.Transformer()),
            "can be searched from here",
        ),
        (KeyError("x"), UNEXPECTED),
    ],
)
def test_sentences(error: Exception, text: str | None) -> None:
    said = explain(error, "Usage: x")
    assert (said is None) == (text is None)
    assert text is None or text in (said or "")


def test_the_cause_is_found_in_every_wrapper() -> None:
    cause = UnavailableError("x")
    assert root_cause(commands.CommandInvokeError(cause)) is cause
