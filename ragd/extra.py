"""What a message carries beside its words: the definition of the `extra` column, by which all write and read it.

`extra` is one JSON object, made by `dump_extra` and read by `read_extra`. A key that would say nothing (empty, false,
zero, null) is left out. Ids are integers, times Unix milliseconds, texts valid UTF-8.

Two rules keep it comparable, for a page of Discord's is compared with what came live (ragd/store/ingest.py):

- The same message gives the same JSON by gateway and by REST. So there are no nicknames in it (only live events have
  them), no counts, and no addresses of Discord's file store, whose signatures are made anew for every reader.
- It changes only when the message does, or a name in it. So there is no `tts`, which Discord leaves out of updates.
  Reactions stand in a column of their own, a poll's votes
  appear when it is over, and how a thread that began here fares is the thread's affair.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, NotRequired, Required

import orjson
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict  # pydantic, which checks what is stored, needs this one before 3.12

Id = Annotated[int, Field(ge=0, lt=2**63 - 1)]
"""The id after it must fit into SQLite as well."""


class Named(TypedDict):
    """A user (by the account's display name), role or channel."""

    id: Id
    name: str


class Sticker(TypedDict):
    """One that was stored before ids were kept has none."""

    id: NotRequired[Id]
    name: str


class Attachment(TypedDict, total=False):
    """A file. Its address can be asked for by its id as long as the message exists."""

    id: Required[Id]
    name: Required[str]
    size: Required[int]
    type: str | None
    """The media type; null only in what was stored before empty keys were left out."""
    title: str
    """What the file was called before Discord took the letters out that it does not want in a name."""
    description: str
    """The alternative text."""
    duration_seconds: float
    """Of a voice message."""
    spoiler: bool


class EmbedField(TypedDict):
    name: str
    value: str
    inline: NotRequired[bool]


class EmbedPart(TypedDict, total=False):
    """Author or provider of an embed."""

    name: str
    url: str


class EmbedFooter(TypedDict):
    text: str


class Embed(TypedDict, total=False):
    """A card below the message: from a bot, or Discord's look at a link."""

    type: str
    """Left out for `rich`."""
    title: str
    description: str
    url: str
    timestamp: int
    author: EmbedPart
    provider: EmbedPart
    footer: EmbedFooter
    fields: list[EmbedField]


class Component(TypedDict, total=False):
    """A part of a message's layout, for its words: those without any, and without parts that have some, are left out.

    Parts stand in the order in which Discord shows them: rows, containers, sections with their accessory, galleries
    with their items, selects with their options.
    """

    type: str
    """discord.py's name of the kind; options and gallery items have none."""
    label: str
    placeholder: str
    content: str
    description: str
    name: str
    """Of a file."""
    url: str
    """Of a link button."""
    parts: list[Component]


class PollAnswer(TypedDict, total=False):
    id: Required[int]
    text: str
    emoji: str
    """A standard emoji, or `name:id`."""
    votes: int
    """Left out before the poll is over."""


class Poll(TypedDict, total=False):
    question: Required[str]
    answers: Required[list[PollAnswer]]
    multiple: bool
    expires_at: int
    finished: bool


class Reference(TypedDict, total=False):
    """The message or channel that this one points at."""

    type: Required[str]
    """`reply` (also how system messages point at something) or `forward`."""
    message_id: Id
    channel_id: Id
    """Left out when it is the message's own, as `guild_id` is."""
    guild_id: Id


class Snapshot(TypedDict, total=False):
    """A forwarded message as it was then; nobody is told who wrote it."""

    content: str
    type: int
    created_at: Required[int]
    edited_at: int
    flags: int
    attachments: list[Attachment]
    components: list[Component]
    embeds: list[Embed]
    stickers: list[Sticker]


class Interaction(TypedDict, total=False):
    """What a bot's message answers: somebody used a command, or a component of another message."""

    id: Required[Id]
    type: Required[int]
    user: Required[Named]
    command: str


class Extra(TypedDict, total=False):
    """All of it. A plain reply in its own channel needs none: the column `reply_to_id` says so."""

    application_id: Id
    attachments: list[Attachment]
    components: list[Component]
    embeds: list[Embed]
    flags: int
    interaction: Interaction
    mention_channels: list[Named]
    """Named in the text as `<#id>`: channels of this guild, without threads, whose names come and go from sight."""
    mention_everyone: bool
    mention_roles: list[Named]
    mentions: list[Named]
    """Users. These three are sorted by id, each once."""
    pinned: bool
    poll: Poll
    reference: Reference
    """When it says more than `reply_to_id`."""
    snapshots: list[Snapshot]
    stickers: list[Sticker]
    thread_id: Id
    """The thread that began with this message; Discord gives it the message's own id."""
    webhook_id: Id


EMPTY = "{}"


def dump_extra(extra: Extra) -> str:
    """As the column has it: equal contents give equal text."""
    return orjson.dumps(extra, option=orjson.OPT_SORT_KEYS).decode() if extra else EMPTY


def read_extra(column: str) -> Extra:
    """What the column says, whatever version of ragd wrote it."""
    if column == EMPTY:
        return {}
    extra: dict[str, Any] = orjson.loads(column)
    if stickers := extra.get("stickers"):  # bare names, once
        extra["stickers"] = [{"name": each} if isinstance(each, str) else each for each in stickers]
    return extra  # type: ignore[return-value]


def is_sound(column: str) -> bool:
    """Whether the column is by this definition, so that nobody who reads it stumbles. Keys of versions to come may
    stand beside."""
    if column == EMPTY:
        return True
    try:
        extra = read_extra(column)
        orjson.dumps([[[[extra]]]])  # a document of which it is a part nests it deeper, and there is a depth that ends
        _definition().validate_python(extra, strict=True)
    except (ValueError, TypeError, AttributeError):
        return False
    return True


@cache
def _definition() -> TypeAdapter[Extra]:
    """Made when it is needed: that takes a moment."""
    return TypeAdapter(Extra)
