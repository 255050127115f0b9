"""start, stop, and whoever asks ragdctl: root, a member of the group, anybody."""

from __future__ import annotations

import json
import re
import time

import pytest

from tests.systemd.machine import Machine
from tests.systemd.service import PROCESSES, Service

pytestmark = [pytest.mark.tree, pytest.mark.timeout(400)]

START_SECONDS = 30.0
STOP_SECONDS = 10.0
"""The design's promise."""


def test_start_returns_when_everything_works(machine: Machine, service: Service) -> None:
    machine.run("systemctl", "stop", "ragd")
    begun = time.monotonic()
    machine.run("systemctl", "start", "ragd", seconds=START_SECONDS)
    print(f"start to ready: {time.monotonic() - begun:.1f} s")
    processes = service.status()["processes"]
    assert {name: process["state"] for name, process in processes.items()} == dict.fromkeys(PROCESSES[1:], "running")
    assert machine.show("ragd", "ActiveState") == "active"


def test_status_has_a_line_of_its_own(machine: Machine, service: Service) -> None:
    service.running()
    text = machine.wait(lambda: machine.show("ragd", "StatusText"), "a status")
    pattern = r"healthy: [\d,]+ messages, \d+ channels, 0 holes"
    machine.wait(lambda: re.fullmatch(pattern, machine.show("ragd", "StatusText")), "figures", 90)
    assert "\n" not in text
    assert f'Status: "{machine.show("ragd", "StatusText").split(",")[0]}' in machine.picture()


def test_the_watchdogs_timing_fits_the_unit(machine: Machine, service: Service) -> None:
    service.running()
    assert machine.show("ragd", "WatchdogUSec") == "30s"
    assert not [e for e in machine.journal("-u", "ragd") if "WatchdogSec" in str(e["MESSAGE"]) and e["PRIORITY"] == "4"]


def test_stop_is_clean_and_quick(machine: Machine, service: Service) -> None:
    service.running()
    pids = service.pids()
    begun = time.monotonic()
    machine.run("systemctl", "stop", "ragd", seconds=STOP_SECONDS)
    print(f"stop: {time.monotonic() - begun:.1f} s")
    assert (machine.show("ragd", "ActiveState"), machine.show("ragd", "Result")) == ("inactive", "success")
    assert all(machine.try_run("test", "-e", f"/proc/{pid}").returncode for pid in pids.values())
    assert machine.try_run("test", "-e", "/run/ragd").returncode
    said = [str(entry["MESSAGE"]) for entry in machine.journal("-u", "ragd", "RAGD_PROCESS=supervisord")]
    ends = [message for message in said if message.startswith("stopped:")][-4:]
    assert sorted(ends) == [
        f"stopped: {name} (exit status 0)" for name in ("capture", "searcher", "syncer", "watchdog")
    ]


def test_a_second_one_is_refused(machine: Machine, service: Service) -> None:
    service.running()
    done = machine.try_run("ragd")
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    # root is not the unit: it has no credential
    token = machine.try_run("env", "DISCORD_BOT_TOKEN=whatever", "ragd")
    assert token.returncode == 75
    assert f"/var/lib/ragd is in use by ragd with pid {service.pids()['supervisord']}" in token.stderr


def test_root_leaves_nothing_of_its_own(machine: Machine, service: Service) -> None:
    """SQLite makes its files anew for whoever asks first."""
    service.running()
    machine.run("systemctl", "stop", "ragd")
    machine.sh("rm -f /var/lib/ragd/ragd.sqlite3-wal /var/lib/ragd/ragd.sqlite3-shm")
    document = json.loads(machine.try_run("ragdctl", "status", "--json").stdout)
    assert document["state"] == "down"
    assert document["data_dir"] == "/var/lib/ragd"
    assert document["store"]["messages"] > 0
    assert machine.run("find", "/var/lib/ragd", "-not", "-user", "ragd") == ""
    service.running()


def test_a_member_of_the_group_may_ask_and_not_write(machine: Machine, service: Service) -> None:
    service.running()
    machine.sh("id observer 2>/dev/null || useradd --groups ragd observer")
    operator = ("runuser", "-u", "observer", "--")
    document = json.loads(machine.try_run(*operator, "ragdctl", "status", "--json").stdout)
    assert document["state"] == "healthy", document["reasons"]
    assert document["store"]["messages"] > 0
    assert json.loads(machine.run(*operator, "ragdctl", "search", "battery", "--json"))["results"]
    assert machine.try_run(*operator, "touch", "/var/lib/ragd/ragd.sqlite3").returncode
    assert machine.try_run(*operator, "touch", "/var/lib/ragd/file").returncode


def test_anybody_else_may_not(machine: Machine, service: Service) -> None:
    service.running()
    done = machine.try_run("runuser", "-u", "nobody", "--", "ragdctl", "status")
    assert (done.returncode, done.stdout) == (77, "")
    assert done.stderr == (
        "ragdctl: /etc/ragd/ragd.env may not be read - ask as root, or as a member of the group that it belongs to\n"
    )


def test_a_backup(machine: Machine, service: Service) -> None:
    service.running()
    machine.run("systemctl", "start", "ragd-backup")
    listed = json.loads(machine.run("ragdctl", "backup", "list", "--json"))
    assert listed
    assert machine.run("find", "/var/lib/ragd", "-not", "-user", "ragd") == ""
