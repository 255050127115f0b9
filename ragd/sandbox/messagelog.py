"""Storage of messages: by id, and per channel in id order. Fine for a million."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

from .entities import Message


class MessageLog:
    """All messages that exist, and the ids of those that no longer do."""

    def __init__(self) -> None:
        self._by_id: dict[int, Message] = {}
        self._ids: dict[int, list[int]] = {}
        self.deleted: dict[int, int | None] = {}
        """Ids of messages that are gone -> the guild they were in."""

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, message_id: int) -> bool:
        return message_id in self._by_id

    def get(self, message_id: int) -> Message | None:
        """The message, or None when it does not (or no longer) exist."""
        return self._by_id.get(message_id)

    def add(self, message: Message) -> None:
        """Store a message whose id is new."""
        self._by_id[message.id] = message
        ids = self._ids.setdefault(message.channel_id, [])
        if not ids or message.id > ids[-1]:
            ids.append(message.id)
        else:
            insort(ids, message.id)

    def remove(self, message: Message, guild_id: int | None) -> None:
        """Take a stored message out and remember its id as deleted."""
        del self._by_id[message.id]
        ids = self._ids[message.channel_id]
        del ids[bisect_left(ids, message.id)]
        self.deleted[message.id] = guild_id

    def drop_channel(self, channel_id: int, guild_id: int | None) -> None:
        """Take out all messages of a channel, remembering them as deleted."""
        for message_id in self._ids.pop(channel_id, []):
            del self._by_id[message_id]
            self.deleted[message_id] = guild_id

    def count(self, channel_id: int) -> int:
        """How many messages the channel has."""
        return len(self._ids.get(channel_id, ()))

    def last_id(self, channel_id: int) -> int | None:
        """The highest id in the channel, or None."""
        ids = self._ids.get(channel_id)
        return ids[-1] if ids else None

    def all(self) -> Iterator[Message]:
        """Every message, in order of arrival."""
        return iter(self._by_id.values())

    def in_channel(self, channel_id: int) -> Iterator[Message]:
        """The channel's messages, oldest first."""
        return (self._by_id[message_id] for message_id in self._ids.get(channel_id, ()))

    def page(
        self,
        channel_id: int,
        *,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
        limit: int = 50,
    ) -> list[Message]:
        """One page of history as `GET /channels/{id}/messages` gives it: always newest first.

        `after` gives the *oldest* `limit` messages above the id, `before` the newest below it, `around` both sides.
        """
        ids = self._ids.get(channel_id, [])
        low, high = _page_bounds(ids, before, after, around, limit)
        return [self._by_id[message_id] for message_id in reversed(ids[low:high])]


def _page_bounds(
    ids: list[int], before: int | None, after: int | None, around: int | None, limit: int
) -> tuple[int, int]:
    """The slice of `ids` that a page covers."""
    if around is not None:
        middle = bisect_left(ids, around)
        low = max(0, middle - limit // 2)
        return low, min(len(ids), low + limit)
    if after is not None:
        low = bisect_right(ids, after)
        return low, min(len(ids), low + limit)
    high = len(ids) if before is None else bisect_left(ids, before)
    return max(0, high - limit), high
