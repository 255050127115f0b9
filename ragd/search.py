"""A question to ranked, cited passages: by its words, by its meaning, the two fused, shown as the store says now."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from ragd.answers import SET_IN, PassageLine, SearchResult
from ragd.asked import MOST_WORDS, Wanted, first_of, parse
from ragd.chunk_reach import ChunkReach, Ids
from ragd.embedders import TextEmbedder
from ragd.embedding import Vectors
from ragd.errors import TransientError, UnavailableError
from ragd.fusion import Candidate, Fusion, best_message
from ragd.index import VectorIndex
from ragd.noise import BUNDLED, Scale, scale_of
from ragd.snowflake import from_unix_seconds, read_snowflake, to_unix_seconds
from ragd.store import Store
from ragd.store.glance import Glance
from ragd.store.lookup import Effort, Term
from ragd.store.scope import Filter
from ragd.store.vectors import Passage, PassageMessage
from ragd.terms import STOP_WORDS
from ragd.text import searchable_text

MAX_LIMIT = 50

LAST_ID = (1 << 63) - 1
"""SQLite's largest integer: a time so late that its id would be larger is after every message."""

CHUNKS = 60
"""Asked of each strategy at least: what lies deeper moves no passage into the first ten."""

WORD_HITS = 100

WORD_WEIGHT = 0.8
"""Of the ranking by words in the fusion, against 1 for meaning. See benchmarks/retrieval.py."""

MOST, SOME = 0.5, 0.25
"""Of what is asked, by weight, in one message. A near cosine (ragd/noise.py), or `MOST` of it, or a fair cosine and
`SOME` of it: without a passage of which that is true, nothing was found. Beside such a passage others are shown that
have a fair cosine, or `SOME` of it."""

JUDGED = 40
"""Candidates that are looked at once more, best first."""

WORDS_SECONDS = 2.0
"""Longest that a query's words are looked up, one after another; what is left then does not count, and it says so."""

FIND_SECONDS = 4.0
"""Longest that the database is asked for what passes; then the query is refused. Ordinary ones take a fraction of a
second, and of all of a query the sum must be well below RAGD_STALE_SECONDS, for the heartbeat waits for it."""

NEIGHBOURS = 2
_OVERFETCH = 3
"""Chunks asked for per result: strategies overlap, and a passage may have lost its messages since it was indexed."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked. `channel_ids` is what the asker may read, None for the operator, who may read all."""

    text: str
    channel_ids: frozenset[int] | None
    limit: int = 10
    author_id: int | None = None
    since_id: int | None = None
    in_channels: frozenset[int] | None = None
    """Of those, the ones asked for beside the text; None for all."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Passages, best first; why there are none; what the asker should know; and the filter that was in force."""

    results: list[SearchResult]
    why: str = ""
    remarks: list[str] = field(default_factory=list)
    wanted: Filter = field(default_factory=Filter)
    passages: int | None = None
    """Chunks that passed what the asker may read and asked for; None when all did."""


class NobodyError(Exception):
    """A name in the query is of nobody, or of no channel, that the asker could find: nothing can pass."""


