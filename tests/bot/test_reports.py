"""What the operator's commands tell, from a Status or from heartbeats that may say anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ragd.bot.commands.health_report import HealthReport, collect_health, render_details, render_summary
from ragd.bot.commands.privacy import privacy_text
from ragd.bot.commands.sync_report import (
    ListenerTotals,
    render_listener,
    render_sync,
    render_wish,
    success_percent,
    sync_report,
)
from ragd.bot.commands.wording import TEXT_ROOM, width
from ragd.health.history import CheckHistory
from ragd.heartbeat import Counter
from ragd.process_status import ProcessStatus, SupervisorStatus
from ragd.status import OpenAlert, Status, StoreStatus
from tests.bot.bots import settings_in

STORE = StoreStatus(10, 1, 2, 3, 3, 0, 0, 4, 5, 6, "3.54.1")
STATUS = Status(
    state="degraded",
    reasons=("syncer hangs in /srv/secret; the watchdog replaces it",),
    processes={
        "capture": ProcessStatus("capture", "running", 7, 7200.0, 0, 80 * 2**20),
        "syncer": ProcessStatus("syncer", "stale", 8, 60.0, 3),
    },
    supervisor=SupervisorStatus("unreachable"),
    store=STORE,
    alerts=(OpenAlert("error", "disk", 1),),
    demo=False,
    data_dir="/srv/secret",
    checks=(
        CheckHistory("disk", "ok", 5.0, "GiB", "", "", 1, 1, 200, 0, 0, ""),
        CheckHistory("sync", "fail", 9.0, "s", "", "", 1, 1, 88, 1, 2, ""),
    ),
)
REPORT = HealthReport(STATUS, {"capture": 1.4}, 5 * 2**30)


def test_everybody_learns_how_it_is_and_nothing_else() -> None:
    assert render_summary(REPORT) == "ragd is **degraded**, up 2.0 h."


def test_managers_learn_the_figures() -> None:
    text = render_details(REPORT, with_reasons=True)
    lines = text.splitlines()
    assert "capture  running  80 MiB  1 %         0" in lines
    assert "syncer     stale       -    -         3" in lines
    assert "Checks: 288 in 24 h, 2 failed" in lines
    assert "Disk: 5.0 GiB free; 1 open alert" in lines
    assert "SQLite 3.54.1" in text
    assert "/srv/secret" in text


def test_reasons_are_for_who_reads_alone() -> None:
    text = render_details(REPORT, with_reasons=False)
    assert "/srv/secret" not in text
    assert "`/health` says why" in text


def test_without_a_history_of_checks_nothing_is_said_of_them() -> None:
    assert "Checks" not in render_details(replace(REPORT, status=replace(STATUS, checks=())), with_reasons=True)


def test_many_reasons_stay_within_the_limit() -> None:
    text = render_details(replace(REPORT, status=replace(STATUS, reasons=("x" * 900,) * 9)), with_reasons=True)
    assert width(text) <= TEXT_ROOM
    assert "and 4 more" in text


def test_health_is_collected_where_nothing_runs(tmp_path: Path) -> None:
    report = collect_health(settings_in(tmp_path))
    assert report.status.state == "down"
    assert report.disk_free_bytes
    assert report.cpu_percent == {}
    assert render_details(report, with_reasons=True).startswith("ragd is **down**.")


def test_a_change_of_model_is_told_while_it_lasts() -> None:
    counters: dict[str, Counter] = {"model": "a", "model_next": "b", "model_done": 41, "model_total": 100}
    processes = {**STATUS.processes, "syncer": ProcessStatus("syncer", "running", 8, counters=counters)}
    changing = replace(REPORT, status=replace(STATUS, processes=processes))
    assert "Model: changing a -> b: 41 %" in render_details(changing, with_reasons=True)
    assert "Model" not in render_details(REPORT, with_reasons=True)


def test_privacy_says_where_texts_go(tmp_path: Path) -> None:
    assert "nothing is sent" in privacy_text(settings_in(tmp_path))
    text = privacy_text(settings_in(tmp_path, RAGD_EMBEDDING_URL="https://api.example.com/v1"))
    assert "nothing is sent" not in text
    assert "are sent to api.example.com," in text
    assert width(text) <= TEXT_ROOM


def test_privacy_says_how_long_the_text_of_deleted_messages_stays(tmp_path: Path) -> None:
    assert "stays in the database for" not in privacy_text(settings_in(tmp_path))
    text = privacy_text(settings_in(tmp_path, RAGD_DELETED_RETENTION_DAYS="30"))
    assert width(text) <= TEXT_ROOM
    assert "Its text stays in the database for 30 more days. `/forget-me`" in text


@pytest.mark.parametrize(
    ("steps", "failed", "percent"),
    [(0, 0, None), (10, 0, 100.0), (4, 1, 75.0), (1, 5, 0.0), (5, -3, 100.0), (None, None, None), ("x", 1, None)],
)
def test_a_success_rate_lies_between_0_and_100(steps: Counter, failed: Counter, percent: float | None) -> None:
    assert success_percent(steps, failed) == percent


def test_sync_status(tmp_path: Path) -> None:
    counters: dict[str, Counter] = {
        "steps": 200,
        "failed_steps": 1,
        "full_pass_at": 1000.5,
        "next_full_pass_at": 2800.0,
        "chunks_temporal": 1234,
        "chunks_conversation": 5,
    }
    syncer = ProcessStatus("syncer", "running", 8, counters=counters)
    report = sync_report(syncer, settings_in(tmp_path), {"temporal": 9000, "conversation": 9000}, 3)
    assert render_sync(report).splitlines() == [
        "```",
        "strategy        state  messages  chunks",
        "temporal      running     9,000   1,234",
        "conversation  running     9,000       5",
        "```",
        "New messages follow at once; 3 messages to go.",
        "Full pass: every 30 min; last <t:1000:R>, next <t:2800:R>.",
        "Success: 99.5 % of steps since the syncer started.",
    ]


def test_sync_status_of_a_syncer_that_does_not_run(tmp_path: Path) -> None:
    report = sync_report(ProcessStatus("syncer", "fatal"), settings_in(tmp_path), {}, None)
    text = render_sync(report)
    assert "temporal      fatal         -       -" in text
    assert "last never, next not known" in text
    assert "no work yet" in text


def test_listener_stats() -> None:
    counters: dict[str, Counter] = {"connected": True, "posted": 5, "edited": 1, "sessions": 1, "resumes": 2}
    assert render_listener(counters, ListenerTotals(1000, 20, 3, 1)).splitlines() == [
        "Listener: connected, 1 gateway session, 2 resumes.",
        "```",
        "                this session  in total",
        "messages                   5     1,000",
        "edits                      1        20",
        "deletes                    0         3",
        "read over REST             0",
        "```",
        "1 hole to fill.",
    ]


def test_a_wish_while_discord_is_away_says_when_it_begins() -> None:
    assert "connected again" in render_wish({"connected": False})
    assert "connected again" not in render_wish({"connected": True})
