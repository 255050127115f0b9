"""requirements.lock: what is installed is what setup.cfg asks for, and nothing that nobody has looked at."""

from __future__ import annotations

import configparser
import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.toytree import ROOT

LOCK = ROOT / "requirements.lock"

MACHINES = [
    {"python_version": version, "python_full_version": f"{version}.1", "platform_machine": machine}
    for version in ("3.11", "3.12", "3.13")
    for machine in ("x86_64", "aarch64")
]


def locked() -> list[tuple[Requirement, list[str]]]:
    """Each pinned package and its hashes."""
    text = LOCK.read_text().replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            requirement, *hashes = line.split(" --hash=")
            found.append((Requirement(requirement), [value.strip() for value in hashes]))
    return found


def wanted() -> list[Requirement]:
    """What setup.cfg asks for to run ragd, with its extras."""
    setup = configparser.RawConfigParser()
    setup.read(ROOT / "setup.cfg")
    lists = [setup["options"]["install_requires"]]
    lists += [text for extra, text in setup["options.extras_require"].items() if extra != "dev"]
    return [Requirement(line) for text in lists for line in text.splitlines() if line]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: "-".join(machine.values()))
def test_what_is_asked_for_is_locked_in_a_version_that_will_do(machine: dict[str, str]) -> None:
    environment = {"sys_platform": "linux", "os_name": "posix", "platform_system": "Linux", **machine}
    versions: dict[str, Version] = {}
    for requirement, _ in locked():
        if requirement.marker is None or requirement.marker.evaluate(environment):
            name = canonicalize_name(requirement.name)
            assert name not in versions, f"{name} twice"
            [pin] = requirement.specifier
            assert pin.operator == "=="
            versions[name] = Version(pin.version)
    for requirement in wanted():
        if requirement.marker is None or requirement.marker.evaluate(environment):
            version = versions.get(canonicalize_name(requirement.name))
            assert version in requirement.specifier, f"{requirement} and {version}: make lock"


def test_every_file_has_its_hash_and_none_its_place() -> None:
    for requirement, hashes in locked():
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), requirement
        assert requirement.url is None
    options = [line for line in LOCK.read_text().splitlines() if line.startswith("-")]
    assert options == [], "no index, no links: where packages come from is the installer's own business"


def test_what_installs_takes_these_and_no_others() -> None:
    for path in (ROOT / "Dockerfile", ROOT / "deploy" / "systemd" / "install.sh"):
        text = re.sub(r"\\\n\s*", "", path.read_text())
        commands = re.findall(r"pip (?:--\S+ \S+ )?(?:install|wheel) .*", text)
        assert commands
        for command in commands:
            guarded = "--require-hashes" in command and re.search(r"requirements\.lock|\$LOCK", command)
            assert guarded or "--no-deps" in command or "--no-index" in command, f"{path.name}: {command}"
