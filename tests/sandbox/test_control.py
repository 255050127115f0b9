"""The control side, its client, and the sandbox as a process."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import discord
import pytest
from discord import app_commands
from sandbox_clients import Connect, Scene, until

from ragd.errors import CannotCreateError, UnavailableError
from ragd.sandbox.changes import CHANGES
from ragd.sandbox.client import ControlClient, ControlError, SandboxThread
from ragd.sandbox.control_client import ControlClient as Client
from ragd.sandbox.entities import ChannelType
from ragd.sandbox.orders import FaultOrders
from ragd.sandbox.run import _write_whole
from ragd.sandbox.server import SandboxOptions
from ragd.sandbox.world import World

DEADLINE_SECONDS = 30.0


def test_every_change_is_a_method_of_the_world() -> None:
    assert all(callable(getattr(World, name)) for name in CHANGES)


def test_help_names_everything(control: ControlClient) -> None:
    answer = control.get("/")
    assert set(answer["changes"]) == CHANGES
    assert "cut" in answer["faults"]
    assert all(callable(getattr(FaultOrders, name)) for name in answer["faults"])


def test_a_token_that_was_reset_is_refused(sandbox: SandboxThread, control: ControlClient) -> None:
    app = control.create_application("ragd", token="sesame")
    control.reset_token(int(app["id"]))
    assert sandbox.world.application_by_token("sesame") is None


def test_sharding_can_be_asked_for(control: ControlClient) -> None:
    assert control.sharding(recommended=4) == {"recommended": 4, "required": 1}
    control.clear_faults()
    assert control.state()["faults"]["sharding"] == {"recommended": 4, "required": 1}


def test_building_a_guild_from_outside(sandbox: SandboxThread, control: ControlClient) -> None:
    ann = control.create_user("ann")
    app = control.create_application("ragd", token="sesame")
    guild = control.create_guild("Lab", ann)
    control.invite_bot(guild, int(app["id"]))
    crew = control.create_role(guild, "crew", permissions=1 << 10)
    control.set_member_roles(guild, ann, [crew])
    channel = control.create_channel(guild, "general", topic="all")
    control.update_channel(channel, topic="some")
    control.set_overwrite(channel, crew, 0, allow=1 << 11)
    forum = control.create_channel(guild, "help", ChannelType.FORUM, available_tags=["solved"])
    post = control.create_forum_post(forum, ann, "how?", "like so")
    thread = control.create_thread(channel, ann, "talk", auto_archive_minutes=60)
    control.archive_thread(thread, locked=True)
    control.unarchive_thread(thread)
    message = control.post(channel, ann, "old news", at_ms=1_700_000_000_000, silent=True)
    control.edit(message, "news")
    control.react(message, ann, "👍")
    world = sandbox.world
    assert app["token"] == "sesame"
    assert world.member(guild, ann).roles == [crew]
    assert world.channel(channel).topic == "some"
    assert world.channel(channel).overwrites[crew].allow == 1 << 11
    assert world.message(post).content == "like so"
    assert world.message(message).content == "news"
    assert {"guilds", "channels", "users", "applications"} == set(control.world())
    control.delete_channel(channel)
    assert control.ledger(guild) == world.ledger(guild)
    assert message in control.ledger().deleted


def test_batch_stops_at_the_first_failure(control: ControlClient, scene: Scene) -> None:
    ids = control.post_many(scene.channel.id, scene.owner.id, ["a", "b"])
    assert ids == sorted(ids)
    good = {"change": "post", "channel_id": scene.channel.id, "author_id": scene.owner.id, "content": "c"}
    with pytest.raises(ControlError, match="unknown channel 1"):
        control.send("/batch", [good, {**good, "channel_id": 1}, good])
    assert sorted(entry.content for entry in control.ledger().messages.values()) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/world/post", '{"channel_id": "x", "author_id": 1}', 400, "channel_id"),
        ("/world/post", '{"channel_id": 1}', 400, "author_id"),
        ("/world/post", '{"channel_id": 1, "author_id": 1, "colour": 1}', 400, "colour"),
        ("/world/post", '{"channel_id": 1, "author_id": 1, "content": 5}', 400, "content"),
        ("/world/post", "{", 400, "not JSON"),
        ("/world/post", "[]", 400, "JSON object"),
        ("/world/post", '{"channel_id": 1, "author_id": 1}', 404, "unknown channel 1"),
        ("/world/emit", "{}", 404, "unknown change emit"),
        ("/batch", "{}", 400, "JSON array"),
        ("/batch", "[1]", 400, "change"),
        ("/faults/drop", '{"count": "many"}', 400, "count"),
        ("/faults/drop", '{"cuont": 1}', 400, "cuont"),
        ("/faults/explode", "{}", 404, "unknown fault explode"),
        ("/faults/_sandbox", "{}", 404, "unknown fault"),
        ("/interactions", '{"channel_id": 1, "user_id": 1}', 400, "exactly one"),
        ("/nowhere", "{}", 404, "Not Found"),
    ],
)
def test_malformed_requests(sandbox: SandboxThread, path: str, body: str, status: int, text: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(sandbox.control_url).netloc, timeout=10)
    connection.request("POST", path, body)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    assert response.status == status
    assert text in answer["error"]
    assert "\n" not in answer["error"]


def test_rules_of_the_world_are_409(control: ControlClient, scene: Scene) -> None:
    category = control.create_channel(scene.guild.id, "area", ChannelType.CATEGORY)
    with pytest.raises(ControlError, match="takes no messages") as caught:
        control.post(category, scene.owner.id, "x")
    assert caught.value.status == 409


def test_nobody_there() -> None:
    with pytest.raises(UnavailableError, match="does not answer"):
        Client("http://127.0.0.1:1").state()


def test_taken_port(sandbox: SandboxThread) -> None:
    port = int(sandbox.api_url.split(":")[2].split("/")[0])
    with pytest.raises(CannotCreateError, match="cannot listen"):
        SandboxThread(SandboxOptions(port=port)).start()


# -- asking a bot


async def with_commands(connect: Connect, scene: Scene) -> discord.Client:
    client = await connect()
    tree = app_commands.CommandTree(client)

    @tree.command(name="echo", description="Says it again")
    async def echo(interaction: discord.Interaction, text: str, hidden: bool = False) -> None:
        await interaction.response.send_message(text, ephemeral=hidden)

    @tree.command(name="think", description="Takes its time")
    async def think(interaction: discord.Interaction) -> None:
        await interaction.response.defer(thinking=True)
        await interaction.followup.send("thought")
        await interaction.followup.send("and more", ephemeral=True)

    @tree.command(name="mute", description="Says nothing")
    async def mute(interaction: discord.Interaction) -> None:
        pass

    async def on_message(message: discord.Message) -> None:
        if message.content == "!ping":
            await message.reply("pong")

    client.event(on_message)
    await tree.sync()
    return client


class Asking:
    """Runs the blocking client in another thread, so that the bot can answer on this loop."""

    def __init__(self, control: ControlClient, scene: Scene) -> None:
        self.control, self.where = control, (scene.channel.id, scene.member.id)

    async def run(self, name: str, options: dict[str, object] | None = None, **more: float) -> dict[str, object]:
        return await self._in_thread(self.control.run_command, *self.where, name, options, **more)

    async def say(self, content: str) -> dict[str, object]:
        return await self._in_thread(self.control.say, *self.where, content)

    @staticmethod
    async def _in_thread(function: object, *args: object, **kwargs: object) -> dict[str, object]:
        return await asyncio.to_thread(function, *args, **kwargs)  # type: ignore[arg-type]


async def test_slash_commands(connect: Connect, scene: Scene, control: ControlClient) -> None:
    await with_commands(connect, scene)
    asking = Asking(control, scene)
    answer = await asking.run("echo", {"text": "hello"})
    assert (answer["deferred"], answer["callback_type"]) == (False, 4)
    assert [message["content"] for message in answer["messages"]] == ["hello"]
    hidden = await asking.run("echo", {"text": "psst", "hidden": True})
    assert [(message["content"], message["ephemeral"]) for message in hidden["messages"]] == [("psst", True)]
    assert "psst" not in [entry.content for entry in control.ledger().messages.values()]


async def test_deferred_command_and_follow_up(connect: Connect, scene: Scene, control: ControlClient) -> None:
    await with_commands(connect, scene)
    answer = await Asking(control, scene).run("think")
    assert answer["deferred"]
    assert answer["messages"][0]["content"] == "thought"
    key = int(str(answer["id"]))
    await until(lambda: len(control.interaction(key)["messages"]) == 2)
    assert control.interaction(key)["messages"][1]["content"] == "and more"


async def test_prefix_command(connect: Connect, scene: Scene, control: ControlClient) -> None:
    await with_commands(connect, scene)
    answer = await Asking(control, scene).say("!ping")
    assert [message["content"] for message in answer["messages"]] == ["pong"]
    assert answer["messages"][0]["message_reference"]["message_id"] == answer["id"]


async def test_silent_bot_is_a_504(connect: Connect, scene: Scene, control: ControlClient) -> None:
    await with_commands(connect, scene)
    with pytest.raises(ControlError, match="not answered") as caught:
        await Asking(control, scene).run("mute", wait_seconds=0.1)
    assert caught.value.status == 504


# -- as a process


def test_the_ready_file_is_written_through_no_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f"ready.json.{os.getpid()}").symlink_to(victim)
    _write_whole(tmp_path / "ready.json", "ready")
    assert (victim.read_text(), (tmp_path / "ready.json").read_text()) == ("precious", "ready")


def test_process_serves_and_stops(tmp_path: Path) -> None:
    ready_file = tmp_path / "ready.json"
    code = (
        "from pathlib import Path; from ragd.sandbox.run import run_sandbox;"
        f"run_sandbox(community='demo', seeded=0.5, speed=0, ready_file=Path({str(ready_file)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not ready_file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert json.loads(ready_file.read_text()) == facts
        control = ControlClient(facts["control_url"])
        assert control.state()["world"]["guilds"] == 1
        assert len(control.ledger(int(facts["guild_id"])).messages) > 0
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0
    finally:
        process.kill()
        process.communicate()
    assert [path.name for path in tmp_path.iterdir()] == ["ready.json"]
