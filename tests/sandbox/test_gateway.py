"""The gateway as stock discord.py and a bare websocket see it."""

from __future__ import annotations

import time

import discord
import pytest
from sandbox_clients import Connect, OpenSocket, Scene, until

from ragd.sandbox.client import ControlClient, SandboxThread
from ragd.sandbox.entities import ChannelType, Intents, MessageFlags, OverwriteTarget
from ragd.sandbox.gateway import GatewayOptions
from ragd.sandbox.permissions import Permission

VIEW = int(Permission.VIEW_CHANNEL)


def without_content() -> discord.Intents:
    intents = discord.Intents.all()
    intents.message_content = False
    return intents


# -- a stock client


async def test_client_sees_the_guild(connect: Connect, scene: Scene, control: ControlClient) -> None:
    last = control.post(scene.channel.id, scene.owner.id, "before")
    forum = control.create_channel(scene.guild.id, "help", ChannelType.FORUM)
    active = control.create_forum_post(forum, scene.owner.id, "how?", "like this")
    gone = control.create_thread(scene.channel.id, scene.owner.id, "old")
    control.archive_thread(gone)
    client = await connect()
    guild = client.get_guild(scene.guild.id)
    assert guild is not None
    assert guild.name == "Lab"
    assert guild.chunked
    assert {member.name for member in guild.members} == {"ann", "bob", "ragd"}
    assert client.user is not None
    assert client.user.id == scene.application.bot_id
    channel = guild.get_channel(scene.channel.id)
    assert isinstance(channel, discord.TextChannel)
    assert channel.last_message_id is not None
    assert channel.last_message_id > last
    assert [thread.id for thread in guild.threads] == [active]
    assert isinstance(guild.get_channel(forum), discord.ForumChannel)


async def test_message_arrives_complete(connect: Connect, scene: Scene, sandbox: SandboxThread) -> None:
    client = await connect()
    world, channel, ann, bob = sandbox.world, scene.channel.id, scene.owner.id, scene.member.id

    def talk() -> int:
        question = world.post(channel, ann, "anyone?")
        return world.post(channel, bob, f"<@{ann}> yes", reply_to=question.id, embeds=[{"title": "t"}]).id

    answer_id = sandbox.call(talk)
    await until(lambda: len(client.messages) == 2)
    answer = client.messages[1]
    assert answer.id == answer_id
    assert answer.content == f"<@{ann}> yes"
    assert isinstance(answer.author, discord.Member)
    assert answer.author.display_name == "Bob"
    assert [user.id for user in answer.mentions] == [ann]
    assert answer.type is discord.MessageType.reply
    assert answer.reference is not None
    assert isinstance(answer.reference.resolved, discord.Message)
    assert answer.reference.resolved.content == "anyone?"
    assert answer.embeds[0].title == "t"
    assert abs(answer.created_at.timestamp() - time.time()) < 60


async def test_edits_deletes_and_reactions(connect: Connect, scene: Scene, control: ControlClient) -> None:
    client = await connect()
    first, second, third = control.post_many(scene.channel.id, scene.owner.id, ["a", "b", "c"])
    control.edit(first, "a, corrected")
    control.react(first, scene.member.id, "👍")
    control.delete(first)
    assert control.bulk_delete(scene.channel.id, [second, third, 1]) == [second, third]
    await until(lambda: len(client.deleted) == 3)
    assert client.deleted == [first, second, third]
    assert client.edits[0].data["content"] == "a, corrected"
    assert client.edits[0].data["edited_timestamp"] is not None
    assert "MESSAGE_REACTION_ADD" in client.events


async def test_threads_and_forum_posts(connect: Connect, scene: Scene, control: ControlClient) -> None:
    client = await connect()
    guild = client.get_guild(scene.guild.id)
    assert guild is not None
    starter = control.post(scene.channel.id, scene.owner.id, "let us discuss")
    thread = control.create_thread(scene.channel.id, scene.owner.id, "discussion", message_id=starter)
    assert thread == starter
    control.post(thread, scene.member.id, "in here")
    await until(lambda: "in here" in client.contents)
    seen = guild.get_thread(thread)
    assert seen is not None
    opener = next(message for message in client.messages if message.type is discord.MessageType.thread_starter_message)
    assert opener.reference is not None
    assert opener.reference.message_id == starter
    assert client.edits[0].data["flags"] & MessageFlags.HAS_THREAD
    assert client.edits[0].data["edited_timestamp"] is None
    control.archive_thread(thread)
    await until(lambda: guild.get_thread(thread) is None)
    control.post(thread, scene.member.id, "awake again")
    await until(lambda: guild.get_thread(thread) is not None)