class Search:
    """Answers queries from the store and the indexes of all strategies. Called from one thread, the indexes' own.

    Without an embedder, or with indexes that are not built yet, words alone answer, and the findings say so.
    """

    def __init__(self, store: Store, embedder: TextEmbedder | None, indexes: Mapping[str, VectorIndex]) -> None:
        self._store = store
        self._vectors = store.vectors
        self._lookup = store.lookup
        self._reach = ChunkReach(store)
        self._glance = Glance()
        self._embedder = embedder
        self._indexes = indexes
        self._scale: Scale | None = None

    def answer(self, query: Query) -> Findings:
        """The best passages; fewer than the limit when no more are about what is asked.

        What was deleted or edited since it was indexed shows as it is now: text comes from the messages, never from
        the index. Raises TransientError if it takes too long.
        """
        asked = parse(query.text, datetime.now(UTC))
        effort = Effort(until=time.monotonic() + WORDS_SECONDS)
        try:
            wanted = self._filter(query, asked, effort)
        except NobodyError as error:
            return Findings([], str(error), asked.remarks, Filter(query.channel_ids), 0)
        terms = self._terms(asked, wanted.without_wishes(), effort)
        limit = max(1, min(query.limit, MAX_LIMIT))
        vector, limits = self._meaning(asked)
        with self._lookup.within(FIND_SECONDS):
            allowed = self._allowed(wanted)
            results = self._results(vector, terms, wanted, limit, allowed)
            why = "" if results else self._why(vector, terms, wanted)
        passages = None if wanted.is_empty else sum(len(ids) for ids in allowed.values() if ids is not None)
        return Findings(results, why, [*asked.remarks, *_left_out(effort), *limits], wanted, passages)

    def _meaning(self, asked: Wanted) -> tuple[Vectors | None, list[str]]:
        """The question's vector, if there is one, and what this answer could not look into."""
        said = ["older messages are still being indexed by words"] if self._lookup.to_fill() else []
        if self._embedder is None:
            return None, ["only words were searched: the model is not loaded", *said]
        if not asked.text:
            return None, said
        try:
            vector = self._embedder.embed_query(asked.text)
        except UnavailableError as error:
            return None, [f"only words were searched: {error}", *said]
        if self._scale is None:
            with contextlib.suppress(UnavailableError, TransientError):  # an endpoint; the next question measures it
                self._scale = scale_of(self._embedder)
        return vector, said

    def canaries(self, words: str) -> list[int]:
        """Message ids of the canaries near these words: the way of every query, to what no other query is shown."""
        assert self._embedder is not None
        vector = self._embedder.embed_query(words)
        near: list[int] = []
        for strategy, index in self._indexes.items():
            allowed = self._vectors.canary_chunks(strategy)
            near += [chunk_id for chunk_id, _ in index.search(vector, _OVERFETCH, allowed)]
        return self._vectors.canaries_in(near)

    def _terms(self, asked: Wanted, reach: Filter, effort: Effort) -> list[Term]:
        words = [*asked.words, *(word for phrase in asked.phrases for word in phrase.split())]
        telling = [word for word in words if word.casefold() not in STOP_WORDS]
        return self._lookup.terms(first_of(telling or words, MOST_WORDS), reach, effort)

    # What may be found

    def _filter(self, query: Query, asked: Wanted, effort: Effort) -> Filter:
        since = [id_at(asked.since)] if asked.since is not None else []
        since += [query.since_id] if query.since_id is not None else []
        reach = Filter(query.channel_ids)
        return Filter(
            channel_ids=query.channel_ids,
            author_id=self._author(query, asked),
            since_id=max(since, default=None),
            before_id=id_at(asked.before) if asked.before is not None else None,
            in_channels=self._channels(query, asked),
            in_thread=asked.in_thread,
            required=self._lookup.required(asked.phrases, asked.has, reach, effort),
            excluded=tuple(filter(None, (self._lookup.phrase(text, reach, effort) for text in asked.excluded))),
        )

    def _author(self, query: Query, asked: Wanted) -> int | None:
        if asked.author is None:
            return query.author_id
        found = read_snowflake(asked.author)
        if found is None:
            found = self._vectors.author_id(asked.author, query.channel_ids)
        if found is None or query.author_id not in (None, found):
            raise NobodyError(f"nobody called {asked.author!r} has written a message that is stored")
        return found

    def _channels(self, query: Query, asked: Wanted) -> frozenset[int] | None:
        if asked.channel is None:
            return query.in_channels
        name = asked.channel
        number = read_snowflake(name)
        found = frozenset(self._vectors.channel_ids(name)) or frozenset([] if number is None else [number])
        if query.channel_ids is not None:
            found &= query.channel_ids
        if not found:
            raise NobodyError(f"no channel called {asked.channel!r} is known")
        return found if query.in_channels is None else found & query.in_channels

    # Finding

    def _results(
        self,
        vector: Vectors | None,
        terms: Sequence[Term],
        wanted: Filter,
        limit: int,
        allowed: Mapping[str, Ids | None],
    ) -> list[SearchResult]:
        deep = max(WORD_HITS, 2 * limit)
        hits = self._lookup.ranked(terms, wanted, deep) if terms else self._lookup.newest(wanted, deep)
        fetch = max(CHUNKS, limit * _OVERFETCH)
        while True:
            near, exhausted = self._nearest(vector, fetch, allowed)
            fused, passages = self._fuse(near, hits, vector, allowed)
            ranked = fused.ranked(WORD_WEIGHT)[: max(JUDGED, limit)]
            if exhausted or len(ranked) >= limit or (near and near[-1][1] < self._bounds.fair):
                break
            fetch *= 4
        shares = self._shares([passages[one.place] for one in ranked], terms)
        kept = self._worth_showing(ranked, shares)[:limit]
        around = 0 if wanted.excluded else NEIGHBOURS  # they might have what must not be there
        return [self._cite(one, passages[one.place], shares, around) for one in kept]

    def _worth_showing(self, ranked: Sequence[Candidate], shares: Mapping[int, float]) -> list[Candidate]:
        return above_noise(ranked, shares, self._bounds)

    @property
    def _bounds(self) -> Scale:
        """The bundled model's until the model that is there is measured; words alone have no cosines."""
        return self._scale or BUNDLED

    def _shares(self, passages: Sequence[Passage], terms: Sequence[Term]) -> dict[int, float]:
        """How much of what is asked each message has."""
        texts = {one.id: searchable_text(one.content, one.extra) for passage in passages for one in passage.messages}
        if not terms:
            return dict.fromkeys(texts, 1.0)  # only filters were asked for: what passes is what was meant
        return self._glance.shares(texts, terms, self._lookup.weights(terms))

    def _allowed(self, wanted: Filter) -> dict[str, Ids | None]:
        if wanted.is_empty:
            return dict.fromkeys(self._indexes)
        return {strategy: self._reach.allowed(strategy, wanted) for strategy in self._indexes}

    def _nearest(
        self, vector: Vectors | None, fetch: int, allowed: Mapping[str, Ids | None]
    ) -> tuple[list[tuple[int, float]], bool]:
        """Chunk ids by cosine over all strategies, and whether that was all there is."""
        if vector is None:
            return [], True
        ranked: list[tuple[int, float]] = []
        exhausted = True
        for strategy, index in self._indexes.items():
            found = index.search(vector, fetch, allowed[strategy])
            exhausted &= len(found) < fetch
            ranked += found
        return sorted(ranked, key=lambda hit: (-hit[1], hit[0])), exhausted

    def _fuse(
        self,
        near: Sequence[tuple[int, float]],
        hits: Sequence[tuple[int, float]],
        vector: Vectors | None,
        allowed: Mapping[str, Ids | None],
    ) -> tuple[Fusion, dict[int, Passage]]:
        fusion = Fusion()
        passages: dict[int, Passage] = self._vectors.passages([chunk_id for chunk_id, _ in near])
        for chunk_id, cosine in near:
            if chunk_id in passages:
                fusion.add_by_meaning(chunk_id, _ids(passages[chunk_id]), cosine)
        homes = self._homes([message_id for message_id, _ in hits], allowed)
        passages |= self._vectors.passages(sorted(set(homes.values()) - passages.keys()))
        cosines = self._cosines(vector, set(homes.values()))
        bare = self._vectors.bare_passages([message_id for message_id, _ in hits])
        for message_id, match in hits:
            place = homes.get(message_id, -message_id)
            if place not in passages or message_id not in _ids(passages[place]):
                if message_id not in bare:
                    continue
                place = -message_id
                passages[place] = bare[message_id]
            fusion.add_by_words(place, _ids(passages[place]), message_id, match, cosines.get(place))
        return fusion, passages

    def _homes(self, message_ids: Sequence[int], allowed: Mapping[str, Ids | None]) -> dict[int, int]:
        """A chunk that each message is shown in."""
        homes = self._vectors.homes(message_ids, list(self._indexes))
        if not homes or all(ids is None for ids in allowed.values()):
            return homes
        wanted = np.array(list(homes.values()), np.int64)
        permitted = {
            one for ids in allowed.values() if ids is not None for one in wanted[np.isin(wanted, ids)].tolist()
        }
        return {message_id: chunk_id for message_id, chunk_id in homes.items() if chunk_id in permitted}

    def _cosines(self, vector: Vectors | None, chunk_ids: Collection[int]) -> dict[int, float]:
        if vector is None or not chunk_ids:
            return {}
        return {
            chunk_id: cosine
            for index in self._indexes.values()
            for chunk_id, cosine in index.search(vector, len(chunk_ids), list(chunk_ids))
        }

    # Showing

    def _cite(self, candidate: Candidate, passage: Passage, shares: Mapping[int, float], around: int) -> SearchResult:
        best = best_message(candidate, shares)
        alone = len(passage.messages) == 1
        before, after = self._vectors.neighbours(passage.channel_id, best, around) if alone else ([], [])
        return _result(candidate, passage, best, [_line(one) for one in before], [_line(one) for one in after])

    # Reasons

    def _why(self, vector: Vectors | None, terms: Sequence[Term], wanted: Filter) -> str:
        """Why nothing was found, out of what the asker may read and nothing else."""
        reach = wanted.without_wishes()
        if not self._lookup.passing(reach, 1):
            return "nothing is stored of the channels that were searched"
        if not self._lookup.passing(wanted.without_words(), 1):
            return "no message passes the filters"
        if wanted.is_wish and (outside := self._results(vector, terms, reach, MAX_LIMIT, self._allowed(reach))):
            many = f"{len(outside)}{' or more' if len(outside) == MAX_LIMIT else ''}"
            return f"the filters leave out {many} {'passage' if len(outside) == 1 else 'passages'}"
        missing = [term.text for term in terms if not term.messages]
        if missing:
            return f"nothing is near enough in meaning, and no message has {_listed(missing)}"
        return "nothing is near enough in meaning"


