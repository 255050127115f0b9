"""What the disentangler notices about each message of a segment: who speaks, to whom, and with which words.

All of it is known when the message comes. A name counts only once its bearer has spoken, in this segment.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ragd.chunking.messages import SourceMessage
from ragd.snowflake import to_unix_ms

MENTIONS_KEPT = 3
"""How many of the people that a message names are looked at."""

_ADDRESSED_WORDS = 4
"""How many words of a name are looked for after `@`."""

NOBODY = -1

_WORD = re.compile(r"[\w\-\[\]\\`^{}|']+")
_ADDRESS = re.compile(r"@?([^:,\n]{1,64})[:,]")
_QUESTION_WORDS = frozenset(
    ("how", "what", "why", "where", "who", "does", "is", "can", "anyone", "anybody", "which", "when")
)
_GREETINGS = frozenset(("hi", "hello", "hey", "yo", "morning", "evening", "howdy", "greetings"))
_ANSWERS = "thanks thx ty ok yes no yeah yep nope cool lol thank sure right nice oh ah haha hehe"
_SHORT_ANSWERS = frozenset(_ANSWERS.split())
_SHORT_ANSWER_WORDS = 4
_FILLERS = "the and you that for with this are have not was can but just what how its it's i'm there from yes your"
_EMPTY_WORDS = frozenset(_FILLERS.split())
_SHORTEST_WORD = 3


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How telling words are: the inverse document frequencies of common ones; all others are as rare as can be."""

    idf: Mapping[str, float]
    rare: float
    """Of a word that is not listed."""
    names_from: float
    """A name that is an everyday word, with a lower value than this, counts only where it is clearly spoken to."""

    def of(self, word: str) -> float:
        return self.idf.get(word, self.rare)


@dataclass(frozen=True, slots=True)
class Reading:
    """A segment's messages as columns, one row a message."""

    minute: NDArray[np.int32]
    author: NDArray[np.int32]
    """Authors are numbered in the order in which they first spoke."""
    named: NDArray[np.int32]
    """(messages, MENTIONS_KEPT): who is named, NOBODY where there are fewer."""
    addressee: NDArray[np.int32]
    partner: NDArray[np.int32]
    """(messages, MENTIONS_KEPT): whom the author's last message that named somebody named."""
    traits: NDArray[np.float32]
    """(messages, len(TRAITS))"""
    words: Sequence[Mapping[str, float]]
    """Telling words of each message, with how telling they are."""


TRAITS = ("question", "greeting", "short_answer", "length", "trails_off")


def read_segment(messages: Sequence[SourceMessage], vocabulary: Vocabulary) -> Reading:
    """Linear in the messages' lengths."""
    return _Reader(vocabulary).read(messages)


@dataclass(slots=True)
class _Reader:
    vocabulary: Vocabulary
    numbers: dict[int, int] = field(default_factory=dict)
    """Of authors, by id."""
    names: dict[str, int] = field(default_factory=dict)
    """Casefolded, to the number of the author who had it last."""
    authors: dict[int, int] = field(default_factory=dict)
    """By message id."""
    partners: dict[int, list[int]] = field(default_factory=dict)

    def read(self, messages: Sequence[SourceMessage]) -> Reading:
        count = len(messages)
        shape = (count, MENTIONS_KEPT)
        author, addressee = np.empty(count, np.int32), np.full(count, NOBODY, np.int32)
        named, partner = np.full(shape, NOBODY, np.int32), np.full(shape, NOBODY, np.int32)
        traits = np.zeros((count, len(TRAITS)), np.float32)
        telling: list[Mapping[str, float]] = []
        for at, message in enumerate(messages):
            text = message.text.casefold()
            words = words_of(message.text)
            author[at] = me = self.numbers.setdefault(message.author_id, len(self.numbers))
            addressee[at], people = self._people(message, text, words, me)
            named[at, : len(people)] = people
            known = self.partners.get(me, [])
            partner[at, : len(known)] = known
            traits[at] = _traits(text, words)
            telling.append(self._telling(words))
            self._remember(message, me, people)
        minute = np.array([to_unix_ms(message.id) // 60_000 for message in messages], np.int32)
        return Reading(minute, author, named, addressee, partner, traits, telling)

    def _people(self, message: SourceMessage, text: str, words: Sequence[str], me: int) -> tuple[int, list[int]]:
        """Who is spoken to, NOBODY if nobody is, and everybody who is named, them first."""
        replied = self.authors.get(message.reply_to_id) if message.reply_to_id else None
        mentioned = [self.numbers[user] for user in message.mention_ids if user in self.numbers]
        spoken_to = [self.names[name] for name in addressed_names(text) if name in self.names]
        if words and words[0] in self.names and self._is_telling(words[0]):
            spoken_to.append(self.names[words[0]])
        if replied is not None:
            spoken_to.insert(0, replied)
        if text.startswith("@"):
            spoken_to += mentioned
        in_passing = [self.names[word] for word in words if word in self.names and self._is_telling(word)]
        addressee = next((number for number in spoken_to if number != me), NOBODY)
        everybody = dict.fromkeys([addressee, *mentioned, *in_passing])
        people = [number for number in everybody if number not in (me, NOBODY)]
        return addressee, people[:MENTIONS_KEPT]

    def _is_telling(self, name: str) -> bool:
        return self.vocabulary.of(name) >= self.vocabulary.names_from

    def _telling(self, words: Sequence[str]) -> dict[str, float]:
        return {
            word: self.vocabulary.of(word)
            for word in words
            if len(word) >= _SHORTEST_WORD and word not in _EMPTY_WORDS and word not in self.names
        }

    def _remember(self, message: SourceMessage, me: int, people: list[int]) -> None:
        self.names[message.author_name.casefold()] = me
        self.authors[message.id] = me
        if people:
            self.partners[me] = people


def words_of(text: str) -> list[str]:
    """A text's words, casefolded; nicks keep the signs that IRC's have."""
    return _WORD.findall(text.casefold())


def _traits(text: str, words: Sequence[str]) -> tuple[float, ...]:
    first = words[0] if words else ""
    short = len(words) <= _SHORT_ANSWER_WORDS and not _SHORT_ANSWERS.isdisjoint(words)
    length = math.log1p(len(words)) / 3
    return "?" in text or first in _QUESTION_WORDS, first in _GREETINGS, short, length, text.endswith("...")


def addressed_names(text: str) -> Iterator[str]:
    """Candidates for `name:`, `name,` and `@name` at the start of a casefolded text, longest first after `@`."""
    if match := _ADDRESS.match(text):
        yield match[1].strip()
    if text.startswith("@"):
        words = text[1:].split(maxsplit=_ADDRESSED_WORDS)[:_ADDRESSED_WORDS]
        for count in range(len(words), 0, -1):
            yield " ".join(words[:count]).rstrip(".:,;!?")
