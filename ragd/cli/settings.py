"""`ragdctl config`: the settings in force, and where each comes from."""

from __future__ import annotations

import os
import textwrap
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich.text import Text

from ragd.cli.render import AsJson, console, one_line, print_json
from ragd.config import MASK, Settings, load_settings, variable
from ragd.settings.files import CREDENTIALS, credential, settings_in_files

_TEMPLATE_HEAD = """\
# ragd's settings: NAME=value lines, read at each start by ragd and by ragdctl. What stands behind a # is what holds
# without the line. `systemctl reload ragd` puts changes into force, except where the data is kept, which takes
# `systemctl restart ragd`; `ragdctl config` shows all."""


@dataclass(frozen=True, slots=True)
class SettingInForce:
    """`value` is None for one that is not set, asterisks for a secret."""

    variable: str
    value: str | None
    is_default: bool
    origin: str
    """`environment`, `default`, `credential`, the file that says so, or the variable that names a secret's file."""
    description: str


def config(
    *,
    as_json: AsJson = False,
    template: Annotated[
        bool, typer.Option("--template", help="A settings file with every line commented out.")
    ] = False,
) -> None:
    """Show the settings in force; secrets are masked."""
    settings = settings_in_force(load_settings())
    if template:
        typer.echo(_template(settings), nl=False)
    elif as_json:
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


def _origins() -> dict[str, str]:
    """Who sets which variable; case does not matter, and the environment wins."""
    given = {name.upper(): path for name, path in settings_in_files().items()}
    given |= {name.upper(): "environment" for name in os.environ}
    origins = {name: "credential" for name in CREDENTIALS if credential(name)}
    return origins | {name: f"{name}_FILE" for name in CREDENTIALS if f"{name}_FILE" in given} | given


def _template(settings: list[SettingInForce]) -> str:
    """A settings file that changes nothing: each setting with its meaning and the value in force."""
    parts = [_TEMPLATE_HEAD]
    for setting in settings:
        value = "" if setting.value in (None, MASK) else setting.value
        parts += ["", *textwrap.wrap(setting.description, 110, initial_indent="# ", subsequent_indent="# ")]
        parts.append(f"#{setting.variable}={value}")
    return "\n".join(parts) + "\n"


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
