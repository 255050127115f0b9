"""Plays a community in a world: history silently or at any speed, then endless chatter."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from random import Random

from .community import (
    AccountSpec,
    Archive,
    ChannelSpec,
    Community,
    Delete,
    Edit,
    Join,
    Leave,
    OpenForumPost,
    OpenThread,
    Post,
    React,
    Step,
)
from .entities import THREAD_TYPES, Channel, Overwrite, OverwriteTarget, ThreadState
from .permissions import Permission
from .posting import PartFields
from .snowflake import snowflake_ms
from .world import World

log = logging.getLogger(__name__)

Sleep = Callable[[float], Awaitable[None]]
_CHANNEL_TAG = re.compile(r"<#(\d{1,20})>")


class Playback:
    """A community in one world. Use it on the world's event loop: `seed`, then `replay`, then `chatter`.

    `ids` maps script ids of messages and threads to their ids in the world; those of messages that the playback has
    deleted stay in it. Steps about messages that somebody else deleted in the world are skipped.
    """

    def __init__(self, world: World, community: Community, *, sleep: Sleep = asyncio.sleep) -> None:
        self.world = world
        self.community = community
        self.ids: dict[int, int] = {}
        self.done = 0
        """How many steps of the history have been played."""
        self._sleep = sleep

    # -- history

    def seed(self, until: float = 1.0) -> int:
        """Make the guild and put the first share `until` (0 to 1) of the history in, without any event.

        Messages keep their script ids and everything its time. Returns the number of steps played so far.
        Calling it again continues where it stopped.
        """
        with self.world.silence():
            if self.community.guild_id not in self.world.guilds:
                self._build()
            for step in self._history(round(until * len(self.community.history))):
                self._play(step, past=True)
        return self.done

    async def replay(
        self, speed: float = 0.0, *, keep_times: bool = False, max_gap_seconds: float | None = None
    ) -> None:
        """Play the rest of the history live, every step with its gateway event.

        Gaps are divided by `speed` (0: no waiting) and then cut to `max_gap_seconds`. Messages are posted now with
        fresh ids, or, with `keep_times`, with their script ids and times.
        """
        self.seed(until=0.0)
        before_ms: int | None = None
        for step in self._history(len(self.community.history)):
            await self._sleep(_gap_seconds(before_ms, step.at_ms, speed, max_gap_seconds))
            before_ms = step.at_ms
            self._play(step, past=keep_times)

    def _history(self, end: int) -> Iterator[Step]:
        while self.done < end:
            step = self.community.history[self.done]
            self.done += 1
            yield step

    # -- chatter

    async def chatter(self, interval_seconds: float = 4.0, *, seed: int = 0) -> None:
        """Chat on until cancelled, a step every `interval_seconds` or so: prepared chatter first, then variations.

        The same `seed` gives the same chatter. Returns early only for a community that has no variations.
        """
        rng = Random(seed)  # noqa: S311  no secret hangs on it
        for step in self._conversation(rng):
            await self._sleep(interval_seconds * rng.uniform(0.5, 1.5))
            self._play(step, past=False)

    def _conversation(self, rng: Random) -> Iterator[Step]:
        yield from self.community.chatter
        while self.community.improviser is not None:
            yield from self.community.improviser.round(rng)

    # -- the guild

    def _build(self) -> None:
        community, world = self.community, self.world
        for account in community.accounts:
            if account.id not in world.users:
                world.create_user(
                    account.username, user_id=account.id, global_name=account.display_name, bot=account.bot
                )
        world.create_guild(community.name, community.owner_id, guild_id=community.guild_id)
        for role in community.roles:
            world.create_role(
                community.guild_id, role.name, permissions=role.permissions, role_id=role.id, color=role.color
            )
        for account in community.accounts:
            if not account.joins_later:
                self._join(account, community.since_ms)
        for channel in _parents_first(community.channels):
            self._create_channel(channel)

    def _join(self, account: AccountSpec, at_ms: int) -> None:
        guild_id = self.community.guild_id
        member = self.world.add_member(guild_id, account.id, roles=account.roles, joined_ms=at_ms)
        if account.id == self.community.owner_id:  # a member since create_guild
            member.joined_ms = at_ms
            self.world.set_member_roles(guild_id, account.id, account.roles)

    def _create_channel(self, channel: ChannelSpec) -> None:
        if channel.type in THREAD_TYPES:
            self._adopt_thread(channel)
            return
        self.world.create_channel(
            self.community.guild_id,
            channel.name,
            channel.type,
            channel_id=channel.id,
            parent_id=channel.parent_id,
            topic=channel.topic,
            overwrites=self._privacy(channel),
            available_tags=list(channel.tags),
        )

    def _privacy(self, channel: ChannelSpec) -> list[Overwrite]:
        if not channel.only_roles:
            return []
        view = int(Permission.VIEW_CHANNEL)
        allowed = [Overwrite(role_id, OverwriteTarget.ROLE, allow=view) for role_id in channel.only_roles]
        return [Overwrite(self.community.guild_id, OverwriteTarget.ROLE, deny=view), *allowed]

    def _adopt_thread(self, spec: ChannelSpec) -> None:
        """Put a thread of an export in as it is.

        `create_thread` would add the system messages that come with a new thread, and the export has those already.
        """
        began_ms = snowflake_ms(spec.id)
        thread = Channel(spec.id, spec.type, self.community.guild_id, spec.name, spec.parent_id)
        thread.thread = ThreadState(spec.owner_id, began_ms, began_ms)
        self.world.guild(self.community.guild_id).threads[spec.id] = self.world.channels[spec.id] = thread

    # -- steps

    def _play(self, step: Step, *, past: bool) -> None:
        """Do what the step says; with `past` at its own time and with its script ids."""
        match step:
            case Post():
                self._post(step, past=past)
            case OpenForumPost():
                self._open_forum_post(step, past=past)
            case OpenThread():
                self._open_thread(step, past=past)
            case Archive():
                self._archive(step, past=past)
            case Edit():
                self._edit(step, past=past)
            case Delete():
                self._delete(step)
            case React():
                self._react(step)
            case Join():
                self._join(self._account(step.user_id), step.at_ms if past else self.world.clock.now_ms())
            case Leave():
                self.world.remove_member(self.community.guild_id, step.user_id)

    def _post(self, post: Post, *, past: bool) -> None:
        # The first message of an export's forum post must keep the id that it shares with its thread.
        keeps_id = past or post.id == post.channel_id
        message = self.world.post(
            self._id(post.channel_id),
            post.author_id,
            self._retagged(post.text),
            reply_to=None if post.reply_to is None else self._id(post.reply_to),
            type=post.type,
            mentions=post.mentions,
            message_id=post.id if keeps_id else None,
            **_parts(post),
        )
        self.ids[post.id] = message.id

    def _open_forum_post(self, step: OpenForumPost, *, past: bool) -> None:
        forum, first = self.world.channel(step.forum_id), step.first
        thread = self.world.create_forum_post(
            forum.id,
            first.author_id,
            step.name,
            self._retagged(first.text),
            thread_id=first.id if past else None,
            applied_tags=[tag.id for tag in forum.available_tags if tag.name in step.tags],
            **_parts(first),
        )
        self.ids[first.id] = thread.id

    def _open_thread(self, step: OpenThread, *, past: bool) -> None:
        starter = self._existing(step.under)
        if starter is not None:
            parent_id, at_ms = self.world.message(starter).channel_id, step.at_ms if past else None
            self.world.create_thread(parent_id, step.owner_id, step.name, message_id=starter, at_ms=at_ms)

    def _archive(self, step: Archive, *, past: bool) -> None:
        thread, state = self.world.thread(self._id(step.thread_id))
        self.world.archive_thread(thread.id)
        if past:
            state.archive_changed_ms = step.at_ms

    def _edit(self, step: Edit, *, past: bool) -> None:
        message_id, at_ms = self._existing(step.id), step.at_ms if past else None
        if message_id is None:
            return
        if step.text is None:
            self.world.edit(message_id, at_ms=at_ms)
        else:
            self.world.edit(message_id, at_ms=at_ms, content=self._retagged(step.text))

    def _delete(self, step: Delete) -> None:
        there = [message_id for key in step.ids if (message_id := self._existing(key)) is not None]
        if step.bulk and there:
            self.world.bulk_delete(self.world.message(there[0]).channel_id, there)
            return
        for message_id in there:
            self.world.delete(message_id)

    def _react(self, step: React) -> None:
        message_id = self._existing(step.id)
        if message_id is not None:
            for user_id in step.user_ids:
                self.world.react(message_id, user_id, step.emoji)

    # -- ids

    def _id(self, script_id: int) -> int:
        """The world's id of a message or thread; channels, and what was never played, are known by their script id."""
        return self.ids.get(script_id, script_id)

    def _existing(self, script_id: int) -> int | None:
        message_id = self._id(script_id)
        if message_id in self.world.messages:
            return message_id
        log.debug("step skipped, its message is gone", extra={"message_id": message_id})
        return None

    def _retagged(self, text: str) -> str:
        """The text with `<#id>` of threads leading to where they are in this world."""
        return _CHANNEL_TAG.sub(lambda found: f"<#{self._id(int(found.group(1)))}>", text)

    def _account(self, user_id: int) -> AccountSpec:
        return next(account for account in self.community.accounts if account.id == user_id)


def _parents_first(channels: Iterable[ChannelSpec]) -> list[ChannelSpec]:
    return sorted(channels, key=lambda channel: channel.parent_id is not None)


def _parts(post: Post) -> PartFields:
    parts = PartFields()
    if post.attachments:
        parts["attachments"] = post.attachments
    if post.embeds:
        parts["embeds"] = post.embeds
    if post.sticker_items:
        parts["sticker_items"] = post.sticker_items
    if post.pinned:
        parts["pinned"] = True
    return parts


def _gap_seconds(before_ms: int | None, at_ms: int, speed: float, max_gap_seconds: float | None) -> float:
    if before_ms is None or speed <= 0:
        return 0.0
    gap = (at_ms - before_ms) / 1000 / speed
    return gap if max_gap_seconds is None else min(gap, max_gap_seconds)
