"""`systemctl reload ragd`: changed settings come into force, and nothing more than that happens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.systemd.machine import Machine
from tests.systemd.service import SETTINGS, Service

pytestmark = [pytest.mark.tree, pytest.mark.timeout(400)]


@pytest.fixture(autouse=True)
def _running(machine: Machine, service: Service) -> Iterator[None]:
    service.running()
    yield
    machine.write("/etc/ragd/ragd.env", SETTINGS)
    assert service.reload()[0] == 0


def test_nothing_changed_nothing_done(service: Service) -> None:
    before = service.pids()
    code, said = service.reload()
    assert code == 0
    assert "nothing has changed" in said
    assert service.pids() == before


def test_only_who_reads_it_is_restarted(machine: Machine, service: Service) -> None:
    before = service.pids()
    machine.write("/etc/ragd/ragd.env", SETTINGS + "MAX_MEMORY_MB=900\nRAGD_EMBED_THREADS=1\n")
    code, said = service.reload()
    assert code == 0
    assert "syncer restarted: RAGD_EMBED_THREADS" in said
    after = service.pids()
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed == {"syncer", "watchdog"}
    assert machine.show("ragd", "ActiveState") == "active"
    assert machine.show("ragd", "NRestarts") == "0"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("MAX_MEMORY_MB=lots", "MAX_MEMORY_MB='lots'"),
        ("RAGD_STALE_SECOND=5", "RAGD_STALE_SECOND is no setting of ragd"),
        ("RAGD_DATA_DIR=/var/lib/elsewhere", "RAGD_DATA_DIR cannot change while ragd runs"),
    ],
)
def test_a_wrong_setting_changes_nothing(machine: Machine, service: Service, line: str, reason: str) -> None:
    before = service.pids()
    machine.write("/etc/ragd/ragd.env", f"{SETTINGS}RAGD_EMBED_THREADS=1\n{line}\n")
    code, said = service.reload()
    assert code != 0
    assert reason in said
    assert service.pids() == before
    assert machine.show("ragd", "ActiveState") == "active"