def above_noise(ranked: Sequence[Candidate], shares: Mapping[int, float], scale: Scale) -> list[Candidate]:
    """Those to show; none when not one is about what was asked rather than the least far of what is not."""

    def share(one: Candidate) -> float:
        return max(shares[message_id] for message_id in one.ids)

    def is_signal(one: Candidate) -> bool:
        cosine = one.cosine or 0.0
        return cosine >= scale.near or share(one) >= MOST or (cosine >= scale.fair and share(one) >= SOME)

    if not any(map(is_signal, ranked)):
        return []
    return [one for one in ranked if (one.cosine or 0.0) >= scale.fair or share(one) >= SOME]


def _left_out(effort: Effort) -> list[str]:
    """The remark on what was not looked for; it holds for phrases and for what is excluded as well."""
    if not effort.left_out:
        return []
    return [f"this asks for too much at once: {_listed([*effort.left_out])} did not count"]


def _listed(words: Sequence[str]) -> str:
    return " or ".join(repr(word) for word in words[:3])


def _ids(passage: Passage) -> list[int]:
    return [message.id for message in passage.messages]


def _line(message: PassageMessage) -> str:
    """`author: text`; further lines are set in, so that none looks like a message of another's."""
    text = SET_IN.join(searchable_text(message.content, message.extra).splitlines())
    return f"{' '.join(message.author_name.split())}: {text}"


