"""What the disentangler weighs: figures about each pair of a message and one before it, and about its opening anew.

Everything is computed for a block of messages and their predecessors at once: of arrays of (message, predecessor) the
entry (b, k) is about message `start + b` and the one k + 1 places before it. There are LOOK_BACK predecessors, or as
many as there can be before the block's end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragd.chunking.reading import NOBODY, TRAITS, Reading

FEATURES_VERSION = 1
"""Weights fit only the version they were trained for: raise it with any change of what this module computes."""

LOOK_BACK = 100
"""Messages. A bound of memory and time; an answer to something farther back is 1 in 100 on the annotated IRC."""

BLOCK = 32
"""Messages scored at once."""

MINUTE_EDGES = (1, 2, 3, 5, 10, 20, 40, 60)
PLACE_EDGES = (2, 3, 5, 8, 13, 21, 34, 55)
SINCE_OWN_EDGES = (1, 2, 5, 10, 20, 60)
SINCE_ANY_EDGES = (1, 2, 5, 15)

Figures = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Block:
    """Some messages of a segment in a row."""

    start: int
    pairs: Figures
    """(messages, predecessors, pair features)"""
    opening: Figures
    """(messages, opening features)"""
    real: Flags
    """(messages, predecessors): whether there is such a predecessor."""


def blocks(reading: Reading, first: int = 0) -> Iterator[Block]:
    """A segment's messages in order, BLOCK at a time, from block number `first` on.

    Always cut in the same way, so that sums round the same.
    """
    scan = _Scan(reading)
    scan.skip(first * BLOCK)
    for start in range(first * BLOCK, len(reading.author), BLOCK):
        yield scan.block(start, min(start + BLOCK, len(reading.author)))


def _following(author: NDArray[np.int32]) -> NDArray[np.int64]:
    """By message, the place of its author's next one; past the end where there is none."""
    none = len(author)
    following = np.full(none + 1, none, np.int64)
    latest: dict[int, int] = {}
    for at, who in enumerate(author.tolist()):
        if who in latest:
            following[latest[who]] = at
        latest[who] = at
    return following


