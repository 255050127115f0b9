"""A guild with a long history that takes no memory: its messages are made when a page of them is asked for."""

from __future__ import annotations

from bisect import bisect_left

from benchmarks.stage import texts
from ragd.sandbox.entities import Message
from ragd.sandbox.messagelog import MessageLog
from ragd.sandbox.snowflake import snowflake_at
from ragd.sandbox.world import World
from tests.processes import TOKEN

DAY_MS = 86_400_000
MINUTE_STEP = 60_000 << 22
"""A message a minute, as a difference of ids."""

AUTHORS = 20
TEXTS = 5_000
"""Different contents, in turn."""


class LongHistory(MessageLog):
    """Every channel given to `remember` has a message a minute until two days ago; what is posted comes on top."""

    def __init__(self) -> None:
        super().__init__()
        self._old: dict[int, range] = {}
        self._authors: list[int] = []
        self._texts = texts(TEXTS)

    def remember(self, channel_id: int, messages: int, newest_ms: int, authors: list[int]) -> int:
        """Give a channel its history; returns the id of its newest message."""
        newest = snowflake_at(newest_ms, channel_id)
        self._old[channel_id] = range(newest - (messages - 1) * MINUTE_STEP, newest + 1, MINUTE_STEP)
        self._authors = authors
        return newest

    def page(
        self,
        channel_id: int,
        *,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
        limit: int = 50,
    ) -> list[Message]:
        """As the base class; of the old messages only pages `before`. Raises ValueError for others."""
        old = self._old.get(channel_id)
        page = super().page(channel_id, before=before, after=after, around=around, limit=limit)
        if old is None or len(page) == limit:
            return page
        if after is not None or around is not None:
            raise ValueError("a long history is read backwards")
        end = len(old) if before is None else bisect_left(old, before)
        wanted = old[max(0, end - (limit - len(page))) : end]
        return page + [self._message(channel_id, message_id) for message_id in reversed(wanted)]

    def _message(self, channel_id: int, message_id: int) -> Message:
        minute = message_id // MINUTE_STEP
        author = self._authors[minute % len(self._authors)]
        return Message(message_id, channel_id, author, self._texts[minute % len(self._texts)])


def furnish_long(world: World, channels: int, messages: int) -> None:
    """A guild with ragd's bot and so many channels of history, and one more, the first, where nobody has written."""
    log = world.messages = LongHistory()
    people = [world.create_user(f"member-{number}").id for number in range(AUTHORS)]
    guild = world.create_guild("Long", people[0])
    for person in people[1:]:
        world.add_member(guild.id, person)
    application = world.create_application("ragd", token=TOKEN)
    world.invite_bot(guild.id, application.id)
    world.create_channel(guild.id, "live")
    newest_ms = world.clock.now_ms() - 2 * DAY_MS
    for number in range(channels):
        channel = world.create_channel(guild.id, f"history-{number}")
        channel.last_message_id = log.remember(channel.id, messages, newest_ms, people)
