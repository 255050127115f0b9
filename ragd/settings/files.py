"""Where settings stand besides the environment: a file in the working directory, or the system's, and a credential."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from dotenv import dotenv_values

from ragd.errors import ConfigError

ENV_FILE = ".env"

SYSTEM_ENV_FILE = "/etc/ragd/ragd.env"
"""The settings of the system's installation; there `.env` is not looked at, for root may stand in any directory."""

SYSTEM_MARK = "share/ragd/system.env"
"""Below sys.prefix: makes an installation the system's and says where that keeps its data; `make install` writes it."""

CREDENTIALS = {
    "DISCORD_BOT_TOKEN": "discord_bot_token",
    "RAGD_HTTP_TOKEN": "http_token",
    "RAGD_LLM_API_KEY": "llm_api_key",
    "RAGD_EMBEDDING_API_KEY": "embedding_api_key",
    "ALERT_URLS": "alert_urls",
}
"""Secrets that may come as files in $CREDENTIALS_DIRECTORY (systemd.exec(5), LoadCredential=), by variable."""


def is_system_installation() -> bool:
    """Whether the program that runs is the one that `make install` installed."""
    return (Path(sys.prefix) / SYSTEM_MARK).is_file()


def settings_files() -> tuple[Path, ...]:
    """The files that settings are read from, there or not; a later one wins, and the environment over all."""
    if is_system_installation():
        return Path(sys.prefix) / SYSTEM_MARK, Path(SYSTEM_ENV_FILE)
    return (Path(ENV_FILE),)


def settings_in_files() -> dict[str, str]:
    """The file that has the last word on each variable, by name as written. Raises PermissionError, ConfigError."""
    return {name: str(path) for path in settings_files() if path.is_file() for name in _names_in(path)}


def _names_in(path: Path) -> Iterable[str]:
    try:
        return dotenv_values(path)
    except UnicodeDecodeError as error:
        where = f"{path}: byte {error.start + 1} is no UTF-8"
        raise ConfigError(where, hint="save it as UTF-8, or keep to ASCII") from None


def credential(variable: str) -> Path | None:
    """The file in which systemd hands over a secret, if it does."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(directory, CREDENTIALS[variable]) if directory else None
    try:
        return path if path and path.is_file() else None
    except PermissionError:
        # an ExecReload= is told of the directory and may not look into it (systemd 252)
        return path
