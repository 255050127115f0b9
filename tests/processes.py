"""ragd's own processes for tests, against a sandbox in this process: started, killed, frozen, compared."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragd.config import Settings, load_settings
from ragd.errors import DamagedError
from ragd.heartbeat import Heartbeat, read_heartbeat
from ragd.sandbox.client import ControlClient, SandboxThread
from ragd.sandbox.entities import Ledger
from ragd.store import Store

UNLIMITED = {"RAGD_SEARCH_PER_MINUTE": "600", "RAGD_SEARCH_GUILD_PER_MINUTE": "6000"}
"""For tests that ask more than anybody should."""

DEADLINE_SECONDS = 30.0
TOKEN = "sesame"


def until(condition: Callable[[], Any], what: str = "", seconds: float = DEADLINE_SECONDS) -> Any:
    """Poll until the condition is true; return what it gave."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.02)  # between two looks, not a wait for something
    raise AssertionError(f"not within {seconds:.0f} s: {what or condition}")


@dataclass(frozen=True)
class Place:
    """A small guild in a sandbox, with ragd's bot in it."""

    sandbox: SandboxThread
    guild_id: int
    owner_id: int
    member_id: int
    channel_id: int
    bot_id: int

    @property
    def control(self) -> ControlClient:
        return self.sandbox.control

    def post(self, content: str, channel_id: int | None = None, **more: Any) -> int:
        return self.control.post(channel_id or self.channel_id, self.member_id, content, **more)

    def ledger(self) -> Ledger:
        return self.control.ledger(self.guild_id)


def furnish(sandbox: SandboxThread, token: str = TOKEN) -> Place:
    """Make the guild; its bot logs in with that token."""
    control = sandbox.control
    owner, member = control.create_user("ann"), control.create_user("bob")
    guild = control.create_guild("Lab", owner)
    control.add_member(guild, member)
    application = control.create_application("ragd", token=token)
    control.invite_bot(guild, int(application["id"]))
    channel = control.create_channel(guild, "general")
    return Place(sandbox, guild, owner, member, channel, int(application["bot_id"]))


def environment(sandbox: SandboxThread, directory: Path, **overrides: str) -> dict[str, str]:
    """What ragd's processes are started with: intervals short enough for tests."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RAGD_", "DISCORD_"))},
        "DISCORD_BOT_TOKEN": TOKEN,
        "RAGD_DATA_DIR": str(directory),
        "RAGD_DISCORD_API_URL": sandbox.api_url,
        "RAGD_DISCORD_GATEWAY_URL": sandbox.gateway_url,
        "RAGD_HEARTBEAT_SECONDS": "0.2",
        "RAGD_STALE_SECONDS": "4",
        "RAGD_HTTP_PORT": "0",
        **overrides,
    }


def settings_of(variables: dict[str, str]) -> Settings:
    """The settings that a process with these variables has."""
    known = {name: value for name, value in variables.items() if name.startswith(("RAGD_", "DISCORD_", "ALERT_"))}
    return load_settings(**known)


class Process:
    """One `ragd NAME`, its log in the data directory; in a `directory` with an .env file, it reads that too."""

    def __init__(self, name: str, variables: dict[str, str], directory: Path | None = None) -> None:
        self.name = name
        self.directory = directory
        self.variables = variables
        self.settings = settings_of(variables)
        self.log = self.settings.data_dir / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Process:
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ragd", self.name],
                env=self.variables,
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def beat(self) -> Heartbeat | None:
        """The newest heartbeat, of this process and no earlier one."""
        try:
            beat = read_heartbeat(self.settings.heartbeat_dir, self.name)
        except DamagedError:
            return None
        return beat if beat and beat.pid == self.process.pid else None

    def counter(self, name: str) -> Any:
        beat = self.beat()
        return beat.counters.get(name) if beat else None

    def running(self) -> Process:
        until(lambda: (beat := self.beat()) and beat.state == "running", f"{self.name} running\n{self.tail()}")
        return self

    def tail(self) -> str:
        return self.log.read_text()[-2000:] if self.log.exists() else ""

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)

    def wait(self, seconds: float = DEADLINE_SECONDS) -> int:
        return self.process.wait(seconds)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()


@contextmanager
def running(name: str, variables: dict[str, str]) -> Iterator[Process]:
    """A process that has come up; killed at the end if it still lives."""
    process = Process(name, variables)
    try:
        yield process.start().running()
    finally:
        process.end()


def stored_messages(path: Path) -> dict[int, tuple[int, str]]:
    """Channel and content of each message in the store that is not deleted."""
    store = Store.open_read_only(path)
    try:
        rows = store._all("SELECT id, channel_id, content FROM message WHERE NOT deleted")
    finally:
        store.close()
    return {row[0]: (row[1], row[2]) for row in rows}


def truth(ledger: Ledger, unreadable: frozenset[int] = frozenset(), own: int = 0) -> dict[int, tuple[int, str]]:
    """What the store must hold: every message that exists in channels the bot may read, its own without words."""
    return {
        entry.id: (entry.channel_id, "" if entry.author_id == own else entry.content)
        for entry in ledger.messages.values()
        if entry.channel_id not in unreadable
    }


def assert_complete(place: Place, path: Path, unreadable: frozenset[int] = frozenset()) -> None:
    """Wait until store and ledger are equal: each message once, edits and deletes applied, no hole open."""
    ledger = place.ledger()

    def equal() -> bool:
        return stored_messages(path) == truth(ledger, unreadable, place.bot_id)

    try:
        until(equal, seconds=20)
    except AssertionError:
        stored, wanted = stored_messages(path), truth(ledger, unreadable, place.bot_id)
        missing, surplus = wanted.keys() - stored.keys(), stored.keys() - wanted.keys()
        changed = {key for key in wanted.keys() & stored.keys() if wanted[key] != stored[key]}
        raise AssertionError(f"{len(missing)} missing, {len(surplus)} surplus, {len(changed)} differ") from None
    store = Store.open_read_only(path)
    holes = until(lambda: not store.coverage.holes() or None, "no holes", seconds=20)
    store.close()
    assert holes
