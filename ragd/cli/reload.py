"""`ragdctl reload`: settings that changed in the file take effect without a restart of the whole.

A process reads its settings once, when it starts. So a reload restarts, one after another, those processes that read a
setting which changed, and no other: each start of capture costs one of Discord's daily logins. What a process was
started with it leaves in the runtime directory.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
import typer
from pydantic import SecretStr

from ragd.cli.render import AsJson, print_json
from ragd.cli.restart import replace_process
from ragd.config import Settings, load_settings, variable
from ragd.errors import CannotCreateError, ConfigError, UnavailableError
from ragd.heartbeat import PROCESSES
from ragd.settings_files import token_credential
from ragd.worker import make_directory

ORDER = ("syncer", "searcher", "capture", "watchdog")
"""Of the restarts: the watchdog last, so that it sees the others through."""

FIXED = ("RAGD_DATA_DIR", "RAGD_RUNTIME_DIR")
"""What only a restart of the whole can change: the lock, the sockets and supervisord hang on it."""

READERS: Mapping[str, frozenset[str]] = {
    name: frozenset(processes.split())
    for name, processes in {
        "DISCORD_BOT_TOKEN": "capture",
        "DISCORD_BOT_TOKEN_FILE": "capture",
        "COMMAND_PREFIX": "capture",
        "AUTO_SYNC_INTERVAL_MINUTES": "capture syncer",
        "AUTO_SYNC_STRATEGIES": "capture syncer searcher",
        "CHUNKING_WINDOW_SECONDS": "syncer",
        "CHUNKING_GAP_SECONDS": "syncer",
        "CHUNKING_WINDOW_MESSAGES": "syncer",
        "CHUNKING_OVERLAP_MESSAGES": "syncer",
        "CHUNKING_AUTHOR_GAP_SECONDS": "syncer",
        "HEALTH_CHECK_INTERVAL_MINUTES": "watchdog",
        "ALERT_CHANNEL_ID": "capture",
        "ALERT_URLS": "watchdog",
        "MAX_MEMORY_MB": "watchdog",
        "MIN_DISK_GB": "watchdog",
        "RAGD_MODEL_DIR": "syncer searcher",
        "RAGD_EMBED_THREADS": "syncer",
        "RAGD_RECONCILE_HOURS": "capture",
        "RAGD_STALE_SECONDS": "capture watchdog",
        "RAGD_DEAF_SECONDS": "capture watchdog",
        "RAGD_DISCORD_API_URL": "capture",
        "RAGD_DISCORD_GATEWAY_URL": "capture",
        "RAGD_HTTP_HOST": "watchdog",
        "RAGD_HTTP_PORT": "watchdog",
    }.items()
}
"""Which processes read a setting; every process reads one that is not listed."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a process was started with: fingerprints of the settings by variable, and which of them came from its
    environment, where a file cannot change them."""

    fingerprints: Mapping[str, str]
    fixed: frozenset[str]


def reload(*, as_json: AsJson = False) -> None:
    """Put changed settings into force: restart, in order, the processes that read them. A wrong setting ends it before
    anything is touched.
    """
    settings = load_settings()
    changes = {process: changed_settings(settings, process) for process in ORDER}
    restarted = [process for process in ORDER if changes[process]]
    for process in restarted:
        replace_process(settings, process)
    if as_json:
        print_json({"changed": sorted(set().union(*changes.values())), "restarted": restarted})
    else:
        typer.echo(_told(changes))


def changed_settings(settings: Settings, process: str) -> frozenset[str]:
    """The settings that differ from those a process was started with and that it reads.

    Raises ConfigError if one of them needs a restart of the whole, UnavailableError if the process never started.
    """
    applied = read_applied(settings.applied_dir, process)
    now = fingerprints(settings)
    changed = frozenset(name for name, value in now.items() if applied.fingerprints.get(name) != value)
    for name in changed.intersection(FIXED):
        raise ConfigError(f"{name} cannot change while ragd runs", hint="restart it: `systemctl restart ragd`")
    return frozenset(name for name in changed - applied.fixed if process in READERS.get(name, PROCESSES))


def record_settings(process: str, settings: Settings) -> None:
    """Leave word of what this process is started with. Raises CannotCreateError."""
    directory = settings.applied_dir
    make_directory(directory)
    document = {"fingerprints": fingerprints(settings), "fixed": sorted(_from_environment())}
    temporary = directory / f"{process}.{os.getpid()}.tmp"
    try:
        temporary.write_bytes(orjson.dumps(document))
        temporary.replace(directory / f"{process}.json")
    except OSError as error:
        raise CannotCreateError(f"cannot write {temporary}: {error.strerror}", hint="free some space there") from None


def read_applied(directory: Path, process: str) -> Applied:
    """What a process was started with. Raises UnavailableError if it never said so."""
    try:
        document = orjson.loads((directory / f"{process}.json").read_bytes())
        return Applied(dict(document["fingerprints"]), frozenset(document["fixed"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UnavailableError(
            f"nobody knows what {process} was started with ({error})", hint="restart it: `ragdctl restart`"
        ) from None


def fingerprints(settings: Settings) -> dict[str, str]:
    """Enough of each setting to see that it changed, and of a secret no more than that."""
    return {variable(name): _fingerprint(getattr(settings, name)) for name in type(settings).model_fields}


def _fingerprint(value: object) -> str:
    return hashlib.sha256(_plain(value).encode()).hexdigest()[:16]


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_plain, value))
    return value.get_secret_value() if isinstance(value, SecretStr) else repr(value)


def _from_environment() -> frozenset[str]:
    """What stands in our environment, or was handed over by systemd once and for all."""
    token = {"DISCORD_BOT_TOKEN"} if token_credential() else set()
    return frozenset({name.upper() for name in os.environ} & {*map(variable, Settings.model_fields)} | token)


def _told(changes: Mapping[str, Iterable[str]]) -> str:
    lines = [f"{process} restarted: {', '.join(sorted(names))}" for process, names in changes.items() if names]
    return "\n".join(lines) or "nothing has changed"
