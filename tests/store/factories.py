"""Rows for tests: snowflakes of chosen times, messages with little to write."""

from __future__ import annotations

from ragd.snowflake import from_unix_seconds
from ragd.store.events import ChannelRow, MessageRow

GUILD = 1
CHANNEL = 10
START = 1_700_000_000
"""Unix seconds of `at(0)`: 22:13:20 UTC, 106 minutes before a cell of the six-hour grid ends."""


def at(seconds: float, nth: int = 0) -> int:
    """The id of a message that many seconds after START."""
    return from_unix_seconds(START + seconds) + nth


def message(message_id: int, content: str = "hello", **fields: object) -> MessageRow:
    values: dict[str, object] = {
        "id": message_id,
        "guild_id": GUILD,
        "channel_id": CHANNEL,
        "author_id": 5,
        "author_name": "ann",
        "is_bot": False,
        "type": 0,
        "content": content,
    }
    return MessageRow(**{**values, **fields})  # type: ignore[arg-type]


def channel(last_message_id: int = 0, **fields: object) -> ChannelRow:
    values: dict[str, object] = {"id": CHANNEL, "guild_id": GUILD, "parent_id": None, "type": 0, "name": "general"}
    return ChannelRow(**{**values, "last_message_id": last_message_id, **fields})  # type: ignore[arg-type]
