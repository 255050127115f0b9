"""`ragdctl config`: the settings in force, and where each comes from."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values
from rich.text import Text

from ragd.cli.render import AsJson, console, one_line, print_json
from ragd.config import ENV_FILE, Settings, load_settings, variable

Origin = Literal["environment", ".env", "default"]


@dataclass(frozen=True, slots=True)
class SettingInForce:
    """`value` is None for one that is not set, asterisks for a secret."""

    variable: str
    value: str | None
    is_default: bool
    origin: Origin
    description: str


def config(*, as_json: AsJson = False) -> None:
    """Show the settings in force; secrets are masked."""
    settings = settings_in_force(load_settings())
    if as_json:
        print_json({"settings": [asdict(setting) for setting in settings]})
    else:
        console().print(_listing(settings), end="", soft_wrap=True)


def settings_in_force(settings: Settings) -> list[SettingInForce]:
    """In the order of declaration."""
    values, origins = settings.masked(), _origins()
    return [
        SettingInForce(
            name := variable(field_name),
            values[name] or None,
            origins.get(name, "default") == "default",
            origins.get(name, "default"),
            field.description or "",
        )
        for field_name, field in Settings.model_fields.items()
    ]


def _origins() -> dict[str, Origin]:
    """Who sets which variable; case does not matter, and the environment wins."""
    from_file = dotenv_values(ENV_FILE) if Path(ENV_FILE).is_file() else {}
    origins: dict[str, Origin] = {name.upper(): ".env" for name in from_file}
    return origins | {name.upper(): "environment" for name in os.environ}


def _listing(settings: list[SettingInForce]) -> Text:
    """Two lines a setting: a table would leave the meaning no room beside a path."""
    width = max(len(setting.variable) for setting in settings)
    lines = Text()
    for setting in settings:
        value = Text(one_line(setting.value or "-"), style="" if setting.is_default else "bold green")
        origin = (f"  {setting.origin}", "dim" if setting.is_default else "green")
        lines += Text.assemble(f"{setting.variable:<{width}}  ", value, origin, "\n")
        lines += Text(f"    {setting.description}\n", style="dim")
    return lines
