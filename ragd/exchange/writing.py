"""A message of the store as DiscordChatExporter writes it; `reading` is the way back.

Every key of its newest shape is there, so that tools made for it find what they look for. What the shape has no place
for stands under the key `ragd`, which they pass over: so nothing is lost on the way to another ragd.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from ragd.exchange.fields import UnfitError
from ragd.exchange.names import CHANNEL_TYPES, MESSAGE_TYPES, type_name
from ragd.exchange.reading import OWN, read_message
from ragd.snowflake import to_unix_ms
from ragd.store.coverage import Interval
from ragd.store.exports import ExportedChannel, ExportedMessage

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CDN = "https://cdn.discordapp.com"

Json = dict[str, Any]


def iso(unix_ms: int) -> str | None:
    """A time as the exporter writes it; None for 0, and for what no calendar holds (a bot may write any number)."""
    try:
        return (_EPOCH + timedelta(milliseconds=unix_ms)).isoformat(timespec="milliseconds") if unix_ms else None
    except OverflowError:
        return None


def head(channel: ExportedChannel, exported_at: int, ids: Interval, complete: Sequence[Interval]) -> Json:
    """All members before `messages`. `ids`: first and last id asked for, 0 for no bound."""
    first_id, last_id = ids
    return {
        "guild": {"id": str(channel.guild_id), "name": channel.guild, "iconUrl": ""},
        "channel": {
            "id": str(channel.id),
            "type": type_name(CHANNEL_TYPES, channel.type),
            "categoryId": str(channel.parent_id) if channel.parent_id else None,
            "category": channel.parent,
            "name": channel.name,
            "topic": channel.topic or None,
        },
        "dateRange": {
            "after": iso(to_unix_ms(first_id)) if first_id else None,
            "before": iso(to_unix_ms(last_id + 1)) if last_id else None,
        },
        "exportedAt": iso(exported_at),
        OWN: {"complete": [[str(first), str(last)] for first, last in complete]},
    }


def message(stored: ExportedMessage) -> Json:
    """One message."""
    row, extra = stored.row, orjson.loads(stored.row.extra)
    written: Json = {
        "id": str(row.id),
        "type": type_name(MESSAGE_TYPES, row.type),
        "timestamp": iso(to_unix_ms(row.id)),
        "timestampEdited": iso(row.edited_at),
        "callEndedTimestamp": None,
        "isPinned": bool(extra.get("pinned", False)),
        "content": row.content,
        "author": _user(row.author_id, row.author_name, is_bot=row.is_bot),
        **_body(extra, row.channel_id),
        "reactions": [_reaction(key, count) for key, count in orjson.loads(stored.reactions).items()],
        "mentions": [_user(user.get("id", 0), user.get("name", "")) for user in _dicts(extra.get("mentions"))],
        **_pointers(stored, extra),
        "inlineEmojis": [],
    }
    own: Json = {} if _reads_back(written, stored) else {"extra": extra}
    if stored.read_at:
        own["exportedAt"] = iso(stored.read_at)
    return {**written, OWN: own} if own else written


def _reads_back(written: Json, stored: ExportedMessage) -> bool:
    row = stored.row
    try:
        return read_message(written, row.guild_id, row.channel_id, 0).row.extra == row.extra
    except UnfitError:
        return False


def _dicts(values: object) -> Iterable[Mapping[str, Any]]:
    """Earlier versions kept some lists of other things."""
    return (value for value in values if isinstance(value, dict)) if isinstance(values, list) else ()


def _user(user_id: int, name: str, *, is_bot: bool = False) -> Json:
    return {
        "id": str(user_id),
        "name": name,
        "discriminator": "0000",
        "nickname": name,
        "color": None,
        "isBot": is_bot,
        "roles": [],
        "avatarUrl": "",
    }


def _body(extra: Mapping[str, Any], channel_id: int) -> Json:
    """What a forwarded message has too."""
    return {
        "attachments": [_attachment(file, channel_id) for file in _dicts(extra.get("attachments"))],
        "components": [_component(part) for part in _dicts(extra.get("components"))],
        "embeds": [_embed(embed) for embed in _dicts(extra.get("embeds"))],
        "stickers": [_sticker(sticker) for sticker in _dicts(extra.get("stickers"))],
    }


def _attachment(file: Mapping[str, Any], channel_id: int) -> Json:
    """Its address is the one without a signature: Discord answers it only while the message exists."""
    file_id, name = file.get("id", 0), file.get("name", "")
    return {
        "id": str(file_id),
        "url": f"{_CDN}/attachments/{channel_id}/{file_id}/{name}",
        "fileName": name,
        "fileSizeBytes": file.get("size", 0),
    }


def _component(component: Mapping[str, Any]) -> Json:
    kind = "".join(word.capitalize() for word in str(component.get("type", "")).split("_"))
    parts = [_component(part) for part in _dicts(component.get("parts"))]
    words = {key: component[key] for key in ("label", "url") if key in component}
    return {"type": kind, **words, **({"components": parts} if parts else {})}


def _embed(embed: Mapping[str, Any]) -> Json:
    written: Json = {
        "title": embed.get("title", ""),
        "url": embed.get("url"),
        "timestamp": iso(embed.get("timestamp", 0)),
        "description": embed.get("description", ""),
    }
    if author := embed.get("author"):
        written["author"] = {"name": author.get("name"), "url": author.get("url")}
    if footer := embed.get("footer"):
        written["footer"] = {"text": footer.get("text", "")}
    fields = [
        {"name": field.get("name", ""), "value": field.get("value", ""), "isInline": field.get("inline", False)}
        for field in _dicts(embed.get("fields"))
    ]
    return {**written, "images": [], "fields": fields, "inlineEmojis": []}


def _sticker(sticker: Mapping[str, Any]) -> Json:
    sticker_id = sticker.get("id", 0)
    return {
        "id": str(sticker_id),
        "name": sticker.get("name", ""),
        "format": "Png",
        "sourceUrl": f"{_CDN}/stickers/{sticker_id}.png",
    }


def _reaction(key: str, count: int) -> Json:
    name, colon, emoji_id = key.rpartition(":")
    if not (colon and emoji_id.isdecimal()):
        name, emoji_id = key, ""
    image = f"{_CDN}/emojis/{emoji_id}.png" if emoji_id else ""
    emoji = {"id": emoji_id, "name": name, "code": name, "isAnimated": False, "imageUrl": image}
    return {"emoji": emoji, "count": count, "users": []}


def _pointers(stored: ExportedMessage, extra: Mapping[str, Any]) -> Json:
    """Reply, forward and interaction: keys that are there only when they say something."""
    row, reference, written = stored.row, extra.get("reference", {}), Json()
    forward = reference.get("type") == "forward" and not row.reply_to_id
    # what a reference of a kind to come points at is not in the exporter's shape: it would be read as a reply
    target = reference.get("message_id") if forward else row.reply_to_id
    if target or reference:
        written["reference"] = {
            "type": "Forward" if forward else "Default",
            "messageId": str(target) if target else None,
            "channelId": str(reference.get("channel_id", row.channel_id)),
            "guildId": str(reference.get("guild_id", row.guild_id)),
        }
    for snapshot in _dicts(extra.get("snapshots")):
        written["forwardedMessage"] = {
            "timestamp": iso(snapshot.get("created_at", 0)),
            "timestampEdited": iso(snapshot.get("edited_at", 0)),
            "content": snapshot.get("content", ""),
            **_body(snapshot, row.channel_id),
        }
    if interaction := extra.get("interaction"):
        user = interaction.get("user", {})
        written["interaction"] = {
            "id": str(interaction.get("id", 0)),
            "name": interaction.get("command", ""),
            "user": _user(user.get("id", 0), user.get("name", "")),
        }
    return written
