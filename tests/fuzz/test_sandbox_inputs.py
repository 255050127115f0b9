"""Anything said to the local Discord, by its control side, API or gateway, is answered or refused, and it goes on."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragd.sandbox.changes import CHANGES
from ragd.sandbox.client import SandboxThread
from tests.fuzz.effort import Tried, effort
from tests.processes import TOKEN, Place, furnish

AT_ONCE = 10
"""Frames on one connection."""

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(["0", "1", "²", "9" * 30, "", "@everyone"]),
)
_KEYS = (
    "guild_id channel_id user_id owner_id author_id message_id name content type overwrites parent_id roles permissions"
    " at_ms username op d t s token intents shard properties options components embeds embed flags nonce attachments"
    " message_reference allowed_mentions poll data kind custom_id changes change limit code silent"
)
keys = st.sampled_from(_KEYS.split())
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=8,
)
bodies = st.one_of(
    st.dictionaries(keys, values, max_size=6).map(lambda value: json.dumps(value).encode()),
    values.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=40),
    st.sampled_from([b"[" * 5000, b'{"a":' * 5000, b"{" + b'"x":1,' * 100, b'{"name": "\\ud800"}']),
)


@pytest.fixture(scope="module")
def furnished() -> Iterator[Place]:
    with SandboxThread() as sandbox:
        yield furnish(sandbox)


def send(url: str, method: str, path: str, body: bytes, headers: dict[str, str] | None = None) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request(method, parts.path.rstrip("/") + path, body, headers or {})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def test_the_control_side(furnished: Place, tried: Tried) -> None:
    changes = sorted(CHANGES - {"delete_guild", "delete_channel", "remove_member", "reset_token"})
    paths = st.sampled_from([*(f"/world/{name}" for name in changes), "/batch", "/world/nothing"])

    @effort(300)
    @given(paths, bodies)
    def each(path: str, body: bytes) -> None:
        tried.count("sandbox control")
        assert send(furnished.sandbox.control_url, "POST", path, body) < 500, path

    each()
    assert furnished.control.state()["world"]["guilds"] >= 1


def test_the_api(furnished: Place, tried: Tried) -> None:
    channel, guild, bot = furnished.channel_id, furnished.guild_id, furnished.bot_id
    message = furnished.post("hello")
    routes = st.sampled_from(
        [
            ("POST", f"/channels/{channel}/messages"),
            ("PATCH", f"/channels/{channel}/messages/{message}"),
            ("PUT", f"/applications/{bot}/commands"),
            ("POST", f"/applications/{bot}/commands"),
            ("POST", f"/channels/{channel}/threads"),
            ("POST", f"/channels/{channel}/messages/bulk-delete"),
            ("GET", f"/channels/{channel}/messages?limit=²&before=x"),
            ("GET", f"/channels/{channel}/messages?before=99999999999999999999&limit=5"),
            ("GET", f"/guilds/{guild}/messages/search?min_id=-1&content=x"),
            ("GET", "/channels/²/messages"),
            ("POST", "/interactions/1/x/callback"),
            ("POST", f"/webhooks/{bot}/x"),
            ("GET", f"/guilds/{guild}/threads/active"),
        ]
    )

    @effort(300)
    @given(routes, bodies)
    def each(route: tuple[str, str], body: bytes) -> None:
        tried.count("sandbox API")
        method, path = route
        headers = {"Authorization": f"Bot {TOKEN}", "Content-Type": "application/json"}
        assert send(furnished.sandbox.api_url, method, path.replace("²", "%C2%B2"), body, headers) < 500, route

    each()


def test_the_gateway(furnished: Place, tried: Tried) -> None:
    frames = st.one_of(
        bodies,
        st.builds(lambda op, d: json.dumps({"op": op, "d": d}).encode(), st.integers(-1, 12), values),
        st.builds(
            lambda d: json.dumps({"op": 2, "d": {"token": TOKEN, "intents": 513, "properties": {}, **d}}).encode(),
            st.dictionaries(keys, values, max_size=3),
        ),
    )

    async def converse(said: list[bytes]) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{furnished.sandbox.gateway_url}/?v=10&encoding=json") as socket,
        ):
            for frame in said:
                if socket.closed:
                    return
                await socket.send_str(frame.decode(errors="replace"))
                try:
                    answer = await socket.receive(timeout=0.01)
                except TimeoutError:
                    continue
                # aiohttp closes with 1011 what fails
                closed: Any = answer.data if answer.type == aiohttp.WSMsgType.CLOSE else None
                assert closed not in (1006, 1011), frame

    @effort(60)
    @given(st.lists(frames, min_size=1, max_size=AT_ONCE))
    def each(said: list[bytes]) -> None:
        for _ in said:
            tried.count("sandbox gateway")
        asyncio.run(converse(said))

    each()
    assert furnished.control.state()["world"]["guilds"] >= 1
