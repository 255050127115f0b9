"""What the gateway never told is found without any reconnect: the rolling re-read in a real capture."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.processes import Place, assert_complete, environment, running, until
from tests.reaching import connected, until_texts

OFTEN = {"RAGD_RECONCILE_MINUTES": "0.02"}


@pytest.fixture
def variables(place: Place, short_path: Path) -> dict[str, str]:
    return environment(place.sandbox, short_path, **OFTEN)


def past(place: Place, text: str, minutes: float, channel_id: int | None = None) -> int:
    """A message of that long ago: what is younger than half a minute is left to the next turn."""
    return place.post(text, channel_id, at_ms=int((time.time() - minutes * 60) * 1000))


def lost(place: Place) -> None:
    """From now on no edit and no delete is told."""
    names = ["MESSAGE_UPDATE", "MESSAGE_DELETE", "MESSAGE_DELETE_BULK"]
    place.control.deaf(names=names)


def test_an_edit_and_deletes_that_nobody_told(place: Place, variables: dict[str, str]) -> None:
    control = place.control
    thread = control.create_thread(place.channel_id, place.member_id, "thread", at_ms=int(time.time() * 1000) - 900_000)
    edited, deleted, *bulk = [past(place, f"message {i}", 10 - i) for i in range(5)]
    archived = past(place, "in the archive", 5, thread)
    old = past(place, "older than the window", 25 * 60)
    control.archive_thread(thread)
    with running("capture", variables) as capture:
        connected(capture)
        assert_complete(place, capture.settings.database_path)
        lost(place)
        control.edit(edited, "as it is now")
        control.delete(deleted)
        control.bulk_delete(place.channel_id, bulk[:2])
        control.edit(archived, "archived, as it is now")
        control.edit(old, "nobody looks there")
        until_texts(capture, place.channel_id, {"as it is now", "message 4", "older than the window", "thread"})
        until_texts(capture, thread, {"archived, as it is now"})
        until(lambda: capture.counter("missed_deletes") == 3 and capture.counter("missed_edits") == 2, capture.tail())
        until(lambda: capture.counter("reread_turns"))
        assert capture.counter("missed_posts") == 0
        assert capture.counter("sessions") == 1
        assert capture.counter("resumes") == 0


def test_a_message_that_never_came(place: Place, variables: dict[str, str]) -> None:
    """Between two that came, so coverage claims it: the re-read makes the claim true."""
    past(place, "history", 20)
    with running("capture", variables) as capture:
        connected(capture)
        until_texts(capture, place.channel_id, {"history"})
        place.control.drop(1, names=["MESSAGE_CREATE"])
        past(place, "lost", 6)
        past(place, "came", 5)
        until_texts(capture, place.channel_id, {"history", "lost", "came"})
        until(lambda: capture.counter("missed_posts") == 1)


def test_a_quiet_server_costs_nothing(place: Place, variables: dict[str, str]) -> None:
    past(place, "long ago", 60 * 48)
    with running("capture", variables) as capture:
        connected(capture)
        until_texts(capture, place.channel_id, {"long ago"})
        until(lambda: capture.counter("reread_turns") >= 3)
        # the first turn includes the round over archived threads
        pages = capture.counter("reread_pages")
        turns = capture.counter("reread_turns")
        until(lambda: capture.counter("reread_turns") >= turns + 3)
        assert capture.counter("reread_pages") == pages


def test_holes_go_first(place: Place, variables: dict[str, str]) -> None:
    past(place, "recent", 5)
    with running("capture", variables) as capture:
        connected(capture)
        until_texts(capture, place.channel_id, {"recent"})
        place.control.rest_fault(pattern="*/messages*", delay_seconds=0.3)
        place.control.network(up=False)
        for i in range(5):
            place.post(f"missed {i}")
        place.control.expire_sessions()
        place.control.network(up=True)
        until(lambda: capture.counter("sessions") == 2)
        assert_complete(place, capture.settings.database_path)
        turns = capture.counter("reread_turns")
        until(lambda: capture.counter("reread_turns") > turns, "it goes on afterwards")


def test_switched_off(place: Place, variables: dict[str, str]) -> None:
    edited = past(place, "before", 5)
    with running("capture", {**variables, "RAGD_RECONCILE_HOURS": "0"}) as capture:
        connected(capture)
        until_texts(capture, place.channel_id, {"before"})
        lost(place)
        place.control.edit(edited, "after")
        until(lambda: capture.counter("reread_turns") >= 3)
        until_texts(capture, place.channel_id, {"before"})