def _result(candidate: Candidate, passage: Passage, best_id: int, before: list[str], after: list[str]) -> SearchResult:
    first = passage.messages[0]
    best = next(message for message in passage.messages if message.id == best_id)
    found_by = {"meaning": candidate.meaning_rank is not None, "words": bool(candidate.hits)}
    return SearchResult(
        score=round(candidate.cosine or 0.0, 4),
        strategy=passage.strategy,
        guild_id=str(passage.guild_id),
        channel_id=str(passage.channel_id),
        channel=passage.channel_name,
        author=first.author_name,
        time=datetime.fromtimestamp(to_unix_seconds(first.id), UTC).isoformat(timespec="seconds"),
        message_ids=[str(message.id) for message in passage.messages],
        text="\n".join(map(_line, passage.messages)),
        url=jump_url(passage.guild_id, passage.channel_id, best_id),
        best_message_id=str(best_id),
        highlight=_line(best),
        before=before,
        after=after,
        found_by="+".join(way for way, found in found_by.items() if found),
        lines=[
            PassageLine(str(message.id), message.author_name, searchable_text(message.content, message.extra))
            for message in passage.messages
        ],
    )


def jump_url(guild_id: int, channel_id: int, message_id: int) -> str:
    """The link that opens a message in Discord."""
    return f"https://discord.com/channels/{guild_id}/{channel_id}/{message_id}"


def id_at(unix_seconds: float) -> int:
    """The lowest id of that moment that SQLite can hold."""
    return max(0, min(from_unix_seconds(unix_seconds), LAST_ID))


def restrict(query: Query, channel_ids: Collection[int]) -> Query:
    """The query limited to some channels, on top of what the asker may read."""
    asked = frozenset(channel_ids)
    return replace(query, in_channels=asked if query.in_channels is None else asked & query.in_channels)
