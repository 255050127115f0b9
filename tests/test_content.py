"""Everything a message can carry, played at a real capture: the same rows by gateway and by REST."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from ragd.extra import is_sound
from ragd.sandbox.entities import ChannelType
from ragd.store import Store
from ragd.text import searchable_text
from tests.kinds import PARTY, RICH, THUMB, change_some, command_used, play
from tests.processes import Place, Process, assert_complete, running, until


def read(process: Process, query: str, *parameters: object) -> list[dict[str, Any]]:
    """Rows of the process's database, by column."""
    connection = apsw.Connection(str(process.settings.database_path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        cursor = connection.execute(query, parameters)
        return [dict(zip((column[0] for column in cursor.get_description()), row, strict=True)) for row in cursor]
    finally:
        connection.close()


def rows(process: Process) -> dict[int, dict[str, Any]]:
    """Messages as stored, without how and when they came."""
    by_the_way = ("source", "received_at", "change")
    return {
        row["id"]: {name: value for name, value in row.items() if name not in by_the_way}
        for row in read(process, "SELECT * FROM message")
    }


def row(process: Process, message_id: int) -> dict[str, Any]:
    (found,) = read(process, "SELECT * FROM message WHERE id = ?", message_id)
    return {**found, "extra": json.loads(found["extra"]), "reactions": json.loads(found["reactions"])}


def text_of(process: Process, message_id: int) -> str:
    (found,) = read(process, "SELECT content, extra FROM message WHERE id = ?", message_id)
    return searchable_text(found["content"], found["extra"])


def connected(process: Process) -> Process:
    try:
        until(lambda: process.counter("connected") and process.counter("resyncs"))
    except AssertionError:
        raise AssertionError(f"not connected\n{process.tail()}") from None
    return process


def test_what_came_live_equals_what_is_read_later(place: Place, variables: dict[str, str], short_path: Path) -> None:
    # nothing is read again here, or a difference would be papered over
    with running("capture", {**variables, "RAGD_RECONCILE_HOURS": "0"}) as live:
        connected(live)
        ids = play(place)
        change_some(place, ids)
        assert_complete(place, live.settings.database_path)
        until(lambda: row(live, ids["words"])["reactions"] == {THUMB: 2, PARTY: 2}, "reactions")
        came = {
            found["id"]: found["source"] for found in read(live, "SELECT id, source FROM message WHERE NOT deleted")
        }
        assert {came[ids[name]] for name in ids.keys() - {"elsewhere"}} == {"gateway"}
        check_rows(live, ids, place)
        live.stop()
    with running("capture", {**variables, "RAGD_DATA_DIR": str(short_path / "later")}) as later:
        connected(later)
        assert_complete(place, later.settings.database_path)
        wanted = {key: found for key, found in rows(live).items() if not found["deleted"]}
        assert {key: found for key, found in rows(later).items() if key in wanted} == wanted
        assert {found["source"] for found in read(later, "SELECT source FROM message")} == {"rest"}
        later.stop()
    before = read(live, "SELECT id, change FROM message ORDER BY id")
    with running("capture", variables) as again:
        connected(again)
        until(lambda: again.counter("backfilled") >= len(wanted), "recent history is read again")
        again.stop()
    assert read(live, "SELECT id, change FROM message ORDER BY id") == before, "no page is news"


def check_rows(process: Process, ids: dict[str, int], place: Place) -> None:
    """What each of them is stored as, and what search reads of it."""
    for name, message_id in ids.items():
        if name in EXPECTED:
            EXPECTED[name](row(process, message_id), text_of(process, message_id))
    mentioned = row(process, ids["mentions"])["extra"]
    assert mentioned["mentions"] == sorted(mentioned["mentions"], key=lambda user: user["id"])
    assert {user["id"] for user in mentioned["mentions"]} == {place.owner_id, place.member_id}
    assert mentioned["mention_everyone"] is True
    reply = row(process, ids["reply"])
    assert reply["reply_to_id"] == ids["words"]
    assert "reference" not in reply["extra"]
    assert row(process, ids["thread's first"])["extra"]["thread_id"] == ids["thread's first"]
    assert row(process, ids["pin notice"])["reply_to_id"] == ids["words"]
    webhook = row(process, ids["webhook"])
    assert (webhook["is_bot"], webhook["author_id"]) == (1, webhook["extra"]["webhook_id"])
    forward = row(process, ids["forward"])
    assert forward["reply_to_id"] is None
    assert forward["extra"]["reference"]["message_id"] == ids["elsewhere"]
    assert forward["extra"]["reference"]["type"] == "forward"
    heard = {name for name in ids if row(process, ids[name])["chunkable"]}
    silent = {"elsewhere", "webhook", "joined", "boosted", "pin notice"}
    assert heard == ids.keys() - silent
    for found in read(process, "SELECT extra FROM message"):
        assert "hm=" not in found["extra"], "an address that expires"
        assert is_sound(found["extra"]), "what is captured can be exported and imported"


def _words(found: dict[str, Any], text: str) -> None:
    assert (found["extra"], text) == ({}, "plain words")


def _mentions(found: dict[str, Any], text: str) -> None:
    assert text == "@ann @bob @crew #galley :ok: 2023-11-14 22:13 UTC @everyone"


def _files(found: dict[str, Any], text: str) -> None:
    drawn, spoken = found["extra"]["attachments"]
    assert drawn == {
        "id": 71,
        "name": "map.png",
        "size": 321,
        "type": "image/png",
        "description": "a hand-drawn map",
        "title": "Карта",
        "spoiler": True,
    }
    assert spoken["duration_seconds"] == 3.5
    assert text == "look\n[Карта (map.png): a hand-drawn map, map.png]"


def _embeds(found: dict[str, Any], text: str) -> None:
    rich, linked = found["extra"]["embeds"]
    fields = [{"name": "where", "value": "weir", "inline": True}, {"name": "when", "value": "dawn"}]
    assert {"type": "rich", **rich} == {**RICH, "fields": fields, "timestamp": 1_700_000_000_000}
    assert "type" not in rich
    assert linked["url"] == "https://cdn.discordapp.com/attachments/1/2/otter.png"
    assert text == "read\nThe Gazette\nOtters\nseen at the weir\nwhere: weir\nwhen: dawn\npage 3"


def _sticker(found: dict[str, Any], text: str) -> None:
    assert (found["extra"], text) == ({"stickers": [{"id": 81, "name": "wave"}]}, "[sticker wave]")


def _poll(found: dict[str, Any], text: str) -> None:
    poll = found["extra"]["poll"]
    assert poll["answers"] == [{"id": 1, "text": "soup"}, {"id": 2, "text": "salad", "emoji": "🥗"}]
    assert (poll["multiple"], poll["expires_at"]) == (True, 1_700_000_000_000)
    assert text == "Lunch?\n- soup\n- salad"


def _ended_poll(found: dict[str, Any], text: str) -> None:
    assert found["extra"]["poll"]["finished"] is True
    assert text == "Lunch?\n- soup (3 votes)\n- salad (0 votes)"


def _buttons(found: dict[str, Any], text: str) -> None:
    assert found["extra"]["components"][0] == {
        "type": "action_row",
        "parts": [{"type": "button", "label": "Score", "url": "https://example.com/score"}],
    }
    assert text == "choose\nScore\nYour voice\nalto\nlow\nbass"


def _layout(found: dict[str, Any], text: str) -> None:
    assert text == "# Choir\nthe hall\nthe stage\nscore.pdf\nScore"
    assert found["extra"]["flags"] == 1 << 15


def _forward(found: dict[str, Any], text: str) -> None:
    (snapshot,) = found["extra"]["snapshots"]
    assert snapshot["content"] == "the key is under the pot"
    assert snapshot["created_at"] > 0
    assert text.startswith("the key is under the pot\nThe Gazette\n")
    assert text.endswith("[Карта (map.png): a hand-drawn map]")


def _answer(found: dict[str, Any], text: str) -> None:
    origin = found["extra"]["interaction"]
    assert (origin["id"], origin["type"], origin["command"], origin["user"]["name"]) == (91, 2, "weather", "bob")
    assert (found["extra"]["application_id"], found["extra"]["flags"], found["type"]) == (92, 1 << 12, 20)


def _pinned(found: dict[str, Any], text: str) -> None:
    assert found["extra"] == {"pinned": True}


def _edited(found: dict[str, Any], text: str) -> None:
    assert found["edited_at"] > 0
    assert text == "first"


EXPECTED: dict[str, Callable[[dict[str, Any], str], None]] = {
    "words": _words,
    "mentions": _mentions,
    "files": _files,
    "embeds": _embeds,
    "sticker": _sticker,
    "poll": _poll,
    "ended poll": _ended_poll,
    "buttons": _buttons,
    "layout": _layout,
    "forward": _forward,
    "answer": _answer,
    "pinned": _pinned,
    "edited": _edited,
}


# Reactions


def test_reactions_come_and_go_live(place: Place, variables: dict[str, str]) -> None:
    control = place.control
    old = place.post("before")
    control.react(old, place.owner_id, "⭐")
    with running("capture", variables) as capture:
        connected(capture)
        assert_complete(place, capture.settings.database_path)
        assert row(capture, old)["reactions"] == {"⭐": 1}
        new = place.post("now")
        until(lambda: new in rows(capture))
        before = row(capture, new)["change"]
        for user in (place.owner_id, place.member_id):
            control.react(new, user, THUMB)
            control.react(new, user, PARTY)
        until(lambda: row(capture, new)["reactions"] == {THUMB: 2, PARTY: 2})
        control.change("unreact", message_id=new, user_id=place.owner_id, emoji=THUMB)
        control.change("clear_reactions", message_id=new, emoji=PARTY)
        until(lambda: row(capture, new)["reactions"] == {THUMB: 1})
        control.change("clear_reactions", message_id=old)
        until(lambda: row(capture, old)["reactions"] == {})
        assert row(capture, new)["change"] == before


def test_reactions_that_came_while_nobody_listened_are_read_again(place: Place, variables: dict[str, str]) -> None:
    message_id = place.post("hello")
    with running("capture", variables) as capture:
        connected(capture)
        assert_complete(place, capture.settings.database_path)
        capture.stop()
    place.control.react(message_id, place.member_id, THUMB)
    with running("capture", variables) as capture:
        until(lambda: row(capture, message_id)["reactions"] == {THUMB: 1})


# Bots, and ourselves


def test_bots_take_part_when_asked_for_and_our_own_answers_never_do(place: Place, variables: dict[str, str]) -> None:
    control, channel = place.control, place.channel_id
    other = control.create_user("helper", bot=True)
    control.add_member(place.guild_id, other)
    said = control.post(channel, other, "the tide turns at four")
    origin = command_used(place.member_id, "ask")
    control.post(channel, place.bot_id, "as said before", type=20, interaction_metadata=origin)
    for index_bots, wanted in (("false", set()), ("true", {said}), ("false", set())):
        with running("capture", {**variables, "RAGD_INDEX_BOTS": index_bots}) as capture:
            connected(capture)
            answer = int(control.say(channel, place.member_id, "!privacy", wait_seconds=30)["messages"][0]["id"])
            assert_complete(place, capture.settings.database_path)
            until(lambda: bots_heard(capture) == wanted, f"bots: {index_bots}")  # noqa: B023 - called at once
            assert row(capture, answer)["author_id"] == place.bot_id
            assert len(read(capture, "SELECT 1 FROM message WHERE author_id = ?", place.bot_id)) > 1


def bots_heard(process: Process) -> set[int]:
    return {found["id"] for found in read(process, "SELECT id FROM message WHERE is_bot AND chunkable")}


# Channels


def test_what_a_channel_is(place: Place, variables: dict[str, str]) -> None:
    control = place.control
    forum = control.create_channel(place.guild_id, "help", ChannelType.FORUM, available_tags=["solved", "boats"])
    tags = tags_of(place, forum)
    with running("capture", variables) as capture:
        connected(capture)
        post = control.create_forum_post(forum, place.member_id, "how?", "so", applied_tags=[tags["boats"]])
        control.change("update_channel", channel_id=place.channel_id, topic="all and sundry")
        until(lambda: details(capture, place.channel_id) == {"topic": "all and sundry"})
        until(lambda: details(capture, post).get("tags") == ["boats"])
        assert details(capture, forum) == {"tags": ["solved", "boats"]}
        control.change("update_thread", thread_id=post, applied_tags=[tags["solved"]], locked=True)
        wanted = {"auto_archive_minutes": 1440, "locked": True, "owner_id": place.member_id, "tags": ["solved"]}
        until(lambda: details(capture, post) == wanted)
        store = Store.open_read_only(capture.settings.database_path)
        assert {json.loads(each.details).get("topic") for each in store.channels()} == {"all and sundry", None}
        store.close()


def tags_of(place: Place, forum: int) -> dict[str, int]:
    world = place.sandbox.world
    return place.sandbox.call(lambda: {tag.name: tag.id for tag in world.channels[forum].available_tags})


def details(process: Process, channel_id: int) -> dict[str, Any]:
    found = read(process, "SELECT details FROM channel WHERE id = ?", channel_id)
    return json.loads(found[0]["details"]) if found else {}
