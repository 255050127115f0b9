"""A small guild, stock discord.py clients that note what they hear, and a bare websocket for the protocol's edges."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import discord
import orjson

from ragd.sandbox.entities import Application, Channel, Guild, User
from ragd.sandbox.world import World

DEADLINE_SECONDS = 20.0


async def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition; fail when it does not come true in time."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110  the condition changes in other threads too
            await asyncio.sleep(0.005)


@dataclass(frozen=True)
class Scene:
    """A small guild: an owner, a member and a channel, and a bot application that is in it."""

    owner: User
    member: User
    guild: Guild
    channel: Channel
    application: Application


def make_scene(world: World) -> Scene:
    owner, member = world.create_user("ann"), world.create_user("bob", global_name="Bob")
    guild = world.create_guild("Lab", owner.id)
    world.add_member(guild.id, member.id)
    channel = world.create_channel(guild.id, "general")
    application = world.create_application("ragd", token="sesame")
    world.invite_bot(guild.id, application.id)
    return Scene(owner, member, guild, channel, application)


class Recorder(discord.Client):
    """A stock client that notes what it hears and does not wait 5 s before it identifies again."""

    def __init__(self, intents: discord.Intents, **options: Any) -> None:
        super().__init__(intents=intents, guild_ready_timeout=0.05, **options)
        self.messages: list[discord.Message] = []
        self.edits: list[discord.RawMessageUpdateEvent] = []
        self.deleted: list[int] = []
        self.events: list[str] = []
        self.readies = self.resumes = 0
        self.run_task: asyncio.Task[None] | None = None

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """No pause: the sandbox has no identify rate limit."""

    async def on_ready(self) -> None:
        self.readies += 1

    async def on_resumed(self) -> None:
        self.resumes += 1

    async def on_socket_event_type(self, name: str) -> None:
        self.events.append(name)

    async def on_message(self, message: discord.Message) -> None:
        self.messages.append(message)

    async def on_raw_message_edit(self, event: discord.RawMessageUpdateEvent) -> None:
        self.edits.append(event)

    async def on_raw_message_delete(self, event: discord.RawMessageDeleteEvent) -> None:
        self.deleted.append(event.message_id)

    async def on_raw_bulk_message_delete(self, event: discord.RawBulkMessageDeleteEvent) -> None:
        self.deleted += sorted(event.message_ids)

    @property
    def contents(self) -> list[str]:
        return [message.content for message in self.messages]


class BareSocket:
    """A gateway connection without discord.py: sends and receives JSON as it is."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self._inflate = zlib.decompressobj()

    async def send(self, op: int, data: Any = None) -> None:
        await self.socket.send_bytes(orjson.dumps({"op": op, "d": data}))

    async def identify(self, token: str = "sesame", intents: Any = 1 | 1 << 9 | 1 << 15, **more: Any) -> None:
        await self.send(2, {"token": token, "intents": intents, "properties": {}, **more})

    async def resume(self, session_id: str, sequence: int, token: str = "sesame") -> None:
        await self.send(6, {"token": token, "session_id": session_id, "seq": sequence})

    async def receive(self) -> dict[str, Any]:
        """The next message; an aiohttp close message fails the test."""
        message = await self.socket.receive(DEADLINE_SECONDS)
        if message.type is aiohttp.WSMsgType.BINARY:
            return orjson.loads(self._inflate.decompress(message.data))
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return orjson.loads(message.data)

    async def receive_op(self, op: int) -> dict[str, Any]:
        while (message := await self.receive())["op"] != op:
            pass
        return message

    async def receive_event(self, name: str) -> dict[str, Any]:
        while (message := await self.receive())["t"] != name:
            pass
        return message

    async def close_code(self) -> int | None:
        """How the server ends the connection."""
        async for _ in self.socket:
            pass
        return self.socket.close_code


Connect = Callable[..., Awaitable[Recorder]]
OpenSocket = Callable[..., Awaitable[BareSocket]]
