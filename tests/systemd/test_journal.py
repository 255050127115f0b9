"""`journalctl` shows every process's lines, as what they are, and neither messages nor the token."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from ragd.heartbeat import PROCESSES
from tests.systemd.machine import Machine
from tests.systemd.service import TOKEN, Service

pytestmark = [pytest.mark.tree, pytest.mark.timeout(400)]

SEND = """\
import logging, sys
from ragd.journald import JournalHandler
handler = JournalHandler("capture")
handler.setFormatter(logging.Formatter("%(message)s"))
log = logging.getLogger("big")
log.addHandler(handler)
log.warning("%s", sys.argv[1] + "x" * 1_000_000)
"""


@pytest.fixture(autouse=True)
def _running(service: Service) -> None:
    service.running()


def entries(machine: Machine, process: str, *more: str) -> list[dict[str, Any]]:
    return machine.journal("-u", "ragd", f"RAGD_PROCESS={process}", *more)


@pytest.mark.parametrize("process", [*PROCESSES, "supervisord"])
def test_every_process_speaks_with_fields(machine: Machine, process: str) -> None:
    found = entries(machine, process)
    assert found
    for entry in found:
        assert entry["SYSLOG_IDENTIFIER"] == f"ragd-{process}"
        assert entry["_SYSTEMD_UNIT"] == "ragd.service"
        assert entry["_TRANSPORT"] == "journal"
        assert entry["LOGGER"]
        assert "<" not in entry["MESSAGE"][:1]


def test_priorities(machine: Machine, service: Service) -> None:
    pid = service.pids()["searcher"]
    machine.run("kill", "-KILL", str(pid))
    machine.wait(lambda: service.pids().get("searcher") not in (None, pid), "searcher is replaced")
    warnings = machine.journal("-u", "ragd", "-p", "warning")
    assert any("exited: searcher (terminated by SIGKILL; not expected)" in entry["MESSAGE"] for entry in warnings)
    assert {int(entry["PRIORITY"]) for entry in entries(machine, "capture")} <= {3, 4, 6}
    assert {entry["PRIORITY"] for entry in entries(machine, "watchdog") if entry["MESSAGE"].startswith("ready")} == {
        "6"
    }
    assert not any(entry["MESSAGE"] == "running" for entry in warnings)


def test_an_entry_larger_than_a_datagram_arrives_whole(machine: Machine, service: Service) -> None:
    mark = uuid.uuid4().hex
    machine.run("/opt/ragd/current/bin/python", "-c", SEND, mark)
    found = [entry for entry in machine.journal("LOGGER=big") if entry["MESSAGE"].startswith(mark)]
    assert [len(entry["MESSAGE"]) for entry in found] == [len(mark) + 1_000_000]


def test_a_journald_that_starts_anew_is_found_again(machine: Machine, service: Service) -> None:
    machine.run("systemctl", "restart", "systemd-journald")
    before = len(entries(machine, "syncer"))
    machine.run("ragdctl", "restart", "syncer")
    machine.wait(lambda: len(entries(machine, "syncer")) > before, "syncer is heard again")


def test_neither_messages_nor_the_token(machine: Machine, service: Service) -> None:
    """At the level that says most."""
    settings = machine.run("cat", "/etc/ragd/ragd.env")
    machine.write("/etc/ragd/ragd.env", settings + "RAGD_LOG_LEVEL=DEBUG\n")
    _, said = service.reload()
    assert all(f"{process} restarted: RAGD_LOG_LEVEL" in said for process in PROCESSES)
    mark = uuid.uuid4().hex
    message_id = service.post(f"the rain gauge says {mark}")
    machine.wait(lambda: str(message_id) in machine.try_run("ragdctl", "search", mark, "--json").stdout, "it is found")
    machine.write("/etc/ragd/ragd.env", settings)
    assert service.reload()[0] == 0
    everything = machine.run("journalctl", "--no-pager", "--all", "-o", "export", "-u", "ragd")
    assert mark not in everything
    assert TOKEN not in everything
