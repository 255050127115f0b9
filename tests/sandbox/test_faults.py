"""Faults on order, and what a stock discord.py client makes of them."""

from __future__ import annotations

import asyncio

import aiohttp
import discord
import pytest
from sandbox_clients import Connect, OpenSocket, Scene, until

from ragd.sandbox.client import ControlClient, SandboxThread
from ragd.sandbox.faults import Fault, Faults
from ragd.sandbox.gateway import GatewayOptions

# -- connections


@pytest.mark.parametrize("code", [None, 4000, 1000])
async def test_cut_is_resumed(connect: Connect, scene: Scene, control: ControlClient, code: int | None) -> None:
    client = await connect()
    assert control.cut(code) == 1
    control.post(scene.channel.id, scene.owner.id, "between")
    await until(lambda: client.resumes == 1)
    await until(lambda: client.contents == ["between"])
    assert control.gateway()["identifies"] == 1


async def test_only_one_of_two_is_cut(connect: Connect, control: ControlClient) -> None:
    first, second = await connect(), await connect()
    assert first.ws.session_id is not None
    assert control.cut(session_id=first.ws.session_id) == 1
    await until(lambda: first.resumes == 1)
    assert second.resumes == 0


async def test_op_7_is_resumed(connect: Connect, control: ControlClient) -> None:
    client = await connect()
    control.reconnect()
    await until(lambda: client.resumes == 1)
    assert control.gateway()["identifies"] == 1


async def test_op_9_resumable(connect: Connect, scene: Scene, control: ControlClient) -> None:
    client = await connect()
    control.invalidate(resumable=True)
    control.post(scene.channel.id, scene.owner.id, "between")
    await until(lambda: client.contents == ["between"])
    assert (client.resumes, client.readies) == (1, 1)


async def test_op_9_identifies_again_and_loses_the_gap(connect: Connect, scene: Scene, control: ControlClient) -> None:
    client = await connect()
    control.refuse(gateway=True)
    control.invalidate(resumable=False)
    control.post(scene.channel.id, scene.owner.id, "lost")
    control.refuse()
    await until(lambda: client.readies == 2)
    control.post(scene.channel.id, scene.owner.id, "heard")
    await until(lambda: client.messages)
    assert client.contents == ["heard"]
    assert control.gateway()["identifies"] == 2


async def test_expired_resume_window(connect: Connect, scene: Scene, control: ControlClient) -> None:
    client = await connect()
    assert control.expire_sessions() == 1
    control.post(scene.channel.id, scene.owner.id, "still connected")
    await until(lambda: client.contents == ["still connected"])
    control.cut()
    await until(lambda: client.readies == 2)
    report = control.gateway()
    assert (report["failed_resumes"], report["identifies"]) == (1, 2)


async def test_refused_resume(connect: Connect, control: ControlClient) -> None:
    client = await connect()
    control.refuse(resume=True)
    control.cut()
    await until(lambda: client.readies == 2)
    assert client.resumes == 0


async def test_network_away_and_back(connect: Connect, scene: Scene, control: ControlClient) -> None:
    client = await connect()
    control.network(up=False)
    with pytest.raises((aiohttp.ClientError, OSError)):
        await client.http.request(discord.http.Route("GET", "/users/@me"))
    control.post(scene.channel.id, scene.owner.id, "while away")
    control.network(up=True)
    await until(lambda: client.contents == ["while away"])
    assert client.readies == 1
    assert (await client.fetch_channel(scene.channel.id)).id == scene.channel.id


# -- deafness


class TestHeartbeats:
    @pytest.fixture
    def gateway_options(self) -> GatewayOptions:
        return GatewayOptions(heartbeat_interval_ms=100)

    async def test_zombie_is_left_by_the_client(self, connect: Connect, control: ControlClient) -> None:
        client = await connect(heartbeat_timeout=0.5)
        control.zombie()
        await until(lambda: control.gateway()["resumes"] >= 1)
        control.zombie(False)
        await until(lambda: client.resumes >= 1)

    async def test_deaf_client_notices_nothing(self, connect: Connect, scene: Scene, control: ControlClient) -> None:
        client = await connect(heartbeat_timeout=0.5)
        control.deaf()
        control.post(scene.channel.id, scene.owner.id, "unheard")
        beats = control.gateway()["heartbeats"]
        await until(lambda: control.gateway()["heartbeats"] > beats + 8)
        assert client.messages == []
        assert client.resumes == 0
        control.deaf(False)
        control.post(scene.channel.id, scene.owner.id, "heard")
        await until(lambda: client.contents == ["heard"])
        assert control.gateway()["dropped_events"] == 1


