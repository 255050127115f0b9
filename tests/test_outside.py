"""What watchers from outside see: documents by themselves, a real watchdog's, and what Prometheus makes of them."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ragd.alerts import Severity
from ragd.config import Settings, load_settings
from ragd.errors import ConfigError
from ragd.health import Measurements, Outcome, ProcessFigures, Verdict
from ragd.health.survey import Survey
from ragd.metrics import Sample, render
from ragd.outside import RETRY_SECONDS, Outside, Report
from ragd.store import Counts, Store
from ragd.store.audits import LastAudits
from ragd.store.health import Progress
from tests.health.views import audit, beat, view, worker
from tests.toytree import ROOT, ToyTree, settings_of, wait_until

PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "ragd.json"

CAPTURE = beat(
    "capture",
    posted=12,
    edited=2,
    deleted=1,
    backfilled=300,
    backlog=3,
    connected=True,
    sessions=1,
    resumes=4,
    last_event_age_seconds=7.5,
    gateway_ack_age_seconds=0.0,
    latency_seconds=0.08,
    deaf_channels=0,
    shards_away=0,
    requests=321,
    rate_limited=1,
    invalid_requests=2,
)
SYNCER = beat("syncer", chunks_made=40, embedded=38, backlog=0, model_done=41, model_total=100)
SEARCHER = beat("searcher", queries=4, query_seconds=0.012, vectors_temporal=20, vectors_conversation=21, backlog=0)
AUDIT = audit(checked=500, present=498, deleted=7, found=2, unmended=1, ended_at=1_700_000_000)

SAMPLE = Sample(
    view=view(*(worker(one.process, beat=one, restarts=2) for one in (CAPTURE, SYNCER, SEARCHER))),
    outcomes=(
        Outcome("disk", figure=5e9, unit="bytes"),
        Outcome("http", Verdict.WARN, text="cannot listen"),
        Outcome("canary", Verdict.FAIL, text="not found", alert=Severity.ERROR),
    ),
    runs={"disk": 7, "canary": 2},
    failures={"disk": 0, "canary": 1},
    measured=Measurements(
        processes={"capture": ProcessFigures(50_000_000, 12.5, 1.7e9, 20, 1024)},
        survey=Survey(Progress(5, 9, 9, None), 4096, 81_920, audits=LastAudits(AUDIT, None, 0)),
        counted=Survey(Progress(5, 9, 9, None), 4096, 81_920, Counts(310, 1, 4, 40, 38, 2, 1, 5)),
        write_seconds=0.004,
        behind_seconds=0.5,
        flight_seconds=0.4,
        flown_at=1.7e9,
    ),
    ready=False,
    beat_ages={"capture": 0.3},
    alerts_open=1,
    alerts_undelivered=0,
    passes=77,
    pass_seconds=0.01,
    whole_pass_at=1.7e9,
)


def parse(body: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(body.decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def metrics(sample: Sample = SAMPLE) -> dict[str, float]:
    """As `name{label=value}`."""
    found = parse(render(sample, "")[0])
    return {_shown(name, dict(labels)): value for (name, labels), value in found.items()}


def _shown(name: str, labels: Mapping[str, str]) -> str:
    inner = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return f"{name}{{{inner}}}" if inner else name


# Metrics


def test_metrics_say_what_the_pass_saw() -> None:
    found = metrics()
    expected = {
        "ragd_messages_total{event=posted}": 12,
        "ragd_messages_total{event=fetched}": 300,
        "ragd_lag_messages": 5,
        "ragd_lag_seconds": 0.5,
        "ragd_model_change_ratio": 0.41,
        "ragd_holes": 2,
        "ragd_stored_messages": 310,
        "ragd_process_resident_memory_bytes{process=capture}": 50_000_000,
        "ragd_process_restarts_total{process=searcher}": 2,
        "ragd_heartbeat_age_seconds{process=capture}": 0.3,
        "ragd_check_verdict{check=disk}": 0,
        "ragd_check_verdict{check=http}": 1,
        "ragd_check_verdict{check=canary}": 2,
        "ragd_check_failures_total{check=canary}": 1,
        "ragd_canary_round_trip_seconds": 0.4,
        "ragd_audit_messages{result=checked}": 500,
        "ragd_audit_messages{result=unmended}": 1,
        "ragd_audit_last_timestamp_seconds": 1_700_000_000,
        "ragd_search_duration_seconds_count": 4,
        "ragd_search_duration_seconds_sum": 0.012,
        "ragd_index_vectors{strategy=temporal}": 20,
        "ragd_gateway_latency_seconds": 0.08,
        "ragd_disk_free_bytes": 5e9,
        "ragd_ready": 0,
    }
    assert {name: found.get(name) for name in expected} == expected


def test_what_is_not_known_is_not_told() -> None:
    down = worker("capture", "down", beat=None, pid=None)
    bare = replace(SAMPLE, view=view(down, worker("searcher", beat=None)), measured=Measurements(), outcomes=())
    found = metrics(bare)
    assert not [name for name in found if name.startswith(("ragd_lag", "ragd_stored", "ragd_messages", "ragd_search"))]
    assert found["ragd_process_up{process=capture}"] == 0


def test_every_metric_has_help_and_openmetrics_is_spoken() -> None:
    text = render(SAMPLE, "")[0].decode()
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert names == {line.split()[2] for line in text.splitlines() if line.startswith("# HELP") and line.count(" ") > 2}
    assert all(name.startswith("ragd_") for name in names)
    body, content_type = render(SAMPLE, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed (Debian's package prometheus)")
    return found


def test_promtool_likes_the_metrics() -> None:
    checked = subprocess.run([needs("promtool"), "check", "metrics"], input=render(SAMPLE, "")[0], capture_output=True)
    assert (checked.returncode, checked.stderr.decode()) == (0, "")


def test_promtool_likes_rules_and_example() -> None:
    for what, file in (("rules", "ragd.rules.yml"), ("config", "prometheus.yml")):
        command = [needs("promtool"), "check", what, str(PROMETHEUS / file)]
        checked = subprocess.run(command, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def known_names() -> set[str]:
    names = {name.partition("{")[0] for name in metrics()}
    return names | {"up"}


def metric_names(expression: str) -> set[str]:
    """Names in a PromQL expression that are ragd's, or `up`."""
    bare = re.sub(r"\{[^}]*\}|\"[^\"]*\"", "", expression)
    return set(re.findall(r"\b(?:ragd_\w+|up)\b", bare))


