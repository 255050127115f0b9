"""Fixtures: a sandbox in a thread, its control side, and clients that talk to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import discord
import pytest
import yarl
from sandbox_clients import BareSocket, Connect, OpenSocket, Recorder, Scene, make_scene, until

from ragd.sandbox.client import ControlClient, SandboxThread
from ragd.sandbox.gateway import GatewayOptions
from ragd.sandbox.server import SandboxOptions


@pytest.fixture
def gateway_options() -> GatewayOptions:
    """Override for another gateway."""
    return GatewayOptions()


@pytest.fixture
def sandbox(gateway_options: GatewayOptions, monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxThread]:
    """A running sandbox that discord.py believes to be Discord."""
    with SandboxThread(SandboxOptions(gateway=gateway_options)) as running:
        monkeypatch.setattr(discord.http.Route, "BASE", running.api_url)
        monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(running.gateway_url))
        yield running


@pytest.fixture
def scene(sandbox: SandboxThread) -> Scene:
    """What is in the sandbox."""
    return sandbox.call(make_scene, sandbox.world)


@pytest.fixture
def control(sandbox: SandboxThread) -> ControlClient:
    """Its control side."""
    return sandbox.control


@pytest.fixture
async def connect(scene: Scene) -> AsyncIterator[Connect]:
    """Starts a client and waits until it is ready (unless `ready=False`); closes all at the end."""
    clients: list[Recorder] = []

    async def start(
        intents: discord.Intents | None = None, *, token: str = "sesame", ready: bool = True, **options: Any
    ) -> Recorder:
        client = Recorder(intents or discord.Intents.all(), **options)
        clients.append(client)
        client.run_task = asyncio.create_task(client.start(token))
        if ready:
            await until(lambda: client.readies or client.run_task.done())
            assert client.readies, client.run_task.exception()
        return client

    yield start
    for client in clients:
        await client.close()
        await asyncio.gather(client.run_task, return_exceptions=True)


@pytest.fixture
async def open_socket(sandbox: SandboxThread, scene: Scene) -> AsyncIterator[OpenSocket]:
    """Opens bare gateway connections."""
    async with aiohttp.ClientSession() as session:

        async def connect_socket(query: str = "v=10&encoding=json") -> BareSocket:
            return BareSocket(await session.ws_connect(f"{sandbox.gateway_url}?{query}"))

        yield connect_socket
