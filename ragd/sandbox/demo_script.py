"""Reads the bundled demo community, `demo/community.json`, and others in its format ("ragd-community/1").

People, roles, channels and messages have short keys there; `<@key>`, `<@&key>` and `<#key>` in texts mean them.
History times are offsets ("12d 09:30:00") from the first day, so that the past can be placed to end now.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from importlib import resources
from pathlib import Path
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
    Question,
    React,
    RoleSpec,
    Step,
)
from .entities import ChannelType, Payload
from .jsonnode import Node, parse_json, read_json
from .permissions import Permission
from .snowflake import snowflake_at
from .variations import Variations

FORMAT = "ragd-community/1"
DAY_MS = 86_400_000
_KINDS = {"text": ChannelType.TEXT, "news": ChannelType.NEWS, "forum": ChannelType.FORUM}
_TIME = re.compile(r"(\d{1,4})d ([01]\d|2[0-3]):([0-5]\d):([0-5]\d)")
_TAG = re.compile(r"<(@&?|#)([a-z][a-z0-9_-]*)>")
_HISTORY_LOW = 1 << 21
"""Low bits of the first script id of the history: far from those that the world's clock hands out for the past."""
_FIRST_CHATTER_ID = 1_000
_FIRST_IMPROVISED_ID = 1_000_000
_POST_KEYS = ("at", "do", "id", "in", "by", "text", "reply", "topic", "files", "embeds")
_STEP_KEYS = {
    "message": _POST_KEYS,
    "forum_post": (*_POST_KEYS, "under", "name", "tags"),
    "thread": ("at", "do", "in", "name", "under", "by"),
    "archive": ("at", "do", "in"),
    "edit": ("at", "do", "id", "text"),
    "delete": ("at", "do", "id"),
    "bulk_delete": ("at", "do", "ids"),
    "react": ("at", "do", "id", "emoji", "by"),
    "join": ("at", "do", "by"),
    "leave": ("at", "do", "by"),
}


def load_demo(now_ms: int, *, until: float = 1.0, path: Path | None = None) -> Community:
    """The demo community (or a file of its format) with the step at the share `until` of its history at `now_ms`.

    So `until=1.0` lets the history end now, and `until=2/3` puts its last third after now, ready to be replayed.
    Raises DamagedError for a bad file.
    """
    root = _bundled() if path is None else read_json(path)
    if root["format"].value != FORMAT:
        raise root["format"].error(f"should be {FORMAT!r}")
    return _Reader(root, _first_day_ms(root, now_ms, until)).community()


def _bundled() -> Node:
    name = "community.json"
    text = resources.files(__package__).joinpath("demo", name).read_text(encoding="utf-8")
    return parse_json(text, name)


def _first_day_ms(root: Node, now_ms: int, until: float) -> int:
    steps = list(root["history"].each())
    if not steps:
        raise root["history"].error("is empty")
    pivot = steps[max(0, min(len(steps), round(until * len(steps))) - 1)]
    return now_ms - _offset_ms(pivot["at"])


def _offset_ms(node: Node) -> int:
    found = _TIME.fullmatch(node.text())
    if found is None:
        raise node.error(f"should look like '12d 09:30:00', is {node.text()[:40]!r}")
    days, hours, minutes, seconds = map(int, found.groups())
    return days * DAY_MS + (hours * 3600 + minutes * 60 + seconds) * 1000


class _Names:
    """What the keys of the file stand for. A thread's key stands for its first or starter message's script id."""

    def __init__(self) -> None:
        self.roles: dict[str, int] = {}
        self.accounts: dict[str, int] = {}
        self.channels: dict[str, int] = {}
        self.messages: dict[str, int] = {}
        self.places: dict[int, int] = {}
        """Script id of a message -> of its channel."""

    @staticmethod
    def add(table: dict[str, int], key: Node, value: int) -> int:
        """Give a key its meaning; it must not have one."""
        if key.text() in table:
            raise key.error(f"{key.text()!r} is there already")
        table[key.text()] = value
        return value

    @staticmethod
    def find(table: dict[str, int], key: Node, kind: str) -> int:
        """What a key stands for."""
        if key.text() not in table:
            raise key.error(f"unknown {kind} {key.text()!r}")
        return table[key.text()]

    def tagged(self, node: Node) -> str:
        """A text with `<@key>`, `<@&key>` and `<#key>` turned into Discord's mentions."""

        def mention(found: re.Match[str]) -> str:
            sign, key = found.groups()
            table = {"@": self.accounts, "@&": self.roles, "#": self.channels}[sign]
            return f"<{sign}{self.find(table, Node(key, node.file, node.place), 'mention')}>"

        return _TAG.sub(mention, node.text())


