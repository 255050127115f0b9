"""What the searcher reads of the indexes of words (ragd/store/words.py wrote them)."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from playhouse.apsw_ext import APSWDatabase

from ragd.store.database import OverdueError, Queries
from ragd.store.scope import Filter, Matches, of_messages, reach
from ragd.store.words import TO_FILL
from ragd.terms import SHORTEST_TRIGRAM, has_word, is_fragment, is_unspaced, mark, quoted
from ragd.terms import fragments as fragments_of
from ragd.text import searchable_text

COMMON = 10_000
"""So many messages are ranked for a query at most, some 30 ms of work; a word in more of them says little."""

NEWEST = 300
"""Of words that are all common, so many of the newest messages are ranked."""

MOST_TERMS = 24
"""Of a longer question the rarest words are looked for: more say little and cost as much."""

_BEGINNINGS = 64
"""Trigrams looked at for a fragment of one or two characters: the most frequent ones that begin with it."""

_COUNTED = 100_000
"""Places of such trigrams, anybody's, that are counted for that, some 200 ms of work; of more, those in the NEWEST
messages within reach."""

MOST_SHORT = 8
"""Of fragments of one or two characters, so many are looked for in a query, whichever part of it they are in."""

_TOTAL_SECONDS = 60.0
"""Counting all messages takes a tenth of a second for a million."""

_NOTHING = '"\x01\x01\x01"'
"""Matches no message: what is asked for can be in none."""


@dataclass(frozen=True, slots=True)
class Term:
    """A word or fragment of a query as the indexes know it: in how many messages it is, COMMON + 1 for more.

    Of those that the asker may read: how rare a word is elsewhere would tell whether anybody wrote it there.
    """

    text: str
    match: Matches
    messages: int
    rarity: Mapping[str, float] = field(default_factory=dict)
    """By table, what to multiply a BM25 score by, which FTS5 computes from how rare the word is in all messages."""
    is_beginning: bool = False
    """Of several trigrams FTS5 weighs each by all messages, so those count the same, and `rarity` is what."""


@dataclass(slots=True)
class Effort:
    """What looking for the words of one query, for one asker, has taken so far.

    A short fragment costs up to some 300 ms, so each is looked up once, and no more than MOST_SHORT of them are.
    """

    until: float = math.inf
    """From this moment on (monotonic) no more is looked for."""
    expressions: dict[str, str] = field(default_factory=dict)
    """By short fragment, in lower case."""
    left_out: dict[str, None] = field(default_factory=dict)
    """What was not looked for, so as to be done in time: in this order, in lower case."""

    @property
    def seconds_left(self) -> float:
        return self.until - time.monotonic()


class Lookup(Queries):
    """Search by words. One connection, one thread; every query obeys a `Filter`."""

    def __init__(self, database: APSWDatabase) -> None:
        super().__init__(database)
        self._total, self._total_due = 0, 0.0

    # Expressions

    def required(
        self, phrases: Sequence[str], has: Collection[str], readable: Filter, effort: Effort | None = None
    ) -> Matches:
        """Messages with every phrase, and with every kind of thing."""
        effort = effort or Effort()
        parts = [self.phrase(phrase, readable, effort) for phrase in phrases]
        words = [part.words for part in parts if part.words] + [f'marks : "{mark(kind)}"' for kind in sorted(has)]
        fragments = [part.fragments for part in parts if part.fragments]
        return Matches(" AND ".join(f"({part})" for part in words), " AND ".join(f"({part})" for part in fragments))

    def phrase(self, text: str, readable: Filter, effort: Effort | None = None) -> Matches:
        """Messages with these words side by side, or with this fragment. A piece that is left out does not count."""
        effort = effort or Effort()
        unspaced = is_unspaced(text)
        words = f"text : {quoted(text)}" if has_word(text) and not unspaced else ""
        pieces = dict.fromkeys(text.split()) if unspaced or not words else ()
        parts = [self._fragment(piece, readable, effort) for piece in pieces]
        return Matches(words, " AND ".join(f"({part})" for part in parts if part))

    def terms(self, words: Sequence[str], readable: Filter, effort: Effort) -> list[Term]:
        """The words of a query, but for those that are left out."""
        found: list[Term] = []
        for word in words:
            if effort.seconds_left <= 0:
                effort.left_out[word.lower()] = None
            else:
                found.append(self.term(word, readable, effort))
        return [term for term in found if term.text.lower() not in effort.left_out]

    def term(self, text: str, readable: Filter, effort: Effort | None = None) -> Term:
        """A word of a query. A fragment is looked for as a word too, a word nobody wrote as part of a fragment.

        Nobody is nobody whom the asker may read: of `readable` no more than its reach is looked at.
        """
        effort = effort or Effort()
        words = f"text : {quoted(text)}" if has_word(text) else ""
        fragments = self._fragment(text, readable, effort) if is_fragment(text) else ""
        counts = {"message_word": self._count("message_word", words, readable)} if words else {}
        if not any(seen for _, seen in counts.values()) and not fragments and len(text) >= SHORTEST_TRIGRAM:
            fragments = self._fragment(text, readable, effort)
        if fragments:
            counts["message_trigram"] = self._count("message_trigram", fragments, readable)
        messages = max((seen for _, seen in counts.values()), default=0)
        rarity = {table: self._rarity(table, *count) for table, count in counts.items() if messages <= COMMON}
        is_beginning = bool(fragments) and len(text) < SHORTEST_TRIGRAM
        if is_beginning and rarity:
            rarity["message_trigram"] = _weight(self._rows("message_trigram"), counts["message_trigram"][1])
        return Term(text, Matches(words, fragments), messages, rarity, is_beginning)

    def _fragment(self, piece: str, readable: Filter, effort: Effort) -> str:
        """An expression of trigrams, or nothing if the piece is left out.

        One or two characters begin trigrams, thanks to the padding behind each piece.
        """
        if len(piece) >= SHORTEST_TRIGRAM:
            return quoted(piece)
        begin = piece.lower()
        known = effort.expressions
        if len(known) < MOST_SHORT and begin not in known and begin not in effort.left_out:
            with contextlib.suppress(OverdueError), self.within(effort.seconds_left):
                known[begin] = " OR ".join(map(quoted, self._beginning(begin, readable))) or _NOTHING
        if begin not in known:
            effort.left_out[begin] = None
        return known.get(begin, "")

    def _beginning(self, begin: str, readable: Filter) -> list[str]:
        """The most frequent trigrams that begin so, by what is within reach and nothing else."""
        bounds = (begin, begin + "\U0010ffff")
        among = "FROM message_trigram_terms WHERE term >= ? AND term < ?"
        if readable.channel_ids is None:
            rows = self._all(f"SELECT term {among} ORDER BY doc DESC, term LIMIT ?", *bounds, _BEGINNINGS)
            return [row[0] for row in rows]
        if int(self._one(f"SELECT coalesce(sum(cnt), 0) {among}", *bounds)[0]) > _COUNTED:
            return self._beginning_of_newest(begin, readable)
        # of this connection alone: no file has it
        self._execute(
            "CREATE VIRTUAL TABLE IF NOT EXISTS temp.trigram_place USING fts5vocab (main, message_trigram, 'instance')"
        )
        where, parameters = of_messages(readable.without_wishes())
        rows = self._all(
            "SELECT i.term FROM trigram_place i CROSS JOIN message m ON m.id = i.doc"
            f" WHERE i.term >= ? AND i.term < ? AND {where} GROUP BY i.term ORDER BY count(*) DESC, i.term LIMIT ?",
            *bounds,
            *parameters,
            _BEGINNINGS,
        )
        return [row[0] for row in rows]

    def _beginning_of_newest(self, begin: str, readable: Filter) -> list[str]:
        where, parameters = of_messages(readable.without_wishes())
        rows = self._all(
            f"SELECT m.content, m.extra FROM message m WHERE {where} ORDER BY m.id DESC LIMIT ?", *parameters, NEWEST
        )
        texts = [fragments_of(searchable_text(*row)).lower() for row in rows]
        size = SHORTEST_TRIGRAM
        found = Counter(text[at : at + size] for text in texts for at in range(len(text) - size + 1))
        known = [(-count, term) for term, count in found.items() if term.startswith(begin)]
        return [term for _, term in sorted(known)[:_BEGINNINGS]]

    def _count(self, table: str, match: str, readable: Filter) -> tuple[int, int]:
        """In how many messages, of anybody and of those within reach; counts no further than it must.

        What is common is so for everybody: it takes 10,000 messages of one's own to learn whether another has it.
        """
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {table} MATCH ? LIMIT ?)"
        everywhere = int(self._one(sql, match, COMMON + 1)[0])
        if not 0 < everywhere <= COMMON or readable.channel_ids is None:
            return everywhere, everywhere
        where, parameters = of_messages(readable.without_wishes())
        sql = (
            f"SELECT count(*) FROM {table} CROSS JOIN message m ON m.id = {table}.rowid"
            f" WHERE {table} MATCH ? AND {where}"
        )
        return everywhere, int(self._one(sql, match, *parameters)[0])

    def _rarity(self, table: str, everywhere: int, seen: int) -> float:
        """From FTS5's BM25, whose weight of a word counts all messages, to one that counts those within reach."""
        if seen == everywhere:
            return 1.0
        rows = self._rows(table)
        return _weight(rows, seen) / _weight(rows, everywhere)

    def _rows(self, table: str) -> int:
        """How many rows the index has, as FTS5 itself reckons: the first number of its record of averages."""
        record = self._one(f"SELECT block FROM {table}_data WHERE id = 1")[0]
        number = 0
        for byte in record[:8]:  # a varint of SQLite's
            number = number << 7 | byte & 0x7F
            if byte < 0x80:
                break
        return number

    # Hits

    def ranked(self, terms: Sequence[Term], wanted: Filter, limit: int) -> list[tuple[int, float]]:
        """Ids of messages with any of the terms and how well they match (BM25, more is better), best first.

        The rarest terms count, as many of them as together are in no more than COMMON messages. When not even one is
        so rare, the newest messages with all of the terms come first, and after those the newest with any.
        """
        known = sorted((term for term in terms if term.messages), key=lambda term: term.messages)[:MOST_TERMS]
        rare = _affordable(known)
        if known and not rare:
            return self._newest(known, wanted, limit)
        scores: dict[int, float] = {}
        for table in ("message_word", "message_trigram"):
            for message_id, score in self._best(table, rare, wanted, limit):
                scores[message_id] = scores.get(message_id, 0.0) + score
        return sorted(scores.items(), key=lambda hit: (-hit[1], -hit[0]))[:limit]

    def _best(self, table: str, terms: Sequence[Term], wanted: Filter, limit: int) -> list[tuple[int, float]]:
        """Term by term, each with the weight it has within reach. Marks do not count as words."""
        terms = [term for term in terms if _expression(term, table)]
        if not terms:
            return []
        hits = " UNION ALL ".join(
            f"SELECT rowid AS id, {_score(term, table)} AS score FROM {table} WHERE {table} MATCH ?" for term in terms
        )
        where, parameters = of_messages(wanted)
        # CROSS JOIN: from the index of words to messages, never the other way round. Rounded, so that what is equal
        # but for the last bits is equal. MATERIALIZED: `bm25` works nowhere but in the very query of its table.
        rows = self._all(
            f"WITH h AS MATERIALIZED ({hits})"
            " SELECT m.id, round(sum(h.score), 9) AS score FROM h CROSS JOIN message m ON m.id = h.id"
            f" WHERE {where} GROUP BY m.id ORDER BY score DESC, m.id DESC LIMIT ?",
            *(value for term in terms for value in (term.rarity.get(table, 1.0), _expression(term, table))),
            *parameters,
            limit,
        )
        return [(row[0], row[1]) for row in rows]

    def _newest(self, terms: Sequence[Term], wanted: Filter, limit: int) -> list[tuple[int, float]]:
        where, parameters = of_messages(wanted)
        found: dict[int, float] = {}
        for joint, score in ((" AND ", 1.0), (" OR ", 0.5)):
            for table in ("message_word", "message_trigram"):
                match = _any_of(terms, table, joint)
                rows = self._all(
                    f"SELECT m.id FROM {table} CROSS JOIN message m ON m.id = {table}.rowid"
                    f" WHERE {table} MATCH ? AND {where} ORDER BY {table}.rowid DESC LIMIT ?",
                    match or _NOTHING,
                    *parameters,
                    min(limit, NEWEST),
                )
                for (message_id,) in rows:
                    found.setdefault(message_id, score)
            if len(found) >= limit:
                break
        return sorted(found.items(), key=lambda hit: (-hit[1], -hit[0]))[:limit]

    def newest(self, wanted: Filter, limit: int) -> list[tuple[int, float]]:
        """The newest messages that pass, for a query that says nothing but what they must fulfil."""
        where, parameters = of_messages(wanted)
        rows = self._all(f"SELECT m.id FROM message m WHERE {where} ORDER BY m.id DESC LIMIT ?", *parameters, limit)
        return [(row[0], 1.0) for row in rows]

    def weights(self, terms: Sequence[Term]) -> list[float]:
        """How much each term tells: the logarithm of how rare it is (BM25's)."""
        if time.monotonic() >= self._total_due:
            self._total = int(self._one("SELECT count(*) FROM message_word_docsize")[0])
            self._total_due = time.monotonic() + _TOTAL_SECONDS
        return [math.log(1 + (max(self._total - term.messages, 0) + 0.5) / (term.messages + 0.5)) for term in terms]

    # Reasons

    def passing(self, wanted: Filter, limit: int) -> int:
        """How many messages pass, counted up to `limit`."""
        where, parameters = of_messages(wanted)
        return int(
            self._one(f"SELECT count(*) FROM (SELECT 1 FROM message m WHERE {where} LIMIT ?)", *parameters, limit)[0]
        )

    def newest_id(self, wanted: Filter) -> int:
        """The newest stored message of the channels that may be searched, 0 for none."""
        within, parameters = reach(wanted)
        row = self._one(
            f"SELECT coalesce(max((SELECT max(id) FROM message WHERE channel_id = r.id)), 0) FROM ({within}) r",
            *parameters,
        )
        return int(row[0])

    def lag(self, wanted: Filter) -> int:
        """Messages of these channels that changed since their chunks were made, by the strategy furthest behind."""
        within, parameters = reach(wanted)
        row = self._one(
            f"WITH r AS MATERIALIZED ({within}) SELECT coalesce(max("
            "(SELECT count(*) FROM message WHERE change > s.position AND +channel_id IN r)"
            " + (SELECT coalesce(sum(messages), 0) FROM dirty_cell d"
            " WHERE d.strategy = s.strategy AND d.channel_id IN r)), 0) FROM sync_state s",
            *parameters,
        )
        return int(row[0])

    def channels(self, wanted: Filter) -> set[int]:
        """The channels that may be searched."""
        sql, parameters = reach(wanted)
        return {row[0] for row in self._all(sql, *parameters)}

    def to_fill(self) -> bool:
        """Whether stored messages may still be missing from the indexes of words."""
        return bool(self._all("SELECT 1 FROM counter WHERE name = ? AND value > 0", TO_FILL))


def _affordable(terms: Sequence[Term]) -> list[Term]:
    """Of terms, the rarest first, those that together are in no more than COMMON messages."""
    sums = accumulate(term.messages for term in terms)
    return [term for term, messages in zip(terms, sums, strict=True) if messages <= COMMON]


def _any_of(terms: Sequence[Term], table: str, joint: str = " OR ") -> str:
    expressions = [_expression(term, table) for term in terms]
    return joint.join(f"({expression})" for expression in expressions if expression)


def _expression(term: Term, table: str) -> str:
    return term.match.words if table == "message_word" else term.match.fragments


def _score(term: Term, table: str) -> str:
    """SQL, with a place for the term's rarity."""
    return "?" if term.is_beginning and table == "message_trigram" else f"-bm25({table}, 1.0, 0.0) * ?"


def _weight(rows: int, messages: int) -> float:
    """BM25's inverse document frequency as FTS5 computes it, which has no word weigh less than nothing."""
    weight = math.log((rows - messages + 0.5) / (messages + 0.5)) if 0 <= messages <= rows else 0.0
    return weight if weight > 0 else 1e-6
