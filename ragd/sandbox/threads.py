"""Making threads and forum posts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from .entities import FORUM_TYPES, Channel, ChannelType, MessageFlags, MessageType, ThreadState
from .posting import MessageActions, PartFields
from .snowflake import snowflake_ms
from .state import WorldRuleError


class ThreadActions(MessageActions):
    """Threads and forum posts, with the messages Discord makes along the way."""

    def create_thread(
        self,
        parent_id: int,
        owner_id: int,
        name: str,
        *,
        message_id: int | None = None,
        private: bool = False,
        thread_id: int | None = None,
        at_ms: int | None = None,
        auto_archive_minutes: int = 1440,
    ) -> Channel:
        """A thread under a text or news channel.

        With `message_id` it hangs on that message, shares its id and opens with a THREAD_STARTER_MESSAGE; a public one
        without leaves a THREAD_CREATED message in the parent. `at_ms` or `thread_id` places it in history.
        """
        parent = self.channel(parent_id)
        if parent.type not in (ChannelType.TEXT, ChannelType.NEWS):
            raise WorldRuleError(f"channel {parent_id} of type {int(parent.type)} takes no threads")
        if message_id is not None and self.message(message_id).channel_id != parent_id:
            raise WorldRuleError(f"message {message_id} is not in channel {parent_id}")
        new_id = message_id or thread_id or (self.clock.fresh() if at_ms is None else self.clock.at(at_ms))
        began_ms = at_ms or (self.clock.now_ms() if thread_id is None else snowflake_ms(thread_id))
        state = ThreadState(owner_id, began_ms, began_ms, auto_archive_minutes=auto_archive_minutes)
        kind = ChannelType.PRIVATE_THREAD if private else _PUBLIC_KIND[parent.type]
        thread = self._add_thread(Channel(new_id, kind, parent.guild_id, name, parent_id, thread=state))
        seeded = at_ms is not None or thread_id is not None
        self._announce(thread, owner_id, message_id, at_ms=began_ms if seeded else None)
        return thread

    def create_forum_post(
        self,
        forum_id: int,
        author_id: int,
        name: str,
        content: str,
        *,
        thread_id: int | None = None,
        at_ms: int | None = None,
        applied_tags: Iterable[int] = (),
        **parts: Unpack[PartFields],
    ) -> Channel:
        """A post in a forum: a thread whose first message has the thread's id. The forum's last_message_id follows."""
        forum = self.channel(forum_id)
        if forum.type not in FORUM_TYPES:
            raise WorldRuleError(f"channel {forum_id} is not a forum")
        new_id = thread_id or (self.clock.fresh() if at_ms is None else self.clock.at(at_ms))
        began_ms = snowflake_ms(new_id)
        state = ThreadState(self.user(author_id).id, began_ms, began_ms, applied_tags=list(applied_tags))
        thread = Channel(new_id, ChannelType.PUBLIC_THREAD, forum.guild_id, name, forum_id, thread=state)
        self._add_thread(thread)
        forum.last_message_id = max(forum.last_message_id or 0, new_id)
        self.join_thread(new_id, author_id)
        self.post(new_id, author_id, content, message_id=new_id, **parts)
        return thread

    def _add_thread(self, thread: Channel) -> Channel:
        if thread.id in self.channels:
            raise WorldRuleError(f"thread {thread.id} exists already")
        assert thread.guild_id is not None
        self.guild(thread.guild_id).threads[thread.id] = self.channels[thread.id] = thread
        self._emit_thread("THREAD_CREATE", thread, newly_created=True)
        return thread

    def _announce(self, thread: Channel, owner_id: int, message_id: int | None, *, at_ms: int | None) -> None:
        """The system messages and membership that come with a new thread."""
        assert thread.parent_id is not None
        self.join_thread(thread.id, owner_id)
        if message_id is not None:
            starter = self.message(message_id)
            self.edit(message_id, mark_edited=False, flags=starter.flags | MessageFlags.HAS_THREAD)
            kind, reference = MessageType.THREAD_STARTER_MESSAGE, (thread.parent_id, message_id)
            self.post(thread.id, owner_id, type=kind, reference=reference, at_ms=at_ms)
        elif thread.type != ChannelType.PRIVATE_THREAD:
            kind, reference = MessageType.THREAD_CREATED, (thread.id, 0)
            self.post(thread.parent_id, owner_id, thread.name, type=kind, reference=reference, at_ms=at_ms, mentions=())


_PUBLIC_KIND = {ChannelType.TEXT: ChannelType.PUBLIC_THREAD, ChannelType.NEWS: ChannelType.NEWS_THREAD}
