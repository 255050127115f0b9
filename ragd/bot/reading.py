"""Messages as Discord sends them to rows, one by one: what discord.py cannot make sense of must not stop the others.

discord.py builds all objects of a page or of an event at once and raises whatever it stumbles over. One such message in
a channel's history would end every attempt to read it, for ever. So each is built by itself, and of one that cannot be,
what is plain is kept: its words, author and times.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import discord

from ragd.bot.details import unix_ms, valid_text
from ragd.bot.normalise import MessageChannel, message_row
from ragd.store.coverage import FIRST_ID, Interval
from ragd.store.events import MessageRow, PageRead

_log = logging.getLogger(__name__)

PAGE = 100
"""Messages a page: the most Discord gives."""

Payload = Mapping[str, Any]

_REPLY = discord.MessageType.reply.value


async def read_rows(channel: MessageChannel, end_id: int, limit: int = PAGE) -> list[MessageRow]:
    """The newest messages at or below end_id, newest first. Raises discord.py's and aiohttp's errors.

    `channel.history` without the part that fails as a whole.
    """
    state = channel._state
    payloads = await state.http.logs_from(channel.id, limit, before=end_id + 1)
    return [_row(channel, payload) for payload in payloads]


def page_of(channel_id: int, guild_id: int, rows: Sequence[MessageRow], span: Interval, limit: int = PAGE) -> PageRead:
    """What an answer of at most `limit` rows says about the stretch it was asked for: from where on it is complete."""
    oldest = min((row.id for row in rows), default=FIRST_ID) if len(rows) == limit else FIRST_ID
    start_id = max(span[0], oldest)
    return PageRead(guild_id, channel_id, start_id, span[1], [row for row in rows if row.id >= start_id])


def _row(channel: MessageChannel, payload: Payload) -> MessageRow:
    try:
        message = channel._state.create_message(channel=channel, data=payload)  # type: ignore[arg-type]
        return message_row(message, channel.guild.id)
    except Exception as error:  # noqa: BLE001 - any, for it stands for a format that discord.py does not know
        return plain_row(payload, channel.guild.id, error)


def plain_row(payload: Payload, guild_id: int, error: Exception) -> MessageRow:
    """What can be had of a message's payload in any case, for when `error` kept it from being read as usual.

    Raises KeyError, TypeError or ValueError if it has not even an id and a channel.
    """
    message_id, channel_id = int(payload["id"]), int(payload["channel_id"])
    # not the error's text, which may quote the message
    _log.warning("message %d is kept without its details: %s", message_id, type(error).__name__)
    author: Payload = payload.get("author") or {}
    kind = int(payload.get("type") or 0)
    reference: Payload = payload.get("message_reference") or {}
    return MessageRow(
        id=message_id,
        guild_id=guild_id,
        channel_id=channel_id,
        author_id=int(author.get("id") or 0),
        author_name=valid_text(str(author.get("global_name") or author.get("username") or "")),
        is_bot=bool(author.get("bot") or payload.get("webhook_id")),
        type=kind,
        content=valid_text(str(payload.get("content") or "")),
        reply_to_id=int(reference["message_id"]) if kind == _REPLY and reference.get("message_id") else None,
        edited_at=unix_ms(discord.utils.parse_time(payload.get("edited_timestamp"))),
    )
