"""What goes over the search socket: the request, the passages, the answer. JSON with just these fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Allowed:
    """The channels and threads whose messages the asker may read at this moment."""

    channels: list[int]


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What is asked. Channel and author by name or id; `since` ISO 8601 with its offset.

    `access` is `operator`, who may read everything, or an allow-list: the searcher answers nobody without either.
    """

    query: str
    access: Literal["operator"] | Allowed
    limit: int = 10
    channel: str | None = None
    author: str | None = None
    since: str | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One passage; ids are strings, as in Discord's API, for they do not fit a JSON number."""

    score: float
    """Cosine similarity, 1 is the same."""
    strategy: str
    guild_id: str
    channel_id: str
    channel: str
    author: str
    """Who wrote the first message of the passage."""
    time: str
    """When, ISO 8601 in UTC."""
    message_ids: list[str]
    text: str
    """One line a message, `author: text`, as the messages read now."""
    url: str
    """Jump link to the first message."""


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """Passages, best first; how many are indexed, and how many messages are not yet."""

    results: list[SearchResult]
    indexed: int
    lag_messages: int
    took_ms: float