@pytest.mark.parametrize("mentioned", [False, True])
async def test_without_message_content(connect: Connect, scene: Scene, control: ControlClient, mentioned: bool) -> None:
    client = await connect(without_content())
    text = f"secret <@{scene.application.bot_id}>" if mentioned else "secret"
    control.post(scene.channel.id, scene.owner.id, text, embeds=[{"title": "t"}])
    await until(lambda: client.messages)
    assert client.contents == [text if mentioned else ""]
    assert bool(client.messages[0].embeds) is mentioned


async def test_own_messages_keep_their_content(connect: Connect, scene: Scene, control: ControlClient) -> None:
    client = await connect(without_content())
    control.post(scene.channel.id, scene.application.bot_id, "said by the bot")
    await until(lambda: client.contents == ["said by the bot"])


async def test_direct_messages_keep_their_content(connect: Connect, scene: Scene, control: ControlClient) -> None:
    client = await connect(without_content())
    channel = int(control.change("create_dm", user_id=scene.owner.id, other_id=scene.application.bot_id)["id"])
    control.post(channel, scene.owner.id, "between us")
    await until(lambda: client.contents == ["between us"])
    assert client.messages[0].guild is None


async def test_hidden_channels_send_no_messages(connect: Connect, scene: Scene, control: ControlClient) -> None:
    hidden = control.create_channel(scene.guild.id, "hidden")
    control.set_overwrite(hidden, scene.application.bot_id, OverwriteTarget.MEMBER, deny=VIEW)
    client = await connect()
    control.post(hidden, scene.owner.id, "not for bots")
    control.post(scene.channel.id, scene.owner.id, "for all")
    await until(lambda: client.messages)
    assert client.contents == ["for all"]


async def test_threads_of_a_channel_that_comes_into_view(
    connect: Connect, scene: Scene, control: ControlClient
) -> None:
    hidden = control.create_channel(scene.guild.id, "hidden")
    control.set_overwrite(hidden, scene.application.bot_id, OverwriteTarget.MEMBER, deny=VIEW)
    thread = control.create_thread(hidden, scene.owner.id, "inside")
    client = await connect()
    guild = client.get_guild(scene.guild.id)
    assert guild is not None
    assert guild.get_thread(thread) is None
    control.delete_overwrite(hidden, scene.application.bot_id)
    await until(lambda: guild.get_thread(thread) is not None)
    await until(lambda: "THREAD_LIST_SYNC" in client.events)  # the client is told of it in a task of its own


async def test_joining_and_being_kicked(connect: Connect, scene: Scene, control: ControlClient) -> None:
    client = await connect()
    other = control.create_guild("Other", scene.owner.id)
    control.invite_bot(other, scene.application.id)
    await until(lambda: client.get_guild(other) is not None)
    control.remove_member(other, scene.application.bot_id)
    await until(lambda: client.get_guild(other) is None)
    control.set_guild_unavailable(scene.guild.id, True)
    await until(lambda: client.guilds and client.guilds[0].unavailable)
    control.set_guild_unavailable(scene.guild.id, False)
    await until(lambda: not client.guilds[0].unavailable)


async def test_members_come_in_chunks(connect: Connect, scene: Scene, sandbox: SandboxThread) -> None:
    def crowd() -> None:
        for number in range(1200):
            sandbox.world.add_member(scene.guild.id, sandbox.world.create_user(f"user{number}").id)

    sandbox.call(crowd)
    client = await connect()
    guild = client.get_guild(scene.guild.id)
    assert guild is not None
    await until(lambda: guild.chunked)
    assert len(guild.members) == 1203
    assert client.events.count("GUILD_MEMBERS_CHUNK") == 2
    found = await guild.query_members("user119", limit=20)
    assert {member.name for member in found} == {"user119", *(f"user119{digit}" for digit in range(10))}


