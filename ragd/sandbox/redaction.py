"""What a message looks like to a bot without the MESSAGE CONTENT intent, over gateway and REST alike.

Source: https://discord.com/developers/docs/events/gateway#message-content-intent
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .entities import Payload

_NESTED = ("referenced_message",)


def redacted(message: Mapping[str, Any], bot_id: int) -> Payload:
    """A copy of a guild message's payload with content, embeds, attachments, components, poll and forwards taken out.

    Messages by the bot and messages that mention it stay whole; the message replied to is judged by itself.
    """
    own = str(bot_id)
    kept = message["author"]["id"] == own or any(user["id"] == own for user in message["mentions"])
    copy = dict(message)
    if not kept:
        copy |= {"content": "", "embeds": [], "attachments": [], "components": []}
        copy.pop("poll", None)
        copy.pop("message_snapshots", None)
    for name in _NESTED:
        if copy.get(name):
            copy[name] = redacted(copy[name], bot_id)
    return copy
