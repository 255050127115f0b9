"""Files as DiscordChatExporter writes them, made to measure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from ragd.exchange import formats
from ragd.exchange.formats import Selection
from ragd.exchange.reading import read_message
from ragd.exchange.writing import iso
from ragd.snowflake import to_unix_ms
from ragd.store.events import ImportedRow
from ragd.store.exports import ExportedChannel, ExportedMessage
from ragd.text import mentioned_ids, searchable_text
from tests.store.factories import CHANNEL, GUILD, START

EXPORTED = (START + 86_400) * 1000
"""Unix ms of the day after START."""


def dce_message(message_id: int, content: str = "hello", **fields: Any) -> dict[str, Any]:
    """A message in the exporter's shape; `fields` replace or add members."""
    return {
        "id": str(message_id),
        "type": "Default",
        "timestamp": iso(to_unix_ms(message_id)),
        "timestampEdited": None,
        "isPinned": False,
        "content": content,
        "author": {"id": "5", "name": "ann", "discriminator": "0000", "nickname": "Ann", "isBot": False},
        "attachments": [],
        "embeds": [],
        "stickers": [],
        "reactions": [],
        "mentions": [],
        **fields,
    }


def document(messages: Sequence[Mapping[str, Any]], **members: Any) -> dict[str, Any]:
    """A whole file; a member of None is left out."""
    whole = {
        "guild": {"id": str(GUILD), "name": "Guild", "iconUrl": ""},
        "channel": {
            "id": str(CHANNEL),
            "type": "GuildTextChat",
            "categoryId": "9",
            "category": "Cat",
            "name": "general",
        },
        "dateRange": {"after": None, "before": None},
        "exportedAt": iso(EXPORTED),
        **{key: value for key, value in members.items() if key != "messageCount"},
        "messages": messages,
        "messageCount": members.get("messageCount", len(messages)),
    }
    return {key: value for key, value in whole.items() if value is not None}


def write(path: Path, messages: Sequence[Mapping[str, Any]] = (), **members: Any) -> Path:
    path.write_text(json.dumps(document(messages, **members), indent=2, ensure_ascii=False), encoding="utf-8")
    return path


def there_and_back(said: Mapping[str, Any]) -> tuple[ImportedRow, ImportedRow]:
    """A message of a file as it is imported, and as it is once more when every format has written it and everybody
    who reads what it carries has done so. Raises UnfitError if it is not taken at all."""
    read = read_message(said, GUILD, CHANNEL, EXPORTED)
    searchable_text(read.row.content, read.row.extra).encode()
    mentioned_ids(read.row.extra)
    stored = ExportedMessage(read.row, read.row.reactions, read.read_at)
    selection = Selection(ExportedChannel(CHANNEL, GUILD, "Guild", None, "", 0, "general", "", False), 0, 0, [])
    for lines in (formats.jsonl(selection, [stored]), formats.csv_rows(selection, [stored])):
        b"".join(lines).decode()
    (written,) = orjson.loads(b"".join(formats.dce(selection, [stored], EXPORTED + 1)))["messages"]
    return read, read_message(written, GUILD, CHANNEL, EXPORTED + 1)
