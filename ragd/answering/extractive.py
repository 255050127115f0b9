"""Passages to an answer without a language model: of each the messages, of long ones the sentences, that answer best.

Pure. Everything shown is somebody's words, in their order; nothing is made up.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ragd.answering.reply import Quote, Source
from ragd.answering.words import telling_words
from ragd.answers import SET_IN, PassageLine, SearchResult
from ragd.snowflake import to_unix_seconds

SHOWN = 4
"""Passages of an extractive answer: the fifth has rarely been what was asked for."""

LONG_MESSAGE = 350
"""Characters from which a message is cut down to its best sentences."""

_BEST_BONUS = 0.25
"""For the message that the search itself took for the best."""

_QUESTION_WEIGHT = 0.5
"""A question has all the words of its answer, and answers nothing."""

_SECOND_SHARE = 0.6
"""Of the best message's score, from which another of the passage is shown too."""

FAR = 0.5
"""Of the nearest passage's cosine, or of the question's words by weight, below which a passage is not shown."""

_NEXT = 0.1
"""Weight of how soon a reply follows: it decides where words do not."""

_SENTENCE = re.compile(r"[^\n.!?。！？…]+[.!?。！？…]*[\"')\]]*|\n")
_ASKS = re.compile(r"[?？](?:\s|$)")

Weights = Mapping[str, float]


def extract(question: str, results: Sequence[SearchResult]) -> tuple[Source, ...]:
    """Every passage numbered, with its quotes: one to four, oldest first."""
    weights = _weights(question, results)
    return tuple(Source(number, result, _quotes(result, weights)) for number, result in enumerate(results, 1))


def best_of(question: str, sources: Sequence[Source]) -> tuple[Source, ...]:
    """Those worth showing when nobody has read them: at most SHOWN, none much further from the question than the first.

    Near by meaning, or with half of what the question says by weight in one message. Numbered anew: a number that is
    left out looks like something withheld.
    """
    weights = _weights(question, [source.result for source in sources])
    nearest = max((source.result.score for source in sources), default=0.0)

    def is_near(source: Source) -> bool:
        shares = (_share(line.text, weights) for line in lines_of(source.result))
        return source.result.score >= FAR * nearest or max(shares) >= FAR

    near = [source for source in sources if source is sources[0] or is_near(source)]
    return tuple(replace(source, number=number) for number, source in enumerate(near[:SHOWN], 1))


def lines_of(result: SearchResult) -> Sequence[PassageLine]:
    """A passage's messages; of a searcher of an older version, which does not tell them, the best one."""
    if result.lines:
        return result.lines
    author, _, text = (result.highlight or result.text).replace(SET_IN, "\n").partition(": ")
    return (PassageLine(result.best_message_id or result.message_ids[0], author, text),)


def when(message_id: str) -> str:
    """ISO 8601 in UTC."""
    return datetime.fromtimestamp(to_unix_seconds(int(message_id)), UTC).isoformat(timespec="seconds")


def _weights(question: str, results: Sequence[SearchResult]) -> Weights:
    """How much each word of the question tells apart what was found: a word that all messages have says nothing."""
    texts = [telling_words(line.text) for result in results for line in lines_of(result)]
    counts = Counter(word for words in texts for word in words)
    return {word: math.log(1 + len(texts) / (1 + counts[word])) for word in telling_words(question)}


def _quotes(result: SearchResult, weights: Weights) -> tuple[Quote, ...]:
    lines = [line for line in lines_of(result) if line.text.strip()]
    if not lines:
        return ()
    chosen = _chosen(lines, result.best_message_id, weights)
    quotes = [_quote(result, lines[at], weights) for at in sorted(chosen)]
    if len(lines) == 1 and result.after and _asks(lines[0].text):
        quotes.append(_beside(result))
    return tuple(quotes)


def _chosen(lines: Sequence[PassageLine], best_id: str, weights: Weights) -> set[int]:
    """Places of the messages to show: the best, the next best if it is nearly as good, and what follows a question."""
    scores = [_score(line.text, weights) + _BEST_BONUS * (line.message_id == best_id) for line in lines]
    first, *others = sorted(range(len(lines)), key=lambda at: (-scores[at], at))
    chosen = {first, *(at for at in others[:1] if scores[at] >= _SECOND_SHARE * scores[first] > 0)}
    replies = {_reply(lines, at, scores) for at in chosen if _asks(lines[at].text)}
    return chosen.union(at for at in replies if at is not None)


def _reply(lines: Sequence[PassageLine], asking: int, scores: Sequence[float]) -> int | None:
    """Of what others said after a question, what is most about it."""
    others = [at for at in range(asking + 1, len(lines)) if lines[at].author != lines[asking].author]
    return max(others, key=lambda at: scores[at] + _NEXT / (at - asking), default=None)


def _score(text: str, weights: Weights) -> float:
    return _share(text, weights) * (_QUESTION_WEIGHT if _asks(text) else 1.0)


def _share(text: str, weights: Weights) -> float:
    """How much of the question a text has, from 0 to 1."""
    whole = sum(weights.values())
    return sum(weights[word] for word in telling_words(text) & weights.keys()) / whole if whole else 0.0


def _asks(text: str) -> bool:
    return _ASKS.search(text) is not None


def _quote(result: SearchResult, line: PassageLine, weights: Weights) -> Quote:
    url = f"{result.url.rpartition('/')[0]}/{line.message_id}"
    return Quote(line.author, _shortened(line.text, weights), when(line.message_id), url)


def _beside(result: SearchResult) -> Quote:
    """What was said right after a message that asks."""
    author, _, text = result.after[0].replace(SET_IN, "\n").partition(": ")
    return Quote(author, text if len(text) <= LONG_MESSAGE else f"{text[:LONG_MESSAGE]}…", "", result.url)


def _shortened(text: str, weights: Weights) -> str:
    """The best sentences of a long message and what stands around the best, in order, with an ellipsis for the rest."""
    if len(text) <= LONG_MESSAGE:
        return text
    sentences = [found[0].strip() for found in _SENTENCE.finditer(text) if found[0].strip()]
    scores = [_score(sentence, weights) for sentence in sentences]
    best = scores.index(max(scores, default=0.0)) if scores else 0
    ranked = sorted(range(len(sentences)), key=lambda at: (-scores[at], abs(at - best), at))
    kept, room = set[int](), LONG_MESSAGE
    for at in ranked:
        if len(sentences[at]) <= room:
            kept.add(at)
            room -= len(sentences[at]) + 1
    if not kept:
        return f"{(sentences[ranked[0]] if ranked else text)[:LONG_MESSAGE]}…"
    shown, last = "", -1
    for at in sorted(kept):
        shown += (" " if shown and at == last + 1 else " … " if shown else "… " if at else "") + sentences[at]
        last = at
    return shown if last == len(sentences) - 1 else f"{shown} …"
