"""ragd installed on a machine by `make install`, with a sandbox there for its Discord."""

from __future__ import annotations

import json
from typing import Any

from tests.systemd.machine import Machine

TOKEN = "systemd.test-token.0123456789abcdef"
"""Looked for in every log and every process."""

REST_PORT, CONTROL_PORT = 8123, 8124

WHEELS = "/wheels"

SETTINGS = f"""\
RAGD_DISCORD_API_URL=http://127.0.0.1:{REST_PORT}/api/v10
RAGD_DISCORD_GATEWAY_URL=ws://127.0.0.1:{REST_PORT}/gateway
MIN_DISK_GB=0
"""

INSTALL = f"""\
export PIP_NO_INDEX=1 PIP_FIND_LINKS={WHEELS} PIP_CONFIG_FILE=/dev/null
make --no-print-directory -C /src install LOCK={WHEELS}/requirements.lock
"""

POST = """\
import sys
from ragd.sandbox.client import ControlClient
control = ControlClient("http://127.0.0.1:%d")
member = control.create_user("systemd")
control.add_member(int(sys.argv[1]), member)
channel = control.create_channel(int(sys.argv[1]), "systemd")
print(control.post(channel, member, sys.argv[2]))
"""

PROCESSES = ("supervisord", "capture", "syncer", "searcher", "watchdog")


class Service:
    """The unit ragd.service and what belongs to it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.install_log = ""

    def install(self) -> None:
        self.install_log = self.machine.sh(INSTALL, seconds=240)

    def uninstall(self, *variables: str) -> None:
        self.machine.run("make", "--no-print-directory", "-C", "/src", "uninstall", *variables)

    def purge(self) -> None:
        """Take away all of it, and the sandbox that runs from it."""
        if self._has("/opt/ragd/current") or self._has("/etc/ragd"):
            self.machine.try_run("systemctl", "stop", "discord")
            self.uninstall("PURGE=1")

    def furnish(self) -> None:
        """Install what is not installed, and see to a Discord and the settings for it."""
        if not self._has("/opt/ragd/current"):
            self.install()
        if self.machine.show("discord", "ActiveState") != "active":
            self._start_discord()
        if not self.machine.run("cat", "/etc/ragd/discord_bot_token").strip():
            self.machine.write("/etc/ragd/ragd.env", SETTINGS)
            self.machine.write("/etc/ragd/discord_bot_token", TOKEN + "\n")

    def _has(self, path: str) -> bool:
        return self.machine.try_run("test", "-e", path).returncode == 0

    def _start_discord(self) -> None:
        self.machine.sh(
            "rm -f /run/discord.json"
            " && systemd-run --quiet --unit=discord --property=WorkingDirectory=/tmp /opt/ragd/current/bin/ragd sandbox"
            f" --port {REST_PORT} --control-port {CONTROL_PORT} --token {TOKEN} --seeded 0.1"
            " --ready-file /run/discord.json"
            " && for try in $(seq 200); do [ -e /run/discord.json ] && break || sleep 0.1; done"
        )

    def post(self, text: str) -> int:
        """Somebody says something; returns the message's id."""
        guild = json.loads(self.machine.run("cat", "/run/discord.json"))["guild_id"]
        python = "/opt/ragd/current/bin/python"
        return int(self.machine.run(python, "-c", POST % CONTROL_PORT, str(guild), text))

    def running(self) -> None:
        """See to it that it runs and is healthy."""
        self.machine.run("systemctl", "start", "ragd")
        self.machine.wait(lambda: self.status()["state"] == "healthy", "healthy")

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.machine.try_run("ragdctl", "status", "--json").stdout)
        return document

    def pids(self) -> dict[str, int]:
        """Of every process of the unit, supervisord included."""
        main = self.machine.show("ragd", "MainPID")
        children = (line.split() for line in self.machine.try_run("pgrep", "-a", "-P", main).stdout.splitlines())
        return {"supervisord": int(main), **{words[-1]: int(words[0]) for words in children}}

    def reload(self) -> tuple[int, str]:
        """`systemctl reload`: its exit code, and what ragdctl said about it in the journal."""
        told = self.machine.run("journalctl", "-n", "0", "--show-cursor", "--no-pager")
        cursor = told.strip().rpartition("-- cursor: ")[2]
        code = self.machine.try_run("systemctl", "reload", "ragd").returncode
        said = self.machine.journal("-u", "ragd", "--after-cursor", cursor)
        return code, "\n".join(str(entry["MESSAGE"]) for entry in said)

    def environ_and_argv(self, pid: int) -> str:
        return self.machine.sh(f"tr '\\0' '\\n' </proc/{pid}/environ; tr '\\0' ' ' </proc/{pid}/cmdline")
