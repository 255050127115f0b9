"""Every setting of ragd: one typed object, loaded once in `main()` and passed on.

Nothing is read at import. Values come from the environment, then from a file: `.env` in the working directory, or for
an installation that `make install` made the system's, /etc/ragd/ragd.env. Both daemon and ragdctl read it, at each
start, so a worker that is started anew has what stands there now.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ragd.errors import ConfigError, NoPermissionError
from ragd.scope import Scope
from ragd.settings_files import ENV_FILE, TOKEN_CREDENTIAL, settings_files, settings_in_files, token_credential

MASK = "********"
"""What is shown of a secret."""

SHORTEST_SECRET = 8
"""Characters; a token of Discord's has about seventy."""

STRATEGY_NAMES = ("single", "temporal", "conversation", "sliding_window", "author", "tokens")

Ids = Annotated[tuple[int, ...], NoDecode]
"""Ids of Discord's, comma-separated."""

NOT_SETTINGS = frozenset(
    {
        "RAGD_PYTHON",
        "RAGD_SUPERVISOR_INCLUDE",
        "RAGD_LOG_FD",
        "RAGD_SOCKET_MODE",
        "RAGD_SANDBOX_PORT",
        "RAGD_SANDBOX_CONTROL_PORT",
        "RAGD_MODEL_WHEEL",
        "RAGD_TEST_DATA",
        "RAGD_FAULT_SLACK",
        "RAGD_FAULT_AWAY_SECONDS",
    }
)
"""Variables with our prefix that the launcher, the build and the tests use, which are no settings of the daemon."""

MOST_SHARDS = 65_536
"""More than any bot has."""

UNIX_SOCKET_PATH_LIMIT = 107
"""Bytes in sun_path less its terminating NUL (unix(7))."""


