"""The checks: pure functions from what was seen to an Outcome. Each is named after what it looks at."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from ragd.errors import RagdError
from ragd.health.canary import Flight
from ragd.health.outcome import Outcome, fail, fail_quietly, note, ok, warn
from ragd.health.view import ProcessFigures, View, WorkerView
from ragd.heartbeat import Heartbeat
from ragd.store.audits import LastAudits

AWAY_SECONDS = 120.0
"""Discord closes connections as a matter of course; one that has not come back by then is an alert."""

ACK_SECONDS = 30.0
"""How overdue an acknowledgement of the gateway may be; capture reconnects then (ragd/bot/guard.py)."""

COMPARISON_SECONDS = 600.0
"""Capture compares with Discord every minute; without a comparison for so long nobody knows whether it is deaf."""

MANY_INVALID = 500
"""Invalid requests in 10 minutes from which somebody should look: capture's background reading waits at twice as many
(ragd/bot/requests.py), Discord bars the address at twenty times."""

SURVEY_SECONDS = 15.0
"""A survey that takes longer hangs: locks are waited for no longer than a few seconds (ragd/health/survey.py)."""

WAL_BYTES = 256 * 2**20
"""Sixteen times the size at which the syncer empties the write-ahead log at once."""

AUDIT_SECONDS = 2 * 86_400.0
"""An audit is made daily; without one for so long nobody knows whether the store is what Discord has."""

BEHIND_SECONDS = 60.0
"""How long a change may wait before search counts as behind."""

NEARLY_FULL = 0.9
"""Part of MAX_MEMORY_MB from which a worker's memory is a finding."""

LOW_MEMORY_BYTES = 64 * 2**20
"""Available memory of the machine below which the kernel will soon kill somebody."""

DESCRIPTORS_WARN, DESCRIPTORS_FAIL = 80.0, 95.0
"""Percent of a process's limit."""

CLOCK_NOTED_SECONDS = 3600.0
"""How long a jump of the clock is worth mentioning."""

CLOCK_OFF_SECONDS = 60.0
"""Discord's answers tell their time to the second and may be on their way for some."""


# Processes


def check_supervisord(view: View) -> Outcome:
    if not view.supervisord:
        return ok("supervisord")
    return fail_quietly("supervisord", view.supervisord, hint="nothing that ends is replaced; restart ragd")


def check_worker(worker: WorkerView) -> Outcome:
    """Its condition, and how often it was replaced. The alerts are its keeper's (ragd/keeper.py)."""
    figure, unit = worker.restarts, "restarts"
    text = worker.condition if not worker.reason else f"{worker.condition}: {worker.reason}"
    if not worker.calm and not worker.working:
        return fail_quietly(worker.name, text, figure, unit, "see its lines in the log")
    if worker.looping:
        return note(worker.name, "it was replaced so often that the next time waits", figure, unit, "see the log")
    if worker.working and not worker.calm:
        return note(worker.name, text, figure, unit)
    return ok(worker.name, figure, unit, "" if worker.condition == "healthy" else text)


# Discord


def check_discord(worker: WorkerView | None, away_seconds: float) -> Outcome:
    """Whether there is a session; `away_seconds` is for how long there has been none."""
    name = "discord"
    if worker is not None and worker.calm and not worker.working:
        return ok(name, text="capture is starting")
    if worker is None or worker.beat is None or not worker.working:
        return note(name, "nobody can tell: capture does not work")
    if not worker.beat.counters.get("connected", True):
        text = f"not connected to Discord{_word_of(worker.beat)}"
        if away_seconds < AWAY_SECONDS:
            return note(name, text, away_seconds, "seconds", "capture tries again by itself")
        return fail(name, text, away_seconds, "seconds", "see capture's lines in the log, and discordstatus.com")
    overdue = number(worker.beat, "gateway_ack_age_seconds") or 0.0
    if overdue > ACK_SECONDS:
        return note(name, "Discord does not acknowledge heartbeats", overdue, "seconds", "capture reconnects")
    latency = number(worker.beat, "latency_seconds")
    return ok(name, overdue if latency is None else latency, "seconds", _session(worker.beat))


def _word_of(beat: Heartbeat) -> str:
    return f" ({beat.detail})" if beat.detail and beat.detail != "not connected to Discord" else ""


