"""Interactions and messages as nobody should send them, to a real capture: it lives, and answers the next one."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.effort import Tried, effort
from tests.fuzz.test_sandbox_inputs import scalars, values
from tests.processes import Place, Process, until

MEMBER = {"roles": [], "joined_at": "2026-01-01T00:00:00+00:00", "permissions": "8", "deaf": False, "mute": False}


def _payload(place: Place) -> dict[str, Any]:
    """A question of `/search` as Discord sends it, with an id that nobody may answer."""
    user = {"id": str(place.member_id), "username": "bob", "discriminator": "0", "avatar": None}
    options = [
        {"name": "text", "type": 3, "value": "rain"},
        {"name": "channel", "type": 7, "value": str(place.channel_id)},
        {"name": "limit", "type": 4, "value": 5},
    ]
    return {
        "id": "1",
        "application_id": str(place.bot_id),
        "type": 2,
        "token": "x",
        "version": 1,
        "data": {"id": "2", "name": "search", "type": 1, "options": options},
        "guild_id": str(place.guild_id),
        "channel_id": str(place.channel_id),
        "channel": {"id": str(place.channel_id), "type": 0, "name": "general"},
        "member": {**MEMBER, "user": user},
        "entitlements": [],
        "app_permissions": "0",
        "authorizing_integration_owners": {},
        "attachment_size_limit": 0,
        "context": 0,
    }


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, one in inner for found in _paths(one, (*path, key)))]


def _changed(payload: dict[str, Any], path: tuple[Any, ...], value: Any, *, remove: bool) -> dict[str, Any]:
    result = copy.deepcopy(payload)
    place: Any = result
    for key in path[:-1]:
        place = place[key]
    if not path:
        return result
    if remove:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return result


def test_broken_interactions_end_nothing(place: Place, capture: Process, tried: Tried) -> None:
    until(lambda: "slash commands" in capture.log.read_text(), capture.tail())
    base = _payload(place)
    world = place.sandbox.world

    def send(payload: dict[str, Any]) -> None:
        to = {"guild_id": place.guild_id, "only_user": place.bot_id}
        place.sandbox.call(lambda: world.emit("INTERACTION_CREATE", lambda: payload, **to))

    kinds = st.sampled_from([1, 2, 3, 4, 5, 99])

    @effort(100)
    @given(st.sampled_from(_paths(base)), st.one_of(scalars, values), st.booleans(), kinds)
    def each(path: tuple[Any, ...], value: Any, remove: bool, kind: int) -> None:
        tried.count("interactions")
        payload = _changed({**base, "type": kind}, path, value, remove=remove)
        with suppress(TypeError):  # a number that the sandbox's own encoder cannot write
            payload = orjson.loads(orjson.dumps(payload))
            send(payload)

    pid = capture.process.pid
    each()
    report = place.control.run_command(place.channel_id, place.member_id, "privacy", wait_seconds=30)
    assert "What this bot keeps" in report["messages"][0]["content"]
    assert capture.process.poll() is None
    assert capture.process.pid == pid