class Settings(BaseSettings):
    """Settings in force. Attribute names are the variables' names in lower case without the `RAGD_` prefix."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, env_file_encoding="utf-8", extra="ignore", frozen=True)

    discord_bot_token: SecretStr | None = Field(
        None,
        validation_alias="DISCORD_BOT_TOKEN",
        description="The bot's token. Without one `ragd` runs the demo against its own local Discord.",
    )
    discord_bot_token_file: Path | None = Field(
        None,
        validation_alias="DISCORD_BOT_TOKEN_FILE",
        description="A file with the token, for when it should not stand in the environment. Default under systemd:"
        f" the credential `{TOKEN_CREDENTIAL}`.",
    )
    command_prefix: str = Field(
        "!",
        min_length=1,
        max_length=10,
        pattern=r"^\S+$",
        validation_alias="COMMAND_PREFIX",
        description="What the bot's text commands begin with, as in `!health`.",
    )
    auto_sync_interval_minutes: int = Field(
        30,
        ge=1,
        le=1440,
        validation_alias="AUTO_SYNC_INTERVAL_MINUTES",
        description="How often the syncer walks over everything once more; new messages never wait for it.",
    )
    auto_sync_strategies: Annotated[tuple[str, ...], NoDecode] = Field(
        ("temporal", "conversation"),
        validation_alias="AUTO_SYNC_STRATEGIES",
        description="Comma-separated chunking strategies, each with an index of its own: "
        + ", ".join(f"`{name}`" for name in STRATEGY_NAMES)
        + ".",
    )
    chunking_window_seconds: int = Field(
        3600,
        ge=60,
        le=21_600,
        validation_alias="CHUNKING_WINDOW_SECONDS",
        description="How long a chunk of `temporal` is at most, from its first message, in seconds.",
    )
    chunking_gap_seconds: int = Field(
        1800,
        ge=60,
        le=21_600,
        validation_alias="CHUNKING_GAP_SECONDS",
        description="After so long a silence a conversation has ended, and a sliding window too, in seconds.",
    )
    chunking_window_messages: int = Field(
        10,
        ge=2,
        le=100,
        validation_alias="CHUNKING_WINDOW_MESSAGES",
        description="How many messages a window of `sliding_window` has.",
    )
    chunking_overlap_messages: int = Field(
        2,
        ge=0,
        le=99,
        validation_alias="CHUNKING_OVERLAP_MESSAGES",
        description="How many of them the next window has too.",
    )
    chunking_author_gap_seconds: int = Field(
        600,
        ge=1,
        le=21_600,
        validation_alias="CHUNKING_AUTHOR_GAP_SECONDS",
        description="After so long a pause an author's next message begins a chunk of its own in `author`, in seconds.",
    )
    health_check_interval_minutes: int = Field(
        5,
        ge=1,
        le=1440,
        validation_alias="HEALTH_CHECK_INTERVAL_MINUTES",
        description="How often a canary is sent the way of a message, from the store to an answer; all other checks run"
        " every few seconds, SQLite's own daily.",
    )
    alert_channel_id: int | None = Field(
        None,
        ge=1,
        validation_alias="ALERT_CHANNEL_ID",
        description="Discord channel that gets the watchdog's alerts. Without one they stay in the log and in status.",
    )
    alert_urls: SecretStr | None = Field(
        None,
        validation_alias="ALERT_URLS",
        description="Where else alerts go, whether Discord answers or not: URLs of apprise's services (Slack, e-mail,"
        " PagerDuty and so on, see github.com/caronc/apprise/wiki), separated by blanks or commas. A secret.",
    )
    sentry_dsn: SecretStr | None = Field(
        None,
        validation_alias="SENTRY_DSN",
        description="A Sentry project that gets unexpected errors, as types and lines of code alone. Needs"
        " `pip install 'ragd[sentry]'`. A secret.",
    )
    max_memory_mb: int = Field(
        1024,
        ge=128,
        validation_alias="MAX_MEMORY_MB",
        description="Resident memory at which a worker is restarted, in MiB.",
    )
    min_disk_gb: float = Field(
        1.0,
        ge=0,
        validation_alias="MIN_DISK_GB",
        description="Free space on the data directory's file system below which health fails, in GiB.",
    )
    data_dir: Path = Field(
        Path("data"),
        validation_alias=AliasChoices("RAGD_DATA_DIR"),
        description="Where everything is kept. The demo keeps to `data/demo` unless this is set.",
    )
    runtime_dir: Path = Field(
        Path("run"),
        validation_alias=AliasChoices("RAGD_RUNTIME_DIR"),
        description="Sockets and heartbeats. Default: `run` in the data directory.",
    )
    model_dir: Path | None = Field(
        None,
        validation_alias="RAGD_MODEL_DIR",
        description="Folder of another ONNX sentence model (model.onnx, tokenizer.json). Default: the bundled one.",
    )
    embed_threads: int = Field(
        2,
        ge=1,
        le=64,
        validation_alias="RAGD_EMBED_THREADS",
        description="Threads that embed chunks at once, at most one a core.",
    )
    reconcile_hours: float = Field(
        24.0,
        ge=0,
        le=24 * 30,
        validation_alias="RAGD_RECONCILE_HOURS",
        description="How much recent history is re-read, after a break at once and else all the time, to find edits and"
        " deletes that nobody told of, in hours.",
    )
    reconcile_minutes: float = Field(
        60.0,
        gt=0,
        le=24 * 60,
        validation_alias="RAGD_RECONCILE_MINUTES",
        description="How often that history is gone through while nothing is amiss, in minutes; a busy server takes"
        " longer, at no more than 30 pages of 100 messages a minute.",
    )
    allow_ids: Ids = Field(
        (),
        validation_alias="RAGD_ALLOW_IDS",
        description="Comma-separated ids of guilds, categories, channels or threads: with any, only these are"
        " captured.",
    )
    deny_ids: Ids = Field(
        (),
        validation_alias="RAGD_DENY_IDS",
        description="Comma-separated ids of what is left out. Of several listed ids on the way from a thread to its"
        " guild the most specific decides. `ragdctl reload` puts both lists into force without a restart.",
    )
    index_bots: bool = Field(
        False,
        validation_alias="RAGD_INDEX_BOTS",
        description="Whether messages of other bots and of webhooks take part in search; ragd's own never do.",
    )
    heartbeat_seconds: float = Field(
        1.0,
        gt=0,
        le=60,
        validation_alias="RAGD_HEARTBEAT_SECONDS",
        description="How often a worker's loop writes its heartbeat, in seconds.",
    )
    stale_seconds: float = Field(
        10.0,
        gt=0,
        le=600,
        validation_alias="RAGD_STALE_SECONDS",
        description="A worker whose heartbeat has not moved for so long is replaced, in seconds.",
    )
    deaf_seconds: float = Field(
        120.0,
        gt=0,
        le=3600,
        validation_alias="RAGD_DEAF_SECONDS",
        description="A worker that beats but gets none of its waiting work done for so long is replaced, in seconds.",
    )
    shard_count: int = Field(
        1,
        ge=1,
        le=MOST_SHARDS,
        validation_alias="RAGD_SHARD_COUNT",
        description="Into how many shards the bot's servers are divided; Discord takes 2,500 servers a shard at most."
        " The same in every instance of one bot.",
    )
    shard_ids: Annotated[tuple[int, ...], NoDecode] = Field(
        (),
        validation_alias="RAGD_SHARD_IDS",
        description="Those that this instance captures, as in `0-3` or `0,2`; each instance has a data directory of its"
        " own. Default: all.",
    )
    discord_api_url: str = Field(
        "https://discord.com/api/v10",
        pattern=r"^https?://\S+[^/]$",
        validation_alias="RAGD_DISCORD_API_URL",
        description="Base URL of Discord's REST API; the sandbox's in the demo and the tests.",
    )
    discord_gateway_url: str = Field(
        "wss://gateway.discord.gg/",
        pattern=r"^wss?://\S+$",
        validation_alias="RAGD_DISCORD_GATEWAY_URL",
        description="URL of Discord's gateway; the sandbox's in the demo and the tests.",
    )
    http_host: str = Field(
        "127.0.0.1",
        min_length=1,
        pattern=r"^\S+$",
        validation_alias="RAGD_HTTP_HOST",
        description="Where `/healthz`, `/readyz` and `/metrics` listen. Whoever reaches them may read them: beyond this"
        " machine only when asked, as with 0.0.0.0 in a container.",
    )
    http_port: int = Field(
        9464,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("RAGD_HTTP_PORT", "PORT"),
        description="Their port; 0 for none. `PORT` means the same where a platform sets it.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias="RAGD_LOG_LEVEL", description="Least severe log line that is written."
    )
    log_format: Literal["auto", "plain", "json", "journal"] = Field(
        "auto",
        validation_alias="RAGD_LOG_FORMAT",
        description="`journal` writes journald's entries, with priority and fields; `auto` does so under systemd,"
        " else `plain`.",
    )

    @field_validator("http_port", mode="before")
    @classmethod
    def _empty_is_off(cls, value: object) -> object:
        return 0 if value == "" else value

    @field_validator("shard_ids", mode="before")
    @classmethod
    def _parse_shards(cls, value: object) -> object:
        return tuple(_shards(value)) if isinstance(value, str) else value

    @field_validator("auto_sync_strategies", mode="before")
    @classmethod
    def _split_strategies(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("auto_sync_strategies")
    @classmethod
    def _known_strategies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if name not in STRATEGY_NAMES]
        if unknown or not value:
            raise ValueError(f"must name one or more of {', '.join(STRATEGY_NAMES)}, separated by commas")
        return tuple(dict.fromkeys(value))

    @field_validator("allow_ids", "deny_ids", mode="before")
    @classmethod
    def _split_ids(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = [part.strip() for part in value.split(",") if part.strip()]
        for part in parts:
            if not re.fullmatch(r"[1-9][0-9]{0,18}", part, re.ASCII):
                raise ValueError(f"{part!r} is no id of Discord's: numbers separated by commas are wanted")
        return tuple(dict.fromkeys(map(int, parts)))

    @field_validator(
        "discord_bot_token",
        "discord_bot_token_file",
        "alert_channel_id",
        "alert_urls",
        "sentry_dsn",
        "model_dir",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        # `NAME=` in a .env file is how people switch a setting off.
        return None if value == "" else value

    @model_validator(mode="before")
    @classmethod
    def _place_directories(cls, values: dict[str, Any]) -> dict[str, Any]:
        data = values.get("RAGD_DATA_DIR") or (Path("data") if values.get("DISCORD_BOT_TOKEN") else Path("data/demo"))
        data = Path(data).expanduser().absolute()
        runtime = Path(values.get("RAGD_RUNTIME_DIR") or data / "run").expanduser().absolute()
        return {**values, "RAGD_DATA_DIR": data, "RAGD_RUNTIME_DIR": runtime}

    @field_validator("alert_urls")
    @classmethod
    def _well_formed_urls(cls, value: SecretStr | None) -> SecretStr | None:
        """By form alone; `ragd` asks apprise at its start (ragd/notices.py), which is too heavy for a leaf."""
        for number, url in enumerate(split_urls(value), 1):
            if not re.fullmatch(r"[a-z0-9]+://[^\s/?].*", url, re.IGNORECASE):
                raise ValueError(f"entry {number} ({scheme_of(url)}) must be a URL like `scheme://host/...`")
        return value

    @field_validator("sentry_dsn")
    @classmethod
    def _well_formed_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not re.fullmatch(r"https?://[^@\s]+@[^/\s]+/\S+", value.get_secret_value()):
            raise ValueError("must be a URL like https://key@host/project")
        return value

    @model_validator(mode="before")
    @classmethod
    def _read_token(cls, values: dict[str, Any]) -> dict[str, Any]:
        """A file that this user may not read counts as no token: an operator's ragdctl needs none."""
        # declared after `_place_directories` and so run before it, which asks whether there is a token
        path = values.get("DISCORD_BOT_TOKEN_FILE") or token_credential()
        if values.get("DISCORD_BOT_TOKEN") or not path:
            return values
        try:
            token = Path(path).read_text(encoding="utf-8").strip()
        except PermissionError:
            return values
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"DISCORD_BOT_TOKEN_FILE={path}: cannot be read: {error}") from None
        return {**values, "DISCORD_BOT_TOKEN": token}

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
        if self.chunking_overlap_messages >= self.chunking_window_messages:
            raise ValueError(
                f"CHUNKING_OVERLAP_MESSAGES={self.chunking_overlap_messages}: must be less than"
                f" CHUNKING_WINDOW_MESSAGES={self.chunking_window_messages}"
            )
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
        """How long a worker's loop waits for another's lock on the database: it cannot beat meanwhile, and a locked
        database must not look like a hung worker."""
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
    def supervisor_socket(self) -> Path:
        return self.runtime_dir / "supervisor.sock"

    @property
    def search_socket(self) -> Path:
        return self.runtime_dir / "search.sock"

    def secrets(self) -> tuple[str, ...]:
        """What must never be shown, in plain text; for those who mask it. Not what is too short to be a secret, lest
        every line with that word in it be masked."""
        values = (getattr(self, name) for name in type(self).model_fields)
        plain = (value.get_secret_value() for value in values if isinstance(value, SecretStr))
        parts = (part for secret in plain for part in secret.replace(",", " ").split())
        return tuple(part for part in parts if len(part) >= SHORTEST_SECRET)

    def masked(self) -> dict[str, str]:
        """Variable name to value in force, secrets as asterisks; in the order of declaration."""
        return {variable(name): _shown(getattr(self, name)) for name in type(self).model_fields}


