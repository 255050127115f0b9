"""The gateway's faults that discord.py does not see, or meets with a storm: noticed, mended, told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.sandbox.client import SandboxThread
from ragd.sandbox.gateway import GatewayOptions
from ragd.sandbox.server import SandboxOptions
from tests.processes import Place, Process, assert_complete, environment, furnish, running, until


@pytest.fixture
def place() -> Iterator[Place]:
    # heartbeats often enough for a test to see them stop
    with SandboxThread(SandboxOptions(gateway=GatewayOptions(heartbeat_interval_ms=500))) as sandbox:
        yield furnish(sandbox)


@pytest.fixture
def capture(place: Place, short_path: Path) -> Iterator[Process]:
    variables = environment(place.sandbox, short_path, RAGD_DEAF_SECONDS="4")
    with running("capture", variables) as process:
        until(lambda: process.counter("connected") and process.counter("resyncs"))
        yield process


def test_acknowledgements_that_stop_end_in_a_new_connection(place: Place, capture: Process) -> None:
    place.control.zombie()
    until(lambda: capture.counter("forced_reconnects"), "a reconnect")
    place.control.clear_faults()
    until(lambda: capture.counter("resumes") or capture.counter("sessions") > 1, "connected again")
    place.post("after the zombie")
    assert_complete(place, capture.settings.database_path)


def test_a_deaf_gateway_is_told_from_a_quiet_server(place: Place, capture: Process) -> None:
    until(lambda: capture.counter("compared_at"), "a comparison")
    assert capture.counter("deaf_channels") == 0, "a quiet server is no deaf gateway"
    place.control.deaf()
    for i in range(5):
        place.post(f"nobody hears this {i}")
    assert_complete(place, capture.settings.database_path)
    until(lambda: capture.counter("forced_reconnects") and capture.counter("resumes"), "a new connection")
    place.control.clear_faults()
    place.post("heard again")
    assert_complete(place, capture.settings.database_path)
    until(lambda: capture.counter("deaf_channels") == 0, "found well again")


def test_dropped_events_are_found_and_fetched(place: Place, capture: Process) -> None:
    place.control.drop(1)
    place.post("dropped on the way")
    assert_complete(place, capture.settings.database_path)


def test_without_identifies_left_capture_waits_and_says_so(place: Place, short_path: Path) -> None:
    place.control.identify_budget(remaining=5, reset_after_ms=3_600_000)
    process = Process("capture", environment(place.sandbox, short_path)).start()
    try:
        until(lambda: (beat := process.beat()) and "IDENTIFY budget" in beat.detail, process.tail())
        assert process.beat().state == "degraded"  # type: ignore[union-attr]
        assert place.control.gateway()["identifies"] == 0
    finally:
        process.end()


def test_a_gateway_that_refuses_the_first_connection_is_waited_for(place: Place, short_path: Path) -> None:
    place.control.refuse(gateway=True)
    process = Process("capture", environment(place.sandbox, short_path)).start()
    try:
        until(lambda: process.tail().count("Attempting a reconnect") >= 1, "a try that fails")
        place.control.clear_faults()
        until(lambda: process.counter("sessions"), "a session")
        assert place.control.gateway()["identifies"] == 1
        assert place.control.gateway()["failed_resumes"] == 0, "there is no session to resume"
    finally:
        process.end()


def test_a_deaf_gateway_is_noticed_while_people_write_all_the_time(place: Place, capture: Process) -> None:
    place.control.deaf()

    def noticed() -> bool:
        place.post("the newest message is never old enough to be missed")
        return bool(capture.counter("forced_reconnects"))

    until(noticed, "a reconnect")
    place.control.clear_faults()
    assert_complete(place, capture.settings.database_path)


def test_a_token_that_stops_to_be_valid_ends_capture_at_once(place: Place, capture: Process) -> None:
    place.control.rest_fault(status=401, pattern="*/messages")
    for i in range(3):
        place.post(f"message {i}")
    place.control.invalidate(resumable=False)
    assert capture.wait() == 78
    assert "refuse" in capture.tail()
