"""The PyScript community's chats as chunking reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.embedding import CHATS
from ragd.chunking import SourceMessage

WRITTEN = ("Default", "Reply")


def read_chats() -> Iterator[list[SourceMessage]]:
    """Channel by channel, what people wrote; nothing where the chats are absent."""
    for path in sorted(CHATS.glob("*.json")):
        messages = json.loads(path.read_bytes())["messages"]
        written = [each for each in messages if each["type"] in WRITTEN and each["content"].strip()]
        yield sorted(map(_message, written), key=lambda message: message.id)


def _message(entry: Mapping[str, Any]) -> SourceMessage:
    answered = (entry.get("reference") or {}).get("messageId")
    author = entry["author"]
    return SourceMessage(
        id=int(entry["id"]),
        author_id=int(author["id"]),
        author_name=author["nickname"] or author["name"],
        text=entry["content"].strip(),
        reply_to_id=int(answered) if answered else None,
    )