class _StepReader:
    """Reads steps in order. `id_of(n, at_ms)` makes the script id of the n-th message; `timed` steps have an "at"."""

    def __init__(self, names: _Names, id_of: Callable[[int, int], int], first_day_ms: int | None = None) -> None:
        self._names = names
        self._id_of = id_of
        self._first_day_ms = first_day_ms
        self._count = 0
        self._last_ms = 0

    def read(self, node: Node) -> Step:
        """The step that a JSON object describes."""
        kind = "message" if node.get("do") is None else node["do"].text()
        if kind not in _STEP_KEYS:
            raise node["do"].error(f"unknown step {kind!r}")
        node.only(*_STEP_KEYS[kind])
        readers: dict[str, Callable[[Node, int], Step]] = {
            "message": self._post,
            "forum_post": self._forum_post,
            "thread": self._thread,
            "archive": lambda n, at: Archive(at_ms=at, thread_id=self._channel(n["in"])),
            "edit": lambda n, at: Edit(at_ms=at, id=self._message(n["id"]), text=self._names.tagged(n["text"])),
            "delete": lambda n, at: Delete(at_ms=at, ids=(self._message(n["id"]),)),
            "bulk_delete": self._bulk_delete,
            "react": self._react,
            "join": lambda n, at: Join(at_ms=at, user_id=self._account(n["by"])),
            "leave": lambda n, at: Leave(at_ms=at, user_id=self._account(n["by"])),
        }
        return readers[kind](node, self._time(node))

    def _time(self, node: Node) -> int:
        if self._first_day_ms is None:
            return 0
        at_ms = self._first_day_ms + _offset_ms(node["at"])
        if at_ms < self._last_ms:
            raise node["at"].error("is earlier than the step before")
        self._last_ms = at_ms
        return at_ms

    def _account(self, node: Node) -> int:
        return self._names.find(self._names.accounts, node, "member")

    def _channel(self, node: Node) -> int:
        return self._names.find(self._names.channels, node, "channel")

    def _message(self, node: Node) -> int:
        return self._names.find(self._names.messages, node, "message")

    def _new_message(self, node: Node, at_ms: int) -> int:
        self._count += 1
        script_id = self._id_of(self._count, at_ms)
        if "id" in node.mapping():
            self._names.add(self._names.messages, node["id"], script_id)
        return script_id

    def _post(self, node: Node, at_ms: int) -> Post:
        script_id, channel_id = self._new_message(node, at_ms), self._channel(node["in"])
        self._names.places[script_id] = channel_id
        topic = node.get("topic")
        return Post(
            at_ms=at_ms,
            id=script_id,
            channel_id=channel_id,
            author_id=self._account(node["by"]),
            text=self._names.tagged(node["text"]),
            reply_to=self._reply(node, channel_id),
            attachments=tuple(
                _attachment(file, script_id + n, channel_id) for n, file in enumerate(node.each("files"))
            ),
            embeds=tuple({"type": "rich", **embed.mapping()} for embed in node.each("embeds")),
            topic=None if topic is None else topic.text(),
        )

    def _reply(self, node: Node, channel_id: int) -> int | None:
        reply = node.get("reply")
        if reply is None:
            return None
        target = self._message(reply)
        if self._names.places[target] != channel_id:
            raise reply.error(f"{reply.text()!r} is in another channel")
        return target

    def _forum_post(self, node: Node, at_ms: int) -> OpenForumPost:
        forum_id = self._channel(node["under"])
        self._names.add(self._names.channels, node["in"], self._id_of(self._count + 1, at_ms))
        first = self._post(node, at_ms)
        tags = tuple(tag.text() for tag in node.each("tags"))
        return OpenForumPost(at_ms=at_ms, forum_id=forum_id, name=node["name"].text(), first=first, tags=tags)

    def _thread(self, node: Node, at_ms: int) -> OpenThread:
        under = self._message(node["under"])
        self._names.add(self._names.channels, node["in"], under)
        return OpenThread(at_ms=at_ms, under=under, owner_id=self._account(node["by"]), name=node["name"].text())

    def _bulk_delete(self, node: Node, at_ms: int) -> Delete:
        return Delete(at_ms=at_ms, ids=tuple(self._message(key) for key in node["ids"].each()), bulk=True)

    def _react(self, node: Node, at_ms: int) -> React:
        people = tuple(self._account(key) for key in node["by"].each())
        return React(at_ms=at_ms, id=self._message(node["id"]), emoji=node["emoji"].text(), user_ids=people)


def _attachment(node: Node, attachment_id: int, channel_id: int) -> Payload:
    node.only("name", "bytes", "type")
    name = node["name"].text()
    url = f"https://cdn.puddlecast.example/attachments/{channel_id}/{attachment_id}/{name}"
    return {
        "id": str(attachment_id),
        "filename": name,
        "size": node["bytes"].number(),
        "content_type": node["type"].text(),
        "url": url,
        "proxy_url": url,
    }