def test_the_dashboard_shows_metrics_that_exist() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(expressions) > 15
    for expression in expressions:
        assert metric_names(expression), expression
        assert metric_names(expression) <= known_names(), expression
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_rules_watch_metrics_that_exist() -> None:
    lines = (PROMETHEUS / "ragd.rules.yml").read_text().splitlines()
    expressions = [line.partition("expr: ")[2] for line in lines if "expr: " in line]
    assert len(expressions) > 10
    for expression in expressions:
        assert metric_names(expression), expression
        assert metric_names(expression) <= known_names(), expression


def test_the_readme_names_metrics_that_exist() -> None:
    section = (ROOT / "README.md").read_text().partition("## Watching it")[2].partition("\n## ")[0]
    told = set(re.findall(r"`(ragd_\w+)", section))
    assert len(told) > 5
    assert told <= known_names() | {"ragd_search_duration_seconds"}


# Documents


def outside(**variables: str) -> Outside:
    return Outside(settings(**variables), alive_seconds=20.0)


def settings(**variables: str) -> Settings:
    return settings_of({"RAGD_DATA_DIR": "/nowhere", "DISCORD_BOT_TOKEN": "x", "RAGD_HTTP_PORT": "0", **variables})


def report(*reasons: str, age: float = 0.0) -> Report:
    return Report("degraded" if reasons else "healthy", reasons, time.monotonic() - age, SAMPLE)


def ready(shown: Outside) -> tuple[int, Any]:
    document = shown.answer("/readyz", "")
    assert document is not None
    return document.status, json.loads(document.body)


def test_before_the_first_pass_nothing_is_alive() -> None:
    shown = outside()
    health = shown.answer("/healthz", "")
    assert health is not None
    assert health.status == 503
    assert ready(shown)[0] == 503
    assert shown.answer("/metrics", "") is None


def test_ready_or_why_not() -> None:
    shown = outside()
    shown.publish(report())
    status, document = ready(shown)
    assert (status, document["ready"], document["state"], document["reasons"]) == (200, True, "healthy", [])
    assert document["checks"]["http"]["verdict"] == "warn"
    shown.publish(report("syncer hung"))
    status, document = ready(shown)
    assert (status, document["ready"], document["reasons"]) == (503, False, ["syncer hung"])
    health = shown.answer("/healthz", "")
    assert health is not None
    assert health.status == 200, "alive, and not ready"


def test_a_watchdog_that_hangs_is_not_alive_whatever_its_last_pass_said() -> None:
    shown = outside()
    shown.publish(report(age=21.0))
    health = shown.answer("/healthz", "")
    assert health is not None
    assert (health.status, b"21 s ago" in health.body) == (503, True)
    status, document = ready(shown)
    assert (status, document["state"]) == (503, "degraded")


def test_a_port_that_is_taken_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        shown = outside(RAGD_HTTP_PORT=str(port))
        with caplog.at_level(logging.WARNING):
            for round_ in range(3):
                shown.listen(100.0 + round_ * RETRY_SECONDS)
        assert len(caplog.records) == 1
        assert f"127.0.0.1:{port}" in shown.problem
    shown.listen(100.0 + 3 * RETRY_SECONDS)
    assert (shown.problem, shown.port) == ("", port)
    shown.close()


TOKEN = "a-token-of-nobody-else"

NOT_READY = (503, '{"ready": false, "reasons": ["see `ragdctl health`"]}\n')


def asked(shown: Outside, path: str, authorization: str = "") -> tuple[int, str]:
    document = shown.answer(path, "", authorization)
    assert document is not None
    return document.status, document.body.decode()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_loopback_nobody_is_asked_for_a_token(host: str) -> None:
    shown = outside(RAGD_HTTP_HOST=host)
    shown.publish(report("syncer hung"))
    assert "syncer hung" in asked(shown, "/readyz")[1]
    assert asked(shown, "/metrics")[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "somewhere"])