async def test_resume_replays_what_was_missed(connect: Connect, scene: Scene, control: ControlClient) -> None:
    client = await connect()
    control.refuse(gateway=True)
    assert control.cut() == 1
    control.post_many(scene.channel.id, scene.owner.id, [f"missed {number}" for number in range(50)])
    control.refuse()
    await until(lambda: client.resumes == 1)
    control.post(scene.channel.id, scene.owner.id, "live again")
    await until(lambda: len(client.messages) == 51)
    assert client.contents == [*(f"missed {number}" for number in range(50)), "live again"]
    assert client.readies == 1
    report = control.gateway()
    assert (report["identifies"], report["resumes"]) == (1, 1)


async def test_burst_is_fast_and_in_order(connect: Connect, scene: Scene, sandbox: SandboxThread) -> None:
    client = await connect(max_messages=None)

    def burst() -> float:
        began = time.perf_counter()
        for number in range(5000):
            sandbox.world.post(scene.channel.id, scene.owner.id, f"message {number}")
        return time.perf_counter() - began

    seconds = sandbox.call(burst)
    await until(lambda: len(client.messages) == 5000)
    assert client.contents == [f"message {number}" for number in range(5000)]
    assert [message.id for message in client.messages] == sorted(message.id for message in client.messages)
    assert seconds < 5, "generous: a busy machine still does 1000 a second"


async def test_wrong_token_and_missing_privilege(connect: Connect, control: ControlClient) -> None:
    control.create_application("modest", token="modest", granted_intents=int(Intents.GUILD_MEMBERS))
    stranger = await connect(token="wrong", ready=False)
    modest = await connect(token="modest", ready=False)
    assert stranger.run_task is not None
    assert modest.run_task is not None
    with pytest.raises(discord.LoginFailure):
        await stranger.run_task
    with pytest.raises(discord.PrivilegedIntentsRequired):
        await modest.run_task


# -- the protocol's edges


async def test_hello_heartbeat_and_ready(open_socket: OpenSocket, sandbox: SandboxThread, scene: Scene) -> None:
    socket = await open_socket()
    hello = await socket.receive()
    assert (hello["op"], hello["d"]["heartbeat_interval"]) == (10, 41_250)
    await socket.send(1)
    assert (await socket.receive())["op"] == 11
    await socket.identify()
    ready = await socket.receive()
    assert (ready["t"], ready["s"]) == ("READY", 1)
    assert ready["d"]["resume_gateway_url"] == sandbox.gateway_url
    assert ready["d"]["guilds"] == [{"id": str(scene.guild.id), "unavailable": True}]
    created = await socket.receive()
    assert (created["t"], created["s"]) == ("GUILD_CREATE", 2)


@pytest.mark.parametrize(
    ("request_fields", "code"),
    [
        ({"token": "wrong"}, 4004),
        ({"shard": [2, 2]}, 4010),
        ({"shard": "one"}, 4010),
        ({"intents": 1 << 30}, 4013),
        ({"intents": "all"}, 4013),
    ],
)
async def test_identify_refused(open_socket: OpenSocket, request_fields: dict[str, object], code: int) -> None:
    socket = await open_socket()
    await socket.identify(**request_fields)  # type: ignore[arg-type]
    assert await socket.close_code() == code


async def test_protocol_errors_close(open_socket: OpenSocket) -> None:
    codes = {}
    for name, op in {"unknown": 99, "unauthenticated": 8}.items():
        socket = await open_socket()
        await socket.send(op, {})
        codes[name] = await socket.close_code()
    socket = await open_socket()
    await socket.socket.send_str("{nonsense")
    codes["undecodable"] = await socket.close_code()
    socket = await open_socket()
    await socket.identify()
    await socket.identify()
    codes["twice"] = await socket.close_code()
    socket = await open_socket("v=3")
    codes["version"] = await socket.close_code()
    assert codes == {"unknown": 4001, "unauthenticated": 4003, "undecodable": 4002, "twice": 4005, "version": 4012}


async def test_too_many_sends(open_socket: OpenSocket) -> None:
    socket = await open_socket()
    for _ in range(121):
        await socket.send(1)
    assert await socket.close_code() == 4008


