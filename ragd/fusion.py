"""Two rankings to one: chunks by meaning, messages by words, fused by reciprocal rank into passages. Pure.

Reciprocal rank fusion: Cormack, Clarke and Buettcher, SIGIR 2009; a passage's score is the sum of weight / (K + rank)
over the rankings it is in. Ranks, not scores, because a cosine and a BM25 have no common unit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

K = 60

SAME_PASSAGE = 0.5
"""Two passages that share more than this of the shorter one are one."""


@dataclass(slots=True)
class Candidate:
    """A passage and what speaks for it. `place` is what the caller knows it by; `ids` are its messages."""

    place: int
    ids: tuple[int, ...]
    cosine: float | None = None
    meaning_rank: int | None = None
    word_rank: int | None = None
    hits: dict[int, float] = field(default_factory=dict)
    """Its messages that words found, and how well they match."""

    def score(self, word_weight: float) -> float:
        ranks = ((self.meaning_rank, 1.0), (self.word_rank, word_weight))
        return sum(weight / (K + rank) for rank, weight in ranks if rank is not None)


class Fusion:
    """Collects passages; each is there once, however many chunks of several strategies show it."""

    def __init__(self) -> None:
        self._found: list[Candidate] = []
        self._with: dict[int, list[Candidate]] = {}
        """Candidates by message."""

    def add_by_meaning(self, place: int, ids: Sequence[int], cosine: float) -> None:
        """The next best chunk; one that shows what a better one shows is no passage of its own.

        If it shows all of that and more, it is shown in its place: a reply tells more than the question it is near to.
        """
        if not ids:
            return
        if (same := self._same(ids)) is not None:
            if set(ids) > set(same.ids):
                self._widen(same, place, ids)
            return
        candidate = self._add(Candidate(place, tuple(ids), cosine=cosine))
        candidate.meaning_rank = sum(other.meaning_rank is not None for other in self._found) + 1

    def add_by_words(self, place: int, ids: Sequence[int], message_id: int, match: float, cosine: float | None) -> None:
        """The next best message, with a passage to show it in if none that is here does."""
        holders = self._with.get(message_id)
        candidate = holders[0] if holders else self._add(Candidate(place, tuple(ids), cosine))
        candidate.hits[message_id] = match
        if candidate.word_rank is None:
            candidate.word_rank = sum(other.word_rank is not None for other in self._found) + 1

    def _widen(self, candidate: Candidate, place: int, ids: Sequence[int]) -> None:
        for one in set(ids).difference(candidate.ids):
            self._with.setdefault(one, []).append(candidate)
        candidate.place, candidate.ids = place, tuple(ids)

    def _same(self, ids: Sequence[int]) -> Candidate | None:
        met = {id(other): other for one in ids for other in self._with.get(one, ())}
        return next((other for other in met.values() if overlap(ids, other.ids) > SAME_PASSAGE), None)

    def _add(self, candidate: Candidate) -> Candidate:
        self._found.append(candidate)
        for one in candidate.ids:
            self._with.setdefault(one, []).append(candidate)
        return candidate

    def ranked(self, word_weight: float) -> list[Candidate]:
        """Best first; of equals the one that is nearer in meaning, then the newer one.

        What overlaps a better one is left out: words may have added what meaning showed in part. What shows all of
        it and a message that words found is shown in its place, as by meaning: it may be what an older chunk has
        become, which the indexes have not followed yet, and the message would not be found for that moment.
        """
        order = sorted(self._found, key=lambda one: (-one.score(word_weight), -(one.cosine or 0.0), -max(one.ids)))
        shown = Fusion()
        for one in order:
            same = shown._same(one.ids)
            if same is None:
                shown._add(one)
            elif one.hits.keys() - set(same.ids) and set(one.ids) > set(same.ids):
                shown._widen(same, one.place, one.ids)
                same.hits |= one.hits
                same.word_rank = same.word_rank or one.word_rank
        return shown._found


def overlap(one: Collection[int], other: Collection[int]) -> float:
    """The share of the shorter one that both have."""
    return len(set(one) & set(other)) / min(len(one), len(other))


def best_message(candidate: Candidate, shares: Mapping[int, float]) -> int:
    """The message of a passage to show first: the one that words found best, else the one with most of what is asked.

    `shares` says how much of that each message has.
    """
    if candidate.hits:
        return max(candidate.hits, key=lambda one: (candidate.hits[one], -one))
    return max(candidate.ids, key=lambda one: (shares[one], -one))
