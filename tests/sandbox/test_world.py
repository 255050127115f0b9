"""The world by itself: ids, threads, mentions, the ledger, what is emitted, what a million messages cost."""

from __future__ import annotations

import time

import pytest
from sandbox_clients import Scene, make_scene

from ragd.sandbox import payloads
from ragd.sandbox.entities import ChannelType, Event, Intents, MessageFlags, MessageType, OverwriteTarget
from ragd.sandbox.redaction import redacted
from ragd.sandbox.snowflake import iso, parse_iso, snowflake_at, snowflake_ms
from ragd.sandbox.world import UnknownEntityError, World, WorldRuleError

THEN_MS = parse_iso("2023-05-04T10:00:00+00:00")


class Stopped:
    """A clock that stands still until it is moved."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def scene(world: World) -> Scene:
    return make_scene(world)


@pytest.fixture
def heard(world: World, scene: Scene) -> list[Event]:
    events: list[Event] = []
    world.subscribe(events.append)
    return events


def names(events: list[Event]) -> list[str]:
    return [event.name for event in events]


# -- ids and times


def test_times_round_trip() -> None:
    assert snowflake_ms(snowflake_at(THEN_MS)) == THEN_MS
    assert parse_iso(iso(THEN_MS + 7)) == THEN_MS + 7
    assert iso(THEN_MS) == "2023-05-04T10:00:00.000000+00:00"
    assert parse_iso("2023-05-04T10:00:00") == THEN_MS
    assert snowflake_ms(175928847299117063) == parse_iso("2016-04-30T11:18:25.796+00:00")  # Discord's own example


def test_live_ids_increase_even_when_time_does_not() -> None:
    clock = Stopped(THEN_MS / 1000)
    world = World(clock)
    scene = make_scene(world)
    ids = [world.post(scene.channel.id, scene.owner.id, "x").id for _ in range(100)]
    clock.seconds -= 60
    ids.append(world.post(scene.channel.id, scene.owner.id, "x").id)
    assert ids == sorted(set(ids))
    assert all(snowflake_ms(message_id) == THEN_MS for message_id in ids)


def test_live_ids_stay_above_seeded_ones() -> None:
    world = World(Stopped(THEN_MS / 1000))
    scene = make_scene(world)
    seeded = world.post(scene.channel.id, scene.owner.id, "x", at_ms=THEN_MS)
    given = world.post(scene.channel.id, scene.owner.id, "x", message_id=snowflake_at(THEN_MS, 4_000_000))
    live = world.post(scene.channel.id, scene.owner.id, "x")
    assert seeded.id < live.id
    assert given.id < live.id


# -- messages


def test_history_pages_as_discord_gives_them(world: World, scene: Scene) -> None:
    ids = [world.post(scene.channel.id, scene.owner.id, str(number)).id for number in range(10)]

    def page(**bounds: int) -> list[int]:
        return [ids.index(message.id) for message in world.messages.page(scene.channel.id, **bounds)]

    assert page(limit=3) == [9, 8, 7]
    assert page(before=ids[5], limit=2) == [4, 3]
    assert page(after=ids[5], limit=2) == [7, 6]
    assert page(after=ids[9]) == []
    assert page(around=ids[5], limit=3) == [6, 5, 4]


def test_seeding_out_of_order(world: World, scene: Scene) -> None:
    later = world.post(scene.channel.id, scene.owner.id, "later", at_ms=THEN_MS + 1000)
    earlier = world.post(scene.channel.id, scene.owner.id, "earlier", at_ms=THEN_MS)
    assert [message.id for message in world.messages.in_channel(scene.channel.id)] == [earlier.id, later.id]
    assert scene.channel.last_message_id == later.id


def test_mentions_are_parsed(world: World, scene: Scene) -> None:
    role = world.create_role(scene.guild.id, "crew")
    text = f"<@{scene.owner.id}> <@!{scene.owner.id}> <@&{role.id}> <@&1> <@2> @everyone"
    message = world.post(scene.channel.id, scene.member.id, text)
    assert message.mentions == (scene.owner.id,)
    assert message.parts.mention_roles == (role.id,)
    assert message.parts.mention_everyone
    edited = world.edit(message.id, content="nobody")
    assert edited.mentions == ()
    assert not edited.parts.mention_everyone


def test_reply_pings_and_resolves(world: World, scene: Scene) -> None:
    question = world.post(scene.channel.id, scene.owner.id, "?")
    answer = world.post(scene.channel.id, scene.member.id, "!", reply_to=question.id)
    assert answer.type == MessageType.REPLY
    assert answer.mentions == (scene.owner.id,)
    assert payloads.message_payload(world, answer)["referenced_message"]["content"] == "?"
    world.delete(question.id)
    assert payloads.message_payload(world, answer)["referenced_message"] is None


def test_reactions_count_and_go(world: World, scene: Scene, heard: list[Event]) -> None:
    message = world.post(scene.channel.id, scene.owner.id, "x")
    for user in (scene.owner.id, scene.member.id, scene.member.id):
        world.react(message.id, user, "party:99")
    payload = payloads.message_payload(world, message, viewer_id=scene.member.id)
    assert payload["reactions"][0]["emoji"] == {"id": "99", "name": "party"}
    assert (payload["reactions"][0]["count"], payload["reactions"][0]["me"]) == (2, True)
    world.unreact(message.id, scene.owner.id, "party:99")
    world.unreact(message.id, scene.member.id, "party:99")
    assert "reactions" not in payloads.message_payload(world, message)
    assert names(heard).count("MESSAGE_REACTION_ADD") == 2


def test_a_moderator_clears_reactions(world: World, scene: Scene, heard: list[Event]) -> None:
    message = world.post(scene.channel.id, scene.owner.id, "x")
    for emoji in ("👍", "party:99", "⭐"):
        world.react(message.id, scene.member.id, emoji)
    world.clear_reactions(message.id, "party:99")
    assert heard[-1].data["emoji"] == {"id": "99", "name": "party"}
    assert list(message.parts.reactions) == ["👍", "⭐"]
    with pytest.raises(UnknownEntityError, match="party"):
        world.clear_reactions(message.id, "party:99")
    world.clear_reactions(message.id)
    assert not message.parts.reactions
    assert names(heard)[-2:] == ["MESSAGE_REACTION_REMOVE_EMOJI", "MESSAGE_REACTION_REMOVE_ALL"]


def test_a_forward_keeps_what_was_said(world: World, scene: Scene) -> None:
    files = [payloads.attachment_payload(5, scene.channel.id, "a.png", 3)]
    source = world.post(scene.channel.id, scene.owner.id, "as it was", attachments=files)
    forward = world.forward(scene.channel.id, scene.member.id, source.id)
    world.edit(source.id, content="as it is")
    world.delete(source.id)
    payload = payloads.message_payload(world, forward)
    (snapshot,) = payload["message_snapshots"]
    assert snapshot["message"]["content"] == "as it was"
    assert snapshot["message"]["attachments"] == files
    assert "author" not in snapshot["message"]
    assert payload["message_reference"]["type"] == 1
    assert payload["message_reference"]["message_id"] == str(source.id)
    assert (payload["content"], payload["flags"]) == ("", MessageFlags.HAS_SNAPSHOT)
    assert "referenced_message" not in payload
    unseen = redacted(payload, bot_id=1)
    assert "message_snapshots" not in unseen, "it needs the intent for message content"


def test_webhook_messages(world: World, scene: Scene) -> None:
    hook = world.create_webhook(scene.channel.id, "ci", scene.owner.id)
    message = world.post(scene.channel.id, hook.id, "built", webhook_id=hook.id, webhook_name="builder")
    payload = payloads.message_event_payload(world, message)
    assert payload["author"]["username"] == "builder"
    assert payload["webhook_id"] == str(hook.id)
    assert "member" not in payload


# -- threads


def test_thread_from_a_message(world: World, scene: Scene, heard: list[Event]) -> None:
    starter = world.post(scene.channel.id, scene.owner.id, "topic")
    thread = world.create_thread(scene.channel.id, scene.member.id, "talk", message_id=starter.id)
    world.post(thread.id, scene.owner.id, "one")
    second = world.post(thread.id, scene.owner.id, "two")
    world.delete(second.id)
    state = thread.thread
    assert state is not None
    assert thread.id == starter.id
    assert starter.flags & MessageFlags.HAS_THREAD
    assert (state.message_count, state.total_message_sent) == (1, 2)
    assert set(state.members) == {scene.owner.id, scene.member.id}
    assert thread.last_message_id == second.id
    assert payloads.message_payload(world, starter)["thread"]["id"] == str(thread.id)
    assert names(heard)[:4] == ["MESSAGE_CREATE", "THREAD_CREATE", "THREAD_MEMBERS_UPDATE", "MESSAGE_UPDATE"]


def test_thread_without_a_message_is_announced(world: World, scene: Scene) -> None:
    thread = world.create_thread(scene.channel.id, scene.owner.id, "loose")
    notice = next(world.messages.in_channel(scene.channel.id))
    payload = payloads.message_payload(world, notice)
    assert (notice.type, notice.content) == (MessageType.THREAD_CREATED, "loose")
    assert payload["message_reference"]["channel_id"] == str(thread.id)
    assert "message_id" not in payload["message_reference"]
    private = world.create_thread(scene.channel.id, scene.owner.id, "hush", private=True)
    assert private.type == ChannelType.PRIVATE_THREAD
    assert world.messages.count(scene.channel.id) == 1


def test_forum_post(world: World, scene: Scene) -> None:
    forum = world.create_channel(scene.guild.id, "help", ChannelType.FORUM, available_tags=["solved"])
    tag = forum.available_tags[0].id
    post = world.create_forum_post(forum.id, scene.owner.id, "how?", "like so", applied_tags=[tag])
    assert world.message(post.id).channel_id == post.id
    assert forum.last_message_id == post.id
    assert post.thread is not None
    assert (post.thread.message_count, post.thread.applied_tags) == (0, [tag])
    with pytest.raises(WorldRuleError):
        world.post(forum.id, scene.owner.id, "not here")


def test_posting_wakes_an_archived_thread(world: World, scene: Scene, heard: list[Event]) -> None:
    thread = world.create_thread(scene.channel.id, scene.owner.id, "talk")
    world.archive_thread(thread.id)
    world.post(thread.id, scene.owner.id, "history", at_ms=THEN_MS)
    assert thread.thread is not None
    assert thread.thread.archived
    heard.clear()
    world.post(thread.id, scene.owner.id, "hello?")
    assert not thread.thread.archived
    assert names(heard) == ["THREAD_UPDATE", "MESSAGE_CREATE"]
    world.archive_thread(thread.id, locked=True)
    with pytest.raises(WorldRuleError, match="locked"):
        world.post(thread.id, scene.owner.id, "locked")


# -- the ledger and deletion


def test_ledger_tells_what_is_and_what_was(world: World, scene: Scene) -> None:
    kept, edited, deleted = (world.post(scene.channel.id, scene.owner.id, text).id for text in "abc")
    world.edit(edited, content="b2", at_ms=THEN_MS)
    world.delete(deleted)
    doomed = world.create_channel(scene.guild.id, "doomed")
    lost = world.post(doomed.id, scene.owner.id, "lost").id
    thread = world.create_thread(doomed.id, scene.owner.id, "inside")
    deep = world.post(thread.id, scene.owner.id, "deep").id
    world.delete_channel(doomed.id)
    other = world.create_guild("other", scene.owner.id)
    elsewhere = world.post(world.create_channel(other.id, "x").id, scene.owner.id, "elsewhere").id
    ledger = world.ledger(scene.guild.id)
    assert set(ledger.messages) == {kept, edited}
    assert ledger.messages[edited].content == "b2"
    assert ledger.messages[edited].edited_timestamp == iso(THEN_MS)
    assert ledger.deleted >= {deleted, lost, deep}
    assert elsewhere in world.ledger().messages
    assert thread.id not in world.channels
    with pytest.raises(WorldRuleError):
        world.post(scene.channel.id, scene.owner.id, "back from the dead", message_id=deleted)


def test_channel_deletion_sends_no_message_deletes(world: World, scene: Scene, heard: list[Event]) -> None:
    world.post(scene.channel.id, scene.owner.id, "x")
    world.delete_channel(scene.channel.id)
    assert names(heard) == ["MESSAGE_CREATE", "CHANNEL_DELETE"]


def test_delete_guild(world: World, scene: Scene, heard: list[Event]) -> None:
    message = world.post(scene.channel.id, scene.owner.id, "x")
    world.delete_guild(scene.guild.id)
    assert names(heard)[-1] == "GUILD_DELETE"
    assert heard[-1].only_user == scene.application.bot_id
    assert world.ledger(scene.guild.id).deleted == {message.id}
    assert scene.channel.id not in world.channels


def test_bulk_delete_has_a_limit(world: World, scene: Scene) -> None:
    with pytest.raises(WorldRuleError):
        world.bulk_delete(scene.channel.id, range(101))


def test_a_deleted_category_moves_its_channels_to_the_top(world: World, scene: Scene, heard: list[Event]) -> None:
    category = world.create_channel(scene.guild.id, "rooms", ChannelType.CATEGORY)
    channel = world.create_channel(scene.guild.id, "room", parent_id=category.id)
    heard.clear()
    world.delete_channel(category.id)
    assert names(heard) == ["CHANNEL_DELETE", "CHANNEL_UPDATE"]
    assert heard[1].data["parent_id"] is None
    assert world.channel(channel.id).parent_id is None


def test_who_is_added_to_a_private_thread_or_taken_out_is_told(world: World, scene: Scene, heard: list[Event]) -> None:
    thread = world.create_thread(scene.channel.id, scene.owner.id, "private", private=True)
    heard.clear()
    world.join_thread(thread.id, scene.member.id)
    world.leave_thread(thread.id, scene.member.id)
    told = [(event.name, event.data["id"]) for event in heard if event.only_user == scene.member.id]
    assert told == [("THREAD_CREATE", str(thread.id)), ("THREAD_MEMBERS_UPDATE", str(thread.id))]
    assert heard[-1].data["removed_member_ids"] == [str(scene.member.id)]


def test_a_media_channel_is_a_forum(world: World, scene: Scene) -> None:
    media = world.create_channel(scene.guild.id, "pictures", ChannelType.MEDIA)
    post = world.create_forum_post(media.id, scene.member.id, "a picture", "of a cat")
    assert payloads.channel_payload(world, media)["available_tags"] == []
    assert (post.parent_id, post.type) == (media.id, ChannelType.PUBLIC_THREAD)
    with pytest.raises(WorldRuleError, match="takes no messages"):
        world.post(media.id, scene.member.id, "loose")


# -- events and errors


def test_silence_emits_nothing(world: World, scene: Scene, heard: list[Event]) -> None:
    with world.silence():
        world.post(scene.channel.id, scene.owner.id, "history", at_ms=THEN_MS)
    assert heard == []
    world.post(scene.channel.id, scene.owner.id, "live")
    event = heard[0]
    assert (event.name, event.guild_id, event.channel_id) == ("MESSAGE_CREATE", scene.guild.id, scene.channel.id)
    assert event.intent == Intents.GUILD_MESSAGES
    assert event.data["member"]["joined_at"]


def test_unsubscribing(world: World, scene: Scene) -> None:
    events: list[Event] = []
    unsubscribe = world.subscribe(events.append)
    unsubscribe()
    world.post(scene.channel.id, scene.owner.id, "unheard")
    assert events == []


def test_unknown_things_are_named(world: World, scene: Scene) -> None:
    with pytest.raises(UnknownEntityError, match="unknown channel 7"):
        world.post(7, scene.owner.id, "x")
    with pytest.raises(UnknownEntityError, match="unknown user 7"):
        world.post(scene.channel.id, 7, "x")
    with pytest.raises(UnknownEntityError) as caught:
        world.delete(7)
    assert caught.value.kind == "message"


def test_roles_leave_with_all_their_traces(world: World, scene: Scene) -> None:
    role = world.create_role(scene.guild.id, "crew", permissions=8)
    world.set_member_roles(scene.guild.id, scene.member.id, [role.id])
    world.set_overwrite(scene.channel.id, role.id, OverwriteTarget.ROLE, deny=1 << 10)
    world.delete_role(scene.guild.id, role.id)
    assert world.member(scene.guild.id, scene.member.id).roles == []
    assert scene.channel.overwrites == {}
    world.remove_member(scene.guild.id, scene.application.bot_id)
    assert list(scene.guild.roles) == [scene.guild.id]


# -- interactions


def test_command_options_nest_and_are_checked(world: World, scene: Scene) -> None:
    option = {"name": "query", "type": 3, "required": True, "description": "q"}
    choice = {"name": "sure", "type": 3, "description": "s", "choices": [{"name": "Yes", "value": "yes"}]}
    sub = {"name": "text", "type": 1, "options": [option, choice], "description": "t"}
    world.put_command(scene.application.id, None, {"name": "search", "description": "s", "options": [sub]})
    app, channel, user = scene.application.id, scene.channel.id, scene.member.id
    interaction = world.invoke_command(app, channel, user, "search text", {"query": "coffee"})
    values = [{"name": "query", "type": 3, "value": "coffee"}]
    assert interaction.data["options"] == [{"name": "text", "type": 1, "options": values}]
    with pytest.raises(WorldRuleError, match="query is required"):
        world.invoke_command(app, channel, user, "search text")
    with pytest.raises(UnknownEntityError, match="unknown option colour"):
        world.invoke_command(app, channel, user, "search text", {"query": "x", "colour": "red"})
    with pytest.raises(WorldRuleError, match="sure is one of yes"):
        world.invoke_command(app, channel, user, "search text", {"query": "x", "sure": "no"})
    world.invoke_command(app, channel, user, "search text", {"query": "x", "sure": "yes"})
    with pytest.raises(UnknownEntityError, match="unknown command find"):
        world.invoke_command(app, channel, user, "find")


def test_deferred_answer_fills_the_thinking_message(world: World, scene: Scene, heard: list[Event]) -> None:
    world.put_command(scene.application.id, None, {"name": "ask", "description": "a"})
    interaction = world.invoke_command(scene.application.id, scene.channel.id, scene.member.id, "ask")
    world.acknowledge(interaction.id, 5)
    thinking = world.answer_message(interaction, None)
    assert thinking.flags & MessageFlags.LOADING
    assert not interaction.answered.is_set()
    answer = world.answer(interaction.id, "42")
    assert answer is thinking
    assert (answer.content, answer.flags, answer.edited_ms) == ("42", 0, None)
    assert interaction.answered.is_set()
    more = world.answer(interaction.id, "hidden", flags=int(MessageFlags.EPHEMERAL))
    assert more.id not in world.messages
    assert interaction.message_ids == [answer.id, more.id]
    assert names(heard) == ["INTERACTION_CREATE", "MESSAGE_CREATE", "MESSAGE_UPDATE"]
    with pytest.raises(WorldRuleError, match="already"):
        world.acknowledge(interaction.id, 4)


# -- size


def test_many_messages(world: World, scene: Scene) -> None:
    began = time.perf_counter()
    channels = [world.create_channel(scene.guild.id, f"c{number}").id for number in range(10)]
    with world.silence():
        for number in range(100_000):
            world.post(channels[number % 10], scene.owner.id, f"message {number}", at_ms=THEN_MS + number)
    last = world.messages.page(channels[0], limit=100)
    assert len(last) == 100
    assert len(world.ledger().messages) == 100_000
    assert time.perf_counter() - began < 30, "generous: it takes about one second"
