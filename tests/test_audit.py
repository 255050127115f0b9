"""`ragdctl audit` by a real capture against a sandbox that lies, or a store that was made wrong."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ragd.heartbeat import Heartbeat, write_heartbeat
from ragd.sandbox.entities import OverwriteTarget
from ragd.store import Store
from tests.processes import (
    Place,
    Process,
    assert_complete,
    running,
    settings_of,
    stored_messages,
    until,
)
from tests.test_control_cli import RUN
from tests.toytree import ROOT

VIEW_CHANNEL = 1 << 10
READ_MESSAGE_HISTORY = 1 << 16


@pytest.fixture
def capture(place: Place, variables: dict[str, str]) -> Iterator[Process]:
    """It has read a channel and a thread of some messages, of which some were deleted."""
    ids = place.control.post_many(place.channel_id, place.member_id, [f"message {i}" for i in range(40)])
    thread = place.control.create_thread(place.channel_id, place.member_id, "a thread")
    place.control.post_many(thread, place.member_id, [f"in the thread {i}" for i in range(10)])
    with running("capture", variables) as process:
        assert_complete(place, process.settings.database_path)
        place.control.bulk_delete(place.channel_id, ids[5:8])
        assert_complete(place, process.settings.database_path)
        until(lambda: process.counter("resyncs"), "nothing is to be read again")
        yield process


def ragdctl(variables: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *RUN, *arguments],
        cwd=variables["RAGD_DATA_DIR"],
        env={**variables, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ask(variables: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `ragdctl audit`."""
    process = ragdctl(variables, "audit", *arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def audit(variables: dict[str, str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code, out, err = ask(variables, *arguments, "--json")
    assert out, err
    return code, json.loads(out)


@contextlib.contextmanager
def store_of(process: Process) -> Iterator[Store]:
    with contextlib.closing(Store.open(process.settings.database_path)) as store:
        yield store


def spoil(process: Process, sql: str, *parameters: object) -> None:
    """Make the store wrong."""
    with store_of(process) as store, store._transaction():
        assert store._execute(sql, *parameters) > 0


def truthful(place: Place, process: Process) -> bool:
    return stored_messages(process.settings.database_path) == {
        entry.id: (entry.channel_id, entry.content) for entry in place.ledger().messages.values()
    }


def test_all_is_present(place: Place, variables: dict[str, str], capture: Process) -> None:
    code, out, err = ask(variables)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "48 of 48 present, 3 deleted as expected"
    assert "message counts of 1 thread compared, 0 differ" in out
    assert "Discord's search counts 48 messages in 2 channels, the store 48: agrees" in out


def test_what_is_missing_is_the_worst_and_mended(place: Place, variables: dict[str, str], capture: Process) -> None:
    (lost, *_) = [entry.id for entry in place.ledger().messages.values() if entry.content == "message 20"]
    spoil(capture, "DELETE FROM message WHERE id = ?", lost)
    code, document = audit(variables)
    assert code == 66
    assert (document["checked"], document["present"], document["found"], document["unmended"]) == (48, 47, 1, 0)
    (finding,) = document["findings"]
    assert (finding["difference"], finding["message_id"], finding["mended"]) == ("missing", str(lost), True)
    assert finding["proved_by"] in ("gateway", "rest")
    assert finding["proved_at_ms"] >= finding["proved_from_ms"] > 0
    assert finding["url"] == f"https://discord.com/channels/{place.guild_id}/{place.channel_id}/{lost}"
    assert "message 20" not in json.dumps(document)
    assert truthful(place, capture)
    assert audit(variables)[0] == 0


def test_a_lost_event_shows_as_what_it_did(place: Place, variables: dict[str, str], capture: Process) -> None:
    """The sandbox changes its history without a word to anybody."""
    by_content = {entry.content: entry.id for entry in place.ledger().messages.values()}
    edited, gone = by_content["message 10"], by_content["in the thread 3"]
    place.control.change("edit", message_id=edited, content="something else", silent=True)
    place.control.change("delete", message_id=gone, silent=True)
    code, out, _ = ask(variables)
    assert code == 66
    assert out.splitlines()[0] == "46 of 48 present, 3 deleted as expected; 2 found to differ, 2 of them mended"
    assert f"/{edited} was different (content, edit time); mended" in out
    assert f"/{gone} was deleted at Discord and not noticed; mended" in out
    assert truthful(place, capture)


def test_a_tombstone_of_what_exists_cannot_be_mended(place: Place, variables: dict[str, str], capture: Process) -> None:
    (message_id, *_) = place.ledger().messages
    spoil(capture, "UPDATE message SET deleted = 1, chunkable = 0, content = '' WHERE id = ?", message_id)
    code, out, _ = ask(variables)
    assert code == 66
    assert f"/{message_id} is a tombstone, but Discord has it still; NOT mended" in out
    assert "1 found to differ, 0 of them mended" in out
    # and no sample is so small, or so lucky, that it is forgotten
    code, document = audit(variables, "--sample", "1")
    assert (code, document["unmended"]) == (66, 1)
    spoil(capture, "DELETE FROM message WHERE id = ?", message_id)
    assert audit(variables, "--sample", "1")[1]["unmended"] == 0
    assert audit(variables, "--sample", "1")[0] == 0


def test_a_channel_that_went_without_a_word(place: Place, variables: dict[str, str], capture: Process) -> None:
    (thread,) = {entry.channel_id for entry in place.ledger().messages.values()} - {place.channel_id}
    # an archived thread is in no cache: Discord is asked for it
    place.control.archive_thread(thread)
    until(lambda: _archived(capture, thread), "capture has heard of it")
    place.control.change("delete_channel", channel_id=thread, silent=True)
    code, document = audit(variables)
    assert code == 66
    (finding,) = [finding for finding in document["findings"] if finding["difference"] == "gone"]
    assert (finding["channel_id"], finding["message_id"], finding["mended"]) == (str(thread), "0", True)
    until(lambda: truthful(place, capture))


def _archived(process: Process, thread: int) -> bool:
    with store_of(process) as store:
        return any(row.archived for row in store.channels() if row.id == thread)


def test_holes_are_told_and_are_no_failure(place: Place, variables: dict[str, str], capture: Process) -> None:
    place.control.rest_fault(status=500, pattern=f"/channels/{place.channel_id}/messages*")
    (message_id, *_) = place.ledger().messages
    spoil(capture, "DELETE FROM coverage WHERE channel_id = ?", place.channel_id)
    spoil(capture, "DELETE FROM message WHERE id = ?", message_id)
    code, out, _ = ask(variables)
    assert code == 0
    assert "10 of 10 present" in out
    assert "1 hole still to be fetched; what lies there was not compared" in out


def test_only_some_channels(place: Place, variables: dict[str, str], capture: Process) -> None:
    other = place.control.create_channel(place.guild_id, "other")
    place.control.post_many(other, place.member_id, ["one", "two"])
    assert_complete(place, capture.settings.database_path)
    code, document = audit(variables, "--channel", "#other")
    assert (code, document["checked"], document["channels"]) == (0, 2, [str(other)])
    code, document = audit(variables, "--channel", str(place.channel_id))
    assert (code, document["checked"], len(document["channels"])) == (0, 48, 2)


def test_a_sample_is_a_sample(place: Place, variables: dict[str, str], capture: Process) -> None:
    code, document = audit(variables, "--sample", "10")
    assert code == 0
    assert 10 <= document["checked"] < 30
    assert document["state"] == "done"


def test_what_arrives_meanwhile_is_no_finding(place: Place, variables: dict[str, str], capture: Process) -> None:
    place.control.post_many(place.channel_id, place.member_id, [f"more {i}" for i in range(300)])
    assert_complete(place, capture.settings.database_path)
    process = ragdctl(variables, "audit", "--json")
    (*ids,) = place.ledger().messages
    for number, message_id in enumerate(ids[::7]):
        place.post(f"meanwhile {number}")
        place.control.edit(message_id, f"edited meanwhile {number}")
        place.control.delete(ids[number * 7 + 3])
        if process.poll() is not None:
            break
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["found"] == 0
    assert_complete(place, capture.settings.database_path)


def test_a_channel_that_became_unreadable_is_told(place: Place, variables: dict[str, str], capture: Process) -> None:
    hidden = place.control.create_channel(place.guild_id, "staff")
    place.post("secret", hidden)
    assert_complete(place, capture.settings.database_path)
    place.control.set_overwrite(hidden, place.guild_id, OverwriteTarget.ROLE, deny=VIEW_CHANNEL)
    until(lambda: not _readable(capture, hidden), "capture has heard of it")
    code, _, err = ask(variables, "--channel", "staff")
    assert code == 77
    assert err.splitlines() == [
        "ragdctl: nothing of 'staff' is captured: the bot may not read it, or the settings exclude it"
    ]
    assert audit(variables)[0] == 0


def _readable(process: Process, channel_id: int) -> bool:
    with store_of(process) as store:
        return bool(store.coverage.captured([channel_id]))


def test_discord_that_does_not_answer_fails_the_audit(
    place: Place, variables: dict[str, str], capture: Process
) -> None:
    place.control.rest_fault(status=500, pattern="/channels/*/messages*")
    code, out, err = ask(variables)
    assert (code, out) == (69, "")
    assert "the audit failed: Discord does not answer (HTTP status 500)" in err
    assert len(err.splitlines()) == 1


def test_a_search_that_has_no_index_yet_is_told(place: Place, variables: dict[str, str], capture: Process) -> None:
    place.control.rest_fault(status=202, pattern="/guilds/*/messages/search*")
    code, out, _ = ask(variables)
    assert code == 0
    assert f"Discord's search was not asked in guild {place.guild_id}: its index is being made" in out


def test_without_capture_nothing_is_asked(place: Place, variables: dict[str, str], capture: Process) -> None:
    assert capture.stop() == 0
    code, out, err = ask(variables)
    assert (code, out) == (69, "")
    assert "capture does not run" in err
    with store_of(capture) as store:
        assert store._all("SELECT * FROM audit WHERE kind = 'asked'") == []


@pytest.mark.parametrize("end", [Process.kill, Process.stop])
def test_a_capture_that_ends_leaves_its_audit_to_the_next(
    place: Place, variables: dict[str, str], capture: Process, end: Callable[[Process], object]
) -> None:
    place.control.rest_fault(pattern="/channels/*/messages*", delay_seconds=60)
    process = ragdctl(variables, "audit", "--json")
    until(lambda: _state(capture) == "running", "the audit runs")
    end(capture)
    place.control.clear_faults()
    with running("capture", variables):
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["present"] == 48


def test_a_request_that_nobody_waits_for_is_withdrawn(
    place: Place, variables: dict[str, str], capture: Process
) -> None:
    place.control.rest_fault(pattern="/channels/*/messages*", delay_seconds=5)
    process = ragdctl(variables, "audit")
    until(lambda: _state(capture) == "running", "the audit runs")
    process.send_signal(2)
    process.communicate(timeout=30)
    assert _state(capture) == "failed"
    place.control.clear_faults()
    assert audit(variables)[0] == 0


def _state(process: Process) -> str | None:
    with store_of(process) as store:
        rows = store._all("SELECT state FROM audit WHERE kind = 'asked' ORDER BY id DESC LIMIT 1")
    return rows[0][0] if rows else None


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--sample", "0"], 2, "--sample"),
        (["--sample", "many"], 2, "--sample"),
        (["--channel", "nowhere"], 64, "no channel called 'nowhere' is known"),
        (["--channel", "123"], 64, "no channel called '123' is known"),
        (["--channel", "9" * 60], 64, "is known"),
    ],
)
def test_bad_arguments(variables: dict[str, str], short_path: Path, arguments: list[str], code: int, said: str) -> None:
    _pretend_capture(variables, short_path)
    returned, out, err = ask(variables, *arguments)
    assert (returned, out) == (code, "")
    assert said in err


def _pretend_capture(variables: dict[str, str], directory: Path) -> None:
    """A heartbeat of a process that lives: nothing here needs more of it."""
    settings = settings_of(variables)
    settings.heartbeat_dir.mkdir(parents=True, exist_ok=True)
    write_heartbeat(settings.heartbeat_dir, Heartbeat("capture", os.getpid(), 0.0, 0.0, 1, "running"))


def test_the_daily_one_is_made_by_itself_and_the_next_is_set(place: Place, capture: Process) -> None:
    (message_id, *_) = place.ledger().messages
    spoil(capture, "DELETE FROM message WHERE id = ?", message_id)
    until(lambda: _daily(capture), "one is set")
    spoil(capture, "UPDATE audit SET asked_at = 1 WHERE kind = 'daily'")
    until(lambda: ("done", 1, 0) in _daily(capture), "it is made", seconds=90)
    until(lambda: len(_daily(capture)) == 2, "the next one is set")
    with store_of(capture) as store:
        following = store.audits.next_daily()
        done = store.audits.last().done
    assert following is not None
    assert done is not None
    assert following.asked_at > (done.ended_at or 0) + 20 * 3600
    assert truthful(place, capture)


def _daily(process: Process) -> list[tuple[str, int, int]]:
    with store_of(process) as store:
        rows = store._all("SELECT state, found, unmended FROM audit WHERE kind = 'daily' ORDER BY id")
    return [(row[0], row[1], row[2]) for row in rows]


def test_what_happened_without_a_session_is_no_finding_but_put_right(
    place: Place, variables: dict[str, str], capture: Process
) -> None:
    """Capture would read it again by itself, if it were not kept from that by a channel it cannot fill."""
    other = place.control.create_channel(place.guild_id, "other")
    assert_complete(place, capture.settings.database_path)
    (gone, *_) = [entry.id for entry in place.ledger().messages.values() if entry.content == "message 30"]
    place.control.network(up=False)
    place.post("missed", other)
    place.control.delete(gone)
    place.control.expire_sessions()
    place.control.rest_fault(status=500, pattern=f"/channels/{other}/messages*")
    place.control.network(up=True)
    until(lambda: capture.counter("sessions") == 2, "a second session", seconds=90)
    code, document = audit(variables, "--channel", "general")
    assert (code, document["found"], document["details"]["while_away"]) == (0, 0, 1)
    assert document["details"]["holes"] == 0  # of this channel
    assert gone not in stored_messages(capture.settings.database_path)
