"""A machine with a real systemd for tests: booted by the systemd-kit beside this repository, thrown away afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.toytree import ROOT

KIT = ROOT.parent / "shared" / "systemd-kit"

CANNOT = 77
"""What the kit's `up` ends with where a machine cannot do it."""

COMMAND_SECONDS = 120.0


class UnavailableMachineError(Exception):
    """There is no systemd to be had here; the message says why."""


def require_kit() -> None:
    """Look, before anything is prepared, for what rules a machine out. Raises UnavailableMachineError."""
    if not (KIT / "up").is_file():
        raise UnavailableMachineError("the systemd-kit is not beside this repository, in ../shared/systemd-kit")
    if os.geteuid() != 0:
        raise UnavailableMachineError("needs root")


class Machine:
    """Runs commands as root on the booted machine. Use `boot` and `power_off`, the latter always."""

    def __init__(self, name: str, binds: Mapping[Path, str]) -> None:
        """`binds` shows directories of ours inside: `{path: "/inside"}`, or `"/inside:rw"` to be written to."""
        self._environment = {
            **os.environ,
            "SDKIT_NAME": name,
            "SDKIT_STATE": f"/run/{name}",
            "SDKIT_BIND": " ".join(f"{source}:{target}" for source, target in binds.items()),
        }

    def boot(self) -> None:
        """Raises UnavailableMachineError where that is not possible; fails where it should be."""
        done = subprocess.run([KIT / "up"], env=self._environment, capture_output=True, text=True, timeout=60)
        if done.returncode == CANNOT:
            raise UnavailableMachineError(done.stderr.strip().splitlines()[-1])
        assert done.returncode == 0, f"the systemd-kit failed:\n{done.stderr}"

    def power_off(self) -> None:
        subprocess.run([KIT / "down"], env=self._environment, capture_output=True, timeout=90, check=True)

    def try_run(self, *command: str, seconds: float = COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever that is."""
        return subprocess.run(
            [KIT / "exec", *command],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def run(self, *command: str, seconds: float = COMMAND_SECONDS) -> str:
        """Run a command that must succeed; returns what it wrote."""
        done = self.try_run(*command, seconds=seconds)
        assert done.returncode == 0, (
            f"{' '.join(command)}: {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}\n{self.picture()}"
        )
        return done.stdout

    def sh(self, script: str, seconds: float = COMMAND_SECONDS) -> str:
        """Run a shell script, each command of which must succeed."""
        return self.run("sh", "-euc", script, seconds=seconds)

    def write(self, path: str, text: str) -> None:
        """Replace a file's content; its owner and mode stay."""
        subprocess.run(
            [KIT / "exec", "tee", path], env=self._environment, input=text, text=True, capture_output=True, check=True
        )

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()

    def journal(self, *arguments: str) -> list[dict[str, Any]]:
        """Entries, oldest first."""
        # what has been said until now is there to be read after a sync
        self.run("journalctl", "--sync")
        text = self.run("journalctl", "--no-pager", "--all", "-o", "json", *arguments)
        return [json.loads(line) for line in text.splitlines()]

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
        """Poll until the condition is true; returns what it gave."""
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}\n{self.picture()}"
            time.sleep(0.1)  # between two looks, not a wait for something
        return result

    def picture(self) -> str:
        """What a person would look at first."""
        return self.try_run("systemctl", "status", "ragd", "--no-pager", "--full", "-n", "40").stdout
