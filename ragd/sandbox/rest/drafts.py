"""Messages that a bot wants to send or change: reading and checking their JSON.

Limits: https://discord.com/developers/docs/resources/message#create-message and "Embed Limits" there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from ragd.sandbox.entities import Message, MessageFlags, Payload
from ragd.sandbox.payloads import attachment_payload
from ragd.sandbox.posting import MessageChanges, PartFields
from ragd.sandbox.world import World

from .errors import bad_request, invalid_form
from .request import Body, Upload, optional_id, snowflake

CONTENT_MAX = 2000
EMBEDS_MAX = 10
_EMBED_TOTAL_MAX = 6000
_EMBED_TEXTS = {("title",): 256, ("description",): 4096, ("footer", "text"): 2048, ("author", "name"): 256}
_EMBED_FIELDS_MAX = 25
_EMBED_FIELD_TEXTS = {("name",): 256, ("value",): 1024}
_SETTABLE_FLAGS = int(MessageFlags.EPHEMERAL) | 1 << 2 | 1 << 12 | 1 << 15
"""EPHEMERAL, SUPPRESS_EMBEDS, SUPPRESS_NOTIFICATIONS, IS_COMPONENTS_V2."""


@dataclass(slots=True)
class Draft:
    """A checked message body. `given` names the keys that were there: an edit changes no others."""

    content: str = ""
    embeds: list[Payload] = field(default_factory=list)
    components: list[Payload] = field(default_factory=list)
    attachments: list[Payload] = field(default_factory=list)
    poll: Payload | None = None
    flags: int = 0
    tts: bool = False
    reply_to: int | None = None
    must_find_reply: bool = True
    nonce: str | None = None
    enforce_nonce: bool = False
    allowed_mentions: Payload | None = None
    given: frozenset[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        """True when Discord would say 50006."""
        return not (self.content or self.embeds or self.attachments or self.poll or self.components)

    def parts(self) -> PartFields:
        """The seldom parts that the draft has."""
        parts: dict[str, Any] = {}
        for name in ("embeds", "components", "attachments", "poll", "tts"):
            if value := getattr(self, name):
                parts[name] = value
        if self.allowed_mentions is not None:
            parts |= _silenced(self.allowed_mentions)
        return cast(PartFields, parts)

    def changes(self) -> MessageChanges:
        """What an edit by this draft changes."""
        names = self.given & {"content", "embeds", "components", "attachments", "poll"}
        return cast(MessageChanges, {name: getattr(self, name) for name in names})

    def pings(self, found: Iterable[int]) -> list[int] | None:
        """Which of the mentioned users `allowed_mentions` lets through; None when it says nothing about it."""
        allowed = self.allowed_mentions
        if allowed is None or "users" in (allowed.get("parse") or ()):
            return None
        named = {int(user_id) for user_id in allowed.get("users") or ()}
        return [user_id for user_id in found if user_id in named]

    @property
    def pings_replied(self) -> bool:
        """Does the reply mention whom it answers? (Yes, unless `allowed_mentions` is there and does not say so.)"""
        return self.allowed_mentions is None or bool(self.allowed_mentions.get("replied_user"))


def _silenced(allowed: Payload) -> Payload:
    """The mention parts that `allowed_mentions` switches off."""
    parse = allowed.get("parse") or ()
    silenced: Payload = {}
    if "everyone" not in parse:
        silenced["mention_everyone"] = False
    if "roles" not in parse:
        silenced["mention_roles"] = tuple(int(role_id) for role_id in allowed.get("roles") or ())
    return silenced


def read_draft(
    world: World, channel_id: int, body: Body, *, of: Payload | None = None, edited: Message | None = None
) -> Draft:
    """The draft in `body` (or in the object `of` inside it), checked field by field; raises ApiError 50035.

    `edited` is the message that the draft changes: it may keep attachments of it.
    """
    fields = body.fields if of is None else of
    _check_shapes(fields)
    reference = fields.get("message_reference") or {}
    return Draft(
        content=_content(fields.get("content")),
        embeds=_embeds(fields.get("embeds")),
        components=list(fields.get("components") or ()),
        attachments=_kept(edited, fields) + _uploaded(world, channel_id, body.uploads),
        poll=fields.get("poll"),
        flags=int(fields.get("flags") or 0) & _SETTABLE_FLAGS,
        tts=bool(fields.get("tts")),
        reply_to=optional_id(reference, "message_id"),
        must_find_reply=bool(reference.get("fail_if_not_exists", True)),
        nonce=None if fields.get("nonce") is None else str(fields["nonce"]),
        enforce_nonce=bool(fields.get("enforce_nonce")),
        allowed_mentions=fields.get("allowed_mentions"),
        given=frozenset(fields) | ({"attachments"} if body.uploads else frozenset()),
    )


_OBJECTS = ("allowed_mentions", "message_reference", "poll")
_LISTS = ("embeds", "components", "attachments")


def _check_shapes(fields: Payload) -> None:
    """Objects where objects belong and lists of them where lists do; what is null is not there."""
    _require(fields, dict, "data")
    for name in _OBJECTS:
        _require(fields.get(name), dict, name)
    for name in _LISTS:
        _require_objects(fields.get(name), name)
    _require(fields.get("flags"), int, "flags")
    for index, embed in enumerate(fields.get("embeds") or ()):
        for name in ("footer", "author"):
            _require(embed.get(name), dict, f"embeds.{index}.{name}")
        _require_objects(embed.get("fields"), f"embeds.{index}.fields")
    allowed = fields.get("allowed_mentions") or {}
    for name in ("parse", "users", "roles"):
        _require(allowed.get(name), list, f"allowed_mentions.{name}")
        for one in allowed.get(name) or ():
            if name != "parse":
                snowflake(str(one), f"allowed_mentions.{name}")


def _require_objects(value: Any, path: str) -> None:
    _require(value, list, path)
    for index, one in enumerate(value or ()):
        if not isinstance(one, dict):
            raise invalid_form(f"{path}.{index}", "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")


def _require(value: Any, kind: type, path: str) -> None:
    if value is not None and not isinstance(value, kind):
        raise invalid_form(path, f"{kind.__name__.upper()}_TYPE_CONVERT", f"Value must be of {kind.__name__}")


def refuse_empty(draft: Draft) -> None:
    """50006 for a draft with nothing to show."""
    if draft.is_empty:
        raise bad_request(50006, "Cannot send an empty message")


def _content(value: Any) -> str:
    if value is None:
        return ""
    text = str(value)
    if len(text) > CONTENT_MAX:
        raise invalid_form("content", "BASE_TYPE_MAX_LENGTH", f"Must be {CONTENT_MAX} or fewer in length.")
    return text.strip()


def _embeds(value: Any) -> list[Payload]:
    embeds: list[Payload] = list(value or ())
    if len(embeds) > EMBEDS_MAX:
        raise invalid_form("embeds", "BASE_TYPE_MAX_LENGTH", f"Must be {EMBEDS_MAX} or fewer in length.")
    total = sum(_embed_size(embed, f"embeds.{index}") for index, embed in enumerate(embeds))
    if total > _EMBED_TOTAL_MAX:
        message = f"Embed size exceeds maximum size of {_EMBED_TOTAL_MAX}"
        raise invalid_form("embeds", "MAX_EMBED_SIZE_EXCEEDED", message)
    return [{"type": "rich", **embed} for embed in embeds]


def _embed_size(embed: Payload, path: str) -> int:
    """The characters of an embed that count, each text checked against its own limit."""
    size = sum(_checked_length(embed, keys, most, path) for keys, most in _EMBED_TEXTS.items())
    fields = embed.get("fields") or []
    if len(fields) > _EMBED_FIELDS_MAX:
        raise invalid_form(f"{path}.fields", "BASE_TYPE_MAX_LENGTH", f"Must be {_EMBED_FIELDS_MAX} or fewer in length.")
    for index, entry in enumerate(fields):
        for keys, most in _EMBED_FIELD_TEXTS.items():
            size += _checked_length(entry, keys, most, f"{path}.fields.{index}", required=True)
    return size


def _checked_length(holder: Payload, keys: tuple[str, ...], most: int, path: str, *, required: bool = False) -> int:
    value: Any = holder
    for key in keys:
        value = (value or {}).get(key)
    if required and not value:
        raise invalid_form(".".join((path, *keys)), "BASE_TYPE_REQUIRED", "This field is required")
    length = len(str(value or ""))
    if length > most:
        raise invalid_form(".".join((path, *keys)), "BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")
    return length


def _kept(edited: Message | None, fields: Payload) -> list[Payload]:
    """The attachments that an edit keeps: all, or those that it names by id."""
    if edited is None:
        return []
    if "attachments" not in fields:
        return list(edited.parts.attachments)
    named = {str(entry.get("id")) for entry in fields["attachments"] or ()}
    return [attachment for attachment in edited.parts.attachments if attachment["id"] in named]


def _uploaded(world: World, channel_id: int, uploads: list[Upload]) -> list[Payload]:
    """Attachment objects of new files."""
    return [
        attachment_payload(world.clock.fresh(), channel_id, upload.filename, upload.size, upload.content_type)
        for upload in uploads
    ]
