"""The gateway lies, forgets, refuses and goes away: capture notices, holds still when it must, and misses nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ragd.bot.endpoints import LONGEST_RECONNECT_SECONDS, CappedBackoff
from tests.faults.record import Record
from tests.faults.subject import Subject, connected
from tests.processes import assert_complete

pytestmark = pytest.mark.faults

DEAF_SECONDS = 4

AWAY_SECONDS = float(os.environ.get("RAGD_FAULT_AWAY_SECONDS", "60"))
"""`RAGD_FAULT_AWAY_SECONDS=600 make faults` takes ten minutes longer and shows nothing else."""


@pytest.fixture(scope="module")
def overrides() -> dict[str, str]:
    return {"RAGD_DEAF_SECONDS": str(DEAF_SECONDS)}


@pytest.fixture(autouse=True)
def well_before_and_after(tree: Subject) -> Iterator[None]:
    tree.wait(lambda: connected(tree), "connected")
    yield
    tree.place.control.clear_faults()


def complete(tree: Subject) -> None:
    assert_complete(tree.place, tree.settings.database_path)


def identifies(tree: Subject) -> int:
    return int(tree.place.control.gateway()["identifies"])


def test_zombie(tree: Subject, record: Record) -> None:
    control, before = tree.place.control, tree.counter("capture", "forced_reconnects")
    seen = record.begin(
        "gateway zombie: no ACK", by="sandbox", seconds=8, production="reconnect after 30 to 90 s, restart after 120 s"
    )
    control.zombie()
    tree.spot(lambda: tree.counter("capture", "forced_reconnects") > before, "a reconnect")
    seen.detected()
    control.clear_faults()
    tree.spot(lambda: connected(tree), "connected again")
    tree.place.post("after the zombie")
    complete(tree)
    seen.recovered()


def test_deaf(tree: Subject, record: Record) -> None:
    control, before = tree.place.control, tree.counter("capture", "forced_reconnects")
    seen = record.begin(
        "gateway deaf: ACK, no events", by="sandbox", seconds=10, production="found after 30 to 60 s, then REST"
    )
    control.deaf()
    for number in range(5):
        tree.place.post(f"nobody hears this {number}")
    tree.spot(lambda: tree.counter("capture", "forced_reconnects") > before, "a reconnect")
    seen.detected()
    complete(tree)  # while it is deaf still
    seen.recovered()
    control.clear_faults()
    tree.wait(lambda: connected(tree), "connected again")
    tree.place.post("heard again")
    complete(tree)
    tree.wait(lambda: tree.counter("capture", "deaf_channels") == 0, "found well again")


@pytest.mark.parametrize("kind", ["session invalid (op 9)", "resume expired"])
def test_lost_session(tree: Subject, record: Record, kind: str) -> None:
    control, before, sessions = tree.place.control, identifies(tree), tree.counter("capture", "sessions")
    seen = record.begin(kind, by="sandbox", seconds=12, rule="one IDENTIFY", production="same")
    if kind.startswith("session"):
        control.invalidate(resumable=False)
    else:
        control.expire_sessions()
        control.cut()
    for number in range(20):
        tree.place.post(f"{kind} {number}")
    tree.spot(lambda: tree.counter("capture", "sessions") > sessions, "a new session")
    seen.detected()
    complete(tree)
    seen.recovered()
    assert identifies(tree) == before + 1


def test_no_identify_storm(tree: Subject, record: Record) -> None:
    control, before = tree.place.control, identifies(tree)
    seen = record.begin(
        "every RESUME refused, 8 cuts", by="sandbox", seconds=30, rule="8 IDENTIFYs at most", production="same"
    )
    control.refuse(resume=True)
    for number in range(8):
        control.cut()
        tree.place.post(f"between two cuts {number}")
    tree.spot(lambda: identifies(tree) > before, "a new session")
    seen.detected()
    complete(tree)
    tree.wait(lambda: connected(tree), "connected")
    seen.recovered()
    assert identifies(tree) <= before + 8


def test_persistent_deafness(tree: Subject, record: Record) -> None:
    control, mark, pid = tree.place.control, tree.mark(), tree.pid_of("capture")
    seen = record.begin(
        "deaf however often it reconnects", by="sandbox", seconds=30, production="restart of capture after 180 s"
    )
    control.deaf()

    def given_up() -> bool:
        tree.place.post("nobody hears this either")
        return tree.said(f"killing capture (pid {pid}): the gateway brings no events", mark) > 0

    tree.wait(given_up, "the watchdog replaces it", pause=0.3)
    seen.detected()
    control.clear_faults()
    tree.spot(lambda: tree.works("capture", pid) and connected(tree), "another process")
    complete(tree)
    seen.recovered()
    tree.place.post("heard again")
    complete(tree)


def test_network_away(tree: Subject, record: Record) -> None:
    control = tree.place.control
    seen = record.begin(
        f"network away {AWAY_SECONDS:g} s",
        by="sandbox refuses connections",
        seconds=AWAY_SECONDS + LONGEST_RECONNECT_SECONDS + 15,
        production=f"back in 60 s, {_most_waits()}",
    )
    control.network(up=False)
    tree.spot(lambda: tree.counter("capture", "connected") is False, "capture knows")
    seen.detected()
    pid, before = tree.pid_of("capture"), identifies(tree)
    for number in range(150):
        tree.place.post(f"while the network was away {number}")
    tree.wait(lambda: tree.beats()["capture"].state == "degraded", "it says so")
    tree.wait(lambda: seen.seconds() >= AWAY_SECONDS, "the network stays away", AWAY_SECONDS + 10)
    control.network(up=True)
    tree.spot(lambda: connected(tree), "connected again", seconds=LONGEST_RECONNECT_SECONDS + 15)
    complete(tree)
    seen.recovered()
    assert tree.pid_of("capture") == pid, "nothing is mended by a restart"
    assert identifies(tree) <= before + 1


def _most_waits() -> str:
    """The pauses between tries are bounded."""
    backoff = CappedBackoff()
    longest = max(backoff.delay() for _ in range(200))
    assert LONGEST_RECONNECT_SECONDS / 2 <= longest <= LONGEST_RECONNECT_SECONDS
    return f"longest pause {LONGEST_RECONNECT_SECONDS:.0f} s"


def test_identify_budget_low(tree: Subject, record: Record) -> None:
    control, sessions, before = tree.place.control, tree.counter("capture", "sessions"), identifies(tree)
    seen = record.begin(
        "IDENTIFY budget low",
        by="sandbox: 5 of 1000 left",
        rule="none spent, says so",
        production="waits for Discord's reset",
    )
    control.identify_budget(remaining=5, reset_after_ms=1_000)
    control.invalidate(resumable=False)
    tree.place.post("nobody may connect")
    tree.spot(lambda: "IDENTIFY budget" in tree.beats()["capture"].detail, "it says so")
    seen.detected()
    assert tree.beats()["capture"].state == "degraded"
    assert identifies(tree) == before
    control.identify_budget(remaining=1000)
    tree.spot(lambda: tree.counter("capture", "sessions") > sessions, "a new session", seconds=90)
    complete(tree)
    seen.recovered()
    assert identifies(tree) == before + 1


@pytest.mark.parametrize(
    ("code", "word"), [(4014, "MESSAGE CONTENT intent"), (4004, "Discord refused DISCORD_BOT_TOKEN")]
)
def test_closed_for_good(tree: Subject, record: Record, code: int, word: str) -> None:
    tree.wait(lambda: "success: capture entered RUNNING" in _since_last_spawn(tree), "past startsecs")
    control, mark, before = tree.place.control, tree.mark(), identifies(tree)
    meaning = {4014: "intent not granted", 4004: "bad token"}[code]
    seen = record.begin(
        f"close {code}: {meaning}", by="sandbox", rule="no further try, hint, tree degraded", production="same"
    )
    others = {name: pid for name, pid in tree.pids().items() if name != "capture"}
    control.cut(code=code)
    tree.spot(lambda: tree.status().processes["capture"].state == "misconfigured", "capture is given up")
    seen.detected()
    (line,) = [line for line in tree.log_text()[mark:].splitlines() if " capture " in line and word in line]
    assert " - " in line, "it says what to do"
    passes = tree.counter("watchdog", "passes")
    tree.wait(lambda: tree.counter("watchdog", "passes") > passes + 6, "the watchdog sees it many times")
    assert identifies(tree) == before
    assert tree.said("spawned: 'capture'", mark) == 0
    assert tree.status().state == "degraded"
    assert {name: pid for name, pid in tree.pids().items() if name != "capture"} == others
    tree.place.post("while it was given up")
    restarted = tree.run_other("ragdctl", "restart", "capture")
    assert restarted.returncode == 0, restarted.stderr
    complete(tree)
    seen.row.remark = "by a person: `ragdctl restart capture`"


def _since_last_spawn(tree: Subject) -> str:
    return tree.log_text().rpartition("spawned: 'capture'")[2]
