"""What capture and imports tell the store, in the order in which it happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Source = Literal["gateway", "rest"]


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One message as Discord shows it; `extra` is JSON (see ragd/text.py), `edited_at` Unix ms or 0."""

    id: int
    guild_id: int
    channel_id: int
    author_id: int
    author_name: str
    is_bot: bool
    type: int
    content: str
    extra: str = "{}"
    reply_to_id: int | None = None
    edited_at: int = 0


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """A channel or thread; `last_message_id` 0 when it has none."""

    id: int
    guild_id: int
    parent_id: int | None
    type: int
    name: str
    last_message_id: int = 0
    readable: bool = True
    archived: bool = False


@dataclass(frozen=True, slots=True)
class SessionBroken:
    """The gateway's stream has a gap from here on: nothing live proves anything until a ChannelsSeen."""


@dataclass(frozen=True, slots=True)
class GuildSeen:
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class ChannelsSeen:
    """Channels as they stand, read while the session lives: from each one's last_message_id on, live is complete."""

    channels: Sequence[ChannelRow]


@dataclass(frozen=True, slots=True)
class Posted:
    """A message that arrived live."""

    row: MessageRow


@dataclass(frozen=True, slots=True)
class Edited:
    """A message as it is after an edit, whether or not it was known before."""

    row: MessageRow


@dataclass(frozen=True, slots=True)
class Deleted:
    guild_id: int
    channel_id: int
    message_ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class PageRead:
    """One answer of REST: all messages of the channel with start_id <= id <= end_id, there are no others."""

    guild_id: int
    channel_id: int
    start_id: int
    end_id: int
    rows: Sequence[MessageRow]


@dataclass(frozen=True, slots=True)
class ChannelGone:
    """A channel or thread was deleted, and with it what it held."""

    channel_id: int


@dataclass(frozen=True, slots=True)
class ThreadsListed:
    """All archived threads of a channel up to that moment (Unix ms) have been seen."""

    channel_id: int
    at: int


@dataclass(frozen=True, slots=True)
class ImportedChannel:
    """A channel or thread as a file names it; `exported_at` Unix ms, 0 when only its name is known."""

    id: int
    guild_id: int
    parent_id: int | None
    type: int
    name: str
    topic: str = ""
    exported_at: int = 0


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """A message from a file, with what its reactions column holds and when it was read from Discord (Unix ms)."""

    row: MessageRow
    reactions: str
    read_at: int


@dataclass(frozen=True, slots=True)
class Imported:
    """Some messages of one channel from a file, and the intervals of ids that with them are complete."""

    guild: GuildSeen
    channels: Sequence[ImportedChannel]
    """The messages' channel last, before it the parent of a thread."""
    rows: Sequence[ImportedRow] = ()
    proved: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True)
class ImportDoubted:
    """What files said of these ids' completeness does not hold."""

    channel_id: int
    start_id: int
    end_id: int


Event = (
    SessionBroken
    | GuildSeen
    | ChannelsSeen
    | Posted
    | Edited
    | Deleted
    | PageRead
    | ChannelGone
    | ThreadsListed
    | Imported
    | ImportDoubted
)
