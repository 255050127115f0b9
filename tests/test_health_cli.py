"""`ragdctl health` and `ragdctl ready` as their own processes."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.config import Settings
from ragd.health import Outcome, Verdict
from ragd.health.ledger import Ledger
from ragd.health.outcome import fail, note, ok
from ragd.httpd import Document, Httpd
from ragd.status import collect_status
from ragd.store import Store
from ragd.store.health import CheckState
from tests.test_control_cli import Operator
from tests.test_status import settings_in


@pytest.fixture
def settings(short_path: Path) -> Settings:
    settings = settings_in(str(short_path))
    settings.heartbeat_dir.mkdir(parents=True)
    return settings


@pytest.fixture
def ragdctl(settings: Settings) -> Operator:
    return Operator(settings.data_dir, {"RAGD_DATA_DIR": str(settings.data_dir), "DISCORD_BOT_TOKEN": "top-secret"})


def write(settings: Settings, *outcomes: Outcome) -> None:
    ledger = Ledger()
    for outcome in outcomes:
        ledger.enter(outcome)
    page = ledger.take()
    store = Store.open(settings.database_path)
    store.health.record(page.states, page.tallies)
    store.close()


def test_health_without_anything(ragdctl: Operator) -> None:
    answer = ragdctl("health")
    assert (answer.returncode, answer.stderr) == (2, "")
    assert "start ragd" in answer.stdout
    assert ragdctl.json("health")["checks"] == []


def test_health_shows_every_check(settings: Settings, ragdctl: Operator) -> None:
    write(
        settings, ok("disk", 5e9, "bytes"), ok("disk", 5e9, "bytes"), note("clock", "it jumped\x1b[1m", 3.0, "seconds")
    )
    answer = ragdctl("health")
    assert answer.returncode == 0, answer.stderr
    assert "4.66 GiB" in answer.stdout
    assert "clock: it jumped[1m" in answer.stdout
    assert "3 checks in 24 h, 0 failed" in answer.stdout
    assert "\x1b" not in answer.stdout


def test_health_as_json_has_what_is_documented(settings: Settings, ragdctl: Operator) -> None:
    write(settings, ok("disk", 5e9, "bytes"), fail("canary", "not found", hint="restart the syncer"))
    answer = ragdctl("health", "--json")
    document = json.loads(answer.stdout)
    assert answer.returncode == 1
    assert (document["checks_run_24h"], document["checks_failed_24h"]) == (2, 1)
    assert document["age_seconds"] < 60
    canary, disk = document["checks"]
    assert (canary["name"], canary["verdict"], canary["hint"]) == ("canary", "fail", "restart the syncer")
    assert (disk["figure"], disk["unit"], disk["runs_24h"], disk["failures_24h"]) == (5e9, "bytes", 1, 0)
    assert (disk["timeline"][-1], canary["timeline"][-1]) == (".", "x")
    assert len(disk["timeline"]) == 24


def test_old_news_is_told_as_such(settings: Settings, ragdctl: Operator) -> None:
    old = int(time.time()) - 3600
    store = Store.open(settings.database_path)
    store.health.record([CheckState("disk", "ok", None, "", "", "", old, old)], [])
    store.close()
    answer = ragdctl("health")
    assert answer.returncode == 2
    assert "nobody has checked for 60 min" in answer.stdout


def test_status_knows_the_checks(settings: Settings) -> None:
    assert collect_status(settings).checks_run_24h is None
    write(settings, ok("disk"), fail("wal", "x"))
    seen = collect_status(settings)
    assert [check.name for check in seen.checks] == ["wal", "disk"]
    assert (seen.checks_run_24h, seen.checks_failed_24h) == (2, 1)
    assert seen.document()["checks"][0]["verdict"] == Verdict.FAIL


# ready


class Door:
    """Something that answers at `/readyz`."""

    def __init__(self) -> None:
        self.document = Document(200, "application/json", b'{"ready": true, "reasons": []}')
        self.server = Httpd("127.0.0.1", 0, lambda path, *_: self.document if path == "/readyz" else None)


@pytest.fixture
def door(ragdctl: Operator) -> Iterator[Door]:
    door = Door()
    ragdctl.environment["RAGD_HTTP_PORT"] = str(door.server.port)
    yield door
    door.server.close()


def test_ready(ragdctl: Operator, door: Door) -> None:
    answer = ragdctl("ready")
    assert (answer.returncode, answer.stdout) == (0, "ready\n")
    assert ragdctl.json("ready")["ready"] is True
    ragdctl.environment["RAGD_HTTP_HOST"] = "0.0.0.0"
    assert ragdctl("ready").returncode == 0, "who listens everywhere is asked here"


def test_not_ready(ragdctl: Operator, door: Door) -> None:
    door.document = Document(503, "application/json", b'{"ready": false, "reasons": ["syncer hung", "a\\u001b[1m"]}')
    answer = ragdctl("ready")
    assert (answer.returncode, answer.stdout) == (1, "not ready: syncer hung; a[1m\n")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"ready": true}'])
def test_somebody_else_at_the_port(ragdctl: Operator, door: Door, body: bytes) -> None:
    door.document = Document(200, "text/html", body)
    answer = ragdctl("ready")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "is not ragd" in answer.stderr


def test_nobody_answers(ragdctl: Operator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        ragdctl.environment["RAGD_HTTP_PORT"] = str(free.getsockname()[1])
    answer = ragdctl("ready")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert len(answer.stderr.splitlines()) == 1
    assert "ragdctl status" in answer.stderr
    ragdctl.environment["RAGD_HTTP_PORT"] = "0"
    assert "RAGD_HTTP_PORT=0" in ragdctl("ready").stderr
