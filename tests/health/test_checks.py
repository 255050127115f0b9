"""Each check by itself: what it sees, and what it says."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ragd.alerts import Severity
from ragd.errors import TransientError
from ragd.health import CHECKS, Outcome, ProcessFigures, Verdict, checks
from ragd.health.canary import Flight
from ragd.health.outcome import fail, format_figure
from ragd.health.view import measure
from ragd.store.audits import Audit, LastAudits
from tests.health.views import audit, beat, view, worker

MIB = 2**20


def figures(rss_mib: int = 50, descriptors: int = 10, limit: int = 100) -> ProcessFigures:
    return ProcessFigures(rss_mib * MIB, 1.0, 0.0, descriptors, limit)


def said(outcome: Outcome) -> tuple[Verdict, Severity | None]:
    return outcome.verdict, outcome.alert


OK = (Verdict.OK, None)
NOTED = (Verdict.WARN, None)
WARNED = (Verdict.WARN, Severity.WARNING)
FAILED = (Verdict.FAIL, Severity.ERROR)
FAILED_QUIETLY = (Verdict.FAIL, None)


def test_supervisord_tells_its_alert_itself() -> None:
    assert said(checks.check_supervisord(view())) == OK
    silent = checks.check_supervisord(view(supervisord="no answer"))
    assert said(silent) == FAILED_QUIETLY
    assert silent.text == "no answer"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [("healthy", OK), ("starting", OK), ("degraded", NOTED), ("hung", FAILED_QUIETLY), ("down", FAILED_QUIETLY)],
)
def test_workers(condition: str, expected: object) -> None:
    outcome = checks.check_worker(worker("syncer", condition, reason="why", restarts=3))
    assert said(outcome) == expected
    assert (outcome.name, outcome.figure, outcome.unit) == ("syncer", 3, "restarts")


def test_a_crash_loop_is_seen_while_the_worker_works() -> None:
    assert said(checks.check_worker(worker("syncer", looping=True))) == NOTED


def test_discord() -> None:
    def judge(away: float = 0.0, condition: str = "healthy", detail: str = "", **counters: object) -> Outcome:
        capture = beat("capture", "running", detail, **counters)  # type: ignore[arg-type]
        return checks.check_discord(worker("capture", condition, beat=capture), away)

    connected = judge(connected=True, latency_seconds=0.08, session_age_seconds=61.0, last_event_age_seconds=2.0)
    assert said(connected) == OK
    assert (connected.figure, connected.unit, connected.text) == (0.08, "seconds", "session 61 s, last event 2 s")
    assert said(judge(connected=True, gateway_ack_age_seconds=31)) == NOTED
    assert said(judge(connected=False, away=5.0)) == NOTED
    away = judge(connected=False, away=121.0, detail="no sessions left")
    assert said(away) == FAILED
    assert "no sessions left" in away.text
    assert said(judge(condition="hung")) == NOTED
    assert said(judge(condition="starting")) == OK
    assert said(checks.check_discord(None, 0.0)) == NOTED


def test_refused_requests_are_told_long_before_discord_bars_the_address() -> None:
    def judge(**counters: object) -> Outcome:
        return checks.check_requests(worker("capture", beat=beat("capture", **counters)))  # type: ignore[arg-type]

    assert said(judge()) == OK
    assert said(judge(invalid_requests=checks.MANY_INVALID - 1)) == OK
    assert said(judge(invalid_requests=checks.MANY_INVALID)) == WARNED
    waiting = judge(invalid_requests=1_000, requests_paused=True)
    assert said(waiting) == WARNED
    assert "reading history waits" in waiting.text
    assert said(checks.check_requests(None)) == OK


def test_deaf_is_told_from_quiet_by_what_discord_says() -> None:
    def judge(deaf_for: float = 0.0, **counters: object) -> Outcome:
        capture = beat("capture", **counters)  # type: ignore[arg-type]
        return checks.check_gateway(worker("capture", beat=capture), deaf_for, 120.0)

    now = time.time()
    assert said(judge()) == OK  # not compared yet
    # a server that has been quiet for a day is as well as any other
    assert said(judge(compared_at=now, deaf_channels=0, last_event_age_seconds=86_400)) == OK
    assert said(judge(compared_at=now, deaf_channels=2)) == NOTED
    deaf = judge(121.0, compared_at=now, deaf_channels=2)
    assert said(deaf) == FAILED
    assert "(2 channels)" in deaf.sentence
    assert said(judge(compared_at=now - 700, deaf_channels=0)) == NOTED


def test_database() -> None:
    assert said(checks.check_database(None, 0.004, 0.0)) == OK
    locked = checks.check_database(TransientError("database is locked"), None, 0.0)
    assert said(locked) == FAILED
    assert locked.text == "the store does not answer: database is locked"
    assert said(checks.check_database(None, None, 16.0)) == FAILED


def test_wal() -> None:
    assert said(checks.check_wal(16 * MIB)) == OK
    assert said(checks.check_wal(300 * MIB)) == WARNED


def test_integrity() -> None:
    assert said(checks.check_integrity([], 0.2)) == OK
    damaged = checks.check_integrity(["row 3 missing from index"], 0.2)
    assert said(damaged) == FAILED
    assert "row 3 missing" in damaged.text


def test_freshness_is_judged_by_progress() -> None:
    def judge(lag: int, behind: float, stuck: float) -> Outcome:
        return checks.check_freshness(lag, behind, stuck, 120.0)

    assert said(judge(0, 0, 9999)) == OK  # nothing to do is no standstill
    assert said(judge(40, 3, 0)) == OK
    assert said(judge(400_000, 3600, 2)) == NOTED  # a long backfill goes on
    assert said(judge(40, 300, 121)) == FAILED


def test_audit() -> None:
    now = 1_000_000.0

    def judge(done: Audit | None, since: float = now, failed: Audit | None = None) -> Outcome:
        return checks.check_audit(LastAudits(done, failed, int(since)), now)

    days = 86_400.0

    def audit_of(age: float = 3600.0, **fields: object) -> Audit:
        return audit(ended_at=int(now - age), **fields)

    well = judge(audit_of(checked=500, present=500))
    assert (said(well), well.figure, well.unit) == (OK, 500, "messages")
    assert said(judge(None)) == OK  # a new ragd
    assert said(judge(None, now - 3 * days)) == WARNED
    assert said(judge(audit_of(3 * days), now - 30 * days)) == WARNED
    late = judge(audit_of(3 * days), now - 30 * days, audit_of(state="failed", problem="Discord does not answer"))
    assert late.text == "the store was not compared with Discord for long: Discord does not answer"
    mended = judge(audit_of(checked=500, present=498, found=2))
    assert (said(mended), mended.figure) == (WARNED, 2)
    lost = judge(audit_of(3 * days, checked=500, present=498, found=2, unmended=1))
    assert (said(lost), lost.figure) == (FAILED, 1)


def test_canary() -> None:
    assert said(checks.check_canary(Flight(0.4), "")) == OK
    lost = checks.check_canary(Flight(None, "syncer"), "")
    assert said(lost) == FAILED
    assert "waits for the syncer" in lost.text
    assert "ragdctl restart syncer" in lost.hint
    assert said(checks.check_canary(Flight(None, "syncer"), "syncer did not run")) == NOTED


def test_memory() -> None:
    plenty = 4096 * MIB
    assert said(checks.check_memory({"capture": figures(80)}, 1024, plenty)) == OK
    assert said(checks.check_memory({}, 1024, plenty)) == OK
    near = checks.check_memory({"capture": figures(80), "syncer": figures(950)}, 1024, plenty)
    assert said(near) == WARNED
    assert near.sentence == "syncer near MAX_MEMORY_MB=1024 (950.0 MiB) - raise it, or wait"
    assert said(checks.check_memory({}, 1024, 32 * MIB)) == WARNED


def test_disk(tmp_path: Path) -> None:
    here = checks.check_disk(tmp_path, 0.0)
    assert said(here) == OK
    assert here.figure is not None
    assert here.figure > 0
    assert said(checks.check_disk(tmp_path, 1e9)) == FAILED
    assert said(checks.check_disk(tmp_path / "gone", 0.0)) == FAILED


def test_descriptors() -> None:
    assert said(checks.check_descriptors({})) == OK
    assert said(checks.check_descriptors({"capture": figures(descriptors=10, limit=-1)})) == OK  # unlimited
    assert said(checks.check_descriptors({"capture": figures(descriptors=50)})) == OK
    assert said(checks.check_descriptors({"capture": figures(), "syncer": figures(descriptors=85)})) == WARNED
    assert said(checks.check_descriptors({"capture": figures(descriptors=99)})) == FAILED


def test_clock() -> None:
    assert said(checks.check_clock(0.0, None)) == OK
    assert said(checks.check_clock(14_400.0, 30.0)) == NOTED
    assert said(checks.check_clock(14_400.0, 4000.0)) == OK
    assert said(checks.check_clock(0.0, None, 30.0)) == OK
    assert said(checks.check_clock(0.0, None, 3600.0)) == WARNED
    assert "behind" in checks.check_clock(14_400.0, 30.0, -3600.0).sentence


def test_http() -> None:
    assert said(checks.check_http(view())) == OK
    assert said(checks.check_http(view(http="cannot listen"))) == NOTED


def test_this_process_can_be_measured_and_one_that_is_gone_cannot() -> None:
    here = measure(os.getpid())
    assert here is not None
    assert here.rss_bytes > MIB
    assert 0 < here.descriptors < here.descriptor_limit
    assert here.cpu_seconds > 0
    assert measure(2**22 + 1) is None


def test_sentences_and_figures() -> None:
    assert fail("disk", "little space", 3 * MIB, "bytes", "free some").sentence == "little space (3.0 MiB) - free some"
    shown = {("seconds", 0.4): "400 ms", ("bytes", 2**31): "2.00 GiB", ("percent", 81.4): "81 %"}
    assert {format_figure(figure, unit): text for (unit, figure), text in shown.items()} == {
        text: text for text in shown.values()
    }
    assert [format_figure(n, "channels") for n in (1, 2)] == ["1 channel", "2 channels"]
    assert format_figure(None, "bytes") == ""


def test_every_check_is_named_once() -> None:
    assert len(CHECKS) == len(set(CHECKS)) == 18
