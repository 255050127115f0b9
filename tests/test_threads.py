"""Threads and forums in a real capture: every kind, and old ones after downtime at one page a channel."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from ragd.sandbox.entities import ChannelType
from tests.processes import Place, Process, assert_complete, running, until
from tests.reaching import complete, connected, row, texts, until_texts

MANAGE_THREADS = 1 << 34
HOUR_MS = 3_600_000


@pytest.fixture
def capture(variables: dict[str, str]) -> Iterator[Process]:
    with running("capture", variables) as process:
        yield connected(process)


def thread(place: Place, name: str, parent_id: int | None = None, **more: object) -> int:
    return place.control.create_thread(parent_id or place.channel_id, place.member_id, name, **more)


def archived_long_ago(place: Place, thread_ids: list[int], *, at_once: int = 1) -> None:
    """Archive threads from ten hours ago backwards, an hour apart, so many in each instant."""
    world = place.sandbox.world

    def archive() -> None:
        at_ms = int(time.time() * 1000) - 10 * HOUR_MS
        for nth, thread_id in enumerate(thread_ids):
            _, state = world.thread(thread_id)
            state.archived, state.archive_changed_ms = True, at_ms - nth // at_once * HOUR_MS

    place.sandbox.call(archive)


def listings(place: Place, rule: int) -> int:
    """How many requests a rule has seen."""
    rules = place.control.state()["faults"]["rest_rules"]
    return next(int(one["hits"]) for one in rules if one["id"] == rule)


def test_after_downtime_a_thousand_old_threads_cost_one_page(place: Place, variables: dict[str, str]) -> None:
    old = [thread(place, f"thread {i}") for i in range(230)]
    place.control.post_many(old[0], place.member_id, ["first"])
    archived_long_ago(place, old)
    rule = place.control.rest_fault(pattern="*/threads/archived/public*")
    with running("capture", variables) as capture:
        assert_complete(place, capture.settings.database_path)
        until(lambda: all(row(capture, one) for one in old))
        assert capture.stop() == 0
    assert listings(place, rule) >= 3
    place.post("while it was away", old[0])
    place.post("and in one that sleeps again", old[1])
    place.control.archive_thread(old[1])
    before = listings(place, rule)
    with running("capture", variables) as capture:
        connected(capture)
        until_texts(capture, old[0], {"first", "while it was away"})
        until_texts(capture, old[1], {"and in one that sleeps again"})
        assert_complete(place, capture.settings.database_path)
    assert listings(place, rule) == before + 1


def test_threads_archived_in_one_instant_are_all_listed(place: Place, variables: dict[str, str]) -> None:
    """A page ends in the middle of an instant, and Discord's next one leaves that instant out."""
    old = [thread(place, f"thread {i}") for i in range(130)]
    archived_long_ago(place, old, at_once=60)
    with running("capture", variables) as capture:
        until(lambda: all(row(capture, one) for one in old), capture.tail())


def test_a_clock_of_ours_that_is_wrong_hides_no_thread(place: Place, variables: dict[str, str]) -> None:
    """What was listed is remembered by Discord's clock: archived an hour before the newest one is within the margin."""
    first, second = thread(place, "first"), thread(place, "second")
    archived_long_ago(place, [first])
    with running("capture", variables) as capture:
        assert_complete(place, capture.settings.database_path)
        capture.stop()
    place.post("late", second)
    archived_long_ago(place, [second])
    with running("capture", variables) as capture:
        connected(capture)
        until_texts(capture, second, {"late"})


def test_private_archived_threads_that_the_bot_is_in(place: Place, variables: dict[str, str]) -> None:
    mine, others = (thread(place, name, private=True) for name in ("mine", "others"))
    place.control.change("join_thread", thread_id=mine, user_id=place.bot_id)
    for one in (mine, others):
        place.post("among us", one)
        place.control.archive_thread(one)
    with running("capture", variables) as capture:
        until_texts(capture, mine, {"among us"})
        until(lambda: complete(capture, mine))
        assert texts(capture, others) == set()
        assert row(capture, others) == {}


def test_private_archived_threads_with_manage_threads(place: Place, variables: dict[str, str]) -> None:
    role = place.control.create_role(place.guild_id, "moderators", permissions=MANAGE_THREADS)
    private = thread(place, "private", private=True)
    place.post("among us", private)
    place.control.archive_thread(private)
    place.control.set_member_roles(place.guild_id, place.bot_id, [role])
    with running("capture", variables) as capture:
        until_texts(capture, private, {"among us"})


def test_taken_out_of_a_private_thread_and_let_in_again(place: Place, capture: Process) -> None:
    control = place.control
    private = thread(place, "private", private=True)
    control.change("join_thread", thread_id=private, user_id=place.bot_id)
    place.post("before", private)
    until_texts(capture, private, {"before"})
    control.change("leave_thread", thread_id=private, user_id=place.bot_id)
    until(lambda: not row(capture, private)["readable"], capture.tail())
    place.post("behind closed doors", private)
    place.post("elsewhere")
    until_texts(capture, place.channel_id, {"elsewhere"})
    assert texts(capture, private) == {"before"}
    control.change("join_thread", thread_id=private, user_id=place.bot_id)
    place.post("after", private)
    until_texts(capture, private, {"before", "behind closed doors", "after"})
    until(lambda: complete(capture, private))


@pytest.mark.parametrize("kind", [ChannelType.FORUM, ChannelType.MEDIA])
def test_posts_of_forums_and_media_channels(place: Place, variables: dict[str, str], kind: ChannelType) -> None:
    control = place.control
    forum = control.create_channel(place.guild_id, "ideas", kind)
    old = control.create_forum_post(forum, place.member_id, "old idea", "it rains upwards")
    control.archive_thread(old)
    with running("capture", variables) as capture:
        connected(capture)
        until_texts(capture, old, {"it rains upwards"})
        new = control.create_forum_post(forum, place.member_id, "new idea", "it snows sideways")
        place.post("who says so", new)
        until_texts(capture, new, {"it snows sideways", "who says so"})
        place.post("me", old)
        until_texts(capture, old, {"it rains upwards", "me"})
        assert_complete(place, capture.settings.database_path)
        control.delete_channel(old)
        until_texts(capture, old, set())
        control.delete_channel(forum)
        until_texts(capture, new, set())
        assert row(capture, forum)["deleted"]


def test_archived_locked_and_awake_again_live(place: Place, capture: Process) -> None:
    one = thread(place, "one")
    place.post("first", one)
    until_texts(capture, one, {"first"})
    place.control.archive_thread(one, locked=True)
    until(lambda: row(capture, one)["archived"])
    place.control.change("update_thread", thread_id=one, locked=False)
    place.control.unarchive_thread(one)
    place.post("second", one)
    until_texts(capture, one, {"first", "second"})
    until(lambda: not row(capture, one)["archived"])
    until(lambda: complete(capture, one))
    assert capture.counter("sessions") == 1


def test_a_thread_of_an_announcement_channel(place: Place, capture: Process) -> None:
    news = place.control.create_channel(place.guild_id, "news", ChannelType.NEWS)
    one = thread(place, "about the news", news)
    place.post("really?", one)
    until_texts(capture, one, {"really?"})
    until(lambda: complete(capture, one))
