"""Reads the JSON files of DiscordChatExporter, one channel or thread each, into a community.

Ids, times, replies, threads, edits, attachments, embeds, stickers, mentions, pins, reactions and bots are taken over.
An export holds a message's last text only, so an edit is known by its time alone; deleted messages are not in it.

Source of the shape: https://github.com/Tyrrrz/DiscordChatExporter, Exporting/JsonMessageWriter.cs
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ragd.errors import DamagedError
from ragd.exchange.names import CHANNEL_TYPES, MESSAGE_TYPES, type_number

from .community import AccountSpec, ChannelSpec, Community, Edit, Post, React, Step
from .entities import THREAD_TYPES, ChannelType, Payload
from .jsonnode import Node, read_json

_REPLAYED = frozenset(
    {
        ChannelType.TEXT,
        ChannelType.VOICE,
        ChannelType.CATEGORY,
        ChannelType.NEWS,
        ChannelType.NEWS_THREAD,
        ChannelType.PUBLIC_THREAD,
        ChannelType.PRIVATE_THREAD,
        ChannelType.FORUM,
    }
)


def load_exports(paths: Iterable[Path]) -> Community:
    """The community of some export files or folders of them (`*.json`); all must be of one guild.

    Raises DamagedError, naming file and place, for what cannot be read or contradicts another file.
    """
    files = [file for path in paths for file in _files(path)]
    if not files:
        raise DamagedError("no export files given")
    reader = _Reader()
    for file in files:
        reader.read(read_json(file))
    return reader.community()


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.json"))
    if not files:
        raise DamagedError(f"{path}: holds no *.json files")
    return files


class _Reader:
    """Collects what the files say; first the files, then `community()`."""

    def __init__(self) -> None:
        self._guild_id = 0
        self._name = ""
        self._accounts: dict[int, AccountSpec] = {}
        self._channels: dict[int, ChannelSpec] = {}
        self._steps: list[Step] = []
        self._ids: set[int] = set()
        self._reactions: list[tuple[int, int, str, int, tuple[int, ...]]] = []

    def read(self, root: Node) -> None:
        """Take in one file."""
        self._guild(root["guild"])
        channel = self._channel(root["channel"], list(root["messages"].each()))
        for node in root["messages"].each():
            self._message(node, channel.id)

    def community(self) -> Community:
        """All files together. The guild's owner is the first account: exports do not say."""
        if not self._accounts:
            raise DamagedError(f"the exports of {self._name!r} hold no messages")
        steps = sorted([*self._steps, *self._reacted()], key=lambda step: step.at_ms)
        return Community(
            guild_id=self._guild_id,
            name=self._name,
            owner_id=next(iter(self._accounts)),
            since_ms=steps[0].at_ms,
            roles=(),
            accounts=list(self._accounts.values()),
            channels=sorted(self._channels.values(), key=lambda channel: channel.type in THREAD_TYPES),
            history=steps,
        )

    def _guild(self, node: Node) -> None:
        guild_id = node["id"].snowflake()
        if self._guild_id not in (0, guild_id):
            raise node["id"].error(f"is another guild than {self._guild_id} of the files before")
        self._guild_id, self._name = guild_id, node["name"].text()

    def _channel(self, node: Node, messages: list[Node]) -> ChannelSpec:
        kind = type_number(CHANNEL_TYPES, node["type"].text())
        if kind not in _REPLAYED:
            raise node["type"].error(f"cannot replay a channel of type {node['type'].text()!r}")
        topic, parent = node.get("topic"), node.get("categoryId")
        channel = ChannelSpec(
            id=node["id"].snowflake(),
            type=ChannelType(kind),
            name=node["name"].text(),
            topic=None if topic is None else topic.text(),
            parent_id=None if parent is None else parent.snowflake(),
        )
        return self._add_channel(node, channel, messages)

    def _add_channel(self, node: Node, channel: ChannelSpec, messages: list[Node]) -> ChannelSpec:
        if channel.type in THREAD_TYPES:
            if not messages or channel.parent_id is None:
                raise node.error("is a thread without messages or without categoryId, its parent channel")
            channel = replace(channel, owner_id=messages[0]["author"]["id"].snowflake(), topic=None)
        known = self._channels.get(channel.id)
        if known is not None and known.name != channel.name and known.topic is not None:
            raise node["id"].error(f"channel {channel.id} is {known.name!r} in another file")
        self._channels[channel.id] = channel
        self._add_parent(channel, node, messages)
        return channel

    def _add_parent(self, channel: ChannelSpec, node: Node, messages: list[Node]) -> None:
        """Make the category or parent channel that `categoryId` names, unless its own file came or comes."""
        if channel.parent_id is None or channel.parent_id in self._channels:
            return
        name = node.get("category")
        kind = _parent_type(channel, messages)
        self._channels[channel.parent_id] = ChannelSpec(
            channel.parent_id, kind, "parent" if name is None else name.text()
        )

    def _message(self, node: Node, channel_id: int) -> None:
        post = Post(
            at_ms=node["timestamp"].time_ms(),
            id=self._new_id(node["id"]),
            channel_id=channel_id,
            author_id=self._account(node["author"]),
            text=node["content"].text(),
            reply_to=_reference(node),
            type=_message_type(node["type"]),
            mentions=tuple(self._account(user) for user in node.each("mentions")),
            attachments=tuple(_attachment(file) for file in node.each("attachments")),
            embeds=tuple(_embed(embed) for embed in node.each("embeds")),
            sticker_items=tuple(_sticker(sticker) for sticker in node.each("stickers")),
            pinned="isPinned" in node.mapping() and node["isPinned"].flag(),
        )
        self._steps.append(post)
        edited = node.get("timestampEdited")
        if edited is not None:
            self._steps.append(Edit(at_ms=max(post.at_ms, edited.time_ms()), id=post.id, text=None))
        for reaction in node.each("reactions"):
            self._reaction(post, reaction)

    def _new_id(self, node: Node) -> int:
        message_id = node.snowflake()
        if message_id in self._ids:
            raise node.error(f"message {message_id} is there already")
        self._ids.add(message_id)
        return message_id

    def _account(self, node: Node) -> int:
        user_id = node["id"].snowflake()
        if user_id not in self._accounts:
            nickname = node.get("nickname")
            self._accounts[user_id] = AccountSpec(
                id=user_id,
                username=node["name"].text(),
                display_name=None if nickname is None else nickname.text(),
                bot="isBot" in node.mapping() and node["isBot"].flag(),
            )
        return user_id

    def _reaction(self, post: Post, node: Node) -> None:
        emoji, people = node["emoji"], tuple(self._account(user) for user in node.each("users"))
        emoji_id = emoji.get("id")
        key = (
            f"{emoji['name'].text()}:{emoji_id.text()}"
            if emoji_id is not None and emoji_id.value
            else emoji["name"].text()
        )
        self._reactions.append((post.at_ms, post.id, key, node["count"].number(), people))

    def _reacted(self) -> Iterable[React]:
        """The reactions. Where an export only counts them, the first accounts stand in for those who reacted."""
        everybody = tuple(self._accounts)
        for at_ms, message_id, emoji, count, people in self._reactions:
            yield React(at_ms=at_ms, id=message_id, emoji=emoji, user_ids=people or everybody[:count])


