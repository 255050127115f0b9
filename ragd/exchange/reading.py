"""What a message of DiscordChatExporter's JSON says, as the store keeps it; `writing` is the way back.

The shape is that of its JsonMessageWriter.cs, in every version since there is one: keys came in over the years, so all
but ids may be absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import orjson

from ragd.exchange.fields import (
    Object,
    UnfitError,
    get_flag,
    get_id,
    get_number,
    get_object,
    get_objects,
    get_text,
    get_time,
    require_id,
)
from ragd.exchange.names import MESSAGE_TYPES, type_number
from ragd.extra import is_sound
from ragd.snowflake import to_unix_ms
from ragd.store.events import ImportedRow, MessageRow

OWN = "ragd"
"""The key under which our own files hold what the exporter's shape has no place for."""

_CARRIERS = (
    "attachments",
    "components",
    "embeds",
    "stickers",
    "interaction",
    "mentions",
    "isPinned",
    "reference",
    "forwardedMessage",
)
"""Most messages are words alone."""

_Read = TypeVar("_Read")

_COMMAND = 2
"""Discord's interaction type APPLICATION_COMMAND: the one kind that messages name."""

LONGEST_MESSAGE = 2**18
"""Characters of a message with all that it carries: Discord's limits come to a fifth. The syncer must get over the
longest in less than a moment and with no memory to speak of."""

DEEPEST_COMPONENTS = 20
"""Discord's go three deep."""

_CAPITALS = re.compile(r"(?<=.)([A-Z])")


def read_message(message: Object, guild_id: int, channel_id: int, exported_at: int) -> ImportedRow:
    """One message. Raises UnfitError.

    It was read from Discord when the file was made, one of our own may know better; where an old file does not say when
    that was, what counts is the last moment that the message itself tells of.
    """
    author = get_object(message, "author")
    message_id = require_id(message, "id")
    edited_at = _edited_at(message, message_id)
    row = MessageRow(
        id=message_id,
        guild_id=guild_id,
        channel_id=channel_id,
        author_id=_within("author", require_id, author, "id"),
        author_name=_within("author", _name, author),
        is_bot=_within("author", get_flag, author, "isBot"),
        type=_type(message),
        content=get_text(message, "content"),
        extra=read_extra(message, guild_id, channel_id),
        reply_to_id=_reply_to(get_object(message, "reference")),
        edited_at=edited_at,
        reactions=_reactions(message),
    )
    if len(row.author_name) + len(row.content) + len(row.extra) + len(row.reactions) > LONGEST_MESSAGE:
        raise UnfitError(f"content: expected at most {LONGEST_MESSAGE:,} characters in all, found more")
    first_exported_at = _within(OWN, get_time, get_object(message, OWN), "exportedAt")
    read_at = first_exported_at or exported_at or max(edited_at, to_unix_ms(message_id))
    return ImportedRow(row, read_at)


def _within(place: str, read: Callable[..., _Read], *arguments: Any) -> _Read:
    """What `read` makes of it; its complaint names the place."""
    try:
        return read(*arguments)
    except UnfitError as error:
        raise UnfitError(f"{place}.{error}") from None


def _each(data: Object, key: str, read: Callable[[Object], _Read]) -> list[_Read]:
    return [_within(f"{key}[]", read, item) for item in get_objects(data, key)]


def _edited_at(message: Object, message_id: int) -> int:
    """0 for one that was never edited: some tools write the time of sending then."""
    edited_at = get_time(message, "timestampEdited")
    sent_at = get_time(message, "timestamp") or to_unix_ms(message_id)
    return edited_at if edited_at > sent_at else 0


def _type(message: Object) -> int:
    name = get_text(message, "type") or "Default"
    number = type_number(MESSAGE_TYPES, name)
    if number is None:
        raise UnfitError("type: expected a type of message, found another text")
    return number


def _name(user: Object) -> str:
    return get_text(user, "nickname") or get_text(user, "name")


def _reply_to(reference: Object) -> int | None:
    if get_text(reference, "type") == "Forward":
        return None
    return get_id(reference, "messageId") or None


def _reactions(message: Object) -> str:
    counts: dict[str, int] = {}
    for key, count in _each(message, "reactions", _reaction):
        counts[key] = counts.get(key, 0) + count
    return _dump(counts)


def _reaction(reaction: Object) -> tuple[str, int]:
    return emoji_key(get_object(reaction, "emoji")), get_number(reaction, "count")


def emoji_key(emoji: Object) -> str:
    """The emoji itself, `name:id` for one of a server's own."""
    name, emoji_id = get_text(emoji, "name"), get_text(emoji, "id")
    return f"{name}:{emoji_id}" if emoji_id else name


def _dump(data: Object) -> str:
    return orjson.dumps(data, option=orjson.OPT_SORT_KEYS).decode() if data else "{}"


