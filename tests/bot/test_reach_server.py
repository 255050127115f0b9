"""What may be asked on capture's socket; what is answered: tests/test_mcp.py and tests/redteam."""

from __future__ import annotations

import json

import pytest

from ragd.bot.reach_server import MAX_REQUEST_BYTES, _read
from ragd.errors import RagdError

DEEP = b'{"user": ' + b"[" * 1000 + b"]" * 1000 + b"}"


@pytest.mark.parametrize("guild", [None, "Puddlecast", "12", 12])
def test_an_id_and_a_guild(guild: str | int | None) -> None:
    assert _read(json.dumps({"user": "7", "guild": guild}).encode()) == (7, None if guild is None else str(guild))
    assert _read(b'{"user": 7}') == (7, None)


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"7", b"[]", b"{}", b'{"user": null}', b'{"user": 7.5}', b'{"user": "7", "guild": [[]]}', DEEP],
)
def test_anything_else_is_refused_in_one_line(body: bytes) -> None:
    assert len(body) < MAX_REQUEST_BYTES
    with pytest.raises(RagdError, match="the request must be"):
        _read(body)


@pytest.mark.parametrize("user", ["", "ann", "0", "9" * 30, True])
def test_what_is_no_id(user: object) -> None:
    with pytest.raises(RagdError, match="is no id of a user"):
        _read(json.dumps({"user": user}).encode())
