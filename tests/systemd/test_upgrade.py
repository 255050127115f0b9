"""`make install` over an installation, and `make uninstall`."""

from __future__ import annotations

import pytest

from tests.systemd.machine import Machine
from tests.systemd.service import Service

pytestmark = [pytest.mark.tree, pytest.mark.timeout(400)]


def release(machine: Machine) -> str:
    return machine.run("readlink", "/opt/ragd/current").strip()


def test_an_upgrade_keeps_data_settings_and_what_runs(machine: Machine, service: Service) -> None:
    service.running()
    settings, pids, old = machine.run("cat", "/etc/ragd/ragd.env"), service.pids(), release(machine)
    messages = service.status()["store"]["messages"]
    service.install()
    assert "the old version runs on until: systemctl restart ragd" in service.install_log
    assert service.pids() == pids
    assert machine.run("cat", "/etc/ragd/ragd.env") == settings
    assert release(machine) != old
    # what runs may still be started anew from where it came
    machine.run("ragdctl", "restart", "searcher")
    machine.run("systemctl", "restart", "ragd")
    machine.wait(lambda: service.status()["state"] == "healthy", "healthy")
    assert release(machine) in machine.sh(f"tr '\\0' ' ' </proc/{service.pids()['capture']}/cmdline")
    assert service.status()["store"]["messages"] >= messages


def test_uninstall_keeps_the_data(machine: Machine, service: Service) -> None:
    service.running()
    service.uninstall()
    assert machine.try_run("systemctl", "cat", "ragd").returncode
    assert machine.run("find", "/usr/local", "/etc/systemd", "-name", "ragd*") == ""
    assert machine.run("ls", "/opt/ragd") == ""
    machine.run("test", "-e", "/var/lib/ragd/ragd.sqlite3")
    machine.run("test", "-e", "/etc/ragd/ragd.env")


def test_purge_leaves_nothing(machine: Machine, service: Service) -> None:
    service.furnish()
    service.running()
    service.uninstall("PURGE=1")
    assert machine.run("find", "/etc", "/var/lib", "/usr/local", "-name", "*ragd*") == ""
    assert machine.try_run("getent", "passwd", "ragd").returncode
