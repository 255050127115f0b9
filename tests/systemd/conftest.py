"""One machine a session, with ragd installed on it. Where it cannot be had, the tests are skipped and say why."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.machine import Machine, UnavailableMachineError, require_kit
from tests.systemd.service import WHEELS, Service
from tests.toytree import ROOT

SYSTEM_PYTHON = "/usr/bin/python3"

BUILD_REQUIREMENTS = ("setuptools>=77", "wheel")


@pytest.fixture(scope="session")
def kit() -> None:
    try:
        require_kit()
    except UnavailableMachineError as error:
        pytest.skip(f"no real systemd here: {error}")


@pytest.fixture(scope="session")
def wheelhouse(kit: None, request: pytest.FixtureRequest) -> Path:
    """Wheels of everything that ragd requires, for the system's Python: the machine has no network.

    Kept in pytest's cache until the requirements change.
    """
    version = subprocess.run([SYSTEM_PYTHON, "-VV"], capture_output=True, text=True, check=True).stdout
    lock = (ROOT / "requirements.lock").read_text()
    key = hashlib.sha256("\n".join([version, lock, *BUILD_REQUIREMENTS]).encode()).hexdigest()[:16]
    wheels = request.config.cache.mkdir(f"ragd-wheels-{key}")
    with (wheels / "lock").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)  # with `pytest -n` several sessions share the cache
        if not (wheels / "whole").exists():
            _build_wheels(wheels)
            (wheels / "whole").touch()
    return wheels


def _build_wheels(wheels: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([SYSTEM_PYTHON, "-m", "venv", scratch], check=True)
        pip = [f"{scratch}/bin/python", "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(wheels)]
        locked = ["--use-pep517", "--require-hashes", "--requirement", str(ROOT / "requirements.lock")]
        subprocess.run([*pip, *locked], check=True)
        (wheels / "requirements.lock").write_text("".join(_pin(wheel) for wheel in sorted(wheels.glob("*.whl"))))
        subprocess.run([*pip, *BUILD_REQUIREMENTS], check=True)


def _pin(wheel: Path) -> str:
    """A line of a lock for those wheels, of which some were built here."""
    name, version, *_ = wheel.name.split("-")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@pytest.fixture(scope="session")
def machine(wheelhouse: Path) -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="ragd-systemd-", dir="/var/tmp") as prefix:
        # in a directory of the host's, lest the installation fill the machine's memory
        Path(prefix).chmod(0o755)
        binds = {ROOT: "/src", wheelhouse: WHEELS, Path(prefix): "/opt/ragd:rw"}
        machine = Machine(f"ragd{os.getpid()}", binds)
        try:
            machine.boot()
        except UnavailableMachineError as error:
            pytest.skip(f"no real systemd here: {error}")
        try:
            yield machine
        finally:
            machine.power_off()


@pytest.fixture(scope="session")
def installation(machine: Machine) -> Service:
    """In whatever state the files before have left it: `pytest -n` gives a machine any files in any order."""
    return Service(machine)


@pytest.fixture(scope="module")
def fresh_service(installation: Service) -> Service:
    """ragd as `make install` leaves it on a bare system: no token, not started."""
    installation.purge()
    installation.install()
    return installation


@pytest.fixture(scope="module")
def service(installation: Service) -> Service:
    """Installed, with a Discord and a token; whether it runs is each test's business."""
    installation.furnish()
    return installation