class _Reader:
    """Reads the whole file."""

    def __init__(self, root: Node, first_day_ms: int) -> None:
        self._root = root
        self._names = _Names()
        self._first_day_ms = first_day_ms

    def community(self) -> Community:
        """Everything in the file, in the order in which its parts refer to each other."""
        root, guild = self._root, self._root["guild"]
        roles = [self._role(node) for node in root["roles"].each()]
        accounts = [self._account(node) for node in root["members"].each()]
        channels = [self._channel(node) for node in root["channels"].each()]
        history = self._history()
        return Community(
            guild_id=guild["id"].snowflake(),
            name=guild["name"].text(),
            owner_id=self._names.find(self._names.accounts, guild["owner"], "member"),
            since_ms=self._first_day_ms - DAY_MS,
            roles=roles,
            accounts=accounts,
            channels=channels,
            history=history,
            chatter=self._chatter(),
            improviser=self._improviser(),
            questions=[self._question(node) for node in root.each("questions")],
        )

    def _role(self, node: Node) -> RoleSpec:
        node.only("key", "id", "name", "permissions", "color")
        role_id = self._names.add(self._names.roles, node["key"], node["id"].snowflake())
        bits = sum(_permission(bit) for bit in node.each("permissions"))
        return RoleSpec(role_id, node["name"].text(), bits, node["color"].number())

    def _account(self, node: Node) -> AccountSpec:
        node.only("key", "id", "name", "roles", "bot", "joins_later")
        return AccountSpec(
            id=self._names.add(self._names.accounts, node["key"], node["id"].snowflake()),
            username=node["key"].text(),
            display_name=node["name"].text(),
            bot="bot" in node.mapping() and node["bot"].flag(),
            roles=tuple(self._names.find(self._names.roles, role, "role") for role in node.each("roles")),
            joins_later="joins_later" in node.mapping() and node["joins_later"].flag(),
        )

    def _channel(self, node: Node) -> ChannelSpec:
        node.only("key", "id", "kind", "topic", "only", "tags")
        if node["kind"].text() not in _KINDS:
            raise node["kind"].error(f"should be one of {', '.join(_KINDS)}")
        return ChannelSpec(
            id=self._names.add(self._names.channels, node["key"], node["id"].snowflake()),
            type=_KINDS[node["kind"].text()],
            name=node["key"].text(),
            topic=node["topic"].text(),
            only_roles=tuple(self._names.find(self._names.roles, role, "role") for role in node.each("only")),
            tags=tuple(tag.text() for tag in node.each("tags")),
        )

    def _history(self) -> list[Step]:
        reader = _StepReader(self._names, lambda n, at_ms: snowflake_at(at_ms, _HISTORY_LOW + n), self._first_day_ms)
        return [reader.read(node) for node in self._root["history"].each()]

    def _chatter(self) -> list[Step]:
        reader = _StepReader(deepcopy(self._names), lambda n, _: _FIRST_CHATTER_ID + n)
        return [reader.read(node) for node in self._root.each("chatter")]

    def _improviser(self) -> _Improviser | None:
        node = self._root.get("variations")
        if node is None:
            return None
        improviser = _Improviser(
            Variations(node, [key for key in self._names.accounts if self._is_human(key)]), self._names
        )
        improviser.round(Random(0))  # noqa: S311  reads every exchange, so that a mistake in the file shows now
        return improviser

    def _is_human(self, key: str) -> bool:
        members = self._root["members"].each()
        return any(
            node["key"].value == key and node.mapping().keys().isdisjoint({"bot", "joins_later"}) for node in members
        )

    def _question(self, node: Node) -> Question:
        node.only("ask", "as", "answers", "note")
        asker_id = self._names.find(self._names.accounts, node["as"], "member")
        answers = tuple(self._names.find(self._names.messages, key, "message") for key in node["answers"].each())
        return Question(node["ask"].text(), asker_id, answers)


def _permission(node: Node) -> int:
    if node.text() not in Permission.__members__:
        raise node.error(f"unknown permission {node.text()!r}")
    return int(Permission[node.text()])


class _Improviser:
    """Turns the variations of the file into steps."""

    def __init__(self, variations: Variations, names: _Names) -> None:
        self._variations = variations
        self._names = names

    def round(self, rng: Random) -> list[Step]:
        """Every exchange once, in shuffled order; see `community.Improviser`."""
        numbers = rng.sample(range(len(self._variations)), len(self._variations))
        return [step for number in numbers for step in self._steps(self._variations.fill(number, rng))]

    def _steps(self, nodes: list[Node]) -> list[Step]:
        reader = _StepReader(deepcopy(self._names), lambda n, _: _FIRST_IMPROVISED_ID + n)
        return [reader.read(node) for node in nodes]
