"""`ragdctl watch`: the status, again every second."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from ragd.cli.render import AsJson, console, print_json
from ragd.cli.status import EXIT_CODES, picture
from ragd.config import Settings, load_settings
from ragd.status import collect_status

REFRESH_SECONDS = 1.0

Wait = Callable[[float], bool]
"""Waits so many seconds, or less; True to end."""


def watch(
    *,
    once: Annotated[bool, typer.Option("--once", help="Show it once; the exit code is that of `status`.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the status live, every second. `q` or Ctrl-C ends it."""
    settings = load_settings()
    if once:
        _show_once(settings, as_json=as_json)
    with contextlib.suppress(KeyboardInterrupt):
        if as_json or not console().is_terminal:
            _print_for_ever(settings, as_json=as_json)
        else:
            with keys() as wait:
                _show_live(settings, wait)


def _show_once(settings: Settings, *, as_json: bool) -> None:
    raise typer.Exit(EXIT_CODES[_print(settings, as_json=as_json)])


def _print_for_ever(settings: Settings, *, as_json: bool) -> None:
    while True:
        due = time.monotonic() + REFRESH_SECONDS
        _print(settings, as_json=as_json)
        sys.stdout.flush()
        time.sleep(max(0.0, due - time.monotonic()))


def _print(settings: Settings, *, as_json: bool) -> str:
    """Print the status and return its state."""
    seen = collect_status(settings)
    if as_json:
        print_json({"time": time.time(), **seen.document()}, indent=None)
    else:
        screen = console()
        screen.print(picture(seen, screen.width))
    return seen.state


def _show_live(settings: Settings, wait: Wait) -> None:
    screen = console()
    with Live(console=screen, screen=True, auto_refresh=False) as live:
        while True:
            due = time.monotonic() + REFRESH_SECONDS
            shown = picture(collect_status(settings), screen.width)
            live.update(Group(shown, _footer()), refresh=True)
            if wait(max(0.0, due - time.monotonic())):
                return


def _footer() -> Text:
    return Text(f"\n{time.strftime('%H:%M:%S')}  q ends", style="dim")


@contextlib.contextmanager
def keys() -> Iterator[Wait]:
    """Have the terminal hand over keys at once, and not show them; without a terminal nobody presses any."""
    if not sys.stdin.isatty():
        yield _sleep
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield lambda seconds: _pressed_q(fd, seconds)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _pressed_q(fd: int, seconds: float) -> bool:
    ready, _, _ = select.select([fd], [], [], seconds)
    return bool(ready) and _is_end(os.read(fd, 64))


def _is_end(keys: bytes) -> bool:
    # nothing read: the terminal has hung up
    return not keys or b"q" in keys.lower()
