"""Which form of a chunk's text is found best: with authors' names, with times, or without.

    python -m benchmarks.chunk_text [strategy ...]

Needs ../shared/data/pyscript-discord. A question there that somebody answered by a reply is the query; wanted is a
chunk that holds the answer, from which the question's own line has been taken. Exact search by vectors alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from benchmarks.chats import read_chats
from benchmarks.tables import Table
from ragd.chunking import SourceMessage, chunk_messages
from ragd.embedding import Embedder
from ragd.snowflake import to_unix_seconds

DEPTH = 10
QUESTION_WORDS = range(6, 81)
ANSWER_WORDS = 5
ROOM = 48
"""Tokens left free for what a form adds, so that all forms are of the same chunks."""

Form = Callable[[Sequence[SourceMessage]], str]


@dataclass(frozen=True, slots=True)
class Passage:
    messages: tuple[SourceMessage, ...]
    part: str | None
    """The text of a part of an over-long message, the same in every form."""


@dataclass(frozen=True, slots=True)
class Asked:
    question: SourceMessage
    answer: SourceMessage


def bare(messages: Sequence[SourceMessage]) -> str:
    return "\n".join(message.text for message in messages)


def named(messages: Sequence[SourceMessage]) -> str:
    return "\n".join(f"{message.author_name}: {message.text}" for message in messages)


def named_once(messages: Sequence[SourceMessage]) -> str:
    runs = groupby(messages, key=lambda message: message.author_name)
    return "\n".join(f"{name}: " + "\n".join(message.text for message in run) for name, run in runs)


def dated(messages: Sequence[SourceMessage]) -> str:
    return f"{_moment(messages[0]):%Y-%m-%d %H:%M}\n{named(messages)}"


def dated_in_words(messages: Sequence[SourceMessage]) -> str:
    return f"{_moment(messages[0]):%A, %B %d, %Y}\n{named(messages)}"


def _moment(message: SourceMessage) -> datetime:
    return datetime.fromtimestamp(to_unix_seconds(message.id), UTC)


FORMS: dict[str, Form] = {
    "text alone": bare,
    "author: text": named,
    "author once a run": named_once,
    "date and time, author: text": dated,
    "date in words, author: text": dated_in_words,
}


def asked_in(channel: Sequence[SourceMessage]) -> Iterator[Asked]:
    """Questions that were answered by somebody else's reply."""
    known = {message.id: message for message in channel}
    for answer in channel:
        question = known.get(answer.reply_to_id or 0)
        if question is None or question.author_id == answer.author_id or "?" not in question.text:
            continue
        if len(question.text.split()) in QUESTION_WORDS and len(answer.text.split()) >= ANSWER_WORDS:
            yield Asked(question, answer)


def passages(strategy: str, channel: Sequence[SourceMessage], embedder: Embedder) -> Iterator[Passage]:
    """A channel's chunks, to be written in any form."""
    known = {message.id: message for message in channel}
    room = embedder.max_tokens - ROOM
    chunks = chunk_messages(strategy, channel, count_tokens=embedder.count_tokens, max_tokens=room)
    whole = [named([known[each] for each in chunk.message_ids]) == chunk.text for chunk in chunks]
    for chunk, is_whole in zip(chunks, whole, strict=True):
        yield Passage(tuple(known[each] for each in chunk.message_ids), None if is_whole else chunk.text)


def written(passage: Passage, form: Form) -> str:
    return form(passage.messages) if passage.part is None else passage.part


def ranks(found: Sequence[Passage], asked: Sequence[Asked], form: Form, embedder: Embedder) -> list[int]:
    """For each question the rank of the best chunk with its answer, from 1."""
    vectors = embedder.embed([written(passage, form) for passage in found])
    return [_rank(found, vectors, each, form, embedder) for each in asked]


def _rank(found: Sequence[Passage], vectors: NDArray[np.float32], each: Asked, form: Form, embedder: Embedder) -> int:
    scores = vectors @ embedder.embed_query(each.question.text)
    for at, passage in enumerate(found):
        if each.question in passage.messages:
            rest = [message for message in passage.messages if message is not each.question]
            scores[at] = embedder.embed([form(rest)])[0] @ embedder.embed_query(each.question.text) if rest else -1
    wanted = [at for at, passage in enumerate(found) if each.answer in passage.messages]
    return int((scores > max(scores[at] for at in wanted)).sum()) + 1


def run(strategies: Sequence[str]) -> Table:
    """Recall and mean reciprocal rank of each form."""
    table = Table("Forms of a chunk's text", ["", *(f"{name}: recall@10 / MRR" for name in strategies)])
    embedder, channels = Embedder.open(), list(read_chats())
    asked = [each for channel in channels for each in asked_in(channel)]
    found = {name: [each for channel in channels for each in passages(name, channel, embedder)] for name in strategies}
    for name, form in FORMS.items():
        cells = []
        for strategy in strategies:
            places = np.array(ranks(found[strategy], asked, form, embedder))
            inside = places <= DEPTH
            cells.append(f"{100 * inside.mean():.1f} / {(inside / places).mean():.3f}")
        table.add(name, *cells)
        print(name, *cells, flush=True)
    table.notes.append(f"{len(asked)} questions; {', '.join(f'{len(found[name]):,} {name}' for name in found)} chunks.")
    return table


def main() -> None:
    """Measure the strategies named, or those of the default settings."""
    print(run(sys.argv[1:] or ["temporal", "conversation"]).markdown())


if __name__ == "__main__":
    main()