def variable(field_name: str) -> str:
    """The environment variable of a field of Settings."""
    alias = Settings.model_fields[field_name].validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else str(alias)


def load_settings(**overrides: Any) -> Settings:
    """Read environment and file; `overrides` are by variable name and win.

    Raises ConfigError naming the variable, its value and the rule it breaks, NoPermissionError.
    """
    _refuse_unknown()
    try:
        return Settings(**{"_env_file": settings_files(), **overrides})
    except ValidationError as error:
        raise ConfigError(_first_problem(error), hint="see the table of settings in README.md") from None


def _refuse_unknown() -> None:
    """A misspelt RAGD_ variable would silently leave its default in force."""
    known = {variable(name) for name in Settings.model_fields}
    given = {*os.environ, *_named_in_files()}
    for name in sorted(given):
        if name.startswith("RAGD_") and name not in known and name not in NOT_SETTINGS:
            near = difflib.get_close_matches(name, known, 1)
            raise ConfigError(f"{name} is no setting of ragd", hint=f"did you mean {near[0]}?" if near else "remove it")


def _named_in_files() -> Iterable[str]:
    try:
        return settings_in_files()
    except PermissionError as error:
        raise NoPermissionError(
            f"{error.filename} may not be read", hint="ask as root, or as a member of the group that it belongs to"
        ) from None


