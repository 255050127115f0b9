"""Discord in plain Python, as far as coverage goes: channels, messages, a gateway session, pages of history."""

from __future__ import annotations

from dataclasses import dataclass, field

from ragd.store.events import (
    ChannelGone,
    ChannelRow,
    ChannelsSeen,
    Deleted,
    Edited,
    Event,
    GuildSeen,
    MessageRow,
    PageRead,
    Posted,
    SessionBroken,
)

GUILD, CATEGORY = 1, 2
TEXT, THREAD = 0, 11
PAGE = 3
"""Messages a page: few, so that short histories have several."""


@dataclass
class Channel:
    id: int
    parent_id: int | None
    type: int = TEXT
    readable: bool = True
    messages: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Content and edit time by id."""
    deleted: set[int] = field(default_factory=set)
    last_id: int = 0
    """As at Discord, of the newest message that ever was."""

    def row(self) -> ChannelRow:
        return ChannelRow(self.id, GUILD, self.parent_id, self.type, f"c{self.id}", self.last_id, self.readable)

    def message(self, message_id: int) -> MessageRow:
        content, edited_at = self.messages[message_id]
        return MessageRow(message_id, GUILD, self.id, 5, "ann", False, 0, content, edited_at=edited_at)


class FakeDiscord:
    """What exists, and what a session is told of it: `told` takes events in the order of the gateway."""

    def __init__(self) -> None:
        self.channels: dict[int, Channel] = {}
        self.gone: dict[int, Channel] = {}
        self.told: list[Event] = []
        """What capture was told and has not committed."""
        self.connected = False
        self._next_id = 1000
        self._clock = 0

    def next_id(self, step: int = 1) -> int:
        self._next_id += step
        return self._next_id

    def now(self) -> int:
        self._clock += 1
        return self._clock

    # Channels

    def make(self, parent_id: int | None, kind: int) -> Channel:
        channel = Channel(self.next_id(), parent_id, kind)
        self.channels[channel.id] = channel
        if self.connected:
            self.told.append(ChannelsSeen([channel.row()]))
        return channel

    def remove(self, channel_id: int) -> None:
        """A channel goes with its threads."""
        for gone in [one for one in self.channels.values() if channel_id in (one.id, one.parent_id)]:
            if gone.id == channel_id or gone.type == THREAD:
                self.gone[gone.id] = self.channels.pop(gone.id)
        if self.connected:
            self.told.append(ChannelGone(channel_id))

    def remove_category(self) -> None:
        """The channels in it stay, and belong to no category any more."""
        orphans = [one for one in self.channels.values() if one.parent_id == CATEGORY]
        for orphan in orphans:
            orphan.parent_id = None
        if self.connected:
            self.told += [ChannelGone(CATEGORY), ChannelsSeen([orphan.row() for orphan in orphans])]

    def show(self, channel: Channel, readable: bool) -> None:
        """Permissions change. capture asks REST for the last message of what it may read again: see `regained`."""
        channel.readable = readable
        if self.connected:
            self.told.append(ChannelsSeen([channel.row()]))

    # Messages

    def post(self, channel: Channel, skip: int) -> None:
        message_id = self.next_id(skip)
        channel.messages[message_id] = (f"text {message_id}", 0)
        channel.last_id = message_id
        self._tell(channel, Posted(channel.message(message_id)))

    def edit(self, channel: Channel, message_id: int) -> None:
        at = self.now()
        channel.messages[message_id] = (f"edited {at}", at)
        self._tell(channel, Edited(channel.message(message_id)))

    def delete(self, channel: Channel, message_ids: list[int]) -> None:
        for message_id in message_ids:
            del channel.messages[message_id]
        channel.deleted.update(message_ids)
        self._tell(channel, Deleted(GUILD, channel.id, message_ids))

    def _tell(self, channel: Channel, event: Event) -> None:
        if self.connected and channel.readable:
            self.told.append(event)

    # Sessions and REST

    def ready(self) -> None:
        self.connected = True
        self.told += [SessionBroken(), GuildSeen(GUILD, "g")]

    def announce(self) -> None:
        """READY's channels, as capture states them a moment later."""
        self.told.append(ChannelsSeen([channel.row() for channel in self.channels.values()]))

    def page(self, channel_id: int, start_id: int, end_id: int) -> Event | None:
        """What REST answers to a request for the newest page of a hole."""
        channel = self.channels.get(channel_id)
        if channel is None:
            return ChannelGone(channel_id)
        if not channel.readable:
            return None
        newest = sorted(one for one in channel.messages if one <= end_id)[-PAGE:]
        start_id = max(start_id, newest[0] if len(newest) == PAGE else 1)
        rows = [channel.message(one) for one in newest if one >= start_id]
        return PageRead(GUILD, channel_id, start_id, end_id, rows)