def test_beyond_loopback_all_may_know_whether_it_works_and_no_more(host: str) -> None:
    shown = outside(RAGD_HTTP_HOST=host)
    shown.publish(report("syncer hung"))
    assert asked(shown, "/healthz") == (200, "ok\n")
    assert asked(shown, "/readyz") == NOT_READY
    for authorization in ("", "Bearer ", "Bearer x"):
        assert asked(shown, "/metrics", authorization)[0] == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_who_knows_the_token_is_told(host: str) -> None:
    shown = outside(RAGD_HTTP_HOST=host, RAGD_HTTP_TOKEN=TOKEN)
    shown.publish(report("syncer hung"))
    for authorization in ("", TOKEN, "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \udcff\xfc"):
        assert asked(shown, "/metrics", authorization)[0] == 401
        assert asked(shown, "/readyz", authorization) == NOT_READY
    for authorization in (f"Bearer {TOKEN}", f"bearer  {TOKEN} "):
        assert asked(shown, "/metrics", authorization)[0] == 200
        assert "syncer hung" in asked(shown, "/readyz", authorization)[1]
    refused = shown.answer("/metrics")
    assert refused is not None
    assert refused.headers == (("WWW-Authenticate", "Bearer"),)


@pytest.mark.parametrize("token", ["short", "with a blank in the middle", "mit-lauter-ümläüten"])
def test_a_token_that_is_none_is_refused_and_not_shown(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGD_HTTP_TOKEN", token)
    with pytest.raises(ConfigError, match=r"RAGD_HTTP_TOKEN=\*\*\*: must be 16 or more printable"):
        load_settings()


def test_it_can_be_switched_off() -> None:
    shown = outside()
    shown.listen(100.0)
    assert (shown.port, shown.problem) == (None, "")
    shown.close()


def test_the_platforms_port_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"RAGD_DATA_DIR": "/nowhere", "DISCORD_BOT_TOKEN": "x"}
    monkeypatch.delenv("RAGD_HTTP_PORT", raising=False)
    monkeypatch.setenv("PORT", "8080")
    found = settings_of(variables)
    assert (found.http_host, found.http_port) == ("127.0.0.1", 8080), "the port is theirs, the address is asked for"
    assert settings_of({**variables, "RAGD_HTTP_PORT": ""}).http_port == 0


# A real watchdog


@pytest.fixture(scope="module")
def watched() -> Iterator[tuple[ToyTree, str]]:
    """A tree of toy workers with a real watchdog that serves; and where. Ready until the canary counts as lost: toys
    search nothing."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with ToyTree(watchdog=True, environment={"RAGD_HTTP_PORT": str(port)}) as tree:
        Store.open(tree.settings.database_path).close()
        tree.start()
        where = f"127.0.0.1:{port}"
        wait_until(lambda: get(where, "/readyz")[0] == 200, 60, "ready")
        yield tree, where


def get(where: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(where, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def test_a_real_watchdog_serves(watched: tuple[ToyTree, str]) -> None:
    _, where = watched
    assert get(where, "/healthz") == (200, b"ok\n")
    document = json.loads(get(where, "/readyz")[1])
    assert document["checks"]["capture"]["verdict"] == "ok"
    found = {name for name, _ in parse(get(where, "/metrics")[1])}
    assert {"ragd_ready", "ragd_process_resident_memory_bytes", "ragd_check_verdict"} <= found
    wait_until(lambda: b"ragd_lag_messages 0.0" in get(where, "/metrics")[1], 30, "surveyed")


def test_a_real_prometheus_scrapes_it(watched: tuple[ToyTree, str], tmp_path: Path) -> None:
    program, (_, where) = needs("prometheus"), watched
    config = (PROMETHEUS / "prometheus.yml").read_text().replace("127.0.0.1:9464", where).replace("30s", "1s")
    (tmp_path / "prometheus.yml").write_text(config)
    shutil.copy(PROMETHEUS / "ragd.rules.yml", tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (tmp_path / "log").open("wb") as log, contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
        stack.callback(process.wait)
        stack.callback(process.kill)

        def query(expression: str) -> list[Any]:
            url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.request.quote(expression)}"
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as response:
                return list(json.load(response)["data"]["result"])
            return []

        wait_until(lambda: query("ragd_ready"), 60, f"scraped: {(tmp_path / 'log').read_text()[-2000:]}")
        assert query('up{job="ragd"}')[0]["value"][1] == "1"
        processes = {found["metric"]["process"] for found in query("ragd_process_resident_memory_bytes")}
        assert {"capture", "syncer", "searcher", "watchdog", "supervisord"} <= processes
        url = f"http://127.0.0.1:{port}/api/v1/rules"
        with urllib.request.urlopen(url, timeout=5) as response:
            rules = [rule for group in json.load(response)["data"]["groups"] for rule in group["rules"]]
        assert len(rules) > 10
        assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
