"""Alerts on their whole way: from the outbox by a real capture to a channel of the sandbox, and by `ragdctl alert`."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.alerts import Alert, Kind, Notice, Severity
from ragd.errors import ExitCode
from ragd.sandbox.entities import OverwriteTarget
from ragd.store import Store
from ragd.store.alerts import A_ROUND, STALE_SECONDS, AlertStore, StoredAlert
from tests.processes import Place, Process, environment, running, until
from tests.receivers import SECRET, free_port, http_receiver
from tests.test_backup import ragdctl

SEND_MESSAGES = 1 << 11
NOW = int(time.time())


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is older than five minutes is told with its time, and a run of all tests may take longer to come here."""
    monkeypatch.setattr(sys.modules[__name__], "NOW", int(time.time()))


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[AlertStore]:
    store = Store.open(tmp_path / "ragd.sqlite3")
    yield store.alerts
    store.close()


@pytest.fixture
def channel(place: Place) -> int:
    return place.control.create_channel(place.guild_id, "alerts")


@pytest.fixture
def variables(place: Place, channel: int, short_path: Path) -> dict[str, str]:
    return environment(place.sandbox, short_path, ALERT_CHANNEL_ID=str(channel))


def full(**changes: object) -> Alert:
    values = {"severity": Severity.ERROR, "key": "disk", "text": "the disk is full", "first_at": NOW, "last_at": NOW}
    return Alert(**{"told_at": NOW, **values, **changes})  # type: ignore[arg-type]


def raised(alert: Alert) -> Notice:
    return Notice(Kind.RAISED, alert, alert.first_at)


def record(process: Process, *notices: Notice) -> None:
    with contextlib.closing(Store.open(process.settings.database_path)) as store:
        for notice in notices:
            store.alerts.record(notice)


def stored(process: Process) -> list[StoredAlert]:
    with contextlib.closing(Store.open_read_only(process.settings.database_path)) as store:
        return store.alerts.open_alerts()


def said(place: Place, channel: int) -> list[str]:
    """What the bot said in the channel."""
    messages = place.ledger().messages.values()
    return [m.content for m in messages if m.channel_id == channel and m.author_id == place.bot_id]


# The outbox


def test_what_is_pending_follows_from_what_was_announced(outbox: AlertStore) -> None:
    outbox.record(raised(full()))
    outbox.record(raised(full()))
    (first,) = outbox.unannounced()
    assert [first.pending().kind, first.delivery] == [Kind.RAISED, "waiting"]  # type: ignore[union-attr]
    outbox.mark_announced(first)
    assert outbox.unannounced() == []
    assert outbox.open_alerts()[0].delivery == "delivered"
    outbox.record(Notice(Kind.REMINDED, full(reminders=1, count=4), NOW + 1800))
    (second,) = outbox.unannounced()
    assert [second.pending().kind, second.alert.count] == [Kind.REMINDED, 4]  # type: ignore[union-attr]
    outbox.record(Notice(Kind.ENDED, full(reminders=1, count=4), NOW + 3600))
    (third,) = outbox.unannounced()
    assert third.pending() == Notice(Kind.ENDED, third.alert, NOW + 3600)
    outbox.mark_announced(third)
    assert outbox.unannounced() == outbox.open_alerts() == []
    assert outbox.ended_alerts(5)[0].delivery == "delivered"


def test_a_reminder_that_comes_between_reading_and_marking_is_not_lost(outbox: AlertStore) -> None:
    outbox.record(raised(full()))
    (read,) = outbox.unannounced()
    outbox.record(Notice(Kind.REMINDED, full(reminders=1), NOW + 1800))
    outbox.mark_announced(read)
    (again,) = outbox.unannounced()
    assert again.pending().kind is Kind.REMINDED  # type: ignore[union-attr]


