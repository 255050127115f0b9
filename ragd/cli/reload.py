"""`ragdctl reload`: settings that changed in the file take effect without a restart of the whole.

A process reads its settings once, when it starts. So a reload restarts, one after another, those processes that read a
setting which changed, and no other: each start of capture costs one of Discord's daily logins, and a gap in what comes
live. So it takes over the allow and deny lists as it runs, when a signal asks it to.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import typer

from ragd.answering import require_client
from ragd.applied import read_applied
from ragd.cli.render import AsJson, print_json
from ragd.cli.restart import END_SECONDS, replace_process
from ragd.config import Settings, load_settings
from ragd.errors import ConfigError, UnavailableError
from ragd.heartbeat import PROCESSES
from ragd.supervision import SupervisorClient

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
        "ALERT_URLS_FILE": "watchdog",
        "MAX_MEMORY_MB": "watchdog",
        "MIN_DISK_GB": "watchdog",
        "RAGD_LITESTREAM": "syncer",
        "RAGD_MODEL_DIR": "syncer",
        "RAGD_MODEL_GRAPH": "syncer",
        "RAGD_EMBEDDING_MODEL": "syncer searcher",
        "RAGD_EMBEDDING_URL": "capture syncer searcher",
        "RAGD_EMBEDDING_API_KEY": "syncer searcher",
        "RAGD_EMBEDDING_API_KEY_FILE": "syncer searcher",
        "RAGD_EMBED_THREADS": "syncer",
        "RAGD_RECONCILE_HOURS": "capture",
        "RAGD_INDEX_BOTS": "capture",
        "RAGD_RECONCILE_MINUTES": "capture",
        "RAGD_SEARCH_PER_MINUTE": "capture",
        "RAGD_SEARCH_GUILD_PER_MINUTE": "capture",
        "RAGD_ASK_PER_MINUTE": "capture",
        "RAGD_ASK_GUILD_PER_MINUTE": "capture",
        "RAGD_LLM_URL": "capture",
        "RAGD_LLM_MODEL": "capture",
        "RAGD_LLM_API_KEY": "capture",
        "RAGD_LLM_API_KEY_FILE": "capture",
        "RAGD_LLM_TIMEOUT_SECONDS": "capture",
        "RAGD_LLM_MAX_TOKENS": "capture",
        "RAGD_LLM_USER_DAILY_TOKENS": "capture",
        "RAGD_LLM_DAILY_TOKENS": "capture",
        "RAGD_LLM_MONTHLY_TOKENS": "capture",
        "RAGD_ALLOW_IDS": "capture",
        "RAGD_DENY_IDS": "capture",
        "RAGD_STALE_SECONDS": "capture watchdog",
        "RAGD_DEAF_SECONDS": "capture watchdog",
        "RAGD_SHARD_COUNT": "capture",
        "RAGD_SHARD_IDS": "capture",
        "RAGD_DISCORD_API_URL": "capture",
        "RAGD_DISCORD_GATEWAY_URL": "capture",
        "RAGD_RETENTION_DAYS": "syncer",
        "RAGD_DELETED_RETENTION_DAYS": "capture syncer",
        "RAGD_HTTP_HOST": "watchdog",
        "RAGD_HTTP_PORT": "watchdog",
        "RAGD_HTTP_TOKEN": "watchdog",
        "RAGD_HTTP_TOKEN_FILE": "watchdog",
    }.items()
}
"""Which processes read a setting; every process reads one that is not listed."""


TAKEN_OVER: Mapping[str, frozenset[str]] = {"capture": frozenset({"RAGD_ALLOW_IDS", "RAGD_DENY_IDS"})}
"""Settings that a running process takes over at SIGHUP, by process."""

_POLL_SECONDS = 0.1


def reload(*, as_json: AsJson = False) -> None:
    """Put changed settings into force: restart, in order, the processes that read them; capture takes over its allow
    and deny lists without. A wrong setting ends it before anything is touched.
    """
    settings = load_settings()
    require_client(settings)
    changes = {process: changed_settings(settings, process) for process in ORDER}
    told = [process for process in ORDER if changes[process] and changes[process] <= TAKEN_OVER.get(process, set())]
    restarted = [process for process in ORDER if changes[process] and process not in told]
    for process in (process for process in ORDER if changes[process]):
        if process in told:
            have_taken_over(settings, process)
        else:
            replace_process(settings, process)
    if as_json:
        changed = sorted(set().union(*changes.values()))
        print_json({"changed": changed, "restarted": restarted, "taken_over": told})
    else:
        typer.echo(_told(changes, told))


def have_taken_over(settings: Settings, process: str, seconds: float = END_SECONDS) -> None:
    """Signal a process to read its settings again, and wait until it says that they are in force.

    Raises UnavailableError if it does not in time, RefusedError if it does not run.
    """
    SupervisorClient(settings.supervisor_socket).hang_up(process)
    deadline = time.monotonic() + seconds
    while changed_settings(settings, process):
        if time.monotonic() > deadline:
            raise UnavailableError(f"{process} has not taken over its settings", hint="see its log")
        time.sleep(_POLL_SECONDS)


def changed_settings(settings: Settings, process: str) -> frozenset[str]:
    """The settings that differ from those a process was started with and that it reads.

    Raises ConfigError if one of them needs a restart of the whole, UnavailableError if the process never started.
    """
    applied = read_applied(settings.applied_dir, process)
    changed = applied.changed(settings)
    for name in changed.intersection(FIXED):
        raise ConfigError(f"{name} cannot change while ragd runs", hint="restart it: `systemctl restart ragd`")
    return frozenset(name for name in changed - applied.fixed if process in READERS.get(name, PROCESSES))


def _told(changes: Mapping[str, Iterable[str]], taken_over: Iterable[str]) -> str:
    lines = [
        f"{process} {'has taken over' if process in taken_over else 'restarted'}: {', '.join(sorted(names))}"
        for process, names in changes.items()
        if names
    ]
    return "\n".join(lines) or "nothing has changed"
