"""The demo community keeps its promises, and communities play in a world exactly as they are written."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ragd.errors import DamagedError
from ragd.sandbox.community import Edit, Post, posts_in
from ragd.sandbox.demo_script import load_demo
from ragd.sandbox.entities import ChannelType, Event, Message, MessageType
from ragd.sandbox.exports import load_exports
from ragd.sandbox.permissions import can_view
from ragd.sandbox.playback import Playback
from ragd.sandbox.snowflake import snowflake_ms
from ragd.sandbox.world import World

Raw = dict[str, Any]
NOW_MS = 1_760_000_000_000
HOUR = 3600
POSTING = (None, "forum_post")


def raw_demo() -> Raw:
    text = resources.files("ragd.sandbox").joinpath("demo", "community.json").read_text(encoding="utf-8")
    return json.loads(text)


RAW = raw_demo()
HISTORY: list[Raw] = RAW["history"]
POSTS = [step for step in HISTORY if step.get("do") in POSTING]


def seconds(step: Raw) -> int:
    days, hours, minutes, secs = map(int, re.split(r"d |:", step["at"]))
    return ((days * 24 + hours) * 60 + minutes) * 60 + secs


def steps(kind: str) -> list[Raw]:
    return [step for step in HISTORY if step.get("do") == kind]


async def no_sleep(_seconds: float) -> None:
    await asyncio.sleep(0)


def new_world() -> World:
    return World(now=lambda: NOW_MS / 1000)


def demo_playback(until: float = 1.0, sleep: Callable[[float], Awaitable[None]] = no_sleep) -> Playback:
    return Playback(new_world(), load_demo(NOW_MS, until=until), sleep=sleep)


def recorded_events(world: World) -> list[Event]:
    events: list[Event] = []
    world.subscribe(events.append)
    return events


# -- what the demo promises


def test_history_has_about_three_hundred_messages_over_three_weeks() -> None:
    assert 280 <= len(POSTS) <= 340
    assert 18 <= (seconds(HISTORY[-1]) - seconds(HISTORY[0])) / (24 * HOUR) <= 24


def test_chatter_has_about_sixty_messages_with_an_edit_and_a_delete() -> None:
    kinds = Counter(step.get("do") for step in RAW["chatter"])
    assert 50 <= kinds[None] <= 80
    assert kinds["edit"] >= 1
    assert kinds["delete"] >= 1


def test_members_include_one_bot_and_staff() -> None:
    assert 12 <= len(RAW["members"]) <= 18
    assert [member["key"] for member in RAW["members"] if member.get("bot")] == ["gull"]
    assert 2 <= sum("staff" in member["roles"] for member in RAW["members"]) <= 6


def test_channels_include_a_forum_with_posts_and_threads_one_of_them_archived() -> None:
    assert len(RAW["channels"]) >= 6
    assert sum(channel["kind"] == "forum" for channel in RAW["channels"]) == 1
    assert len(steps("forum_post")) >= 3
    assert len(steps("thread")) >= 2
    assert [step["in"] for step in steps("archive")] == ["shield"]


def test_every_channel_is_talked_in() -> None:
    used = {step["in"] for step in POSTS} | {step["under"] for step in steps("forum_post")}
    assert {channel["key"] for channel in RAW["channels"]} <= used


def test_messages_are_edited_and_deleted_some_time_after_they_were_sent() -> None:
    sent = {step["id"]: seconds(step) for step in POSTS}
    assert len(steps("edit")) >= 8
    assert len(steps("delete")) >= 3
    for step in steps("edit") + steps("delete"):
        assert seconds(step) - sent[step["id"]] >= 60
    (burst,) = steps("bulk_delete")
    assert len(burst["ids"]) >= 5


def test_edits_change_the_text() -> None:
    text = {step["id"]: step["text"] for step in POSTS}
    assert all(step["text"] != text[step["id"]] for step in steps("edit"))


@pytest.mark.parametrize(
    ("what", "pattern", "at_least"),
    [
        ("code block", r"```", 8),
        ("link", r"https://", 2),
        ("member mention", r"<@[a-z]", 8),
        ("role mention", r"<@&[a-z]", 1),
        ("channel mention", r"<#[a-z]", 3),
        ("Japanese", r"[\u3040-\u30ff]", 4),
        ("Chinese", r"[\u4e00-\u9fff]{4}", 1),
        ("Thai", r"[\u0e00-\u0e7f]", 1),
        ("Arabic", r"[\u0600-\u06ff]", 2),
        ("German", r"\b(nicht|Ich|Danke|auch)\b", 3),
        ("Spanish", r"\b(batería|consola|verdad|gracias)\b", 4),
        ("a few words only", r"^.{1,12}$", 5),
    ],
)
def test_messages_with(what: str, pattern: str, at_least: int) -> None:
    found = [step["id"] for step in POSTS if re.search(pattern, step["text"])]
    assert len(found) >= at_least, what


def test_attachments_embeds_and_replies_occur() -> None:
    assert sum("files" in step for step in POSTS) >= 6
    assert sum("embeds" in step for step in POSTS) >= 6
    assert sum("reply" in step for step in POSTS) >= 80


def test_conversations_are_interleaved() -> None:
    """A topic is left and taken up again within the hour, in at least six channel-days."""
    pairs = set()
    for channel in {step["in"] for step in POSTS}:
        said = [step for step in POSTS if step["in"] == channel and "topic" in step]
        for first, between, back in zip(said, said[1:], said[2:], strict=False):
            if first["topic"] == back["topic"] != between["topic"] and seconds(back) - seconds(first) < HOUR:
                pairs.add((channel, first["topic"], between["topic"]))
    assert len(pairs) >= 6


def test_quiet_gaps_of_hours() -> None:
    times = [seconds(step) for step in POSTS]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert sum(gap > 6 * HOUR for gap in gaps) >= 10
    assert max(gaps) > 12 * HOUR


def test_answers_span_several_messages() -> None:
    runs = Counter(step["by"] == before["by"] and step["in"] == before["in"] for before, step in pairwise(POSTS))
    assert runs[True] >= 25


def test_ids_are_unique_and_times_increase() -> None:
    keys = [
        step["id"] for step in POSTS + [step for step in RAW["chatter"] if step.get("do") in POSTING] if "id" in step
    ]
    assert len(keys) == len(set(keys))
    assert [seconds(step) for step in HISTORY] == sorted(seconds(step) for step in HISTORY)
    posts = posts_in(load_demo(NOW_MS).history)
    assert [post.id for post in posts] == sorted({post.id for post in posts})


def test_replies_and_changes_refer_to_earlier_messages_of_the_same_channel() -> None:
    place: dict[str, str] = {}
    for step in HISTORY + RAW["chatter"]:
        if step.get("do") in POSTING:
            assert "reply" not in step or place[step["reply"]] == step["in"]
            place[step["id"]] = step["in"]
        elif step.get("do") in ("edit", "delete", "react"):
            assert step["id"] in place


def test_questions_have_answers_that_are_still_there() -> None:
    gone = {step["id"] for step in steps("delete")} | set(steps("bulk_delete")[0]["ids"])
    alive = {step["id"] for step in POSTS} - gone
    assert len(RAW["questions"]) >= 10
    assert all(alive >= set(question["answers"]) for question in RAW["questions"])


def test_the_file_tells_nothing_about_a_machine() -> None:
    assert not re.search(r"/(work|home|root|tmp)/", json.dumps(RAW))


# -- the demo in a world: what is there at the end, computed from the JSON alone


def expected_ledger() -> Counter[tuple[str, str, str, bool]]:
    """(channel or thread name, author, text with keys in its mentions, edited?) of what is left at the end."""
    titles = {step["in"]: step["name"] for step in steps("thread") + steps("forum_post")}
    left: dict[str, tuple[str, str, str, bool]] = {}
    for step in HISTORY:
        match step.get("do"):
            case None | "forum_post":
                left[step["id"]] = (titles.get(step["in"], step["in"]), step["by"], step["text"], False)
            case "edit":
                channel, author, _, _ = left[step["id"]]
                left[step["id"]] = (channel, author, step["text"], True)
            case "delete":
                del left[step["id"]]
            case "bulk_delete":
                for key in step["ids"]:
                    del left[key]
    # Discord opens a thread that hangs on a message with an empty system message by the one who started it.
    openers = [(step["name"], step["by"], "", False) for step in steps("thread")]
    return Counter([*left.values(), *openers])


def keyed_text(world: World, text: str) -> str:
    """The text with the ids in its mentions turned back into the keys of the file."""
    keys = {row["id"]: row["key"] for table in ("roles", "members", "channels") for row in RAW[table]}
    names = {step["name"]: step["in"] for step in steps("thread") + steps("forum_post")}
    threads = {
        str(thread.id): names[thread.name] for guild in world.guilds.values() for thread in guild.threads.values()
    }
    return re.sub(r"<(@&?|#)(\d+)>", lambda found: f"<{found[1]}{(keys | threads)[found[2]]}>", text)


def actual_ledger(world: World) -> Counter[tuple[str, str, str, bool]]:
    return Counter(
        (
            world.channel(entry.channel_id).name,
            world.user(entry.author_id).username,
            keyed_text(world, entry.content),
            entry.edited_timestamp is not None,
        )
        for entry in world.ledger().messages.values()
    )


@pytest.mark.parametrize("until", [0.0, 0.25, 2 / 3, 1.0])
async def test_seed_and_replay_end_with_the_ledger_that_the_file_describes(until: float) -> None:
    playback = demo_playback(until)
    playback.seed(until)
    await playback.replay()
    assert actual_ledger(playback.world) == expected_ledger()
    assert len(playback.world.ledger().deleted) == len(steps("delete")) + len(steps("bulk_delete")[0]["ids"])


async def test_seeding_is_silent_and_replay_is_not() -> None:
    playback = demo_playback(until=2 / 3)
    events = recorded_events(playback.world)
    done = playback.seed(until=2 / 3)
    assert events == []
    await playback.replay()
    rest = HISTORY[done:]
    names = Counter(event.name for event in events)
    opened = sum(step.get("do") == "thread" for step in rest)
    assert names["MESSAGE_CREATE"] == sum(step.get("do") in POSTING for step in rest) + opened
    assert names["MESSAGE_DELETE"] == sum(step.get("do") == "delete" for step in rest)
    assert names["THREAD_CREATE"] == opened + sum(step.get("do") == "forum_post" for step in rest)


def test_seeded_messages_keep_their_times_and_the_history_ends_now() -> None:
    playback = demo_playback()
    playback.seed()
    ends = seconds(HISTORY[-1])
    stamps = [snowflake_ms(playback.ids[post.id]) for post in posts_in(playback.community.history)]
    assert stamps == [NOW_MS - (ends - seconds(step)) * 1000 for step in POSTS]


async def test_replay_posts_now_with_rising_ids() -> None:
    playback = demo_playback(until=0.5)
    done = playback.seed(until=0.5)
    newest = max(playback.world.ledger().messages)
    await playback.replay()
    live = [playback.ids[post.id] for post in posts_in(playback.community.history[done:])]
    assert live == sorted(live)
    assert live[0] > newest


async def test_replay_can_keep_ids_and_times() -> None:
    playback = demo_playback()
    events = recorded_events(playback.world)
    await playback.replay(keep_times=True)
    posts = posts_in(playback.community.history)
    assert [playback.ids[post.id] for post in posts] == [post.id for post in posts]
    assert sum(event.name == "MESSAGE_CREATE" for event in events) == len(POSTS) + len(steps("thread"))
    assert actual_ledger(playback.world) == expected_ledger()


async def test_replay_divides_gaps_by_speed_and_caps_them() -> None:
    waits: list[float] = []

    async def sleep(wait_seconds: float) -> None:
        waits.append(wait_seconds)

    playback = demo_playback(sleep=sleep)
    await playback.replay(speed=100, max_gap_seconds=1.0)
    times = [seconds(step) for step in HISTORY]
    gaps = [(later - earlier) / 100 for earlier, later in pairwise(times)]
    assert waits == pytest.approx([0.0, *(min(gap, 1.0) for gap in gaps)])


async def test_steps_about_messages_that_somebody_else_deleted_are_skipped() -> None:
    playback = demo_playback()
    edit_at = next(n for n, step in enumerate(playback.community.history) if isinstance(step, Edit))
    playback.seed(until=edit_at / len(HISTORY))
    step = playback.community.history[edit_at]
    assert isinstance(step, Edit)
    playback.world.delete(playback.ids[step.id])
    await playback.replay()
    assert playback.ids[step.id] in playback.world.ledger().deleted


def test_replies_point_into_the_same_channel() -> None:
    playback = demo_playback()
    playback.seed()
    world = playback.world
    replies = [message for message in world.messages.all() if message.type == MessageType.REPLY]
    assert len(replies) >= 80
    for message in replies:
        assert message.reply_to is not None
        assert message.reply_to[1] in world.messages or message.reply_to[1] in world.messages.deleted
        assert message.reply_to[0] == message.channel_id


def test_the_staff_channel_is_for_staff() -> None:
    playback = demo_playback()
    playback.seed()
    seers = {
        user.username
        for user in playback.world.users.values()
        if can_view(playback.world, user.id, channel_named(playback.world, "staff"))
    }
    assert seers == {"mara", "tomas", "bea", "ines"}


def test_forum_posts_carry_tags_and_the_bake_off_is_archived() -> None:
    playback = demo_playback()
    playback.seed()
    threads = [thread for guild in playback.world.guilds.values() for thread in guild.threads.values()]
    assert [thread.name for thread in threads if thread.thread and thread.thread.archived] == [
        "Radiation shield bake-off"
    ]
    assert sum(bool(thread.thread and thread.thread.applied_tags) for thread in threads) == len(steps("forum_post"))


def channel_named(world: World, name: str) -> int:
    return next(channel.id for channel in world.channels.values() if channel.name == name)


# -- chatter


async def chattered(turns: int, *, seed: int) -> tuple[list[tuple[str, str]], list[float]]:
    """(author, text) of what is chattered in `turns` steps, and the waits."""
    waits: list[float] = []

    async def sleep(wait_seconds: float) -> None:
        waits.append(wait_seconds)
        if len(waits) > turns:
            raise asyncio.CancelledError

    playback = demo_playback(sleep=sleep)
    playback.seed()
    before = set(playback.world.ledger().messages)
    with pytest.raises(asyncio.CancelledError):
        await playback.chatter(4.0, seed=seed)
    new = [entry for key, entry in playback.world.ledger().messages.items() if key not in before]
    return [(playback.world.user(entry.author_id).username, entry.content) for entry in new], waits


async def test_chatter_goes_on_after_what_is_written_and_is_the_same_for_the_same_seed() -> None:
    first, waits = await chattered(600, seed=7)
    assert first == (await chattered(600, seed=7))[0]
    assert first != (await chattered(600, seed=8))[0]
    assert len(first) > 400
    assert all(2.0 <= wait <= 6.0 for wait in waits)


async def test_chatter_leaves_no_blank_unfilled() -> None:
    said, _ = await chattered(600, seed=1)
    assert not [text for _, text in said if re.search(r"\{[a-z_]+\}|\*\d", text)]


async def test_chatter_stops_when_it_is_cancelled() -> None:
    playback = demo_playback()
    playback.seed()
    task = asyncio.create_task(playback.chatter(0.0))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# -- bad demo files


def demo_file(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**RAW, **changes}), encoding="utf-8")
    return path


GOOD = {"at": "0d 00:00:01", "id": "a", "in": "general", "by": "mara", "text": "hi"}


@pytest.mark.parametrize(
    ("history", "complaint"),
    [
        ([], "history: is empty"),
        ([{**GOOD, "by": "nobody"}], "history[0].by: unknown member 'nobody'"),
        ([{**GOOD, "in": "nowhere"}], "history[0].in: unknown channel 'nowhere'"),
        ([{**GOOD, "texxt": ""}], "history[0]: has an unknown key 'texxt'"),
        ([{**GOOD, "at": "noon"}], "history[0].at: should look like '12d 09:30:00', is 'noon'"),
        ([{**GOOD, "do": "explode"}], "history[0].do: unknown step 'explode'"),
        ([{**GOOD, "text": "<@nobody>"}], "history[0].text: unknown mention 'nobody'"),
        ([{**GOOD, "text": 3}], "history[0].text: should be a string, is a number"),
        ([{**GOOD, "reply": "b"}], "history[0].reply: unknown message 'b'"),
        ([GOOD, GOOD], "history[1].id: 'a' is there already"),
        ([GOOD, {**GOOD, "id": "b", "at": "0d 00:00:00"}], "history[1].at: is earlier than the step before"),
        ([GOOD, {**GOOD, "id": "b", "in": "feeds", "reply": "a"}], "history[1].reply: 'a' is in another channel"),
    ],
)
def test_a_mistake_in_a_demo_file_is_named_in_one_line(tmp_path: Path, history: list[Raw], complaint: str) -> None:
    path = demo_file(tmp_path, history=history, questions=[], chatter=[])
    with pytest.raises(DamagedError) as caught:
        load_demo(NOW_MS, path=path)
    assert str(caught.value) == f"mine.json: {complaint}"


def test_a_demo_file_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match=r"mine\.json: format: should be 'ragd-community/1'"):
        load_demo(NOW_MS, path=demo_file(tmp_path, format="other/9"))


def test_an_unknown_slot_shows_at_loading(tmp_path: Path) -> None:
    exchange = [{"in": "general", "by": "*1", "text": "{weather}"}]
    path = demo_file(tmp_path, variations={"slots": {"mm": ["1"]}, "exchanges": [exchange]})
    with pytest.raises(DamagedError, match="unknown slot 'weather'"):
        load_demo(NOW_MS, path=path)


# -- exports


def person(user_id: int, name: str, *, bot: bool = False) -> Raw:
    return {"id": str(user_id), "name": name, "nickname": name.title(), "isBot": bot, "roles": []}


ADA, BOT = person(11, "ada"), person(12, "relay", bot=True)


def message(message_id: int, second: int, text: str, author: Raw = ADA, **more: object) -> Raw:
    return {
        "id": str(message_id),
        "type": "Default",
        "timestamp": f"2024-05-01T12:00:{second:02d}.250+02:00",
        "timestampEdited": None,
        "isPinned": False,
        "content": text,
        "author": author,
        "attachments": [],
        "embeds": [],
        "reactions": [],
        "mentions": [],
        **more,
    }


def export(channel: Raw, messages: list[Raw]) -> Raw:
    return {"guild": {"id": "1", "name": "Tiny"}, "channel": channel, "messages": messages}


def channel(channel_id: int, kind: str, name: str, parent_id: int | None = None, parent: str | None = None) -> Raw:
    parent_text = None if parent_id is None else str(parent_id)
    return {
        "id": str(channel_id),
        "type": kind,
        "name": name,
        "categoryId": parent_text,
        "category": parent,
        "topic": None,
    }


LOUNGE = export(
    channel(100, "GuildTextChat", "lounge", 90, "Rooms"),
    [
        message(1000, 1, "is the kettle on?", isPinned=True),
        message(
            1001,
            2,
            "it is, @Ada",
            BOT,
            type="Reply",
            reference={"messageId": "1000", "channelId": "100", "guildId": "1"},
            timestampEdited="2024-05-01T12:00:30+02:00",
            mentions=[ADA],
            attachments=[{"id": "7", "url": "https://cdn.example/k.png", "fileName": "k.png", "fileSizeBytes": 3}],
            embeds=[
                {
                    "title": "Kettle",
                    "url": None,
                    "fields": [{"name": "T", "value": "99", "isInline": True}],
                    "images": [],
                }
            ],
            stickers=[{"id": "8", "name": "Tea", "format": "Png"}],
            reactions=[
                {"emoji": {"id": "", "name": "🫖"}, "count": 2, "users": []},
                {"emoji": {"id": "55", "name": "leaf"}, "count": 1, "users": [ADA]},
            ],
        ),
        message(1002, 3, "x", type="24", reference={"messageId": None}),
    ],
)
THREAD = export(
    channel(1001, "GuildPublicThread", "kettle talk", 100, "lounge"),
    [message(1003, 4, "", type="21"), message(1004, 5, "descale it")],
)
FORUM_POST = export(
    channel(2000, "GuildPublicThread", "My mug", 150, "mugs"), [message(2000, 6, "look"), message(2001, 7, "nice", BOT)]
)


def write_exports(folder: Path, **files: Raw) -> Path:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def seeded(folder: Path) -> World:
    world = new_world()
    Playback(world, load_exports([folder])).seed()
    return world


def test_an_export_keeps_ids_times_and_parts(tmp_path: Path) -> None:
    world = seeded(write_exports(tmp_path, a=LOUNGE))
    reply: Message = world.message(1001)
    assert sorted(world.ledger().messages) == [1000, 1001, 1002]
    assert reply.type == MessageType.REPLY
    assert reply.reply_to == (100, 1000)
    assert reply.mentions == (11,)
    assert world.ledger().messages[1001].edited_timestamp == "2024-05-01T10:00:30.000000+00:00"
    assert reply.parts.attachments[0]["filename"] == "k.png"
    assert reply.parts.embeds[0]["title"] == "Kettle"
    assert reply.parts.sticker_items[0]["name"] == "Tea"
    assert {key: found.user_ids for key, found in reply.parts.reactions.items()} == {"🫖": [11, 12], "leaf:55": [11]}
    assert world.message(1000).parts.pinned
    assert world.message(1002).type == 24
    assert world.user(12).bot
    assert world.channel(90).type == ChannelType.CATEGORY


def test_threads_of_an_export_hang_under_their_parents_without_new_messages(tmp_path: Path) -> None:
    world = seeded(write_exports(tmp_path, a_thread=THREAD, b=LOUNGE, c=FORUM_POST))
    assert len(world.ledger().messages) == 7
    assert world.channel(1001).parent_id == 100
    assert world.channel(100).type == ChannelType.TEXT
    assert world.channel(100).parent_id == 90
    assert world.channel(150).type == ChannelType.FORUM
    _, state = world.thread(2000)
    assert state.message_count == 1


async def test_an_export_replays_live_with_replies_led_to_the_new_ids(tmp_path: Path) -> None:
    playback = Playback(new_world(), load_exports([write_exports(tmp_path, a=LOUNGE, c=FORUM_POST)]), sleep=no_sleep)
    await playback.replay()
    reply = playback.world.message(playback.ids[1001])
    assert reply.id != 1001
    assert reply.reply_to == (100, playback.ids[1000])
    assert playback.ids[2000] == 2000


def without(content: Raw, key: str) -> Raw:
    return {name: value for name, value in content.items() if name != key}


def with_message(**changes: object) -> Raw:
    return export(LOUNGE["channel"], [{**message(1000, 1, "hi"), **changes}])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (without(LOUNGE, "messages"), "b.json: lacks 'messages'"),
        ({**LOUNGE, "messages": {}}, "b.json: messages: should be a list, is an object"),
        (with_message(id=5), "b.json: messages[0].id: should be a string, is a number"),
        (with_message(id="five"), "b.json: messages[0].id: should be an id of digits, is 'five'"),
        (with_message(timestamp="soon"), "b.json: messages[0].timestamp: should be an ISO 8601 time, is 'soon'"),
        (with_message(type="Wink"), "b.json: messages[0].type: unknown message type 'Wink'"),
        (with_message(author=None), "b.json: messages[0].author: should be an object, is null"),
        (with_message(id="3000"), "b.json: messages[0].id: message 3000 is there already"),
        (
            export(channel(5, "DirectTextChat", "dm"), []),
            "b.json: channel.type: cannot replay a channel of type 'DirectTextChat'",
        ),
        (
            {**LOUNGE, "guild": {"id": "2", "name": "Other"}},
            "b.json: guild.id: is another guild than 1 of the files before",
        ),
        (
            export(THREAD["channel"], []),
            "b.json: channel: is a thread without messages or without categoryId, its parent channel",
        ),
    ],
)
def test_a_bad_export_is_named_in_one_line(tmp_path: Path, content: Raw, complaint: str) -> None:
    good = export(channel(300, "GuildTextChat", "good"), [message(3000, 1, "fine")])
    with pytest.raises(DamagedError) as caught:
        load_exports([write_exports(tmp_path, a=good, b=content)])
    assert str(caught.value) == complaint


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "torn.json").write_text('{"guild": ', encoding="utf-8")
    with pytest.raises(DamagedError, match=r"torn\.json: line 1 column \d+: not JSON"):
        load_exports([tmp_path])
    with pytest.raises(DamagedError, match=r"gone\.json: cannot be read"):
        load_exports([tmp_path / "gone.json"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DamagedError, match=r"empty: holds no \*\.json files"):
        load_exports([tmp_path / "empty"])
    with pytest.raises(DamagedError, match="no export files given"):
        load_exports([])


def test_the_pyscript_exports_load_completely() -> None:
    root = Path(os.environ.get("RAGD_TEST_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
    folder = root / "pyscript-discord"
    if not folder.is_dir():
        pytest.skip("no PyScript exports here: set RAGD_TEST_DATA to the folder that holds pyscript-discord")
    community = load_exports([folder])
    world = new_world()
    Playback(world, community).seed()
    assert len(world.ledger().messages) == 2115
    assert sum(found.type == MessageType.REPLY for found in world.messages.all()) == 626
    assert {post.id for post in community.history if isinstance(post, Post)} == set(world.ledger().messages)