def test_what_ended_long_ago_is_history_and_a_flood_comes_in_rounds(outbox: AlertStore) -> None:
    old = NOW - STALE_SECONDS - 60
    outbox.record(raised(full(key="old", first_at=old)))
    outbox.record(Notice(Kind.ENDED, full(key="old", first_at=old), old))
    assert outbox.unannounced() == []
    for number in range(A_ROUND + 5):
        outbox.record(raised(full(key=f"key {number}")))
    assert len(outbox.unannounced()) == A_ROUND


def test_a_failure_is_kept_until_it_is_delivered(outbox: AlertStore) -> None:
    outbox.record(raised(full()))
    outbox.mark_failed(outbox.unannounced()[0], "the bot may not write there")
    (failed,) = outbox.open_alerts()
    assert (failed.delivery, failed.problem) == ("failed", "the bot may not write there")
    outbox.mark_announced(failed)
    assert outbox.open_alerts()[0].delivery == "delivered"
    assert outbox.open_alerts()[0].problem == ""


def test_a_test_is_no_open_alert(outbox: AlertStore) -> None:
    test_id = outbox.add_test(Severity.WARNING, "a test")
    assert outbox.open_alerts() == []
    (waiting,) = outbox.unannounced()
    assert waiting.pending().kind is Kind.TEST  # type: ignore[union-attr]
    outbox.mark_announced(waiting)
    assert outbox.unannounced() == []
    outbox.withdraw(test_id)
    assert outbox.find(test_id) is not None
    other = outbox.add_test(Severity.WARNING, "nobody fetches it")
    outbox.withdraw(other)
    assert outbox.find(other) is None


# capture


def test_told_reminded_and_ended_in_the_channel(place: Place, channel: int, variables: dict[str, str]) -> None:
    with running("capture", variables) as capture:
        record(capture, raised(full()))
        until(lambda: len(said(place, channel)) == 1, capture.tail())
        record(capture, Notice(Kind.REMINDED, full(first_at=NOW - 1800, reminders=1, count=3), NOW))
        until(lambda: len(said(place, channel)) == 2, capture.tail())
        record(capture, Notice(Kind.ENDED, full(count=3), NOW + 60))
        until(lambda: len(said(place, channel)) == 3, capture.tail())
    assert said(place, channel) == [
        "**error**: the disk is full",
        "**still error after 1 min (seen 3 times)**: the disk is full",
        "**recovered after 1 min (seen 3 times)**: the disk is full",
    ]


def test_an_alert_outlives_a_capture_that_was_dead(place: Place, channel: int, variables: dict[str, str]) -> None:
    with running("capture", variables) as capture:
        capture.kill()
        record(capture, raised(full(key="worker.capture", text="capture is hung")))
    with running("capture", variables) as capture:
        until(lambda: said(place, channel) == ["**error**: capture is hung"], capture.tail())


def test_a_missing_permission_is_said_and_the_alert_told_when_it_is_given(
    place: Place, channel: int, variables: dict[str, str]
) -> None:
    place.control.set_overwrite(channel, place.bot_id, OverwriteTarget.MEMBER, deny=SEND_MESSAGES)
    with running("capture", variables) as capture:
        record(capture, raised(full()))
        until(lambda: stored(capture)[0].delivery == "failed", capture.tail())
        assert "may not write in ALERT_CHANNEL_ID" in stored(capture)[0].problem
        status = ragdctl(capture.settings.data_dir, "status", **variables).stdout
        assert "1 alerts are not delivered to Discord: the bot may not write" in " ".join(status.split())
        place.control.delete_overwrite(channel, place.bot_id)
        until(lambda: said(place, channel), capture.tail(), 60)
        until(lambda: stored(capture)[0].delivery == "delivered", capture.tail())
    assert capture.log.read_text().count("an alert cannot be delivered") == 1
    assert capture.log.read_text().count("Traceback") == 0


def test_a_channel_that_is_gone_or_was_never_there_is_said(
    place: Place, channel: int, variables: dict[str, str]
) -> None:
    place.control.delete_channel(channel)
    with running("capture", variables) as capture:
        record(capture, raised(full()))
        until(lambda: stored(capture)[0].delivery == "failed", capture.tail())
        assert "no channel that the bot knows" in stored(capture)[0].problem
        assert capture.stop() == 0


