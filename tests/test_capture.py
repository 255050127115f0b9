"""capture as a process of its own against the sandbox: what the ledger says exists is in the store."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from ragd.erasing import Eraser
from ragd.sandbox.entities import OverwriteTarget
from ragd.store import Store
from tests.processes import (
    Place,
    Process,
    assert_complete,
    running,
    stored_messages,
    until,
)

VIEW_CHANNEL = 1 << 10
READ_MESSAGE_HISTORY = 1 << 16


def database(process: Process) -> Path:
    return process.settings.database_path


def connected(process: Process) -> None:
    until(lambda: process.counter("connected") and process.counter("resyncs"), process.tail())


def test_live_messages_edits_and_deletes(place: Place, capture: Process) -> None:
    ids = [place.post(f"message {i}") for i in range(30)]
    place.control.edit(ids[3], "message 3, corrected")
    place.control.delete(ids[4])
    place.control.bulk_delete(place.channel_id, ids[5:8])
    assert_complete(place, database(capture))


def test_history_threads_and_forums_are_read_over_rest(place: Place, variables: dict[str, str]) -> None:
    control = place.control
    control.post_many(place.channel_id, place.member_id, [f"old {i}" for i in range(350)])
    thread = control.create_thread(place.channel_id, place.member_id, "a thread")
    archived = control.create_thread(place.channel_id, place.member_id, "an archived thread")
    control.post_many(archived, place.member_id, [f"archived {i}" for i in range(120)])
    control.archive_thread(archived)
    forum = control.create_channel(place.guild_id, "ideas", 15)
    post = control.create_forum_post(forum, place.member_id, "an idea", "what if it rained upwards")
    place.post("in the thread", thread)
    place.post("an answer", post)
    with running("capture", variables) as capture:
        assert_complete(place, database(capture))
        assert len(stored_messages(database(capture))) > 470


def test_a_database_that_was_moved_away_does_not_bring_back_who_objected(
    place: Place, variables: dict[str, str]
) -> None:
    kept = place.post("this may be kept")
    other = place.control.create_user("objector")
    place.control.add_member(place.guild_id, other)
    refused = place.control.post(place.channel_id, other, "this may not")
    with running("capture", variables) as capture:
        until(lambda: kept in stored_messages(database(capture)), "stored")
        path = database(capture)
    with contextlib.closing(Store.open(path)) as store:
        store.people.opt_out(other)
        Eraser(capture.settings, store, alone=True).run()
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    with running("capture", variables) as capture:
        until(lambda: kept in stored_messages(path), "stored again")
        until(lambda: capture.counter("holes") == 0, "nothing is missing")
        assert "promised to members" in capture.log.read_text()
        assert refused not in {one for one, (_, words) in stored_messages(path).items() if words}


def test_what_comes_while_history_is_being_read_is_not_lost(place: Place, variables: dict[str, str]) -> None:
    place.control.post_many(place.channel_id, place.member_id, [f"old {i}" for i in range(2000)])
    with running("capture", variables) as capture:
        for i in range(50):
            place.post(f"live {i}")
        assert_complete(place, database(capture))


def test_live_messages_do_not_wait_for_history(place: Place, variables: dict[str, str]) -> None:
    busy = place.control.create_channel(place.guild_id, "busy")
    place.control.post_many(busy, place.member_id, [f"old {i}" for i in range(3000)])
    place.control.rest_fault(delay_seconds=1.0, pattern=f"/channels/{busy}/messages")
    with running("capture", variables) as capture:
        until(lambda: (capture.counter("holes") or 0) > 0 and (capture.counter("pages") or 0) > 0, "it reads history")
        for channel in (place.channel_id, busy):
            posted = place.post("live", channel)
            until(lambda: posted in stored_messages(database(capture)), "durable")  # noqa: B023 - asked at once
        with contextlib.closing(Store.open_read_only(database(capture))) as store:
            assert [hole.channel_id for hole in store.coverage.holes()] == [busy], "there is history left to read"


def test_a_channel_that_cannot_be_read_holds_up_no_other(place: Place, variables: dict[str, str]) -> None:
    sick, well = (place.control.create_channel(place.guild_id, name) for name in ("sick", "well"))
    for channel in (sick, well):
        place.control.post_many(channel, place.member_id, [f"old {i}" for i in range(350)])
    place.control.rest_fault(status=503, pattern=f"/channels/{sick}/messages")
    with running("capture", variables) as capture:

        def sick_alone() -> bool:
            with contextlib.closing(Store.open_read_only(database(capture))) as store:
                return [hole.channel_id for hole in store.coverage.holes()] == [sick]

        until(sick_alone, "all others are read")
        place.control.clear_faults()
        until(lambda: len(stored_messages(database(capture))) == 700, "and it is tried again", 60)


def test_sigkill_and_restart(place: Place, variables: dict[str, str]) -> None:
    for round_ in range(3):
        with running("capture", variables) as capture:
            connected(capture)
            for i in range(20):
                place.post(f"round {round_}, message {i}")
            capture.kill()
            missed = place.post(f"while it was dead {round_}")
    place.control.edit(missed, "edited while it was dead")
    with running("capture", variables) as capture:
        assert_complete(place, database(capture))


def test_edits_and_deletes_of_stored_messages_while_it_was_away(place: Place, variables: dict[str, str]) -> None:
    ids = [place.post(f"message {i}") for i in range(10)]
    with running("capture", variables) as capture:
        assert_complete(place, database(capture))
        assert capture.stop() == 0
    place.control.edit(ids[2], "edited offline")
    place.control.delete(ids[3])
    place.control.delete(ids[9])
    with running("capture", variables) as capture:
        assert_complete(place, database(capture))


def test_a_cut_socket_is_resumed_without_a_hole(place: Place, capture: Process) -> None:
    connected(capture)
    until(lambda: place.control.gateway()["sessions"])
    place.control.cut()
    for i in range(20):
        place.post(f"during the cut {i}")
    assert_complete(place, database(capture))
    assert capture.counter("sessions") == 1


def test_an_expired_session_is_filled_over_rest(place: Place, capture: Process) -> None:
    connected(capture)
    place.post("before")
    place.control.network(up=False)
    for i in range(150):
        place.post(f"while the network was away {i}")
    place.control.expire_sessions()
    place.control.network(up=True)
    assert_complete(place, database(capture))
    until(lambda: capture.counter("sessions") == 2, "a second session")
    place.post("after")
    assert_complete(place, database(capture))


def test_an_invalidated_session_is_filled_over_rest(place: Place, capture: Process) -> None:
    connected(capture)
    place.control.invalidate(resumable=False)
    for i in range(20):
        place.post(f"lost {i}")
    assert_complete(place, database(capture))


def test_channels_the_bot_may_not_read_are_left_alone(place: Place, variables: dict[str, str]) -> None:
    hidden = place.control.create_channel(place.guild_id, "staff")
    place.control.set_overwrite(hidden, place.guild_id, OverwriteTarget.ROLE, deny=VIEW_CHANNEL)
    silent = place.control.create_channel(place.guild_id, "no-history")
    place.post("before", silent)
    place.control.set_overwrite(silent, place.guild_id, OverwriteTarget.ROLE, deny=READ_MESSAGE_HISTORY)
    place.post("hidden", hidden)
    place.post("seen")
    with running("capture", variables) as capture:
        assert_complete(place, database(capture), frozenset({hidden, silent}))
        until(lambda: Store.open_read_only(database(capture)).counts().unreadable_channels == 2)
        place.control.set_overwrite(silent, place.guild_id, OverwriteTarget.ROLE, deny=0)
        assert_complete(place, database(capture), frozenset({hidden}))


def test_a_channel_and_a_thread_made_while_connected(place: Place, capture: Process) -> None:
    connected(capture)
    channel = place.control.create_channel(place.guild_id, "new")
    place.post("first", channel)
    thread = place.control.create_thread(channel, place.member_id, "new thread")
    place.post("in it", thread)
    assert_complete(place, database(capture))
    place.control.delete_channel(channel)
    assert_complete(place, database(capture))


def test_a_message_wakes_an_archived_thread(place: Place, variables: dict[str, str]) -> None:
    thread = place.control.create_thread(place.channel_id, place.member_id, "sleepy")
    place.post("old", thread)
    place.control.archive_thread(thread)
    with running("capture", variables) as capture:
        assert_complete(place, database(capture))
        place.control.unarchive_thread(thread)
        place.post("awake again", thread)
        assert_complete(place, database(capture))


def test_a_locked_database_delays_and_loses_nothing(place: Place, capture: Process) -> None:
    connected(capture)
    blocker = Store.open(database(capture))
    with blocker._transaction():
        for i in range(100):
            place.post(f"while locked {i}")
        until(lambda: capture.beat().state == "degraded", "degraded")  # type: ignore[union-attr]
    blocker.close()
    assert_complete(place, database(capture))
    until(lambda: capture.beat().state == "running", "running again")  # type: ignore[union-attr]


def test_wishes_that_wait_for_a_locked_database_do_not_make_it_look_hung(place: Place, capture: Process) -> None:
    connected(capture)
    blocker = Store.open(database(capture))
    began = moved = time.monotonic()
    silent, last = 0.0, -1
    with blocker._transaction():
        place.post("while locked")
        for _ in range(3):
            place.post("!forget-me yes")
        while time.monotonic() - began < 2.5 * capture.settings.stale_seconds:
            beat = capture.beat()
            if beat and beat.beat != last:
                last, moved = beat.beat, time.monotonic()
            silent = max(silent, time.monotonic() - moved)
            time.sleep(0.02)
    blocker.close()
    assert silent < capture.settings.stale_seconds
    assert_complete(place, database(capture))


def test_a_refused_token_ends_with_the_code_for_configuration(place: Place, variables: dict[str, str]) -> None:
    process = Process("capture", {**variables, "DISCORD_BOT_TOKEN": "wrong"}).start()
    assert process.wait() == 78
    assert "Discord refused DISCORD_BOT_TOKEN" in process.tail()
    assert "wrong" not in process.tail().replace("wrong token", "")


def test_a_missing_intent_says_what_to_switch_on(place: Place, variables: dict[str, str], short_path: Path) -> None:
    application = place.control.create_application("poor", token="poor", granted_intents=0)
    place.control.invite_bot(place.guild_id, int(application["id"]))
    process = Process("capture", {**variables, "DISCORD_BOT_TOKEN": "poor"}).start()
    assert process.wait() == 78
    assert "MESSAGE CONTENT" in process.tail()


def test_discord_away_at_the_start_is_waited_for(place: Place, variables: dict[str, str]) -> None:
    place.control.network(up=False)
    process = Process("capture", variables).start()
    try:
        until(lambda: "cannot reach Discord" in process.tail())
        place.control.network(up=True)
        process.running()
        place.post("hello again")
        assert_complete(place, database(process))
    finally:
        process.end()


def test_sigterm_commits_what_was_seen_and_ends_with_0(place: Place, capture: Process) -> None:
    connected(capture)
    for i in range(10):
        place.post(f"message {i}")
    until(lambda: capture.counter("posted") == 10)
    assert capture.stop() == 0
    assert len(stored_messages(database(capture))) == 10


def test_a_second_sigterm_ends_at_once(place: Place, capture: Process) -> None:
    os.kill(capture.process.pid, signal.SIGSTOP)
    capture.process.send_signal(signal.SIGTERM)
    os.kill(capture.process.pid, signal.SIGCONT)
    capture.process.send_signal(signal.SIGINT)
    assert capture.process.wait(10) in (0, 128 + signal.SIGTERM, 128 + signal.SIGINT)


def test_no_message_text_and_no_token_reach_the_log(place: Place, variables: dict[str, str]) -> None:
    with running("capture", {**variables, "RAGD_LOG_LEVEL": "DEBUG"}) as capture:
        place.post("the launch code is kumquat")
        assert_complete(place, database(capture))
        capture.stop()
        assert "kumquat" not in capture.log.read_text()
        assert variables["DISCORD_BOT_TOKEN"] not in capture.log.read_text()