def _session(beat: Heartbeat) -> str:
    parts = {"session": "session_age_seconds", "last event": "last_event_age_seconds"}
    told = [f"{what} {age:.0f} s" for what, key in parts.items() if (age := number(beat, key)) is not None]
    return ", ".join(told)


def check_gateway(worker: WorkerView | None, deaf_for_seconds: float, patience_seconds: float) -> Outcome:
    """Deaf or just quiet: by what Discord says exists, as capture compared it."""
    name, unit = "gateway", "channels"
    beat = worker.beat if worker and worker.working else None
    compared_at = number(beat, "compared_at") if beat else None
    if not compared_at:
        return ok(name, text="not compared with Discord yet")
    deaf = number(beat, "deaf_channels") or 0.0
    text = "messages exist at Discord that the gateway did not bring"
    if deaf and deaf_for_seconds > patience_seconds:
        return fail(name, text, deaf, unit, "capture starts new sessions; see its lines in the log")
    if deaf:
        return note(name, text, deaf, unit, "capture starts a new session and fetches them")
    if time.time() - compared_at > COMPARISON_SECONDS:
        return note(name, "no comparison with Discord for long", deaf, unit, "see capture's lines in the log")
    return ok(name, deaf, unit)


def check_requests(worker: WorkerView | None) -> Outcome:
    """How many requests Discord refused in the last 10 minutes, by capture's own count."""
    name, unit = "requests", "requests"
    beat = worker.beat if worker and worker.working else None
    invalid = number(beat, "invalid_requests") or 0.0
    if invalid < MANY_INVALID:
        return ok(name, invalid, unit)
    hint = "see capture's lines in the log: which channels, and why"
    if beat is not None and beat.counters.get("requests_paused"):
        return warn(name, "Discord refuses so much that reading history waits", invalid, unit, hint)
    return warn(name, "Discord refuses many requests", invalid, unit, hint)


def number(beat: Heartbeat | None, counter: str) -> float | None:
    """A numeric counter of a heartbeat; None if it has none."""
    value = beat.counters.get(counter) if beat else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


# The store


def check_database(problem: RagdError | None, write_seconds: float | None, survey_seconds: float) -> Outcome:
    """Whether it answers and takes the history of these checks; the figure is the time of that commit."""
    name = "database"
    if survey_seconds > SURVEY_SECONDS:
        return fail(name, "the store does not answer", survey_seconds, "seconds", "is the disk in order?")
    if problem is not None:
        return fail(name, f"the store does not answer: {problem}", hint=problem.hint)
    return ok(name, write_seconds, "seconds")


def check_wal(wal_bytes: int) -> Outcome:
    if wal_bytes <= WAL_BYTES:
        return ok("wal", wal_bytes, "bytes")
    hint = "something keeps reading the database for long; does the syncer run?"
    return warn("wal", "the write-ahead log is not emptied", wal_bytes, "bytes", hint)


def check_integrity(findings: list[str], seconds: float) -> Outcome:
    if not findings:
        return ok("integrity", seconds, "seconds")
    hint = "restore the newest good backup; what Discord still has is fetched again"
    return fail("integrity", f"the database is damaged: {findings[0]}", seconds, "seconds", hint)


def check_freshness(lag_messages: int, behind_seconds: float, stuck_seconds: float, patience_seconds: float) -> Outcome:
    """Messages that are not searchable yet; `stuck_seconds`: for how long their number and the work have not moved."""
    name, unit = "freshness", "messages"
    if not lag_messages or behind_seconds <= BEHIND_SECONDS:
        return ok(name, lag_messages, unit)
    if stuck_seconds > patience_seconds:
        return fail(
            name, "messages wait and nothing is done about them", lag_messages, unit, "`ragdctl restart syncer`"
        )
    return note(name, "search is catching up", lag_messages, unit, "new messages go first")


def check_canary(flight: Flight, excuse: str) -> Outcome:
    """The whole way of a message. `excuse`: why one may get lost although all do what they can; empty if none."""
    name, unit = "canary", "seconds"
    if flight.seconds is not None:
        return ok(name, flight.seconds, unit)
    if excuse:
        return note(name, f"a new message was not found in time: {excuse}")
    why = flight.problem or f"it waits for the {flight.lost_at}"
    hint = f"see the {flight.lost_at}'s lines in the log, `ragdctl restart {flight.lost_at}`"
    return fail(name, f"a new message is not found: {why}", hint=hint)