# What is not words


def read_extra(message: Object, guild_id: int, channel_id: int) -> str:
    """The message row's `extra`; of a file of our own, what it says itself."""
    own = get_object(message, OWN)
    if "extra" in own:
        return _checked(_within(OWN, get_object, own, "extra"))
    if not any(map(message.get, _CARRIERS)):
        return "{}"
    said = {
        **_body(message),
        "interaction": _within("interaction", _interaction, get_object(message, "interaction")),
        "mentions": _mentions(message),
        "pinned": get_flag(message, "isPinned"),
        "reference": _reference(get_object(message, "reference"), guild_id, channel_id),
        "snapshots": _within("forwardedMessage", _snapshots, get_object(message, "forwardedMessage")),
    }
    return _dump(_said(said))


def _checked(extra: Object) -> str:
    """The column's JSON, if it is what ragd writes."""
    with suppress(TypeError):  # too deep
        column = _dump(extra)
        if is_sound(column):
            return column
    raise UnfitError(f"{OWN}.extra: expected what ragd wrote, found something else")


def _body(message: Object) -> dict[str, Any]:
    """What a forwarded message has too."""
    return {
        "attachments": _each(message, "attachments", _attachment),
        "components": _components(message),
        "embeds": _each(message, "embeds", _embed),
        "stickers": _each(message, "stickers", _named),
    }


def _attachment(file: Object) -> dict[str, Any]:
    return {"id": get_id(file, "id"), "name": get_text(file, "fileName"), "size": get_number(file, "fileSizeBytes")}


def _named(data: Object) -> dict[str, Any]:
    return {"id": get_id(data, "id"), "name": _name(data)}


def _mentions(message: Object) -> list[dict[str, Any]]:
    users = {user["id"]: user for user in _each(message, "mentions", _named)}
    return [users[user_id] for user_id in sorted(users)]


def _embed(embed: Object) -> dict[str, Any]:
    author, footer = get_object(embed, "author"), get_object(embed, "footer")
    said: dict[str, Any] = {
        "title": get_text(embed, "title"),
        "description": get_text(embed, "description"),
        "url": get_text(embed, "url"),
        "timestamp": get_time(embed, "timestamp"),
        "author": _said({"name": get_text(author, "name"), "url": get_text(author, "url")}),
        "footer": _said({"text": get_text(footer, "text")}),
        "fields": _each(embed, "fields", _field),
    }
    return _said(said)


def _said(parts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in parts.items() if value}


def _field(field: Object) -> dict[str, Any]:
    said = {"name": get_text(field, "name"), "value": get_text(field, "value")}
    return {**said, "inline": True} if get_flag(field, "isInline") else said


def _components(data: Object, depth: int = 1) -> list[dict[str, Any]]:
    """Those with words in them, by the names that discord.py has for their kinds."""
    if depth > DEEPEST_COMPONENTS and data.get("components"):
        raise UnfitError(f"components: expected at most {DEEPEST_COMPONENTS} within one another, found more")
    parts = _each(data, "components", lambda component: _component(component, depth))
    return [part for part in parts if part.keys() - {"type", "url"}]


def _component(component: Object, depth: int) -> dict[str, Any]:
    return _said(
        {
            "type": _CAPITALS.sub(r"_\1", get_text(component, "type")).lower(),
            "label": get_text(component, "label"),
            "url": get_text(component, "url"),
            "parts": _components(component, depth + 1),
        }
    )


def _interaction(interaction: Object) -> dict[str, Any]:
    if not interaction:
        return {}
    user = _named(get_object(interaction, "user"))
    said = {"id": require_id(interaction, "id"), "type": _COMMAND, "user": user}
    return {**said, **_said({"command": get_text(interaction, "name")})}


def _reference(reference: Object, guild_id: int, channel_id: int) -> dict[str, Any]:
    """What a reference says beyond the id that `reply_to_id` holds."""
    forward = get_text(reference, "type") == "Forward"
    other_channel, other_guild = get_id(reference, "channelId"), get_id(reference, "guildId")
    places = _said(
        {
            "channel_id": 0 if other_channel == channel_id else other_channel,
            "guild_id": 0 if other_guild == guild_id else other_guild,
        }
    )
    if not forward and not places:
        return {}
    message_id = _said({"message_id": get_id(reference, "messageId")})
    return {"type": "forward" if forward else "reply", **message_id, **places}


def _snapshots(snapshot: Object) -> list[dict[str, Any]]:
    if not snapshot:
        return []
    said = {
        **_body(snapshot),
        "content": get_text(snapshot, "content"),
        "edited_at": get_time(snapshot, "timestampEdited"),
    }
    return [{**_said(said), "created_at": get_time(snapshot, "timestamp")}]
