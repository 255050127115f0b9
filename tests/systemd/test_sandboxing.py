"""What the unit's processes cannot do, tried from inside a unit with the very same directives."""

from __future__ import annotations

import json

import pytest

from tests.systemd.machine import Machine
from tests.systemd.service import PROCESSES, TOKEN, Service

pytestmark = [pytest.mark.tree, pytest.mark.timeout(400)]

PROBE = r"""
import ctypes, json, mmap, os, socket, subprocess, sys
from pathlib import Path

def tried(function):
    try:
        return repr(function())
    except OSError as error:
        return "refused" if error.errno in (1, 2, 13, 30, 93, 97) else repr(error)

script = Path("/var/lib/ragd/script")
script.write_text("#!/bin/sh\n")
script.chmod(0o755)
secret = Path(os.environ["CREDENTIALS_DIRECTORY"], "discord_bot_token")
results = {
    "write /etc": tried(lambda: Path("/etc/ragd/x").touch()),
    "write /usr": tried(lambda: Path("/usr/local/bin/x").touch()),
    "write /opt/ragd": tried(lambda: Path("/opt/ragd/x").touch()),
    "see /root": tried(lambda: os.listdir("/root")),
    "read the token's file": tried(lambda: Path("/etc/ragd/discord_bot_token").read_text()),
    "execute what it wrote": tried(lambda: subprocess.run([script])),
    "memory to write and execute": tried(lambda: mmap.mmap(-1, 4096, prot=7)),
    "packet socket": tried(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
    "signal systemd": tried(lambda: os.kill(1, 0)),
    "change the host's name": tried(lambda: socket.sethostname("x")),
    "read a disk": tried(lambda: os.listdir("/dev/disk")),
}
ctypes.CDLL(None, use_errno=True)
allowed = {
    "credential": secret.read_text().strip(),
    "data": os.access("/var/lib/ragd", os.W_OK),
    "tmp": sorted(os.listdir("/tmp")),
    "processes": sorted({os.stat(f"/proc/{pid}").st_uid for pid in os.listdir("/proc") if pid.isdecimal()}),
    "uid": os.getuid(),
}
script.unlink()
print("PROBE " + json.dumps([results, allowed]))
"""


@pytest.fixture(scope="module")
def probe(machine: Machine, service: Service) -> list[dict[str, object]]:
    """What a program finds that runs under ragd's directives in ragd's place."""
    machine.sh("systemctl stop ragd; touch /tmp/of-somebody-else")
    machine.write("/var/lib/probe.py", PROBE)
    machine.sh(
        "sed -e '/^ExecStart=/s|=.*|=/opt/ragd/current/bin/python /var/lib/probe.py|' -e '/^ExecReload/d'"
        " -e 's/^Type=.*/Type=oneshot/' -e '/^Restart/d' -e '/^WatchdogSec/d'"
        " /usr/local/lib/systemd/system/ragd.service > /run/systemd/system/ragd-probe.service"
        " && systemctl daemon-reload && systemctl start ragd-probe"
    )
    messages = [str(entry["MESSAGE"]) for entry in machine.journal("-u", "ragd-probe")]
    (found,) = [message for message in messages if message.startswith("PROBE ")]
    machine.sh("rm /run/systemd/system/ragd-probe.service /var/lib/probe.py && systemctl daemon-reload")
    answer: list[dict[str, object]] = json.loads(found.removeprefix("PROBE "))
    return answer


def test_what_is_refused(probe: list[dict[str, object]]) -> None:
    assert {name for name, result in probe[0].items() if result != "refused"} == set()


def test_what_is_allowed(machine: Machine, probe: list[dict[str, object]]) -> None:
    uid = int(machine.run("id", "-u", "ragd"))
    assert probe[1] == {"credential": TOKEN, "data": True, "tmp": [], "processes": [uid], "uid": uid}


def test_every_process_is_confined(machine: Machine, service: Service) -> None:
    service.running()
    pids = service.pids()
    assert set(pids) == set(PROCESSES)
    for pid in pids.values():
        status = dict(line.split(":\t", 1) for line in machine.run("cat", f"/proc/{pid}/status").splitlines())
        assert (status["NoNewPrivs"], status["Seccomp"], int(status["CapEff"], 16), int(status["CapBnd"], 16)) == (
            "1",
            "2",
            0,
            0,
        )


def test_the_token_is_in_no_process(machine: Machine, service: Service) -> None:
    service.running()
    for name, pid in service.pids().items():
        seen = service.environ_and_argv(pid)
        assert "RAGD_RUNTIME_DIR=/run/ragd" in seen
        assert TOKEN not in seen, name


def test_nothing_foreign_in_the_data(machine: Machine, service: Service) -> None:
    """onnxruntime for one makes itself an id to tell Microsoft about."""
    service.running()
    assert machine.run("find", "/var/lib/ragd", "-name", ".*") == ""