def _parent_type(channel: ChannelSpec, messages: list[Node]) -> ChannelType:
    """What an unexported parent is: forum posts hold their own first message, whose id is the thread's."""
    if channel.type not in THREAD_TYPES:
        return ChannelType.CATEGORY
    if channel.type == ChannelType.NEWS_THREAD:
        return ChannelType.NEWS
    is_forum_post = messages[0]["id"].snowflake() == channel.id
    return ChannelType.FORUM if is_forum_post else ChannelType.TEXT


def _reference(node: Node) -> int | None:
    reference = node.get("reference")
    message_id = None if reference is None else reference.get("messageId")
    return None if message_id is None else message_id.snowflake()


def _message_type(node: Node) -> int:
    """The number of a message type; the exporter writes those it has no name for as digits."""
    number = type_number(MESSAGE_TYPES, node.text())
    if number is None:
        raise node.error(f"unknown message type {node.text()[:40]!r}")
    return number


def _attachment(node: Node) -> Payload:
    url = node["url"].text()
    return {
        "id": str(node["id"].snowflake()),
        "filename": node["fileName"].text(),
        "size": node["fileSizeBytes"].number(),
        "url": url,
        "proxy_url": url,
    }


def _embed(node: Node) -> Payload:
    """The embed as Discord has it: the exporter adds keys of its own and writes absent values as null or ''."""
    payload: Payload = {"type": "rich"}
    for key in ("title", "url", "timestamp", "description", "author", "footer", "thumbnail", "image", "video"):
        if node.mapping().get(key):
            payload[key] = node[key].value
    fields = [dict(field.mapping()) for field in node.each("fields")]
    return {**payload, "fields": fields} if fields else payload


def _sticker(node: Node) -> Payload:
    formats = {"Png": 1, "Apng": 2, "Lottie": 3, "Gif": 4}
    kind = node["format"].text()
    return {"id": node["id"].text(), "name": node["name"].text(), "format_type": formats.get(kind, 1)}
