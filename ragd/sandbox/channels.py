"""Changes to channels, overwrites and the state of threads (posting and thread creation come on top)."""

from __future__ import annotations

import secrets
from typing import Unpack

from typing_extensions import TypedDict  # pydantic, which checks the control side, needs this one before 3.12

from . import payloads
from .entities import (
    Channel,
    ChannelType,
    ForumTag,
    Intents,
    Overwrite,
    OverwriteTarget,
    Payload,
    ThreadMember,
    Webhook,
)
from .guilds import GuildActions
from .permissions import can_view
from .state import UnknownEntityError, WorldRuleError


class ChannelChanges(TypedDict, total=False):
    """What `update_channel` may change."""

    name: str
    topic: str | None
    position: int
    nsfw: bool
    parent_id: int | None
    rate_limit_per_user: int


class ThreadChanges(TypedDict, total=False):
    """What `update_thread` may change."""

    name: str
    archived: bool
    locked: bool
    invitable: bool
    auto_archive_minutes: int
    applied_tags: list[int]


class ChannelActions(GuildActions):
    """Channels, overwrites, thread state and membership, webhooks, DMs."""

    def create_channel(
        self,
        guild_id: int,
        name: str,
        type: ChannelType = ChannelType.TEXT,
        *,
        channel_id: int | None = None,
        parent_id: int | None = None,
        topic: str | None = None,
        nsfw: bool = False,
        overwrites: list[Overwrite] | None = None,
        available_tags: list[str] | None = None,
    ) -> Channel:
        """A new text, voice, category, news, forum or media channel; threads come from `create_thread`."""
        guild = self.guild(guild_id)
        channel = Channel(
            self._new_id(channel_id), ChannelType(type), guild_id, name, parent_id, topic=topic, nsfw=nsfw
        )
        if channel.id in self.channels:
            raise WorldRuleError(f"channel {channel.id} exists already")
        channel.position = len(guild.channels)
        channel.overwrites = {overwrite.id: overwrite for overwrite in overwrites or ()}
        channel.available_tags = [ForumTag(self.clock.fresh(), tag) for tag in available_tags or ()]
        guild.channels[channel.id] = self.channels[channel.id] = channel
        self._emit_channel("CHANNEL_CREATE", channel)
        return channel

    def update_channel(self, channel_id: int, **changes: Unpack[ChannelChanges]) -> Channel:
        """Change a guild channel that is not a thread."""
        channel = self.channel(channel_id)
        for name, value in changes.items():
            setattr(channel, name, value)
        self._emit_channel("CHANNEL_UPDATE", channel)
        return channel

    def delete_channel(self, channel_id: int) -> None:
        """Delete a channel (with its threads) or a thread, messages included. As on Discord no message deletes come.

        A category's channels move to the top, with a CHANNEL_UPDATE each.
        """
        channel = self.channel(channel_id)
        if channel.guild_id is None:
            raise WorldRuleError("a DM cannot be deleted")
        guild = self.guild(channel.guild_id)
        if channel.thread is not None:
            self._emit_thread_delete(channel)
            del guild.threads[channel_id]
            self._erase_channel(channel)
            return
        self._emit_channel("CHANNEL_DELETE", channel)
        for thread in [thread for thread in guild.threads.values() if thread.parent_id == channel_id]:
            del guild.threads[thread.id]
            self._erase_channel(thread)
        del guild.channels[channel_id]
        self._erase_channel(channel)
        for child in [child for child in guild.channels.values() if child.parent_id == channel_id]:
            self.update_channel(child.id, parent_id=None)

    def _erase_channel(self, channel: Channel) -> None:
        del self.channels[channel.id]
        self.messages.drop_channel(channel.id, channel.guild_id)
        for webhook_id in [hook.id for hook in self.webhooks.values() if hook.channel_id == channel.id]:
            del self.webhooks[webhook_id]

    def set_overwrite(
        self, channel_id: int, target_id: int, target: OverwriteTarget, *, allow: int = 0, deny: int = 0
    ) -> Channel:
        """Put a permission overwrite for a role or member on a channel, replacing the one it has."""
        channel = self.channel(channel_id)
        channel.overwrites[target_id] = Overwrite(target_id, OverwriteTarget(target), allow, deny)
        self._emit_channel("CHANNEL_UPDATE", channel)
        return channel

    def delete_overwrite(self, channel_id: int, target_id: int) -> Channel:
        """Take a permission overwrite off a channel."""
        channel = self.channel(channel_id)
        if channel.overwrites.pop(target_id, None) is None:
            raise UnknownEntityError("overwrite", target_id)
        self._emit_channel("CHANNEL_UPDATE", channel)
        return channel

    def create_dm(self, user_id: int, other_id: int) -> Channel:
        """The DM channel of two users, made when there is none yet."""
        wanted = {self.user(user_id).id, self.user(other_id).id}
        for channel in self.channels.values():
            if channel.type == ChannelType.DM and set(channel.recipients) == wanted:
                return channel
        channel = Channel(self.clock.fresh(), ChannelType.DM, None, recipients=[user_id, other_id])
        self.channels[channel.id] = channel
        return channel

    def create_webhook(self, channel_id: int, name: str, creator_id: int, *, token: str | None = None) -> Webhook:
        """A new incoming webhook of a guild channel."""
        channel = self.channel(channel_id)
        if channel.guild_id is None:
            raise WorldRuleError("a DM has no webhooks")
        webhook = Webhook(
            self.clock.fresh(), channel_id, channel.guild_id, name, token or secrets.token_urlsafe(48), creator_id
        )
        self.webhooks[webhook.id] = webhook
        self._emit_webhooks(webhook)
        return webhook

    def delete_webhook(self, webhook_id: int) -> None:
        """Take a webhook away; what it posted stays."""
        webhook = self.webhook(webhook_id)
        del self.webhooks[webhook_id]
        self._emit_webhooks(webhook)

    # -- threads

    def update_thread(self, thread_id: int, **changes: Unpack[ThreadChanges]) -> Channel:
        """Change a thread; its `archive_timestamp` moves when `archived` changes."""
        channel, state = self.thread(thread_id)
        if changes.get("archived", state.archived) != state.archived:
            state.archive_changed_ms = self.clock.now_ms()
        for name, value in changes.items():
            setattr(channel if name == "name" else state, name, value)
        self._emit_thread("THREAD_UPDATE", channel)
        return channel

    def archive_thread(self, thread_id: int, *, locked: bool | None = None) -> Channel:
        """Archive a thread, locking or unlocking it when `locked` is given."""
        if locked is None:
            return self.update_thread(thread_id, archived=True)
        return self.update_thread(thread_id, archived=True, locked=locked)

    def unarchive_thread(self, thread_id: int) -> Channel:
        """Make a thread active again."""
        return self.update_thread(thread_id, archived=False)

    def join_thread(self, thread_id: int, user_id: int) -> None:
        """Add a user to a thread; nothing happens when they are in it."""
        channel, state = self.thread(thread_id)
        if user_id in state.members:
            return
        state.members[self.user(user_id).id] = ThreadMember(user_id, self.clock.now_ms())
        if channel.type == ChannelType.PRIVATE_THREAD:
            # "When being added to an existing private thread" (Gateway Events, Thread Create): it is new to who was
            make = lambda: payloads.joined_thread_payload(channel, user_id)  # noqa: E731
            self.emit("THREAD_CREATE", make, guild_id=channel.guild_id, only_user=user_id)
        self._emit_thread_members(channel, added=[user_id], removed=[])

    def leave_thread(self, thread_id: int, user_id: int) -> None:
        """Take a user out of a thread."""
        channel, state = self.thread(thread_id)
        if state.members.pop(user_id, None) is None:
            raise UnknownEntityError("thread member", user_id)
        self._emit_thread_members(channel, added=[], removed=[user_id])
        if not can_view(self, user_id, thread_id):  # who was removed is told, though they see the thread no more
            gone = payloads.thread_members_update_payload(channel, [], [user_id])
            self.emit("THREAD_MEMBERS_UPDATE", lambda: gone, guild_id=channel.guild_id, only_user=user_id)

    # -- events

    def _emit_webhooks(self, webhook: Webhook) -> None:
        data = {"guild_id": str(webhook.guild_id), "channel_id": str(webhook.channel_id)}
        self.emit("WEBHOOKS_UPDATE", lambda: data, guild_id=webhook.guild_id, intent=Intents.GUILD_WEBHOOKS)

    def _emit_channel(self, name: str, channel: Channel) -> None:
        # No channel_id: Discord tells bots of hidden channels too; only messages and threads are filtered.
        if channel.guild_id is not None:
            make = lambda: payloads.channel_payload(self, channel)  # noqa: E731
            self.emit(name, make, guild_id=channel.guild_id, intent=Intents.GUILDS)

    def _emit_thread(self, name: str, thread: Channel, *, newly_created: bool = False) -> None:
        def make() -> Payload:
            data = payloads.channel_payload(self, thread)
            return {**data, "newly_created": True} if newly_created else data

        self.emit(name, make, guild_id=thread.guild_id, channel_id=thread.id, intent=Intents.GUILDS)

    def _emit_thread_delete(self, thread: Channel) -> None:
        data = {
            "id": str(thread.id),
            "guild_id": str(thread.guild_id),
            "parent_id": str(thread.parent_id),
            "type": int(thread.type),
        }
        self.emit("THREAD_DELETE", lambda: data, guild_id=thread.guild_id, channel_id=thread.id, intent=Intents.GUILDS)

    def _emit_thread_members(self, thread: Channel, *, added: list[int], removed: list[int]) -> None:
        self.emit(
            "THREAD_MEMBERS_UPDATE",
            lambda: payloads.thread_members_update_payload(thread, added, removed),
            guild_id=thread.guild_id,
            channel_id=thread.id,
            intent=Intents.GUILD_MEMBERS | Intents.GUILDS,
        )
