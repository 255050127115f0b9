"""Every setting of ragd: one typed object, which ragd/config.py loads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ragd.scope import Scope
from ragd.settings_files import CREDENTIALS, ENV_FILE, credential
from ragd.settings_types import (
    MOST_SHARDS,
    STRATEGY_NAMES,
    Ids,
    Keepings,
    OptionalDsn,
    OptionalHttpToken,
    OptionalId,
    OptionalPath,
    OptionalSecret,
    OptionalText,
    OptionalUrl,
    OptionalUrls,
    Port,
    ShardIds,
    Strategies,
    without_credentials,
)

MASK = "********"
"""What is shown of a secret."""

SHORTEST_SECRET = 8
"""Characters; a token of Discord's has about seventy."""

UNIX_SOCKET_PATH_LIMIT = 107
"""Bytes in sun_path less its terminating NUL (unix(7))."""


class Settings(BaseSettings):
    """Settings in force. Attribute names are the variables' names in lower case without the `RAGD_` prefix."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, env_file_encoding="utf-8", extra="ignore", frozen=True)

    discord_bot_token: OptionalSecret = Field(
        None,
        validation_alias="DISCORD_BOT_TOKEN",
        description="The bot's token. Without one `ragd` runs the demo against its own local Discord.",
    )
    discord_bot_token_file: OptionalPath = Field(
        None,
        validation_alias="DISCORD_BOT_TOKEN_FILE",
        description="A file with the token, for when it should not stand in the environment. Default under systemd:"
        f" the credential `{CREDENTIALS['DISCORD_BOT_TOKEN']}`.",
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
    auto_sync_strategies: Strategies = Field(
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
    alert_channel_id: OptionalId = Field(
        None,
        ge=1,
        validation_alias="ALERT_CHANNEL_ID",
        description="Discord channel that gets the watchdog's alerts. Without one they stay in the log and in status.",
    )
    alert_urls: OptionalUrls = Field(
        None,
        validation_alias="ALERT_URLS",
        description="Where else alerts go, whether Discord answers or not: URLs of apprise's services (Slack, e-mail,"
        " PagerDuty and so on, see github.com/caronc/apprise/wiki), separated by blanks or commas. A secret.",
    )
    alert_urls_file: OptionalPath = Field(
        None,
        validation_alias="ALERT_URLS_FILE",
        description=f"A file with these. Default under systemd: the credential `{CREDENTIALS['ALERT_URLS']}`.",
    )
    sentry_dsn: OptionalDsn = Field(
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
    litestream: bool = Field(
        False,
        validation_alias="RAGD_LITESTREAM",
        description="Whether Litestream replicates the database and so empties the write-ahead log. The syncer leaves"
        " that to it then, unless the log grows beyond 64 MiB.",
    )
    model_dir: OptionalPath = Field(
        None,
        validation_alias="RAGD_MODEL_DIR",
        description="Folder of another ONNX sentence model (model.onnx, tokenizer.json). Default: the bundled one.",
    )
    model_graph: Literal["auto", "int8", "fp32"] = Field(
        "auto",
        validation_alias="RAGD_MODEL_GRAPH",
        description="Arithmetic of the model. `auto`: int8 if the CPU has dot products of bytes (VNNI, ARM's asimddp)"
        " and the model's folder such a graph, else fp32. Another one means that everything is embedded anew.",
    )
    embedding_model: OptionalText = Field(
        None,
        validation_alias="RAGD_EMBEDDING_MODEL",
        description="A model to be asked for at `RAGD_EMBEDDING_URL` instead of one that runs here. Every message that"
        " is searched goes there. Needs `pip install 'ragd[openai]'`.",
    )
    embedding_url: OptionalUrl = Field(
        None,
        validation_alias="RAGD_EMBEDDING_URL",
        description="Base URL of an endpoint that speaks OpenAI's embeddings, as in https://api.openai.com/v1.",
    )
    embedding_api_key: OptionalSecret = Field(
        None,
        validation_alias="RAGD_EMBEDDING_API_KEY",
        description="Its key, if it wants one. A secret.",
    )
    embedding_api_key_file: OptionalPath = Field(
        None,
        validation_alias="RAGD_EMBEDDING_API_KEY_FILE",
        description="A file with the key. Default under systemd: the credential"
        f" `{CREDENTIALS['RAGD_EMBEDDING_API_KEY']}`.",
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
    retention_days: Keepings = Field(
        (),
        validation_alias="RAGD_RETENTION_DAYS",
        description="How many days messages are kept, and then erased; 0 or nothing: for ever. `365,123456789=30` keeps"
        " a year, of the channel, thread, category or guild 123456789 a month; the most specific counts.",
    )
    deleted_retention_days: float = Field(
        0.0,
        ge=0,
        le=365,
        validation_alias="RAGD_DELETED_RETENTION_DAYS",
        description="How many days the text of a message stays in the database after it was deleted on Discord, found"
        " by nobody; 0: it is erased at once.",
    )
    search_per_minute: int = Field(
        15,
        ge=1,
        le=600,
        validation_alias="RAGD_SEARCH_PER_MINUTE",
        description="How often a member may `/search` in a minute; all of them may be used at once.",
    )
    search_guild_per_minute: int = Field(
        120,
        ge=1,
        le=6000,
        validation_alias="RAGD_SEARCH_GUILD_PER_MINUTE",
        description="How often all members of a server together may.",
    )
    ask_per_minute: int = Field(
        5,
        ge=1,
        le=600,
        validation_alias="RAGD_ASK_PER_MINUTE",
        description="How often a member may `/ask` in a minute.",
    )
    ask_guild_per_minute: int = Field(
        30,
        ge=1,
        le=6000,
        validation_alias="RAGD_ASK_GUILD_PER_MINUTE",
        description="How often all members of a server together may.",
    )
    llm_url: OptionalUrl = Field(
        None,
        validation_alias="RAGD_LLM_URL",
        description="Base URL of an OpenAI-compatible endpoint (Ollama, vLLM, OpenAI, ...) that writes the answers of"
        " `/ask`, as in `http://127.0.0.1:11434/v1`; the question and the passages found for it are sent there. Needs"
        " `pip install 'ragd[openai]'`. Without one the answer is made of quotes.",
    )
    llm_model: str = Field(
        "",
        max_length=200,
        validation_alias="RAGD_LLM_MODEL",
        description="The model's name there, which it needs.",
    )
    llm_api_key: OptionalSecret = Field(
        None, validation_alias="RAGD_LLM_API_KEY", description="The endpoint's key, if it wants one. A secret."
    )
    llm_api_key_file: OptionalPath = Field(
        None,
        validation_alias="RAGD_LLM_API_KEY_FILE",
        description="A file with the key, for when it should not stand in the environment. Default under systemd: the"
        f" credential `{CREDENTIALS['RAGD_LLM_API_KEY']}`.",
    )
    llm_timeout_seconds: float = Field(
        30.0,
        ge=1,
        le=600,
        validation_alias="RAGD_LLM_TIMEOUT_SECONDS",
        description="How long an answer may take to be written, with one more try; then it is made of quotes.",
    )
    llm_max_tokens: int = Field(
        500,
        ge=50,
        le=8000,
        validation_alias="RAGD_LLM_MAX_TOKENS",
        description="Longest written answer, in the model's tokens; more for a model that thinks first.",
    )
    llm_user_daily_tokens: int = Field(
        50_000,
        ge=0,
        validation_alias="RAGD_LLM_USER_DAILY_TOKENS",
        description="Tokens, of prompts and answers, for a member's questions a day (UTC); some twenty answers.",
    )
    llm_daily_tokens: int = Field(
        500_000,
        ge=0,
        validation_alias="RAGD_LLM_DAILY_TOKENS",
        description="What all of them and `ragdctl ask` may cost a day.",
    )
    llm_monthly_tokens: int = Field(
        5_000_000,
        ge=0,
        validation_alias="RAGD_LLM_MONTHLY_TOKENS",
        description="And a calendar month. When a cap is reached answers are made of quotes, and say so.",
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
    shard_ids: ShardIds = Field(
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
        description="Where `/healthz`, `/readyz` and `/metrics` listen. Beyond loopback, as with 0.0.0.0 in a"
        " container, `/metrics` and the reasons of `/readyz` are for who has the token.",
    )
    http_port: Port = Field(
        9464,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("RAGD_HTTP_PORT", "PORT"),
        description="Their port; 0 for none. `PORT` means the same where a platform sets it.",
    )
    http_token: OptionalHttpToken = Field(
        None,
        validation_alias="RAGD_HTTP_TOKEN",
        description="What asks for `/metrics` and the reasons of `/readyz` must send as `Authorization: Bearer`, on"
        " loopback too; 16 characters or more. A secret.",
    )
    http_token_file: OptionalPath = Field(
        None,
        validation_alias="RAGD_HTTP_TOKEN_FILE",
        description="A file with that token. Default under systemd: the credential"
        f" `{CREDENTIALS['RAGD_HTTP_TOKEN']}`.",
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
                # without a slash it may be the token itself, put under the wrong name
                file = path if "/" in str(path) or len(str(path)) < SHORTEST_SECRET else MASK
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
