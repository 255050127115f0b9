"""Every setting of ragd: one typed object, which ragd/config.py loads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ragd.scope import Scope
from ragd.settings.answering import AnswerSettings
from ragd.settings.capturing import CaptureSettings
from ragd.settings.connection import ConnectionSettings
from ragd.settings.files import CREDENTIALS, ENV_FILE, credential
from ragd.settings.running import RunSettings
from ragd.settings.searching import SearchSettings
from ragd.settings.types import without_credentials

MASK = "********"
"""What is shown of a secret."""

SHORTEST_SECRET = 8
"""Characters; a token of Discord's has about seventy."""

PATH_BEGINS = ("/", "./", "../")

UNIX_SOCKET_PATH_LIMIT = 107
"""Bytes in sun_path less its terminating NUL (unix(7))."""


class Settings(RunSettings, AnswerSettings, SearchSettings, CaptureSettings, ConnectionSettings, BaseSettings):
    """Settings in force. Attribute names are the variables' names in lower case without the `RAGD_` prefix.

    Their order, in which people see them, is that of the bases from the last to the first.
    """

    model_config = SettingsConfigDict(env_file=ENV_FILE, env_file_encoding="utf-8", extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _place_directories(cls, values: dict[str, Any]) -> dict[str, Any]:
        data = values.get("RAGD_DATA_DIR") or (Path("data") if values.get("DISCORD_BOT_TOKEN") else Path("data/demo"))
        data = Path(data).expanduser().absolute()
        runtime = Path(values.get("RAGD_RUNTIME_DIR") or data / "run").expanduser().absolute()
        return {**values, "RAGD_DATA_DIR": data, "RAGD_RUNTIME_DIR": runtime}

    @model_validator(mode="before")
    @classmethod
    def _read_tokens(cls, values: dict[str, Any]) -> dict[str, Any]:
        """A file that this user may not read counts as no token: an operator's ragdctl needs none."""
        # declared after `_place_directories` and so run before it, which asks whether there is a token
        read = {}
        for name in CREDENTIALS:
            path = values.get(f"{name}_FILE") or credential(name)
            if values.get(name) or not path:
                continue
            try:
                read[name] = Path(path).read_text(encoding="utf-8").strip()
            except PermissionError:
                continue
            except (OSError, UnicodeDecodeError) as error:
                # what is no whole path may be the secret itself, put under the wrong name; keys and URLs have slashes
                file = path if str(path).startswith(PATH_BEGINS) or len(str(path)) < SHORTEST_SECRET else MASK
                problem = error.strerror if isinstance(error, OSError) else "it is no text"
                raise ValueError(f"{name}_FILE={file}: cannot be read: {problem}") from None
        return {**values, **read}

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.stale_seconds < 2 * self.heartbeat_seconds:
            raise ValueError("RAGD_STALE_SECONDS must be at least twice RAGD_HEARTBEAT_SECONDS")
        if self.shard_ids and self.shard_ids[-1] >= self.shard_count:
            raise ValueError(
                f"RAGD_SHARD_IDS names shard {self.shard_ids[-1]}, but RAGD_SHARD_COUNT={self.shard_count}:"
                f" the last one is {self.shard_count - 1}"
            )
        if both := set(self.allow_ids).intersection(self.deny_ids):
            raise ValueError(f"RAGD_ALLOW_IDS and RAGD_DENY_IDS both name {min(both)}: take it off one of them")
        if self.embedding_model and not self.embedding_url:
            raise ValueError("RAGD_EMBEDDING_MODEL needs RAGD_EMBEDDING_URL, which says who is asked for it")
        if self.embedding_model and self.model_dir:
            raise ValueError("RAGD_EMBEDDING_MODEL and RAGD_MODEL_DIR both name a model: take one of them off")
        if self.chunking_overlap_messages >= self.chunking_window_messages:
            raise ValueError(
                f"CHUNKING_OVERLAP_MESSAGES={self.chunking_overlap_messages}: must be less than"
                f" CHUNKING_WINDOW_MESSAGES={self.chunking_window_messages}"
            )
        if self.llm_url and not self.llm_model.strip():
            raise ValueError("RAGD_LLM_URL needs RAGD_LLM_MODEL: which model is to write")
        # supervisord binds a name with its pid behind it first, then links it to the one it is asked for
        longest = len(os.fsencode(self.supervisor_socket)) + len(".4194304")
        if longest > UNIX_SOCKET_PATH_LIMIT:
            raise ValueError(
                f"RAGD_RUNTIME_DIR makes socket paths of {longest} bytes, {UNIX_SOCKET_PATH_LIMIT} are possible:"
                " choose a shorter directory"
            )
        return self

    @property
    def is_demo(self) -> bool:
        """True without a token: nothing real is connected to. A token in a file that we may not read is one too."""
        return self.discord_bot_token is None and self.discord_bot_token_file is None

    def without_token(self) -> Settings:
        """For the processes that do not log in: a fault in one of them cannot tell what it does not know."""
        return self.model_copy(update={"discord_bot_token": None})

    @property
    def held_shards(self) -> tuple[int, ...]:
        """Ids of the shards that this instance captures, ascending."""
        return self.shard_ids or tuple(range(self.shard_count))

    @property
    def scope(self) -> Scope:
        """Which channels are captured."""
        return Scope(frozenset(self.allow_ids), frozenset(self.deny_ids))

    @property
    def database_path(self) -> Path:
        return self.data_dir / "ragd.sqlite3"

    @property
    def busy_seconds(self) -> float:
        """How long one transaction waits for another's lock on the database: the worker cannot beat meanwhile, and a
        locked database must not look like a hung worker, not even where one waits behind another (capture)."""
        return min(5.0, self.stale_seconds / 4)

    @property
    def still_seconds(self) -> float:
        """How long a worker's loop waits for anything else without a beat."""
        return min(5.0, self.stale_seconds / 2)

    @property
    def index_dir(self) -> Path:
        return self.data_dir / "index"

    @property
    def heartbeat_dir(self) -> Path:
        return self.runtime_dir / "heartbeat"

    @property
    def applied_dir(self) -> Path:
        """What each process was started with (ragd/cli/reload.py)."""
        return self.runtime_dir / "settings"

    @property
    def requests_dir(self) -> Path:
        """Which processes a person wants to end (ragd/restarts.py)."""
        return self.runtime_dir / "requests"

    @property
    def supervisor_socket(self) -> Path:
        return self.runtime_dir / "supervisor.sock"

    @property
    def search_socket(self) -> Path:
        return self.runtime_dir / "search.sock"

    @property
    def capture_socket(self) -> Path:
        """Where capture says what a member may read (ragd/bot/reach_server.py)."""
        return self.runtime_dir / "capture.sock"

    def secrets(self) -> tuple[str, ...]:
        """What must never be shown, in plain text; for those who mask it. Not what is too short to be a secret, lest
        every line with that word in it be masked."""
        values = (getattr(self, name) for name in type(self).model_fields)
        plain = (value.get_secret_value() for value in values if isinstance(value, SecretStr))
        parts = (part for secret in plain for part in secret.replace(",", " ").split())
        return tuple(part for part in parts if len(part) >= SHORTEST_SECRET)

    def masked(self) -> dict[str, str]:
        """Variable name to value in force, secrets as asterisks; in the order of declaration."""
        return {(name := variable(field)): shown(name, getattr(self, field)) for field in type(self).model_fields}


def variable(field_name: str) -> str:
    """The environment variable of a field of Settings."""
    alias = Settings.model_fields[field_name].validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else str(alias)


def shown(name: str, value: object) -> str:
    """A variable's value as anybody may see it."""
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, str) and name.endswith("_URL"):
        return without_credentials(value)
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
