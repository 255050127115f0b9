"""Discord's own message search, by brute force.

Source: https://discord.com/developers/docs/resources/message#search-guild-messages. Words of `content` must all occur,
whatever their case; relevance counts how often they do. Discord's stemming and index delay are not played.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aiohttp import web

from ragd.sandbox.entities import Channel, Guild, Intents, Message, Payload
from ragd.sandbox.payloads import joined_thread_payload, thread_member_payload
from ragd.sandbox.permissions import Permission, can_read_history

from .call import Call, Route
from .errors import invalid_form
from .request import query_int, query_snowflake, reply, snowflake
from .views import message_view

_WORD = re.compile(r"\w+")
_OFFSET_MAX = 9975


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for; empty sets and None mean anything."""

    words: frozenset[str]
    authors: frozenset[int]
    channels: frozenset[int]
    min_id: int
    max_id: int | None

    def fits(self, message: Message) -> bool:
        """Does the message match in all points (its channel aside)?"""
        if message.id <= self.min_id or (self.max_id is not None and message.id >= self.max_id):
            return False
        if self.authors and message.author_id not in self.authors:
            return False
        return not self.words or self.words <= set(_words(message.content))

    def relevance(self, message: Message) -> int:
        """How many of the message's words were asked for."""
        return sum(word in self.words for word in _words(message.content))


async def search_messages(call: Call) -> web.Response:
    """Up to 25 hits, each in a list of its own, from channels whose history the bot may read."""
    guild = call.guild()
    call.need_intent(Intents.MESSAGE_CONTENT)
    call.need_in_guild(guild, Permission.READ_MESSAGE_HISTORY)
    query = _read_query(call)
    limit = query_int(call.request, "limit", 25, 1, 25)
    offset = query_int(call.request, "offset", 0, 0, _OFFSET_MAX)
    descending = _choice(call, "sort_order", ("desc", "asc")) == "desc"
    hits = sorted(_hits(call, guild, query), key=_sort_key(call, query), reverse=descending)
    return reply(_results(call, guild, len(hits), hits[offset : offset + limit]))


def _read_query(call: Call) -> Query:
    request = call.request
    return Query(
        words=frozenset(_words(request.query.get("content", ""))),
        authors=_ids(call, "author_id"),
        channels=_ids(call, "channel_id"),
        min_id=query_snowflake(request, "min_id") or 0,
        max_id=query_snowflake(request, "max_id"),
    )


def _ids(call: Call, name: str) -> frozenset[int]:
    """All values of a parameter that may be repeated."""
    return frozenset(snowflake(text, name) for text in call.request.query.getall(name, []))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _choice(call: Call, name: str, choices: tuple[str, ...]) -> str:
    """One of `choices`, the first when absent."""
    value = call.request.query.get(name, choices[0])
    if value not in choices:
        raise invalid_form(name, "BASE_TYPE_CHOICES", f"Value must be one of {choices}.")
    return value


def _sort_key(call: Call, query: Query) -> Callable[[Message], tuple[int, int]]:
    by_relevance = _choice(call, "sort_by", ("timestamp", "relevance")) == "relevance"
    return lambda message: (query.relevance(message) if by_relevance else 0, message.id)


def _hits(call: Call, guild: Guild, query: Query) -> Iterator[Message]:
    for channel in _readable(call, guild):
        if not query.channels or channel.id in query.channels:
            yield from filter(query.fits, call.world.messages.in_channel(channel.id))


def _readable(call: Call, guild: Guild) -> Iterator[Channel]:
    for channel in (*guild.channels.values(), *guild.threads.values()):
        if can_read_history(call.world, call.bot_id, channel.id):
            yield channel


def _results(call: Call, guild: Guild, total: int, page: list[Message]) -> Payload:
    shown = {message.channel_id: guild.threads[message.channel_id] for message in page if _in_thread(guild, message)}
    members = [
        thread_member_payload(thread.id, thread.thread.members[call.bot_id])
        for thread in shown.values()
        if thread.thread is not None and call.bot_id in thread.thread.members
    ]
    return {
        "total_results": total,
        "messages": [[_hit(call, message)] for message in page],
        "threads": [joined_thread_payload(thread, call.bot_id) for thread in shown.values()],
        "members": members,
        "doing_deep_historical_index": False,
    }


def _in_thread(guild: Guild, message: Message) -> bool:
    return message.channel_id in guild.threads


def _hit(call: Call, message: Message) -> Payload:
    """A found message: marked as the hit, without reactions, as Discord gives it."""
    view = message_view(call.world, call.application, call.world.channel(message.channel_id), message)
    view.pop("reactions", None)
    return {**view, "hit": True}


ROUTES = (Route("GET", "/guilds/{guild_id}/messages/search", search_messages),)
