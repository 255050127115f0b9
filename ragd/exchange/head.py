"""What a file says before its messages: of which channel it is, when and for which time it was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ragd.exchange.fields import LARGEST_ID, Object, UnfitError, get_id, get_text, get_time, require_id
from ragd.exchange.jsonstream import JsonStream, Value
from ragd.exchange.names import CHANNEL_TYPES, type_number
from ragd.exchange.reading import OWN
from ragd.snowflake import from_unix_seconds
from ragd.store.coverage import THREAD_TYPES, Interval
from ragd.store.events import GuildSeen, ImportedChannel

HOLDS_MESSAGES = frozenset({0, 2, 5, 13, *THREAD_TYPES})

_TEXT, _NEWS, _NEWS_THREAD, _FORUM = 0, 5, 10, 15


@dataclass(frozen=True, slots=True)
class Head:
    """`exported_at` is 0 where the file does not say."""

    guild: GuildSeen
    channel: ImportedChannel
    parent_name: str
    exported_at: int
    start_id: int
    """From here on the file claims to be complete."""
    end_id: int
    """Up to here, 0 when that is the last message in it."""
    complete: Sequence[Interval] | None
    """Our own files say what they hold complete."""

    def channels(self, first_id: int) -> list[ImportedChannel]:
        """The channel, and before it the parent of a thread, whose file may never come; `first_id` is in it."""
        parent_id = self.channel.parent_id
        if self.channel.type not in THREAD_TYPES or parent_id is None:
            return [self.channel]
        kind = _NEWS if self.channel.type == _NEWS_THREAD else _TEXT
        if first_id == self.channel.id:  # a post holds its own first message, whose id is the thread's
            kind = _FORUM
        return [ImportedChannel(parent_id, self.guild.id, None, kind, self.parent_name or "parent"), self.channel]


def read_head(parts: Mapping[str, Value], stream: JsonStream) -> Head:
    """Of the members before `messages`. Raises DamagedError."""
    guild = _part(parts, "guild", stream, _guild)
    exported_at = _exported_at(parts, stream)
    channel, parent_name = _part(parts, "channel", stream, lambda data: _channel(data, guild.id, exported_at))
    after, before = _part(parts, "dateRange", stream, _date_range) if "dateRange" in parts else (0, 0)
    complete = _part(parts, OWN, stream, _intervals) if OWN in parts else None
    end_id = _first_id_of(before) - 1 if before and before <= exported_at else 0
    if complete is not None:
        end_id = max((last for _, last in complete), default=0)
    return Head(guild, channel, parent_name, exported_at, _after(after), end_id, complete)


def _exported_at(parts: Mapping[str, Value], stream: JsonStream) -> int:
    if "exportedAt" not in parts:
        return 0
    offset, text = parts["exportedAt"]
    try:
        return get_time({"exportedAt": text}, "exportedAt")
    except UnfitError as error:
        raise stream.problem(str(error), offset) from None


def _after(after: int) -> int:
    """The file has what came after a moment; which ids of that very millisecond, it does not say."""
    return _first_id_of(after + 1) if after else 1


def _first_id_of(unix_ms: int) -> int:
    """Of a moment; a file may name one for which there are no ids any more."""
    return min(from_unix_seconds(unix_ms / 1000), LARGEST_ID)


def _part(parts: Mapping[str, Value], key: str, stream: JsonStream, read: Callable[[Object], Any]) -> Any:
    if key not in parts:
        raise stream.error(f"{key!r} before the messages, as DiscordChatExporter writes it")
    offset, data = parts[key]
    if not isinstance(data, dict):
        raise stream.problem(f"expected {key!r} to be an object, found something else", offset)
    try:
        return read(data)
    except UnfitError as error:
        raise stream.problem(f"{key}.{error}", offset) from None


def _guild(data: Object) -> GuildSeen:
    guild_id = get_id(data, "id")
    if not guild_id:
        raise UnfitError("id: expected the id of a server, found none: direct messages are not ragd's affair")
    return GuildSeen(guild_id, get_text(data, "name"))


def _channel(data: Object, guild_id: int, exported_at: int) -> tuple[ImportedChannel, str]:
    kind = type_number(CHANNEL_TYPES, get_text(data, "type") or "GuildTextChat")
    if kind not in HOLDS_MESSAGES:
        raise UnfitError("type: expected a channel of a server that holds messages, found another kind")
    parent_id = get_id(data, "categoryId") or get_id(data, "parentId") or None
    topic = get_text(data, "topic")
    channel = ImportedChannel(
        require_id(data, "id"), guild_id, parent_id, kind, get_text(data, "name"), topic, exported_at
    )
    return channel, get_text(data, "category")


def _date_range(data: Object) -> tuple[int, int]:
    return get_time(data, "after"), get_time(data, "before")


def _intervals(data: Object) -> list[Interval]:
    intervals = data.get("complete")
    if not isinstance(intervals, list):
        raise UnfitError("complete: expected a list, found something else")
    return [_interval(pair) for pair in intervals]


def _interval(pair: object) -> Interval:
    if not isinstance(pair, list) or len(pair) != 2:
        raise UnfitError("complete[]: expected two ids, found something else")
    ends = {"from": pair[0], "to": pair[1]}
    return require_id(ends, "from"), require_id(ends, "to")
