"""capture as Discord sees it: how much it asks, and what it asks again after a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragd.bot import identify
from ragd.sandbox.client import SandboxThread
from ragd.sandbox.entities import OverwriteTarget
from ragd.sandbox.rest import LimitSettings
from ragd.sandbox.server import SandboxOptions
from ragd.store import Store
from tests.processes import Place, Process, assert_complete, environment, furnish, running, until

ADD_REACTIONS = 1 << 6

GUARD_OFTEN = {"RAGD_DEAF_SECONDS": "4"}
"""A comparison with Discord every second."""


def answers(place: Place) -> dict[str, int]:
    found: dict[str, int] = place.control.state()["rest"]["answers"]
    return found


def hits(place: Place) -> int:
    """How often the one REST fault was met."""
    (rule,) = place.control.state()["faults"]["rest_rules"]
    return int(rule["hits"])


def refused(process: Process) -> int:
    store = Store.open_read_only(process.settings.database_path)
    try:
        return store.refusals.count()
    finally:
        store.close()


def settled(process: Process) -> None:
    until(lambda: process.counter("connected") and process.counter("resyncs"), process.tail())


# How much is asked


def test_everything_at_once_stays_within_discords_limits(short_path: Path) -> None:
    with SandboxThread(SandboxOptions(limits=LimitSettings.like_discord())) as sandbox:
        place = furnish(sandbox)
        control = place.control
        for number in range(120):
            channel = control.create_channel(place.guild_id, f"room-{number}")
            control.post_many(channel, place.member_id, [f"old {i}" for i in range(3 if number % 8 else 230)])
            thread = control.create_thread(channel, place.member_id, "old talk")
            control.post_many(thread, place.member_id, ["a", "b"])
            control.archive_thread(thread)
        with running("capture", environment(sandbox, short_path, **GUARD_OFTEN)) as process:
            settled(process)
            assert_complete(place, process.settings.database_path)
            until(lambda: process.counter("compared_at"), "a comparison")
            assert process.counter("invalid_requests") == process.counter("rate_limited")
        given = answers(place)
        assert given["200"] > 400, "pages of each channel twice, lists of threads, comparisons"
        # discord.py learns a bucket's size from its first answer, and rounds when it ends
        assert given.get("429", 0) <= 3
        assert set(given) <= {"200", "429"}


# A token that is refused


def test_a_token_reset_is_met_by_whoever_asks_next(place: Place, short_path: Path) -> None:
    variables = environment(place.sandbox, short_path, ALERT_CHANNEL_ID=str(place.channel_id), **GUARD_OFTEN)
    with running("capture", variables) as process:
        settled(process)
        place.control.reset_token(place.bot_id)
        assert process.wait() == 78
        assert process.tail().count("Discord refused DISCORD_BOT_TOKEN - copy the token anew") == 1
        assert "Traceback" not in process.tail()
    assert answers(place)["401"] <= 3, "those that were under way"


def test_a_token_reset_is_met_when_a_session_is_to_begin(place: Place, short_path: Path) -> None:
    with running("capture", environment(place.sandbox, short_path)) as process:
        settled(process)
        place.control.reset_token(place.bot_id)
        place.control.invalidate(resumable=False)
        assert process.wait() == 78
        assert process.tail().count("Discord refused DISCORD_BOT_TOKEN") == 1
    assert answers(place).get("401", 0) <= 1


# Refusals that are remembered


@pytest.mark.parametrize("status", [403, 404])
def test_a_channel_that_is_refused_is_asked_once_and_again_when_permissions_change(
    place: Place, short_path: Path, status: int
) -> None:
    control, variables = place.control, environment(place.sandbox, short_path)
    place.post("behind a wall")
    control.rest_fault(status=status, pattern=f"/channels/{place.channel_id}/messages*")
    for _ in range(2):
        with running("capture", variables) as process:
            settled(process)
            until(lambda process=process: refused(process) == 1, process.tail())
            # permissions that say yes, announced again, are no reason to ask
            control.set_role_permissions(place.guild_id, control.create_role(place.guild_id, "new"), 0)
            control.create_channel(place.guild_id, "another")
            assert process.stop() == 0
        assert hits(place) == 1
    with running("capture", variables) as process:
        settled(process)
        control.set_overwrite(place.channel_id, place.bot_id, OverwriteTarget.MEMBER, allow=ADD_REACTIONS)
        until(lambda: hits(place) == 2, process.tail())
        control.clear_faults()
        control.delete_overwrite(place.channel_id, place.bot_id)
        assert_complete(place, process.settings.database_path)
        until(lambda: refused(process) == 0)


def test_a_list_of_threads_that_is_refused_is_asked_once(place: Place, short_path: Path) -> None:
    control, variables = place.control, environment(place.sandbox, short_path)
    place.post("readable all the same")
    control.rest_fault(status=403, pattern=f"/channels/{place.channel_id}/threads*")
    for _ in range(2):
        with running("capture", variables) as process:
            settled(process)
            assert_complete(place, process.settings.database_path)
            assert refused(process) == 1
        assert hits(place) == 1


def test_a_channel_that_is_unknown_to_discord_is_gone(place: Place, short_path: Path) -> None:
    thread = place.control.create_thread(place.channel_id, place.member_id, "soon gone")
    place.post("in it", thread)
    place.control.archive_thread(thread)
    variables = environment(place.sandbox, short_path)
    with running("capture", variables) as process:
        assert_complete(place, process.settings.database_path)
        process.stop()
    store = Store.open(process.settings.database_path)
    store._execute("DELETE FROM coverage WHERE channel_id = ?", thread)
    store.close()
    place.control.delete_channel(thread)
    with running("capture", variables) as process:
        assert_complete(place, process.settings.database_path)
        assert refused(process) == 0


def test_nothing_is_said_where_the_bot_may_not_write(place: Place, short_path: Path) -> None:
    control = place.control
    with running("capture", environment(place.sandbox, short_path)) as process:
        settled(process)
        control.set_overwrite(place.channel_id, place.bot_id, OverwriteTarget.MEMBER, deny=1 << 11)
        posted = process.counter("posted") or 0
        place.post("!privacy")
        until(lambda: (process.counter("posted") or 0) > posted)
        control.delete_overwrite(place.channel_id, place.bot_id)
        control.say(place.channel_id, place.owner_id, "!privacy")
        assert process.counter("invalid_requests") == 0


# The IDENTIFY budget


def test_a_crash_loop_does_not_burn_the_budget(place: Place, short_path: Path) -> None:
    control = place.control
    left = control.identify_budget(remaining=identify.KEPT + 3, total=100, reset_after_ms=8_000)["remaining"]
    begun: list[int] = []
    for _ in range(4):
        with running("capture", environment(place.sandbox, short_path)) as process:
            settled(process)
            process.kill()
        begun.append(int(control.gateway()["identifies"]))
        if begun[-1] == left - identify.KEPT:
            break
    assert begun == [1, 2, 3], "each a while after the one before it"
    with_none_left = Process("capture", environment(place.sandbox, short_path)).start()
    try:
        until(lambda: (beat := with_none_left.beat()) and "IDENTIFY budget" in beat.detail, with_none_left.tail())
        assert control.gateway()["identifies"] == 3
    finally:
        with_none_left.end()
