"""The searchable text of a message: the one function that decides what of it search can find."""

from __future__ import annotations

import re
from typing import Any

import orjson

CONVERSATION_TYPES = frozenset({0, 19})
"""Discord's message types DEFAULT and REPLY: what people write. System messages are kept, not searched."""

_MENTION = re.compile(r"<@!?(\d+)>")
_CUSTOM_EMOJI = re.compile(r"<a?:(\w+):\d+>")
_BLANKS = re.compile(r"[ \t]+\n")


def searchable_text(content: str, extra: str) -> str:
    """What chunks and search read of a message: its words, then embeds' titles and texts, then attachments' names.

    `extra` is the message row's JSON. Mentions appear as `@name`, custom emoji as `:name:`. Empty when a message
    says nothing in words.
    """
    details: dict[str, Any] = orjson.loads(extra) if extra != "{}" else {}
    parts = [_readable(content, details), *map(_embed_text, details.get("embeds", ())), _attachments_text(details)]
    return _BLANKS.sub("\n", "\n".join(part for part in parts if part)).strip()


def _readable(content: str, details: dict[str, Any]) -> str:
    names = {str(mention["id"]): mention["name"] for mention in details.get("mentions", ())}
    content = _MENTION.sub(lambda match: "@" + names.get(match[1], "someone"), content)
    return _CUSTOM_EMOJI.sub(r":\1:", content)


def _embed_text(embed: dict[str, str]) -> str:
    return "\n".join(embed[key] for key in ("title", "description") if embed.get(key))


def _attachments_text(details: dict[str, Any]) -> str:
    names = [attachment["name"] for attachment in details.get("attachments", ())]
    stickers = (each["name"] if isinstance(each, dict) else each for each in details.get("stickers", ()))
    names += [f"sticker {name}" for name in stickers]
    return f"[{', '.join(names)}]" if names else ""


def mentioned_ids(extra: str) -> tuple[int, ...]:
    """The ids of the users a message names, from its row's JSON."""
    if extra == "{}":
        return ()
    return tuple(int(mention["id"]) for mention in orjson.loads(extra).get("mentions", ()))


def is_chunkable(message_type: int, is_bot: bool, content: str, extra: str) -> bool:
    """Whether a message takes part in search: written by a person, no system message, and not empty.

    Bots are kept out, above all ourselves: an answer that quotes passages must never become a passage.
    """
    return message_type in CONVERSATION_TYPES and not is_bot and bool(searchable_text(content, extra))
