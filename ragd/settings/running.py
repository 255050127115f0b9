"""Settings of the daemon itself: where it keeps what, how it is watched, and whom it tells."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, BaseModel, Field

from ragd.settings.files import CREDENTIALS
from ragd.settings.types import OptionalDsn, OptionalHttpToken, OptionalId, OptionalPath, OptionalUrls, Port


class RunSettings(BaseModel):
    """Fields of ragd.settings.Settings."""

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
