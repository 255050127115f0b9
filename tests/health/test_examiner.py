"""When checks run, what is remembered of them, and how it gets into the store."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from ragd.config import Settings
from ragd.health import CHECKS, Examiner, Verdict, View
from ragd.health.examiner import LOOK_SECONDS
from ragd.health.history import FAIL_MARK, OK_MARK, WARN_MARK, read_history
from ragd.health.ledger import Ledger
from ragd.health.outcome import fail, note, ok
from ragd.store import Store
from ragd.store.audits import Tally as Tallied
from ragd.store.events import ChannelsSeen, GuildSeen, Posted
from ragd.store.health import CheckState, Tally, slot_of
from tests.health.views import beat, view, worker
from tests.store.factories import GUILD, at, channel, message
from tests.toytree import settings_of, wait_until

WITHOUT_STORE = {"freshness", "canary", "audit", "database", "integrity", "wal"}


@pytest.fixture
def settings(short_path: Path) -> Settings:
    return settings_of({"RAGD_DATA_DIR": str(short_path), "DISCORD_BOT_TOKEN": "x", "MIN_DISK_GB": "0"})


class Rounds:
    """An examiner whose time runs faster than ours: each look is due."""

    def __init__(self, settings: Settings, seen: View | None = None) -> None:
        self.examiner = Examiner(settings, settings.database_path)
        self.view = seen or view(worker("searcher", "starting"))  # so that no canary is released
        self.now = time.monotonic()

    def until(self, name: str, verdict: Verdict, text: str = "") -> None:
        def reached() -> bool:
            self.now += 0.5  # real threads are at work meanwhile: not faster, or they would seem to hang
            self.examiner.examine(self.now, self.view)
            outcome = self.examiner.ledger.last.get(name)
            return outcome is not None and outcome.verdict is verdict and text in outcome.text

        wait_until(reached, 60, f"{name} is {verdict} {text}: {self.examiner.ledger.last.get(name)}")


@pytest.fixture
def rounds(settings: Settings) -> Iterator[Rounds]:
    Store.open(settings.database_path).close()
    rounds = Rounds(settings)
    yield rounds
    rounds.examiner.close()


def test_cheap_checks_run_every_few_seconds(settings: Settings) -> None:
    examiner, now = Examiner(settings, None), time.monotonic()
    assert examiner.examine(now, view())
    assert not examiner.examine(now + LOOK_SECONDS - 0.1, view())
    assert examiner.examine(now + LOOK_SECONDS, view())
    assert {outcome.name for outcome in examiner.outcomes} == set(CHECKS) - WITHOUT_STORE
    assert set(examiner.ledger.runs.values()) == {2}
    assert [outcome.name for outcome in examiner.outcomes] == [name for name in CHECKS if name not in WITHOUT_STORE]


def test_with_a_store_every_check_runs(rounds: Rounds) -> None:
    for name in ("database", "wal", "freshness", "integrity"):
        rounds.until(name, Verdict.OK)
    rounds.until("canary", Verdict.WARN, "waits for searcher")
    assert [outcome.name for outcome in rounds.examiner.outcomes] == list(CHECKS)
    assert rounds.examiner.lag_messages == 0
    assert rounds.examiner.measured.counted is not None


def test_what_was_found_is_written(settings: Settings, rounds: Rounds) -> None:
    rounds.until("integrity", Verdict.OK)
    store = Store.open_read_only(settings.database_path)

    def written() -> bool:
        rounds.until("database", Verdict.OK)
        return {check.name for check in read_history(store.health, time.time())} == set(CHECKS)

    wait_until(written, 30, "written")
    checks = read_history(store.health, time.time())
    assert [check.name for check in checks] == list(CHECKS)
    assert all(check.runs_24h >= 1 for check in checks)
    assert {check.timeline[-1] for check in checks} <= {OK_MARK, WARN_MARK}
    store.close()


def test_no_database_yet_is_no_failure_but_one_that_went_away_is(settings: Settings) -> None:
    rounds = Rounds(settings)
    rounds.until("database", Verdict.WARN, "none yet")
    Store.open(settings.database_path).close()
    rounds.until("database", Verdict.OK)
    wait_until(lambda: rounds.until("database", Verdict.OK) or rounds.examiner.measured.counted, 20, "counted")
    settings.database_path.unlink()
    rounds.until("database", Verdict.FAIL, "no database")
    assert rounds.examiner.lag_messages is None


def test_a_locked_store_costs_no_history(settings: Settings, rounds: Rounds) -> None:
    rounds.until("database", Verdict.OK)
    wait_until(lambda: rounds.examiner.examine(0.0, rounds.view) or rounds.examiner._survey.idle, 20, "nothing is open")
    blocker = apsw.Connection(str(settings.database_path))
    blocker.execute("PRAGMA locking_mode = EXCLUSIVE")
    blocker.setbusytimeout(10_000)
    blocker.execute("BEGIN IMMEDIATE")
    rounds.until("database", Verdict.FAIL, "locked")
    blocker.close()
    rounds.until("database", Verdict.OK)
    runs = rounds.examiner.ledger.runs["disk"]

    def all_written() -> bool:
        rounds.until("database", Verdict.OK)
        with_store = Store.open_read_only(settings.database_path)
        try:
            return sum(tally.runs for tally in with_store.health.tallies(0) if tally.name == "disk") >= runs
        finally:
            with_store.close()

    wait_until(all_written, 60, "written after all")


def test_waiting_messages_that_nobody_cares_for_are_a_failure(settings: Settings, rounds: Rounds) -> None:
    store = Store.open(settings.database_path)
    store.chunks.begin_strategies({"temporal": 1})
    store.ingest().apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel()]), Posted(message(at(0)))])
    store.close()
    rounds.view = view(worker("syncer", beat=beat("syncer", done=7)), worker("searcher", "starting"))
    rounds.until("freshness", Verdict.OK)
    assert rounds.examiner.lag_messages == 1
    rounds.until("freshness", Verdict.FAIL, "nothing is done")


def test_messages_that_an_audit_could_not_mend_are_a_failure(settings: Settings, rounds: Rounds) -> None:
    rounds.until("audit", Verdict.OK, "not compared")
    store, now = Store.open(settings.database_path), time.time()
    store.audits.ask(10, (), now)
    asked = store.audits.due(1, now, bool)
    assert asked is not None
    assert store.audits.take(asked, 1, now)
    assert store.audits.finish(asked.id, 1, Tallied(10, 9, 0, found=1, unmended=1), [], {}, now)
    rounds.until("audit", Verdict.FAIL, "cannot be mended")
    store.audits.ask(10, (), now)
    again = store.audits.due(1, now, bool)
    assert again is not None
    assert store.audits.take(again, 1, now)
    assert store.audits.finish(again.id, 1, Tallied(10, 10), [], {}, now)
    store.close()
    rounds.until("audit", Verdict.OK)


def test_a_damaged_file_fails_its_check(settings: Settings, rounds: Rounds) -> None:
    store = Store.open(settings.database_path)
    posts = [Posted(message(at(n), f"words {n} " * 20)) for n in range(2000)]
    store.ingest().apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel()]), *posts])
    store.close()
    content = bytearray(settings.database_path.read_bytes())
    for page in range(40, 60):
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    settings.database_path.write_bytes(content)
    rounds.until("integrity", Verdict.FAIL, "damaged")
    assert "restore" in rounds.examiner.ledger.last["integrity"].hint


def test_a_jump_of_the_clock_is_noted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    examiner, now, real = Examiner(settings, None), time.monotonic(), time.time
    examiner.examine(now, view())
    monkeypatch.setattr("ragd.health.examiner.time.time", lambda: real() + 14_400)
    with caplog.at_level(logging.WARNING):
        examiner.examine(now + 5, view())
        examiner.examine(now + 10, view())
    clock = examiner.ledger.last["clock"]
    assert (clock.verdict, clock.alert) == (Verdict.WARN, None)
    assert len([record for record in caplog.records if "clock jumped by +14400 s" in record.message]) == 1


# The ledger and the history


def test_the_ledger_puts_back_what_could_not_be_written() -> None:
    ledger = Ledger()
    for outcome in (ok("disk"), note("disk", "x"), fail("disk", "y")):
        ledger.enter(outcome)
    assert ledger.changed
    page = ledger.take()
    assert not ledger.changed
    ((tally,), (state,)) = (page.tallies, page.states)
    assert (tally.runs, tally.warnings, tally.failures, state.verdict) == (3, 1, 1, "fail")
    ledger.enter(fail("disk", "y"))
    ledger.put_back(page)
    ((tally,), _) = (ledger.take().tallies, None)
    assert (tally.runs, tally.warnings, tally.failures) == (4, 1, 2)
    assert (ledger.runs["disk"], ledger.failures["disk"]) == (4, 2)


def test_a_timeline_shows_the_worst_of_each_hour(settings: Settings) -> None:
    store, now = Store.open(settings.database_path), time.time()
    ago = [Tally("disk", slot_of(now - hours * 3600), 10, warnings, failures) for hours, warnings, failures in WORST]
    store.health.record([CheckState("disk", "ok", 1.0, "bytes", "", "", int(now), int(now))], ago)
    (check,) = read_history(store.health, now)
    store.close()
    assert len(check.timeline) == 24
    assert check.timeline.strip() != ""
    assert check.timeline[-1] == OK_MARK
    assert check.timeline.count(FAIL_MARK) == 1
    assert check.timeline.count(WARN_MARK) == 1
    assert check.timeline.index(FAIL_MARK) < check.timeline.index(WARN_MARK)
    assert (check.runs_24h, check.warnings_24h, check.failures_24h) == (30, 3, 3)


WORST = ((0, 0, 0), (3, 1, 0), (10, 2, 3))