async def test_asked_heartbeat(open_socket: OpenSocket, control: ControlClient) -> None:
    socket = await open_socket()
    await socket.receive_op(10)
    control.fault("heartbeat")
    assert (await socket.receive())["op"] == 1


async def test_dropped_events_leave_no_gap_in_the_sequence(
    open_socket: OpenSocket, scene: Scene, control: ControlClient
) -> None:
    socket = await open_socket()
    await socket.identify()
    await socket.receive_event("GUILD_CREATE")
    control.drop(2, names=["MESSAGE_CREATE"])
    control.post_many(scene.channel.id, scene.owner.id, ["lost", "lost too", "heard"])
    heard = await socket.receive()
    assert (heard["d"]["content"], heard["s"]) == ("heard", 3)


async def test_kept_back_events_come_on_resume(connect: Connect, scene: Scene, control: ControlClient) -> None:
    client = await connect()
    control.deaf(keep_for_resume=True)
    control.post(scene.channel.id, scene.owner.id, "kept back")
    control.deaf(False)
    control.cut()
    await until(lambda: client.contents == ["kept back"])


async def test_a_fraction_is_dropped(connect: Connect, scene: Scene, control: ControlClient) -> None:
    client = await connect()
    control.drop(fraction=0.5, names=["MESSAGE_CREATE"])
    control.post_many(scene.channel.id, scene.owner.id, [str(number) for number in range(200)])
    control.clear_faults()
    control.post(scene.channel.id, scene.owner.id, "end")
    await until(lambda: client.messages and client.contents[-1] == "end")
    assert 50 < len(client.messages) < 150
    assert len(client.messages) + control.gateway()["dropped_events"] == 201


# -- the identify budget


async def test_budget_runs_out(connect: Connect, open_socket: OpenSocket, control: ControlClient) -> None:
    assert control.identify_budget(total=5, remaining=1, reset_after_ms=60_000) == {
        "total": 5,
        "remaining": 1,
        "reset_after": 60_000,
        "max_concurrency": 1,
    }
    client = await connect()
    start_limit = (await client.http.request(discord.http.Route("GET", "/gateway/bot")))["session_start_limit"]
    assert start_limit["remaining"] == 0
    socket = await open_socket()
    await socket.identify()
    assert await socket.close_code() == 4004
    control.cut()
    await until(lambda: client.resumes == 1)


# -- REST


async def test_rest_fault_by_pattern(connect: Connect, scene: Scene, control: ControlClient) -> None:
    client = await connect()
    channel = client.get_channel(scene.channel.id)
    assert isinstance(channel, discord.TextChannel)
    control.rest_fault(status=403, pattern="/channels/*/messages", method="GET", times=1)
    with pytest.raises(discord.Forbidden):
        await anext(channel.history(limit=1))
    assert [message async for message in channel.history(limit=1)] == []


async def test_rest_too_many_is_waited_for(connect: Connect, scene: Scene, control: ControlClient) -> None:
    client = await connect()
    control.rest_fault(status=429, retry_after_seconds=0.05, times=2)
    assert (await client.fetch_channel(scene.channel.id)).id == scene.channel.id
    assert control.state()["faults"]["rest_rules"][0]["hits"] == 2


async def test_refused_rest(connect: Connect, scene: Scene, control: ControlClient) -> None:
    client = await connect()
    control.refuse(rest=True)
    with pytest.raises((aiohttp.ClientError, OSError)):
        await client.fetch_channel(scene.channel.id)
    control.post(scene.channel.id, scene.owner.id, "the gateway goes on")
    await until(lambda: client.messages)


async def test_slow_rest(connect: Connect, scene: Scene, sandbox: SandboxThread, control: ControlClient) -> None:
    client = await connect()
    control.rest_fault(delay_seconds=60)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.fetch_channel(scene.channel.id), 0.1)


# -- the switches by themselves


def test_rules_are_spent_in_order() -> None:
    faults = Faults()
    once = faults.add_rest_rule(Fault(status=500), pattern="/channels/*", times=1)
    always = faults.add_rest_rule(Fault(status=502), method="GET")
    assert faults.rest_fault("GET", "/channels/1") == once.fault
    assert faults.rest_fault("GET", "/channels/1") == always.fault
    assert faults.rest_fault("POST", "/channels/1") is None
    faults.clear()
    assert faults.rest_fault("GET", "/channels/1") is None


def test_clear_switches_everything_off() -> None:
    faults = Faults(zombie=True, deaf=True, drop_next=3, drop_fraction=0.5, refuse_rest=True, refuse_gateway=True)
    faults.clear()
    assert not faults.loses("MESSAGE_CREATE")
    clean = Faults().report()
    assert faults.report() == clean
