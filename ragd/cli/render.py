"""What `ragdctl`'s commands share for showing things: harmless text, sizes, times, JSON."""

from __future__ import annotations

import json
import os
import unicodedata
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]

WIDTH_OF_FILES = 120
"""Columns where the output is no terminal and nobody says how many there are."""

_LINE_ENDS = str.maketrans({"\u2028": "\n", "\u2029": "\n", "\x85": "\n", "\t": "    "})
_JOINERS = "\u200c\u200d"
"""Format characters that words and emoji are made with, and that move nothing."""


def console() -> Console:
    """Standard output. Markup and emoji codes are off: what people wrote is shown as it is."""
    screen = Console(markup=False, emoji=False, highlight=False)
    if not screen.is_terminal and "COLUMNS" not in os.environ:
        screen.width = WIDTH_OF_FILES
    return screen


def print_json(document: Any, *, indent: int | None = 2) -> None:
    """A JSON document on standard output; in ASCII, so that no terminal and no locale can stumble over it."""
    typer.echo(json.dumps(document, indent=indent, ensure_ascii=True))


def harmless(text: str) -> str:
    """The text without what could control a terminal or turn the direction of writing; line ends stay."""
    return "".join(char for char in text.translate(_LINE_ENDS) if char == "\n" or _is_harmless(char))


def _is_harmless(char: str) -> bool:
    # Cc control, Cf format (all of bidi among them), Cs surrogates, which no encoding takes
    return char in _JOINERS or unicodedata.category(char) not in ("Cc", "Cf", "Cs")


def one_line(text: str) -> str:
    """Harmless, and blanks for line ends: for names."""
    return " ".join(harmless(text).split())


def link(url: str, style: str = "") -> Text:
    """The URL, clickable in terminals that know how; anything but http(s) is shown only."""
    shown = one_line(url)
    clickable = shown.startswith(("https://", "http://")) and " " not in shown
    return Text(shown, style=f"{style} link {shown}".strip() if clickable else style)


def format_bytes(count: int | None) -> str:
    """In MiB, or what is next to it."""
    if count is None:
        return "-"
    if count < 2**20:
        return f"{count / 2**10:.0f} KiB"
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"


def format_seconds(seconds: float | None) -> str:
    """In the unit that suits: `0.4 s`, `34 s`, `5 min`, `3.5 h`, `12 d`."""
    if seconds is None:
        return "-"
    for limit, divisor, form in ((10, 1, "{:.1f} s"), (120, 1, "{:.0f} s"), (7200, 60, "{:.0f} min")):
        if seconds < limit:
            return form.format(seconds / divisor)
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.0f} d"


def local_time(iso: str) -> str:
    """An ISO 8601 time as the clock on this machine's wall showed it."""
    try:
        return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return one_line(iso)
