"""A community to put into a world: who and what there is, and what happens, step by step.

`demo_script` reads the bundled one, `exports` reads DiscordChatExporter files, `playback` puts either into a world.
Ids in here are *script ids*: an export's own ids, or ids made up by the demo's loader. A playback that posts
messages as new ones keeps a map from script ids to the ids of the world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from .entities import ChannelType, Payload


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """A role; `permissions` are Discord's bits."""

    id: int
    name: str
    permissions: int = 0
    color: int = 0


@dataclass(frozen=True, slots=True)
class AccountSpec:
    """An account and its membership; one that `joins_later` becomes a member by a `Join` step."""

    id: int
    username: str
    display_name: str | None = None
    bot: bool = False
    roles: tuple[int, ...] = ()
    joins_later: bool = False


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """A channel, category, forum or thread that is there from the beginning.

    With `only_roles` nobody else sees it. A thread has a `parent_id` and an `owner_id`.
    """

    id: int
    type: ChannelType
    name: str
    parent_id: int | None = None
    topic: str | None = None
    only_roles: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    owner_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that happens at a time (Unix milliseconds; 0 where only the order counts)."""

    at_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Post(Step):
    """A message. `mentions` None means: as the text says. `topic` names the conversation, as ground truth."""

    id: int
    channel_id: int
    author_id: int
    text: str
    reply_to: int | None = None
    type: int | None = None
    mentions: tuple[int, ...] | None = None
    attachments: tuple[Payload, ...] = ()
    embeds: tuple[Payload, ...] = ()
    sticker_items: tuple[Payload, ...] = ()
    pinned: bool = False
    topic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenThread(Step):
    """A thread is started under a message; its script id is that message's."""

    under: int
    owner_id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenForumPost(Step):
    """A post in a forum, which is a thread; `first` is its first message and gives the thread its script id."""

    forum_id: int
    name: str
    first: Post
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive(Step):
    """A thread is archived."""

    thread_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit(Step):
    """A message is edited; `text` None means that only the time of the edit is known."""

    id: int
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete(Step):
    """A message is deleted, or several at once in one channel (`bulk`)."""

    ids: tuple[int, ...]
    bulk: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class React(Step):
    """People put the same emoji under a message."""

    id: int
    emoji: str
    user_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Join(Step):
    """An account becomes a member."""

    user_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave(Step):
    """A member leaves or is thrown out."""

    user_id: int


@dataclass(frozen=True, slots=True)
class Question:
    """A search to try: who asks, and the script ids of the messages that answer (none: it must find nothing)."""

    text: str
    asker_id: int
    answers: tuple[int, ...]


class Improviser(Protocol):
    """Makes up conversations without end."""

    def round(self, rng: Random) -> list[Step]:
        """Some short conversations, one after the other. The same states of `rng` give the same ones.

        Script ids are used again by every conversation, so play its steps before making the next round.
        """
        ...


@dataclass(frozen=True, slots=True)
class Community:
    """A guild with its people and channels, its history in order of time, and what may be said after it.

    `since_ms` is when its people joined: before the first step of the history.
    """

    guild_id: int
    name: str
    owner_id: int
    since_ms: int
    roles: Sequence[RoleSpec]
    accounts: Sequence[AccountSpec]
    channels: Sequence[ChannelSpec]
    history: Sequence[Step]
    chatter: Sequence[Step] = ()
    improviser: Improviser | None = None
    questions: Sequence[Question] = field(default=())


def posts_in(steps: Sequence[Step]) -> list[Post]:
    """The messages among `steps`, first messages of forum posts included, in order."""
    posts = (step.first if isinstance(step, OpenForumPost) else step for step in steps)
    return [post for post in posts if isinstance(post, Post)]
