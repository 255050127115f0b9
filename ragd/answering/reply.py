"""What an answer consists of."""

from __future__ import annotations

from dataclasses import dataclass, field

from ragd.answers import SearchAnswer, SearchResult


@dataclass(frozen=True, slots=True)
class Quote:
    """Somebody's words out of a passage: a message as it reads now, or its sentences that answer best."""

    author: str
    text: str
    time: str
    """When, ISO 8601 in UTC; empty for what stands beside the passage, of which only the words are known."""
    url: str
    """Jump link."""


@dataclass(frozen=True, slots=True)
class Source:
    """A passage with the number that sentences cite, from 1, and what of it answers best."""

    number: int
    result: SearchResult
    quotes: tuple[Quote, ...]


@dataclass(frozen=True, slots=True)
class Sentence:
    """One that a language model wrote; `cites` are numbers of sources, at least one."""

    text: str
    cites: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. Without sentences it is an extractive one: the quotes of `sources`."""

    question: str
    found: SearchAnswer
    sources: tuple[Source, ...]
    """Passages, best first; of a written answer those that it cites."""
    sentences: tuple[Sentence, ...] = ()
    model: str = ""
    """Who wrote the sentences."""
    note: str = field(default="")
    """Why there are none, although a language model is there for that. For everybody: no address, no path."""

    @property
    def is_asked_of_model(self) -> bool:
        """Whether a language model was asked, well or badly: that takes its time."""
        return bool(self.sentences or self.note)

    def stands(self, found: SearchAnswer) -> bool:
        """Whether all that it was made of is found once more, and reads as it did."""
        return _said(self.found) <= _said(found)


def _said(found: SearchAnswer) -> set[str]:
    lines = {f"{line.message_id} {line.author}: {line.text}" for result in found.results for line in result.lines}
    return lines.union(*((*result.before, *result.after) for result in found.results))
