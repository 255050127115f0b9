"""systemd's own watchdog: when nobody checks the workers any more, the whole unit is started anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.systemd.machine import Machine
from tests.systemd.service import Service

pytestmark = [pytest.mark.tree, pytest.mark.timeout(400)]

WATCHDOG_SECONDS = 6
"""The unit's 30 allow for two passes in which everything takes as long as it may; here nothing does."""

RECOVERY_SECONDS = WATCHDOG_SECONDS + 3 + 5 + 15
"""A ping a second, systemd's timeout, RestartSec, and a start."""

DROP_IN = "/etc/systemd/system/ragd.service.d/test.conf"


@pytest.fixture(scope="module", autouse=True)
def _impatient(machine: Machine, service: Service) -> Iterator[None]:
    machine.sh(f"mkdir -p {DROP_IN.rpartition('/')[0]}; systemctl stop ragd")
    machine.write(DROP_IN, f"[Service]\nWatchdogSec={WATCHDOG_SECONDS}\n")
    machine.run("systemctl", "daemon-reload")
    yield
    # no reset-failed: it fails where systemd has already unloaded the stopped unit, and a start by hand counts anew
    machine.sh(f"rm -r {DROP_IN.rpartition('/')[0]}; systemctl stop ragd; systemctl daemon-reload")


@pytest.mark.parametrize("frozen", ["supervisord", "watchdog"])
def test_a_frozen_process_brings_the_unit_back(machine: Machine, service: Service, frozen: str) -> None:
    service.running()
    before = service.pids()
    restarts = int(machine.show("ragd", "NRestarts"))
    machine.run("kill", "-STOP", str(before[frozen]))
    machine.wait(lambda: int(machine.show("ragd", "NRestarts")) > restarts, "restarted", RECOVERY_SECONDS)
    machine.wait(lambda: machine.show("ragd", "ActiveState") == "active", "active again", RECOVERY_SECONDS)
    after = service.pids()
    assert not set(before.values()) & set(after.values())
    assert all(machine.try_run("test", "-e", f"/proc/{pid}").returncode for pid in before.values())
    said = [str(entry["MESSAGE"]) for entry in machine.journal("-u", "ragd")]
    assert any("Watchdog timeout" in message for message in said)
    assert not any("core-dump" in message for message in said)


def test_a_killed_watchdog_is_replaced_without_a_restart(machine: Machine, service: Service) -> None:
    service.running()
    before = service.pids()
    restarts = machine.show("ragd", "NRestarts")
    machine.run("kill", "-KILL", str(before["watchdog"]))
    machine.wait(lambda: service.pids().get("watchdog") not in (None, before["watchdog"]), "replaced")
    machine.wait(lambda: service.status()["state"] == "healthy", "healthy")
    assert service.pids()["supervisord"] == before["supervisord"]
    assert machine.show("ragd", "NRestarts") == restarts