def check_audit(last: LastAudits, now: float) -> Outcome:
    """What came of the newest comparison of the store with Discord (ragd/bot/audit.py); `now` in Unix seconds."""
    name, unit, done = "audit", "messages", last.done
    if done is not None and done.unmended:
        hint = "`ragdctl audit` compares again and names them, `ragdctl why ID` tells what became of one"
        return fail(name, "the store is not what Discord has, and cannot be mended", done.unmended, unit, hint)
    if now - max(last.since, (done.ended_at or 0) if done else 0) > AUDIT_SECONDS:
        why = f": {last.failed.problem}" if last.failed else ""
        return warn(name, f"the store was not compared with Discord for long{why}", hint="try `ragdctl audit`")
    if done is None:
        return ok(name, text="not compared with Discord yet")
    if done.found:
        return warn(
            name, "messages were not as Discord has them, and were mended", done.found, unit, "see capture's log"
        )
    return ok(name, done.checked, unit)


# The machine


def check_memory(processes: Mapping[str, ProcessFigures], limit_mb: int, available_bytes: int) -> Outcome:
    """The largest worker against its limit, over which its keeper recycles it; and what is left of the machine."""
    name, unit = "memory", "bytes"
    if available_bytes < LOW_MEMORY_BYTES:
        return warn(name, "little memory left on this machine", available_bytes, unit, "lower MAX_MEMORY_MB")
    largest = max((figures.rss_bytes for figures in processes.values()), default=0)
    near = sorted(name for name, figures in processes.items() if figures.rss_bytes > NEARLY_FULL * limit_mb * 2**20)
    if near:
        return warn(name, f"{', '.join(near)} near MAX_MEMORY_MB={limit_mb}", largest, unit, "raise it, or wait")
    return ok(name, largest, unit)


def check_disk(where: Path, min_disk_gb: float) -> Outcome:
    name = "disk"
    try:
        free = shutil.disk_usage(where).free
    except OSError as error:
        return fail(name, f"cannot look at {where}: {error.strerror}", hint="is it mounted?")
    if free / 2**30 >= min_disk_gb:
        return ok(name, free, "bytes")
    return fail(name, f"little space at {where}, MIN_DISK_GB={min_disk_gb:g}", free, "bytes", "free some")


def check_descriptors(processes: Mapping[str, ProcessFigures]) -> Outcome:
    """The process nearest to its limit of open files."""
    name, unit = "descriptors", "percent"
    used = {
        process: 100.0 * figures.descriptors / figures.descriptor_limit
        for process, figures in processes.items()
        if figures.descriptor_limit > 0
    }
    if not used:
        return ok(name)
    process = max(used, key=used.__getitem__)
    if used[process] < DESCRIPTORS_WARN:
        return ok(name, used[process], unit)
    verdict = fail if used[process] >= DESCRIPTORS_FAIL else warn
    return verdict(name, f"{process} has nearly all files open that it may", used[process], unit, "raise LimitNOFILE=")


def check_clock(jump_seconds: float, seconds_ago: float | None, ahead_seconds: float = 0.0) -> Outcome:
    """A jump is noted, not punished: nothing in ragd is judged by the wall clock, but times in logs and messages look
    odd. A clock that is not Discord's is to be mended.
    """
    ask = "is a time service running?"
    if abs(ahead_seconds) > CLOCK_OFF_SECONDS:
        how = "ahead of" if ahead_seconds > 0 else "behind"
        return warn("clock", f"this machine's clock is {how} Discord's", abs(ahead_seconds), "seconds", ask)
    if seconds_ago is None or seconds_ago > CLOCK_NOTED_SECONDS:
        return ok("clock", 0, "seconds")
    return note("clock", "the wall clock jumped", jump_seconds, "seconds", ask)


def check_http(view: View) -> Outcome:
    """A port that another program has keeps nobody's messages from being remembered: noted, and tried again."""
    return note("http", view.http, hint="set RAGD_HTTP_PORT, 0 for none") if view.http else ok("http")
