"""`make install` on a bare system, and what systemd thinks of the units, before anybody has given a token."""

from __future__ import annotations

import re

import pytest

from tests.systemd.machine import Machine
from tests.systemd.service import Service

pytestmark = [pytest.mark.tree, pytest.mark.timeout(400)]

UNITS = ("ragd.service", "ragd-backup.service", "ragd-backup.timer")

EXPOSURE = 1.5
"""Offline, of 10; the issue's bound."""


def test_it_says_what_to_do_next(fresh_service: Service) -> None:
    assert "write the bot's token to /etc/ragd/discord_bot_token" in fresh_service.install_log


def test_systemd_has_nothing_to_object(machine: Machine, fresh_service: Service) -> None:
    # it exits with 0 whatever it finds
    done = machine.try_run("systemd-analyze", "verify", *UNITS)
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("unit", ["ragd.service", "ragd-backup.service"])
def test_exposure(machine: Machine, fresh_service: Service, unit: str) -> None:
    path = f"/usr/local/lib/systemd/system/{unit}"
    told = machine.run("systemd-analyze", "security", "--offline=true", path).splitlines()[-1]
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert found
    assert float(found[1]) <= EXPOSURE


def test_owners_and_modes(machine: Machine, fresh_service: Service) -> None:
    paths = ("/etc/ragd", "/etc/ragd/ragd.env", "/etc/ragd/discord_bot_token")
    assert machine.run("stat", "-c", "%U:%G %a", *paths).splitlines() == [
        "root:ragd 750",
        "root:ragd 640",
        "root:root 600",
    ]
    assert machine.run("getent", "passwd", "ragd").strip().endswith("/var/lib/ragd:/usr/sbin/nologin")
    assert machine.run("find", "/opt/ragd/current/", "-not", "-perm", "-o=r", "-not", "-type", "l") == ""


def test_the_settings_file_holds_every_setting_and_changes_nothing(machine: Machine, fresh_service: Service) -> None:
    lines = machine.run("cat", "/etc/ragd/ragd.env").splitlines()
    assert all(line.startswith("#") or not line for line in lines)
    assert {"#MAX_MEMORY_MB=1024", "#RAGD_DATA_DIR=/var/lib/ragd", "#DISCORD_BOT_TOKEN="} <= set(lines)


def test_without_a_token_it_says_so_and_stays_down(machine: Machine, fresh_service: Service) -> None:
    assert machine.try_run("systemctl", "start", "ragd").returncode != 0
    assert machine.show("ragd", "ActiveState") == "failed"
    assert (machine.show("ragd", "ExecMainStatus"), machine.show("ragd", "NRestarts")) == ("78", "0")
    this_start = f"_SYSTEMD_INVOCATION_ID={machine.show('ragd', 'InvocationID')}"
    (entry,) = machine.journal("-p", "err", this_start)
    assert entry["MESSAGE"].startswith("DISCORD_BOT_TOKEN is not set - write the token to /etc/ragd/discord_bot_token")
    assert machine.run("find", "/var/lib/ragd", "-type", "f") == ""


def test_enabled_at_boot(machine: Machine, fresh_service: Service) -> None:
    wants = "/etc/systemd/system/multi-user.target.wants/ragd.service"
    machine.run("systemctl", "enable", "ragd")
    assert machine.run("readlink", wants).strip() == "/usr/local/lib/systemd/system/ragd.service"
    machine.run("systemctl", "disable", "ragd")
    assert machine.try_run("systemctl", "is-enabled", "ragd").stdout.strip() == "disabled"
    machine.run("systemctl", "preset", "ragd.service", "ragd-backup.timer")
    for unit in ("ragd.service", "ragd-backup.timer"):
        assert machine.run("systemctl", "is-enabled", unit).strip() == "enabled"


def test_the_backup_timer_is_listed(machine: Machine, fresh_service: Service) -> None:
    machine.run("systemctl", "start", "ragd-backup.timer")
    listed = machine.run("systemctl", "list-timers", "--no-pager", "ragd-backup.timer")
    assert re.search(r"ragd-backup\.timer +ragd-backup\.service", listed)
