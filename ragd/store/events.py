"""What capture and imports tell the store, in the order in which it happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Source = Literal["gateway", "rest"]

Wanted = Literal["messages", "threads"]
"""What was asked of a channel: its messages, or a list of its archived threads."""


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One message as Discord shows it; `extra` is JSON (see ragd/extra.py), `edited_at` Unix ms or 0.

    `reactions` is JSON too, and counts when the message is new, or when it comes with a page.
    """

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
    reactions: str = "{}"


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """A channel or thread; `last_message_id` 0 when it has none, `details` JSON (see models.py)."""

    id: int
    guild_id: int
    parent_id: int | None
    type: int
    name: str
    last_message_id: int = 0
    readable: bool = True
    archived: bool = False
    details: str = "{}"
    excluded: bool = False
    """Left out by the allow and deny lists."""


@dataclass(frozen=True, slots=True)
class SessionBroken:
    """The gateway's stream has a gap from here on: nothing live proves anything until a ChannelsSeen."""

    shard: tuple[int, int] | None = None
    """Of the guilds of that shard out of so many; None for all guilds."""


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Who we are, by our user id: said at the begin of every session."""

    user_id: int


@dataclass(frozen=True, slots=True)
class GuildSeen:
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class GuildsListed:
    """Every guild that the bot is in and these shards are told of: READY's list, those with an outage included."""

    guild_ids: Sequence[int]
    shard_ids: Sequence[int] = (0,)
    shard_count: int = 1

    def concerns(self, guild_id: int) -> bool:
        """Whether the guild would have been listed; Discord's own formula for whose guild it is."""
        return (guild_id >> 22) % self.shard_count in self.shard_ids


@dataclass(frozen=True, slots=True)
class GuildGone:
    """The bot is no longer in the guild: kicked, it left, or the guild was deleted. Discord does not say which."""

    guild_id: int


@dataclass(frozen=True, slots=True)
class GuildSilent:
    """An outage of one guild: nothing of it comes live until its channels are stated anew. No removal."""

    guild_id: int


@dataclass(frozen=True, slots=True)
class ScopeSet:
    """The allow and deny lists in force from here on (ragd/scope.py)."""

    allow: Sequence[int]
    deny: Sequence[int]


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
class Reacted:
    """A change of the reactions under a message: so many more of an emoji (fewer: negative), or with 0 none any more;
    without an emoji, none of any."""

    message_id: int
    emoji: str | None
    by: int


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
    """All threads of a channel that were archived before `at` have been seen: Unix ms by Discord's clock, not ours."""

    channel_id: int
    at: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Discord would not give what was wanted of a channel, although the permissions say that it should."""

    channel_id: int
    wanted: Wanted = "messages"


@dataclass(frozen=True, slots=True)
class AccessChanged:
    """Permissions changed: in a channel or category, or in the whole guild."""

    guild_id: int
    channel_id: int | None = None


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
    """A message from a file, and when it was read from Discord (Unix ms)."""

    row: MessageRow
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
    | LoggedIn
    | GuildSeen
    | GuildsListed
    | GuildGone
    | GuildSilent
    | ScopeSet
    | ChannelsSeen
    | Posted
    | Edited
    | Deleted
    | Reacted
    | PageRead
    | ChannelGone
    | ThreadsListed
    | Refused
    | AccessChanged
    | Imported
    | ImportDoubted
)
