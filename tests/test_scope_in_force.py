"""The allow and deny lists in a real capture, changed while it runs; and `ragdctl purge` beside it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragd.applied import read_applied
from ragd.sandbox.entities import ChannelType
from tests.processes import Place, Process, assert_complete, running, until
from tests.reaching import complete, connected, holes, look, row, texts, until_texts


@pytest.fixture
def capture(variables: dict[str, str], short_path: Path) -> Iterator[Process]:
    """One that reads its lists from a file, which tests change."""
    process = Process("capture", variables, short_path)
    try:
        yield connected(process.start().running())
    finally:
        process.end()


def put_into_force(process: Process, **lists: int | str) -> None:
    """What `ragdctl reload` does, without supervisord."""
    assert process.directory is not None
    (process.directory / ".env").write_text("".join(f"{name}={value}\n" for name, value in lists.items()))
    applied = process.settings.applied_dir
    before = read_applied(applied, "capture").fingerprints
    process.process.send_signal(signal.SIGHUP)
    until(lambda: read_applied(applied, "capture").fingerprints != before, process.tail())


def ragdctl(process: Process, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from ragd.cli.control import main; main()", *arguments],
        env=process.variables,
        cwd=process.directory,
        input=answer,
        capture_output=True,
        text=True,
        timeout=60,
    )


def rows(process: Process, channel_id: int) -> list[tuple[Any, ...]]:
    columns = "deleted, content, author_id, author_name, extra, reactions"
    query = f"SELECT {columns} FROM message WHERE channel_id = ? ORDER BY id"
    return look(process, lambda store: store._all(query, channel_id))


def test_a_denied_category_is_left_alone_but_for_the_channel_that_is_allowed(
    place: Place, variables: dict[str, str]
) -> None:
    control = place.control
    category = control.create_channel(place.guild_id, "private", ChannelType.CATEGORY)
    denied, allowed = (control.create_channel(place.guild_id, name, parent_id=category) for name in ("no", "yes"))
    thread = control.create_thread(denied, place.member_id, "in the denied one")
    archived = control.create_thread(denied, place.member_id, "archived in the denied one")
    for where in (denied, allowed, thread, archived, place.channel_id):
        place.post("history", where)
    control.archive_thread(archived)
    lists = {"RAGD_DENY_IDS": str(category), "RAGD_ALLOW_IDS": f"{allowed},{place.guild_id}"}
    with running("capture", {**variables, **lists}) as capture:
        connected(capture)
        for where in (denied, allowed, thread, place.channel_id):
            place.post("live", where)
        new = control.create_thread(denied, place.member_id, "made while connected")
        place.post("live", new)
        woken = place.post("live", archived)
        control.edit(woken, "edited")
        for where in (allowed, place.channel_id):
            until(lambda one=where: texts(capture, one) >= {"history", "live"}, capture.tail())
        until(lambda: not holes(capture))
        until(lambda: row(capture, new).get("excluded"))
        assert texts(capture, denied, thread, archived, new) == set()
        assert row(capture, denied)["excluded"]
        assert not row(capture, allowed)["excluded"]


def test_lists_change_while_it_runs_and_no_session_is_spent(place: Place, capture: Process) -> None:
    control = place.control
    thread = control.create_thread(place.channel_id, place.member_id, "archived")
    gone, _ = place.post("deleted while denied"), place.post("before")
    place.post("in the thread", thread)
    control.archive_thread(thread)
    until_texts(capture, thread, {"in the thread"})
    until(lambda: row(capture, thread)["archived"])

    put_into_force(capture, RAGD_DENY_IDS=place.channel_id)
    assert row(capture, place.channel_id)["excluded"]
    assert row(capture, thread)["excluded"], "nobody's cache has it"
    place.post("while denied")
    place.post("while denied", thread)
    control.delete(gone)
    until_texts(capture, place.channel_id, {"before", "archived"})
    assert texts(capture, thread) == {"in the thread"}
    assert holes(capture) == []

    put_into_force(capture)
    until_texts(capture, place.channel_id, {"before", "archived", "while denied"})
    until_texts(capture, thread, {"in the thread", "while denied"})
    assert_complete(place, capture.settings.database_path)
    until(lambda: complete(capture, place.channel_id) and complete(capture, thread))
    assert place.control.gateway()["identifies"] == 1


def test_an_archived_thread_that_is_allowed_in_a_channel_that_is_not(place: Place, variables: dict[str, str]) -> None:
    """Nobody lists the channel's threads, so it is asked for by its id."""
    wanted, other = (place.control.create_thread(place.channel_id, place.member_id, name) for name in ("a", "b"))
    for where in (wanted, other, place.channel_id):
        place.post("said", where)
    for where in (wanted, other):
        place.control.archive_thread(where)
    with running("capture", {**variables, "RAGD_ALLOW_IDS": f"{wanted},4711"}) as capture:
        connected(capture)
        until_texts(capture, wanted, {"said"})
        assert texts(capture, other, place.channel_id) == set()