def test_discord_errors_pass_and_each_notice_comes_once(place: Place, channel: int, variables: dict[str, str]) -> None:
    with running("capture", variables) as capture:
        until(lambda: capture.counter("connected"), "connected")
        place.control.rest_fault(method="POST", pattern=f"/channels/{channel}/messages", status=400, times=2)
        record(capture, raised(full()), raised(full(key="memory", text="little memory")))
        until(lambda: len(said(place, channel)) == 2, capture.tail(), 60)
        until(lambda: all(alert.delivery == "delivered" for alert in stored(capture)), capture.tail())
    assert said(place, channel) == ["**error**: the disk is full", "**error**: little memory"]


# ragdctl alert


def test_alert_test_tells_what_came_of_each_way(place: Place, channel: int, variables: dict[str, str]) -> None:
    with http_receiver() as receiver, running("capture", variables) as capture:
        dead = f"json://{SECRET}@127.0.0.1:{free_port()}/"
        urls = {**variables, "ALERT_URLS": f"{receiver.url} {dead}"}
        run = ragdctl(capture.settings.data_dir, "alert", "test", "--severity", "info", "--json", **urls)
        assert run.returncode == ExitCode.UNAVAILABLE, run.stderr
        assert [tuple(way.values()) for way in json.loads(run.stdout)["ways"]] == [
            ("ALERT_URLS entry 1 (json)", True, ""),
            ("ALERT_URLS entry 2 (json)", False, "the service cannot be reached"),
            (f"ALERT_CHANNEL_ID {channel}", True, ""),
        ]
        assert SECRET not in run.stdout + run.stderr
        assert receiver.titles()[0].endswith(": test of an alert (info)")
        assert said(place, channel)[0].startswith("**test of an alert (info)**: ")
        fine = ragdctl(capture.settings.data_dir, "alert", "test", **variables)
        assert (fine.returncode, fine.stdout) == (0, f"ALERT_CHANNEL_ID {channel}: delivered\n")
        assert stored(capture) == []


def test_alert_test_without_a_way_is_a_matter_of_settings(tmp_path: Path) -> None:
    run = ragdctl(tmp_path, "alert", "test")
    assert (run.returncode, run.stdout) == (ExitCode.CONFIG, "")
    assert "set ALERT_CHANNEL_ID or ALERT_URLS" in run.stderr


def test_alert_list(tmp_path: Path, outbox: AlertStore) -> None:
    assert ragdctl(tmp_path, "alert", "list").stdout == "no alerts\n"
    outbox.record(raised(full(key="memory", text="little memory")))
    outbox.record(Notice(Kind.ENDED, full(key="memory", text="little memory"), NOW + 60))
    outbox.record(raised(full(count=3)))
    outbox.mark_failed(outbox.unannounced()[1], "no permission")
    listed = json.loads(ragdctl(tmp_path, "alert", "list", "--json", ALERT_CHANNEL_ID="5").stdout)["alerts"]
    assert [(a["key"], a["count"], a["delivery"], a["delivery_problem"], a["resolved_at"]) for a in listed] == [
        ("disk", 3, "failed", "no permission", None),
        ("memory", 1, "waiting", "", NOW + 60),
    ]
    shown = ragdctl(tmp_path, "alert", "list", COLUMNS="160").stdout
    assert "the disk is full" in shown
    assert "(error)" in shown


def test_ragd_does_not_start_with_an_alert_url_that_apprise_does_not_know(variables: dict[str, str]) -> None:
    urls = {**variables, "ALERT_URLS": f"json://ok/ nosuch://{SECRET}/x"}
    run = subprocess.run([sys.executable, "-m", "ragd"], env=urls, capture_output=True, text=True, timeout=60)
    assert run.returncode == ExitCode.CONFIG
    (line,) = run.stderr.splitlines()
    assert "entry 2 (nosuch)" in line
    assert SECRET not in line
