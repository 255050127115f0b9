"""The demo: the same tree with one more program, a local Discord, instead of the real one."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
from pathlib import Path

import ragd
from ragd.cli.launch import LOCK
from ragd.config import Settings, load_settings
from ragd.errors import ConfigError

TOKEN = "demo-token"  # noqa: S105 - known to the sandbox alone
"""What capture logs in with at the sandbox."""

MARKER = "demo"
"""A file in a data directory that the demo made: without it, nothing there is ever deleted."""

READY_FILE = "sandbox.json"
"""In the runtime directory: the sandbox's URLs, written once it serves."""

_MARKER_TEXT = "ragd's demo made this directory and empties it each time it starts.\n"


def include_file() -> Path:
    """The sandbox as a program of supervisord."""
    return Path(ragd.__file__).resolve().parent / "sandbox" / "demo.supervisord.conf"


def prepare_demo(settings: Settings) -> Settings:
    """Give the demo an empty data directory and a Discord of its own; returns the settings to go on with.

    Call it with the data directory locked. Raises ConfigError if the directory holds what the demo did not make.
    """
    _empty_directory(settings)
    (settings.runtime_dir / READY_FILE).unlink(missing_ok=True)
    port, control_port = _free_ports(2)
    os.environ.update(
        DISCORD_BOT_TOKEN=TOKEN,
        RAGD_DISCORD_API_URL=f"http://127.0.0.1:{port}/api/v10",
        RAGD_DISCORD_GATEWAY_URL=f"ws://127.0.0.1:{port}/gateway",
        RAGD_SANDBOX_PORT=str(port),
        RAGD_SANDBOX_CONTROL_PORT=str(control_port),
        # without a token the default was the demo's, with one it is not
        RAGD_DATA_DIR=str(settings.data_dir),
        RAGD_RUNTIME_DIR=str(settings.runtime_dir),
    )
    return load_settings()


def refuse_demo_data(settings: Settings) -> None:
    """Raises ConfigError where the next demo would delete what a real run stores."""
    if (settings.data_dir / MARKER).exists():
        raise ConfigError(
            f"RAGD_DATA_DIR={settings.data_dir}: this is the demo's directory, which it empties at each start",
            hint="set another one, or delete it",
        )


def what_to_try(settings: Settings) -> str:
    """A few lines for the newcomer who has just started the demo."""
    ragdctl = Path(sys.executable).with_name("ragdctl")
    elsewhere = settings.data_dir != Path("data/demo").absolute()
    prefix = f"RAGD_DATA_DIR={settings.data_dir} " if elsewhere else ""
    commands = ("status", 'search "how do I back up the database"', "watch")
    return "\n".join(
        [
            "No DISCORD_BOT_TOKEN: running the demo against a local Discord. From another terminal, in this directory:",
            "",
            *(f"    {prefix}{ragdctl} {command}" for command in commands),
            "",
            "Ctrl-C ends it.",
        ]
    )


def _empty_directory(settings: Settings) -> None:
    """Empty the demo's own directory. The runtime directory in it stays: it has just been made and cleared."""
    marker = settings.data_dir / MARKER
    kept = {LOCK, MARKER, settings.runtime_dir.name}
    leftovers = [entry for entry in settings.data_dir.iterdir() if entry.name not in kept]
    if not marker.exists():
        if leftovers:
            raise ConfigError(
                f"RAGD_DATA_DIR={settings.data_dir}: holds {leftovers[0].name}, which the demo did not make",
                hint="set DISCORD_BOT_TOKEN, or another directory for the demo",
            )
        marker.write_text(_MARKER_TEXT)
    for entry in leftovers:
        _delete(entry)


def _delete(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _free_ports(count: int) -> list[int]:
    """Different ports that are free on loopback now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(sock.getsockname()[1]) for sock in sockets]
