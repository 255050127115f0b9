"""Every command of every cog: named once, described, limited, and open to the right people."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import discord
import pytest
from discord import app_commands
from discord.ext import commands

from ragd.bot.client import CaptureClient
from ragd.text import COMMANDS
from tests.bot.bots import make_bot

FOR_MANAGERS = {"sync", "autosync_status", "listener_stats", "privacy-channel"}
FOR_EVERYBODY = {"health", "search", "ask", "privacy", "forget-me"}
LIMITED_BY_SETTINGS = {"search", "ask"}


@pytest.fixture
async def bot(tmp_path: Path) -> AsyncIterator[CaptureClient]:
    bot = await make_bot(tmp_path)
    yield bot
    await bot.close()


def leaves(bot: commands.Bot) -> Iterator[commands.HybridCommand]:
    return (command for command in bot.walk_commands() if not isinstance(command, commands.HybridGroup))


def test_the_commands_are_those_of_the_manual(bot: CaptureClient) -> None:
    assert {command.name for command in bot.tree.get_commands()} == FOR_MANAGERS | FOR_EVERYBODY
    assert {command.qualified_name for command in leaves(bot)} == {
        *(FOR_MANAGERS - {"sync"}),
        *FOR_EVERYBODY,
        "sync now",
    }


def test_what_is_typed_to_ragd_is_known_to_search(bot: CaptureClient) -> None:
    assert {command.name for command in bot.commands} == COMMANDS


def test_no_name_is_taken_twice(bot: CaptureClient) -> None:
    names = itertools.chain.from_iterable((one.qualified_name, *one.aliases) for one in bot.walk_commands())
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_every_command_is_a_slash_command_too(bot: CaptureClient) -> None:
    assert all(isinstance(one, commands.HybridCommand | commands.HybridGroup) for one in bot.walk_commands())
    slash = {one.qualified_name for one in bot.tree.walk_commands()}
    assert slash == {one.qualified_name for one in bot.walk_commands()}


def test_every_command_and_option_is_described(bot: CaptureClient) -> None:
    for command in bot.tree.walk_commands():
        assert len(command.description) > 10, command.qualified_name
        assert command.description[0].isupper(), command.qualified_name
        for option in command.parameters if isinstance(command, app_commands.Command) else ():
            assert len(option.description) > 10, f"{command.qualified_name} {option.name}"


def test_every_command_has_a_cooldown(bot: CaptureClient) -> None:
    assert {command.qualified_name for command in leaves(bot) if command.cooldown is None} == LIMITED_BY_SETTINGS


def test_what_managers_see_by_default_is_what_only_they_may_do(bot: CaptureClient) -> None:
    manager = discord.Permissions(manage_guild=True)
    shown = {command.name: command.default_permissions for command in bot.tree.get_commands()}
    assert {name for name, needed in shown.items() if needed == manager} == FOR_MANAGERS
    assert {name for name, needed in shown.items() if needed is None} == FOR_EVERYBODY


def test_commands_are_for_servers_only(bot: CaptureClient) -> None:
    payloads = [command.to_dict(bot.tree) for command in bot.tree.get_commands()]
    assert {(tuple(one["contexts"]), tuple(one["integration_types"])) for one in payloads} == {((0,), (0,))}