async def test_resume_beyond_the_sequence(open_socket: OpenSocket) -> None:
    socket = await open_socket()
    await socket.identify()
    session_id = (await socket.receive_event("READY"))["d"]["session_id"]
    again = await open_socket()
    await again.resume(session_id, 1000)
    assert await again.close_code() == 4007


async def test_resume_of_a_foreign_session(open_socket: OpenSocket, control: ControlClient) -> None:
    control.create_application("other", token="other")
    socket = await open_socket()
    await socket.identify()
    session_id = (await socket.receive_event("READY"))["d"]["session_id"]
    again = await open_socket()
    await again.resume(session_id, 1, token="other")
    assert (await again.receive_op(9))["d"] is False


async def test_intents_filter_events(open_socket: OpenSocket, scene: Scene, control: ControlClient) -> None:
    socket = await open_socket()
    await socket.identify(intents=int(Intents.GUILDS))
    await socket.receive_event("GUILD_CREATE")
    control.post(scene.channel.id, scene.owner.id, "unheard")
    control.create_channel(scene.guild.id, "new")
    assert (await socket.receive())["t"] == "CHANNEL_CREATE"


async def test_shards_split_the_guilds(open_socket: OpenSocket, scene: Scene, control: ControlClient) -> None:
    owner, app = scene.owner.id, scene.application.id
    for shift in range(4):
        guild = control.create_guild(f"guild {shift}", owner, guild_id=(1000 + shift) << 22)
        control.invite_bot(guild, app)
    seen: list[set[int]] = []
    for shard in range(2):
        socket = await open_socket()
        await socket.identify(shard=[shard, 2])
        ready = await socket.receive_event("READY")
        seen.append({int(guild["id"]) for guild in ready["d"]["guilds"]})
    assert not seen[0] & seen[1]
    assert seen[0] | seen[1] == {scene.guild.id, *((1000 + shift) << 22 for shift in range(4))}
    assert all((guild_id >> 22) % 2 == shard for shard, ids in enumerate(seen) for guild_id in ids)


async def test_zlib_stream(open_socket: OpenSocket, scene: Scene, control: ControlClient) -> None:
    socket = await open_socket("v=10&encoding=json&compress=zlib-stream")
    assert (await socket.receive())["op"] == 10
    await socket.identify()
    await socket.receive_event("GUILD_CREATE")
    control.post(scene.channel.id, scene.owner.id, "compressed " * 20_000)
    assert (await socket.receive_event("MESSAGE_CREATE"))["d"]["content"].startswith("compressed ")


async def test_unknown_compression_is_refused(sandbox: SandboxThread, open_socket: OpenSocket) -> None:
    with pytest.raises(Exception, match="400"):
        await open_socket("v=10&encoding=json&compress=gzip")


class TestShardingRequired:
    @pytest.fixture
    def gateway_options(self) -> GatewayOptions:
        return GatewayOptions(required_shards=2)

    async def test_one_shard_is_too_few(self, open_socket: OpenSocket) -> None:
        socket = await open_socket()
        await socket.identify()
        assert await socket.close_code() == 4011


class TestSmallBuffer:
    @pytest.fixture
    def gateway_options(self) -> GatewayOptions:
        return GatewayOptions(buffer_events=10)

    async def test_too_much_missed(self, open_socket: OpenSocket, scene: Scene, control: ControlClient) -> None:
        socket = await open_socket()
        await socket.identify()
        session_id = (await socket.receive_event("READY"))["d"]["session_id"]
        await socket.receive_event("GUILD_CREATE")
        control.cut()
        control.post_many(scene.channel.id, scene.owner.id, ["x"] * 11)
        again = await open_socket()
        await again.resume(session_id, 2)
        assert (await again.receive_op(9))["d"] is False


class TestShortPatience:
    @pytest.fixture
    def gateway_options(self) -> GatewayOptions:
        return GatewayOptions(heartbeat_interval_ms=50, resume_window_seconds=0)

    async def test_missing_heartbeats(self, open_socket: OpenSocket) -> None:
        socket = await open_socket()
        await socket.identify()
        session_id = (await socket.receive_event("READY"))["d"]["session_id"]
        assert await socket.close_code() == 4009
        again = await open_socket()
        await again.resume(session_id, 1)
        assert (await again.receive_op(9))["d"] is False