class _Scan:
    """One pass over a segment."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._following = _following(reading.author)
        self._places: dict[str, list[int]] = {}
        """Where each word was said, ascending."""

    def skip(self, end: int) -> None:
        """Only remember what was said before."""
        for at in range(max(0, end - LOOK_BACK), end):
            for word in self._reading.words[at]:
                self._places.setdefault(word, []).append(at)

    def block(self, start: int, end: int) -> Block:
        here = np.arange(start, end)[:, None]
        before = here - 1 - np.arange(min(LOOK_BACK, max(1, end - 1)))[None, :]
        real = before >= 0
        pair = _Pair(self._reading, self._following, here, np.maximum(before, 0), real)
        overlap = self._overlap(start, end, before.shape[1])
        columns = [*pair.columns(overlap)]
        pairs = np.stack(columns, axis=-1).astype(np.float32)
        pairs *= real[:, :, None]
        return Block(start, pairs, pair.opening(overlap), real)

    def _overlap(self, start: int, end: int, reach: int) -> tuple[Figures, Figures, Figures]:
        """Of each pair: the cosine of their telling words, how many they share, and how telling those are."""
        shape = (end - start, reach)
        cosine, count, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        words = self._reading.words
        for row, at in enumerate(range(start, end)):
            for word, telling in words[at].items():
                places = self._places.setdefault(word, [])
                for place in reversed(places):
                    if at - place > reach:
                        break
                    cosine[row, at - place - 1] += telling * telling
                    count[row, at - place - 1] += 1
                    weight[row, at - place - 1] += telling
                places.append(at)
        lengths = self._lengths(start - reach, end)
        cosine /= lengths[reach:, None]
        for row in range(end - start):
            cosine[row] /= lengths[row : row + reach][::-1]
        return cosine, count, weight

    def _lengths(self, start: int, end: int) -> Figures:
        """Of the word vectors of messages start to end, 1 where there is none."""
        lengths = np.ones(end - start, np.float32)
        for at in range(max(0, start), end):
            squares = sum(value * value for value in self._reading.words[at].values())
            lengths[at - start] = squares**0.5 or 1.0
        return lengths


class _Pair:
    """What one block is computed from."""

    def __init__(
        self,
        reading: Reading,
        following: NDArray[np.int64],
        here: NDArray[np.int64],
        before: NDArray[np.int64],
        real: Flags,
    ) -> None:
        self.reading, self.here, self.before, self.real = reading, here, before, real
        me, they = reading.author[here], reading.author[before]
        named, theirs = reading.named[here[:, 0]], reading.named[before]
        self.same = real & (me == they)
        self.latest = real & (following[before] >= here)
        """Their author has said nothing since."""
        self.answers = real & _any_equal(they, named)
        """I name them."""
        self.addresses = real & (reading.addressee[here] == they)
        self.called = real & (theirs == me[:, :, None]).any(-1)
        """They name me."""
        self.called_first = self.called & (reading.addressee[before] == me)
        self.shared = real & _share(theirs, named)
        self.partner = real & _any_equal(they, reading.partner[here[:, 0]])
        self.mute = (reading.named[here[:, 0], 0] == NOBODY)[:, None]
        self.they_mute = theirs[:, :, 0] == NOBODY
        self.own_between = np.cumsum(self.same, axis=1) - self.same
        self.theirs_since = _count_since(following, before, here)
        self.minutes = (reading.minute[here] - reading.minute[before]).astype(np.float32)
        self.places = (here - before).astype(np.float32)
        self.last_call = self.called & (np.cumsum(self.called, axis=1) == 1)

    def columns(self, overlap: tuple[Figures, Figures, Figures]) -> Iterator[NDArray[np.generic]]:
        """The pair features, in their order."""
        yield from self._people()
        yield from self._manner()
        yield from self._words(*overlap)
        yield from self._distance()

    def _people(self) -> Iterator[NDArray[np.generic]]:
        yield from (self.same, self.same & self.latest, self.latest)
        yield from (self.answers, self.answers & self.latest, self.addresses, self.addresses & self.latest)
        yield from (self.addresses & self.called, self.addresses & self.latest & self.called)
        fresh = self.own_between == 0
        yield from (self.called, self.last_call, self.last_call & fresh, self.called_first, self.called & self.mute)
        yield from (self.shared, self.shared & self.same)
        elsewhere = ~self.they_mute & ~self.called & ~self.same
        yield from (~self.mute & ~self.answers & ~self.same, elsewhere, elsewhere & ~self.shared)
        yield from (np.minimum(self.theirs_since, 5) / 3, np.minimum(self.own_between, 6) / 3)
        yield from (fresh, fresh & self.called, fresh & self.same)
        old_partner = self.partner & self.mute
        yield from (self.partner, old_partner, old_partner & self.latest & fresh)
        yield self.mute & self.they_mute & ~self.same

    def _manner(self) -> Iterator[NDArray[np.generic]]:
        my, their = self.reading.traits[self.here], self.reading.traits[self.before]
        asks, greets, short = (my[:, :, TRAITS.index(name)] > 0 for name in ("question", "greeting", "short_answer"))
        they_ask = their[:, :, TRAITS.index("question")] > 0
        yield from np.moveaxis(their, -1, 0)
        yield from (they_ask & ~asks & ~self.same, they_ask & self.answers)
        yield from (short & self.called, short & self.same)
        yield from (np.broadcast_to(asks, self.same.shape), np.broadcast_to(greets, self.same.shape))

    def _words(self, cosine: Figures, count: Figures, weight: Figures) -> Iterator[NDArray[np.generic]]:
        some = count > 0
        yield from (cosine, np.minimum(count, 4) / 2, np.minimum(weight, 30) / 15)
        yield from (some, some & self.same, some & self.mute & ~self.same)

    def _distance(self) -> Iterator[NDArray[np.generic]]:
        next_to = self.places == 1
        far, long = np.log1p(self.places), np.log1p(self.minutes)
        yield from (1 / (1 + self.places), far, long)
        yield from (next_to, next_to & self.same, next_to & self.mute & self.they_mute)
        yield from (long * self.same, long * self.answers, long * self.called)
        yield from (long * ~(self.same | self.answers | self.called), far * (self.same & self.latest))
        yield from _bins(self.minutes, MINUTE_EDGES)
        yield from _bins(self.places, PLACE_EDGES)

    def opening(self, overlap: tuple[Figures, Figures, Figures]) -> Figures:
        """(messages, opening features): what tells whether a message opens a conversation."""
        rows = self.here[:, 0]
        addressee = self.reading.addressee[rows]
        addressed: Flags = addressee != NOBODY
        answerable = (self.addresses & self.real).any(1)
        own, called = self.same.any(1), self.called.any(1)
        fresh_call = (self.called & (self.own_between == 0)).any(1)
        columns: list[NDArray[np.generic]] = [
            addressed,
            ~self.mute[:, 0] & ~addressed,
            answerable,
            *np.moveaxis(self.reading.traits[rows], -1, 0),
            ~own,
            called,
            fresh_call,
            np.asarray(self._voices() / 10),
            *_bins(self._since(self.same), SINCE_OWN_EDGES),
            *_bins(self._since(self.real), SINCE_ANY_EDGES),
            np.asarray(overlap[0].max(1)),
            np.asarray(self.answers.any(1)),
        ]
        return np.stack(columns, axis=-1).astype(np.float32)

    def _since(self, which: Flags) -> Figures:
        """Minutes since the newest predecessor of a kind; very many where there is none."""
        newest = which.argmax(1)
        minutes = self.minutes[np.arange(len(newest)), newest]
        return np.where(which.any(1), minutes, np.float32(1e6))

    def _voices(self) -> NDArray[np.int64]:
        """How many people said the last 15 messages."""
        lately = self.real & (self.places <= 15)
        first = self.latest & lately  # an author's latest message stands for them
        count: NDArray[np.int64] = first.sum(1)
        return count


def _any_equal(each: NDArray[np.int32], any_of: NDArray[np.int32]) -> Flags:
    found: Flags = (each[:, :, None] == any_of[:, None, :]).any(-1)
    return found


def _share(theirs: NDArray[np.int32], mine: NDArray[np.int32]) -> Flags:
    equal = (theirs[:, :, :, None] == mine[:, None, None, :]) & (theirs[:, :, :, None] != NOBODY)
    found: Flags = equal.any((-1, -2))
    return found


def _count_since(following: NDArray[np.int64], before: NDArray[np.int64], here: NDArray[np.int64]) -> Figures:
    """How many messages the author of the earlier one has written between the two, up to 5."""
    count = np.zeros(before.shape, np.float32)
    at = before
    for _ in range(5):
        at = following[at]
        count += at < here
    return count


def _bins(values: Figures, edges: Sequence[int]) -> Iterator[Flags]:
    """One flag for each interval between the edges, and for what lies beyond either end."""
    which = np.digitize(values, edges)
    for at in range(len(edges) + 1):
        yield which == at