def _first_problem(error: ValidationError) -> str:
    detail: ErrorDetails = error.errors(include_url=False)[0]
    rule = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return rule
    name = str(detail["loc"][0])
    shown = "***" if name in _secret_variables() else repr(str(detail["input"]))
    return f"{name}={shown}: {rule[:1].lower()}{rule[1:]}"


def _secret_variables() -> set[str]:
    fields = Settings.model_fields.items()
    return {variable(name) for name, field in fields if SecretStr in (field.annotation, *get_args(field.annotation))}


def _shards(text: str) -> Iterable[int]:
    """`0-3` or `0,2` as ascending ids. Raises ValueError."""
    ids = set[int]()
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = re.fullmatch(r"(\d{1,6})(?:\s*-\s*(\d{1,6}))?", part, re.ASCII)
        if not found:
            raise ValueError("must be shards and ranges of shards separated by commas, as in 0-3 or 0,2")
        first, last = int(found[1]), int(found[2] or found[1])
        if not first <= last < MOST_SHARDS:
            raise ValueError(f"the range {part} must rise, and end below {MOST_SHARDS}")
        ids.update(range(first, last + 1))
    return sorted(ids)


def split_urls(urls: SecretStr | None) -> list[str]:
    """The entries of ALERT_URLS. A comma within a URL stays in it: only what begins a URL begins an entry."""
    text = urls.get_secret_value().strip(" ,\t\r\n") if urls else ""
    return re.split(r"[\s,]+(?=[A-Za-z0-9]+:/)|\s+", text) if text else []


def scheme_of(url: str) -> str:
    """What may be shown of an alert URL."""
    found = re.match(r"([A-Za-z0-9]{1,20})://", url)
    return found[1].lower() if found else "no scheme"


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
