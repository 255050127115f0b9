"""Which lists of commands count as equal."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from ragd.bot.commands.registration import same_commands
from tests.bot.bots import make_bot


@pytest.fixture
async def wanted(tmp_path: Path) -> list[dict[str, Any]]:
    bot = await make_bot(tmp_path)
    payloads = [command.to_dict(bot.tree) for command in bot.tree.get_commands()]
    await bot.close()
    return payloads


def as_discord_tells_it(payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With ids, in another order, defaults filled in or left out, numbers as strings."""
    told = copy.deepcopy(payloads)
    for number, command in enumerate(told):
        command |= {"id": str(number), "version": "9", "application_id": "1", "name_localizations": None}
        if command["default_member_permissions"] is not None:
            command["default_member_permissions"] = str(command["default_member_permissions"])
        for option in command["options"]:
            option.pop("required", None) if not option.get("required") else None
            option["channel_types"] = list(reversed(option.get("channel_types", [])))
    return list(reversed(told))


def test_what_discord_tells_of_our_commands_is_equal(wanted: list[dict[str, Any]]) -> None:
    assert same_commands(wanted, as_discord_tells_it(wanted))


@pytest.mark.parametrize("key", ["description", "default_member_permissions", "options", "contexts"])
def test_any_change_shows(wanted: list[dict[str, Any]], key: str) -> None:
    told = as_discord_tells_it(wanted)
    search = next(command for command in told if command["name"] == "search")
    search[key] = {"description": "x", "default_member_permissions": "8", "options": [], "contexts": [0, 1]}[key]
    assert not same_commands(wanted, told)


def test_a_missing_and_a_surplus_command_show(wanted: list[dict[str, Any]]) -> None:
    assert not same_commands(wanted, wanted[1:])
    assert not same_commands(wanted[1:], wanted)
    assert not same_commands(wanted, [])
