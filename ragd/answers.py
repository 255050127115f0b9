"""What goes over the search socket: the request, the passages, the answer. JSON with just these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

SET_IN = "\n  "
"""Between the lines of one message: only a message begins at the margin."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The channels and threads whose messages the asker may read at this moment."""

    channels: list[int]


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What is asked, in the query language (ragd/asked.py). Channel and author by name or id; `since` ISO 8601 with its
    offset.

    `access` is `operator`, who may read everything, or an allow-list: the searcher answers nobody without either.
    """

    query: str
    access: Literal["operator"] | Allowed
    limit: int = 10
    channel: str | None = None
    author: str | None = None
    since: str | None = None


@dataclass(frozen=True, slots=True)
class PassageLine:
    """One message of a passage, as it reads now."""

    message_id: str
    author: str
    text: str


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One passage; ids are strings, as in Discord's API, for they do not fit a JSON number."""

    score: float
    """Cosine similarity of passage and question, 1 is the same; 0 while the passage is not embedded. The order is not
    by this alone: see `found_by`."""
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
    """A message after another, `author: text`, as they read now. Further lines of a message are set in (SET_IN)."""
    url: str
    """Jump link to the best message."""
    best_message_id: str = ""
    """The message of the passage that answers best: the one that words found, or that has most of the question's."""
    highlight: str = ""
    """That message, `author: text`."""
    before: list[str] = field(default_factory=list)
    """Of a passage of one message: what was said right before and after it, `author: text`, oldest first."""
    after: list[str] = field(default_factory=list)
    found_by: str = ""
    """`words`, `meaning` or `meaning+words`: passages found by both come first, then by how far up they stood."""
    lines: list[PassageLine] = field(default_factory=list)
    """What `text` is made of, in its order, as it was written."""


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """Passages, best first, and what they are out of: the channels that the asker may read and asked for."""

    results: list[SearchResult]
    indexed: int
    """Passages in the indexes: for the operator all of them, for others those that they may read and asked for."""
    lag_messages: int
    """Messages of these channels that are found by words, but not by meaning yet."""
    took_ms: float
    indexed_to: str = ""
    """When the newest message that these channels are searched up to was written, ISO 8601 in UTC; empty for none."""
    holes: int = 0
    """Spans of these channels' history that are still to be fetched from Discord."""
    why: str = ""
    """Why nothing was found."""
    remarks: list[str] = field(default_factory=list)
    """What the search could not look into, and what of the query it took otherwise than it may be meant."""
