"""A question to ranked, cited passages: embed it, ask each strategy's index, show what the store says now."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ragd.answers import SearchResult
from ragd.embedders import TextEmbedder
from ragd.embedding import Vectors
from ragd.index import VectorIndex
from ragd.snowflake import to_unix_seconds
from ragd.store.canary import CANARY_CHANNEL
from ragd.store.vectors import Filter, Passage, VectorStore
from ragd.text import searchable_text

MAX_LIMIT = 50
_OVERFETCH = 3
"""Chunks asked for per result: strategies overlap, and a passage may have lost its messages since it was indexed."""

_SAME_PASSAGE = 0.5
"""Two chunks that share so much of the shorter one are one passage."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked. `channel_ids` is what the asker may read, None for the operator, who may read all."""

    text: str
    channel_ids: frozenset[int] | None
    limit: int = 10
    author_id: int | None = None
    since_id: int | None = None


class Search:
    """Answers queries from the indexes of all strategies. Called from one thread, the indexes' own."""

    def __init__(self, store: VectorStore, embedder: TextEmbedder, indexes: Mapping[str, VectorIndex]) -> None:
        self._store = store
        self._embedder = embedder
        self._indexes = indexes

    def answer(self, query: Query) -> list[SearchResult]:
        """The best passages, best first; fewer than the limit when there are no more.

        What was deleted or edited since it was indexed shows as it is now: text comes from the messages, never from
        the index.
        """
        vector = self._embedder.embed_query(query.text)
        wanted = max(1, min(query.limit, MAX_LIMIT))
        fetch = wanted * _OVERFETCH
        while True:
            ranked, exhausted = self._nearest(vector, fetch, query)
            results = self._cite(ranked, wanted)
            if exhausted or len(results) >= wanted:
                return results
            fetch *= 4

    def canaries(self, words: str) -> list[int]:
        """Message ids of the canaries near these words: the way of every query, to what no other query is shown."""
        query = Query(words, frozenset({CANARY_CHANNEL}))
        ranked, _ = self._nearest(self._embedder.embed_query(words), _OVERFETCH, query)
        return self._store.canaries_in([chunk_id for chunk_id, _ in ranked])

    def _nearest(self, vector: Vectors, fetch: int, query: Query) -> tuple[list[tuple[int, float]], bool]:
        """Chunk ids by score over all strategies, and whether that was all there is."""
        wanted = Filter(query.channel_ids, query.author_id, query.since_id)
        ranked: list[tuple[int, float]] = []
        exhausted = True
        for strategy, index in self._indexes.items():
            allowed = None if wanted.is_empty else self._store.allowed_chunks(strategy, wanted)
            found = index.search(vector, fetch, allowed)
            exhausted &= len(found) < fetch
            ranked += found
        return sorted(ranked, key=lambda hit: (-hit[1], hit[0])), exhausted

    def _cite(self, ranked: list[tuple[int, float]], limit: int) -> list[SearchResult]:
        passages = self._store.passages([chunk_id for chunk_id, _ in ranked])
        results: list[SearchResult] = []
        taken: list[set[int]] = []
        for chunk_id, score in ranked:
            passage = passages.get(chunk_id)
            if passage is None:
                continue
            ids = {message.id for message in passage.messages}
            if any(_overlap(ids, other) > _SAME_PASSAGE for other in taken):
                continue
            taken.append(ids)
            results.append(_result(passage, score))
            if len(results) == limit:
                break
        return results


def _overlap(one: Collection[int], other: Collection[int]) -> float:
    return len(set(one) & set(other)) / min(len(one), len(other))


def _result(passage: Passage, score: float) -> SearchResult:
    first = passage.messages[0]
    return SearchResult(
        score=round(score, 4),
        strategy=passage.strategy,
        guild_id=str(passage.guild_id),
        channel_id=str(passage.channel_id),
        channel=passage.channel_name,
        author=first.author_name,
        time=datetime.fromtimestamp(to_unix_seconds(first.id), UTC).isoformat(timespec="seconds"),
        message_ids=[str(message.id) for message in passage.messages],
        text="\n".join(
            f"{message.author_name}: {searchable_text(message.content, message.extra)}" for message in passage.messages
        ),
        url=jump_url(passage.guild_id, passage.channel_id, first.id),
    )


def jump_url(guild_id: int, channel_id: int, message_id: int) -> str:
    """The link that opens a message in Discord."""
    return f"https://discord.com/channels/{guild_id}/{channel_id}/{message_id}"


def restrict(query: Query, channel_ids: Collection[int]) -> Query:
    """The query limited to some channels, on top of what the asker may read."""
    allowed = frozenset(channel_ids)
    return replace(query, channel_ids=allowed if query.channel_ids is None else allowed & query.channel_ids)