def test_wrong_lists_change_nothing(place: Place, capture: Process) -> None:
    assert capture.directory is not None
    (capture.directory / ".env").write_text("RAGD_DENY_IDS=general\n")
    capture.process.send_signal(signal.SIGHUP)
    until(lambda: "'general' is no id of Discord's" in capture.tail())
    place.post("still here")
    until_texts(capture, place.channel_id, {"still here"})


def test_a_channel_that_is_captured_is_not_purged(place: Place, capture: Process) -> None:
    place.post("kept")
    until_texts(capture, place.channel_id, {"kept"})
    refused = ragdctl(capture, "purge", "--channel", str(place.channel_id), "--yes")
    assert refused.returncode == 1
    assert f"channel {place.channel_id} (general) is still captured - name it in RAGD_DENY_IDS" in refused.stderr
    refused = ragdctl(capture, "purge", "--guild", str(place.guild_id), "--yes")
    assert "is still captured" in refused.stderr
    assert texts(capture, place.channel_id) == {"kept"}
    for arguments, said in ((["--channel", "77"], "nothing was captured of channel 77"), ([], "nothing is named")):
        wrong = ragdctl(capture, "purge", *arguments)
        assert wrong.returncode == 64
        assert said in wrong.stderr
        assert wrong.stderr.count("\n") == 1


def test_purge_beside_a_running_capture_and_back_again(place: Place, capture: Process) -> None:
    control = place.control
    thread = control.create_thread(place.channel_id, place.member_id, "thread")
    ids = control.post_many(place.channel_id, place.member_id, [f"secret {i}" for i in range(1500)])
    place.post("secret in the thread", thread)
    control.delete(ids[0])
    assert_complete(place, capture.settings.database_path)
    put_into_force(capture, RAGD_DENY_IDS=place.channel_id)

    asked = ragdctl(capture, "purge", "--denied", answer="n\n")
    assert asked.returncode == 1
    assert "1,50" in asked.stdout
    assert len(texts(capture, place.channel_id)) > 1400
    done = ragdctl(capture, "purge", "--denied", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert {one["id"] for one in said["channels"]} == {place.channel_id, thread}
    assert {one["reason"] for one in said["channels"]} == {"denied"}
    assert said["purged"] > 1500
    for where in (place.channel_id, thread):
        assert set(rows(capture, where)) == {(1, "", 0, "", "{}", "{}")}
        assert not complete(capture, where)
    assert b"secret" not in ragdctl(capture, "purge", "--denied", "--yes").stdout.encode()

    control.delete(ids[1])
    put_into_force(capture)
    assert_complete(place, capture.settings.database_path)
    until(lambda: complete(capture, place.channel_id) and complete(capture, thread))
    assert {found[3] for found in rows(capture, thread)} == {"bob"}


def test_purge_while_ragd_is_down_goes_by_the_lists_as_they_stand(place: Place, capture: Process) -> None:
    place.post("secret")
    other = place.control.create_channel(place.guild_id, "other")
    place.post("kept", other)
    assert_complete(place, capture.settings.database_path)
    assert capture.stop() == 0
    assert capture.directory is not None
    (capture.directory / ".env").write_text(f"RAGD_DENY_IDS={place.channel_id}\n")
    done = ragdctl(capture, "purge", "--channel", str(place.channel_id), answer="y\n")
    assert done.returncode == 0, done.stderr
    assert "1 messages taken out" in done.stdout
    assert texts(capture, place.channel_id, other) == {"kept"}
    with running("capture", {**capture.variables, "RAGD_DENY_IDS": str(place.channel_id)}) as again:
        connected(again)
        place.post("more", other)
        until_texts(again, other, {"kept", "more"})
        assert texts(again, place.channel_id) == set()


def test_purge_of_a_guild_that_was_left(place: Place, capture: Process) -> None:
    place.post("what they said")
    until_texts(capture, place.channel_id, {"what they said"})
    place.control.remove_member(place.guild_id, place.bot_id)
    until(lambda: look(capture, lambda store: store._one("SELECT removed FROM guild")) == (1,))
    done = ragdctl(capture, "purge", "--guild", str(place.guild_id), "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert {one["reason"] for one in json.loads(done.stdout)["channels"]} == {"left"}
    assert texts(capture, place.channel_id) == set()
    place.control.invite_bot(place.guild_id, place.bot_id)
    until_texts(capture, place.channel_id, {"what they said"})
    until(lambda: complete(capture, place.channel_id))
