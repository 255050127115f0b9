"""The formats of an export, as lines: DiscordChatExporter's JSON, JSON lines, CSV.

JSON lines have one message each with these keys: `id`, `time` (ISO 8601), `edited_at` (ISO 8601 or null), `guild_id`,
`guild`, `channel_id`, `channel`, `parent_id`, `author_id`, `author`, `is_bot`, `type` (Discord's number),
`reply_to_id`, `content`, `extra` (attachments, embeds and so on: what is there), `reactions` (how often each emoji)
and `url`. Ids are strings, as in Discord's own API.

CSV has the columns of CSV_COLUMNS. A cell that a spreadsheet would take for a formula begins with an apostrophe.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import orjson

from ragd.exchange import writing
from ragd.snowflake import to_unix_ms
from ragd.store.coverage import Interval
from ragd.store.exports import ExportedChannel, ExportedMessage

CSV_COLUMNS = (
    "id",
    "time",
    "edited_at",
    "guild",
    "channel_id",
    "channel",
    "author_id",
    "author",
    "is_bot",
    "type",
    "reply_to_id",
    "content",
    "attachments",
    "url",
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What spreadsheets read as one (OWASP, "CSV Injection")."""


class Format(StrEnum):
    """`dce` is DiscordChatExporter's JSON."""

    DCE = "dce"
    JSONL = "jsonl"
    CSV = "csv"

    @property
    def suffix(self) -> str:
        return ".json" if self is Format.DCE else f".{self.value}"


@dataclass(frozen=True, slots=True)
class Selection:
    """What is exported of a channel: ids (0 for no bound), and which of them the store has complete."""

    channel: ExportedChannel
    first_id: int
    last_id: int
    complete: Sequence[Interval]


def dce(selection: Selection, messages: Iterable[ExportedMessage], exported_at: int) -> Iterator[bytes]:
    """One channel; `messageCount` comes last, for only then it is known."""
    ids = (selection.first_id, selection.last_id)
    head = writing.head(selection.channel, exported_at, ids, selection.complete)
    yield orjson.dumps(head, option=orjson.OPT_INDENT_2)[:-2] + b',\n  "messages": ['
    count = 0
    for count, stored in enumerate(messages, 1):
        yield (b",\n" if count > 1 else b"\n") + orjson.dumps(writing.message(stored), option=orjson.OPT_INDENT_2)
    yield b'\n  ],\n  "messageCount": %d\n}\n' % count


def jsonl(selection: Selection, messages: Iterable[ExportedMessage]) -> Iterator[bytes]:
    """A line a message."""
    channel = selection.channel
    for stored in messages:
        row = stored.row
        document = {
            "id": str(row.id),
            "time": writing.iso(to_unix_ms(row.id)),
            "edited_at": writing.iso(row.edited_at),
            "guild_id": str(channel.guild_id),
            "guild": channel.guild,
            "channel_id": str(channel.id),
            "channel": channel.name,
            "parent_id": str(channel.parent_id) if channel.parent_id else None,
            "author_id": str(row.author_id),
            "author": row.author_name,
            "is_bot": row.is_bot,
            "type": row.type,
            "reply_to_id": str(row.reply_to_id) if row.reply_to_id else None,
            "content": row.content,
            "extra": orjson.loads(row.extra),
            "reactions": orjson.loads(stored.reactions),
            "url": _url(row.guild_id, row.channel_id, row.id),
        }
        yield orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def csv_header() -> bytes:
    return ",".join(CSV_COLUMNS).encode() + b"\r\n"


def csv_rows(selection: Selection, messages: Iterable[ExportedMessage]) -> Iterator[bytes]:
    """A row a message, without the header."""
    channel, text = selection.channel, io.StringIO(newline="")
    writer = csv.DictWriter(text, CSV_COLUMNS)
    for stored in messages:
        row = stored.row
        names = [file["name"] for file in orjson.loads(row.extra).get("attachments", ())]
        cells = {
            "id": row.id,
            "time": writing.iso(to_unix_ms(row.id)),
            "edited_at": writing.iso(row.edited_at),
            "guild": channel.guild,
            "channel_id": row.channel_id,
            "channel": channel.name,
            "author_id": row.author_id,
            "author": row.author_name,
            "is_bot": int(row.is_bot),
            "type": row.type,
            "reply_to_id": row.reply_to_id,
            "content": row.content,
            "attachments": ", ".join(names),
            "url": _url(row.guild_id, row.channel_id, row.id),
        }
        writer.writerow({column: _harmless(cell) for column, cell in cells.items()})
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _harmless(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _url(guild_id: int, channel_id: int, message_id: int) -> str:
    return f"https://discord.com/channels/{guild_id}/{channel_id}/{message_id}"
