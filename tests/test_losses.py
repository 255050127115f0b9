"""What capture makes of each way to lose something: the table in ARCHITECTURE.md, row by row."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ragd.sandbox.entities import ChannelType, OverwriteTarget
from tests.processes import Place, Process, assert_complete, running, until
from tests.reaching import complete, connected, holes, look, row, texts, until_texts

VIEW_CHANNEL = 1 << 10
PRIVATE = 12


@pytest.fixture
def capture(variables: dict[str, str]) -> Iterator[Process]:
    with running("capture", variables) as process:
        yield connected(process)


def hide(place: Place, channel_id: int, *, hidden: bool = True) -> None:
    deny = VIEW_CHANNEL if hidden else 0
    place.control.set_overwrite(channel_id, place.guild_id, OverwriteTarget.ROLE, deny=deny)


def removed(process: Process) -> list[int]:
    return [found[0] for found in look(process, lambda store: store._all("SELECT id FROM guild WHERE removed"))]


def test_a_deleted_category_takes_no_channel_along(place: Place, capture: Process) -> None:
    category = place.control.create_channel(place.guild_id, "rooms", ChannelType.CATEGORY)
    channel = place.control.create_channel(place.guild_id, "room", parent_id=category)
    place.post("still here", channel)
    until_texts(capture, channel, {"still here"})
    place.control.delete_channel(category)
    place.post("and here", channel)
    until_texts(capture, channel, {"still here", "and here"})
    parent = "SELECT parent_id FROM channel WHERE id = ?"
    until(lambda: look(capture, lambda store: store._one(parent, channel)) == (None,))
    assert not row(capture, channel)["deleted"]


def test_a_channel_and_threads_deleted_while_it_was_away(place: Place, variables: dict[str, str]) -> None:
    control = place.control
    channel = control.create_channel(place.guild_id, "doomed")
    active = control.create_thread(place.channel_id, place.member_id, "active")
    archived = control.create_thread(place.channel_id, place.member_id, "archived")
    for gone in (channel, active, archived):
        place.post("gone soon", gone)
    control.archive_thread(archived)
    with running("capture", variables) as capture:
        assert_complete(place, capture.settings.database_path)
        until(lambda: row(capture, archived)["archived"])
        assert capture.stop() == 0
    for gone in (channel, active):
        control.delete_channel(gone)
    with running("capture", variables) as capture:
        until(lambda: row(capture, channel)["deleted"] and row(capture, active)["deleted"], capture.tail())
        assert texts(capture, channel, active) == set()
        assert texts(capture, archived) == {"gone soon"}, "nobody said that it is gone"


def test_an_archived_thread_deleted_unseen_is_found_by_the_round_over_archived_threads(
    place: Place, variables: dict[str, str]
) -> None:
    archived, kept = (place.control.create_thread(place.channel_id, place.member_id, name) for name in ("gone", "kept"))
    for thread in (archived, kept):
        place.post("said in a thread", thread)
        place.control.archive_thread(thread)
    with running("capture", variables) as capture:
        assert_complete(place, capture.settings.database_path)
        assert capture.stop() == 0
    place.control.delete_channel(archived)
    with running("capture", {**variables, "RAGD_RECONCILE_MINUTES": "0.02"}) as capture:
        until(lambda: row(capture, archived)["deleted"], capture.tail())
        assert texts(capture, archived, kept) == {"said in a thread"}
        assert not row(capture, kept)["deleted"]


def test_a_thread_deleted_live_though_no_cache_has_it(place: Place, variables: dict[str, str]) -> None:
    thread = place.control.create_thread(place.channel_id, place.member_id, "old")
    place.post("old words", thread)
    place.control.archive_thread(thread)
    with running("capture", variables) as capture:
        assert_complete(place, capture.settings.database_path)
        place.control.delete_channel(thread)
        until_texts(capture, thread, set())
        until(lambda: row(capture, thread)["deleted"])


def test_kicked_and_back_again(place: Place, capture: Process) -> None:
    place.post("before")
    until_texts(capture, place.channel_id, {"before"})
    place.control.remove_member(place.guild_id, place.bot_id)
    until(lambda: removed(capture) == [place.guild_id], capture.tail())
    missed = place.post("while it was out")
    assert holes(capture) == []
    assert texts(capture, place.channel_id) == {"before"}, "kept"
    place.control.invite_bot(place.guild_id, place.bot_id)
    until_texts(capture, place.channel_id, {"before", "while it was out"})
    assert removed(capture) == []
    place.control.delete(missed)
    until_texts(capture, place.channel_id, {"before"})
    until(lambda: complete(capture, place.channel_id))


def test_kicked_while_it_was_away(place: Place, variables: dict[str, str]) -> None:
    place.post("before")
    with running("capture", variables) as capture:
        connected(capture)
        until_texts(capture, place.channel_id, {"before"})
        capture.stop()
    place.control.remove_member(place.guild_id, place.bot_id)
    with running("capture", variables) as capture:
        until(lambda: removed(capture) == [place.guild_id], capture.tail())
        assert holes(capture) == []


def test_a_deleted_guild(place: Place, capture: Process) -> None:
    place.post("before")
    until_texts(capture, place.channel_id, {"before"})
    place.control.delete_guild(place.guild_id)
    until(lambda: removed(capture) == [place.guild_id], capture.tail())
    assert texts(capture, place.channel_id) == {"before"}


def test_an_outage_of_a_guild_is_no_removal_and_concerns_no_other(place: Place, capture: Process) -> None:
    control = place.control
    other = control.create_guild("Other", place.owner_id)
    elsewhere = control.create_channel(other, "elsewhere")
    control.invite_bot(other, place.bot_id)
    place.control.post(elsewhere, place.owner_id, "first")
    until_texts(capture, elsewhere, {"first"})
    known = place.post("known before")
    until_texts(capture, place.channel_id, {"known before"})
    until(lambda: capture.counter("holes") == 0)
    control.set_guild_unavailable(place.guild_id, True)
    place.post("missed")
    control.delete(known)
    control.post(elsewhere, place.owner_id, "second")
    until_texts(capture, elsewhere, {"first", "second"})
    until(lambda: complete(capture, elsewhere), "the other guild's stream is unbroken")
    assert removed(capture) == []
    assert texts(capture, place.channel_id) == {"known before"}
    control.set_guild_unavailable(place.guild_id, False)
    until_texts(capture, place.channel_id, {"missed"})
    until(lambda: complete(capture, place.channel_id))


def test_a_guild_that_is_unavailable_at_ready(place: Place, variables: dict[str, str]) -> None:
    place.post("before")
    with running("capture", variables) as capture:
        connected(capture)
        until_texts(capture, place.channel_id, {"before"})
        capture.stop()
    place.control.set_guild_unavailable(place.guild_id, True)
    place.post("missed")
    with running("capture", variables) as capture:
        until(lambda: capture.counter("resyncs"), capture.tail())
        assert removed(capture) == []
        assert look(capture, lambda store: store._one("SELECT name FROM guild")) == ("Lab",)
        assert not row(capture, place.channel_id)["deleted"]
        place.control.set_guild_unavailable(place.guild_id, False)
        until_texts(capture, place.channel_id, {"before", "missed"})


@pytest.mark.parametrize("how", ["overwrite", "role"])
def test_access_lost_and_back(place: Place, capture: Process, how: str) -> None:
    """By a role no channel is named in the event, so what Discord has must be asked for."""
    control = place.control
    channel = control.create_channel(place.guild_id, "staff")
    hide(place, channel)
    role = control.create_role(place.guild_id, "staff")
    control.set_overwrite(channel, role, OverwriteTarget.ROLE, allow=VIEW_CHANNEL)
    control.set_member_roles(place.guild_id, place.bot_id, [role])
    until(lambda: row(capture, channel).get("readable"))
    thread = control.create_thread(channel, place.member_id, "in there")
    archived = control.create_thread(channel, place.member_id, "archived in there")
    for where in (channel, thread, archived):
        place.post("seen", where)
    gone, changed = place.post("deleted unseen", channel), place.post("before the edit", channel)
    control.archive_thread(archived)
    until_texts(capture, channel, {"seen", "deleted unseen", "before the edit", "in there", "archived in there"})
    until(lambda: row(capture, archived)["archived"] and not holes(capture))

    if how == "role":
        control.set_member_roles(place.guild_id, place.bot_id, [])
    else:
        control.set_overwrite(channel, role, OverwriteTarget.ROLE)
    until(lambda: not any(row(capture, one)["readable"] for one in (channel, thread, archived)), capture.tail())
    for where in (channel, thread, archived):
        place.post("unseen", where)
    control.delete(gone)
    control.edit(changed, "after the edit")
    assert holes(capture) == []

    if how == "role":
        control.set_member_roles(place.guild_id, place.bot_id, [role])
    else:
        control.set_overwrite(channel, role, OverwriteTarget.ROLE, allow=VIEW_CHANNEL)
    place.post("seen again", channel)
    until_texts(capture, channel, {"seen", "unseen", "seen again", "after the edit", "in there", "archived in there"})
    for where in (thread, archived):
        until_texts(capture, where, {"seen", "unseen"})
    assert_complete(place, capture.settings.database_path)
    for where in (channel, thread, archived):
        until(lambda one=where: complete(capture, one))
