"""What a language model wrote, held to the passages it was given. Pure.

A sentence is kept if it cites passages that there are, shares words with them, has no figure that they have not, and
holds no link, mention or piece of the prompt's own marks. All others are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ragd.answering.neutral import acts, plain
from ragd.answering.prompt import NOT_FOUND, Prompt
from ragd.answering.reply import Sentence
from ragd.answering.words import telling_words

MOST_CHARACTERS = 6_000
"""Read of a text; a model that was asked for five sentences and wrote a book is not read to its end."""

MOST_SENTENCES = 8
LONGEST_SENTENCE = 600

SHARED = 0.3
"""Part of a sentence's words that the cited passages must have, and at least one. Low: a model says things in its own
words. What it makes up altogether shares less."""

KEPT = 0.5
"""Part of the sentences that must be kept: of less, what is left may say something else than was meant."""

_THOUGHTS = re.compile(r"^.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_CITES = re.compile(r"\s*[\[【]\^?(\d{1,3}(?:\s*[,;–-]\s*\d{1,3})*)[\]】]")
_END = re.compile(r"(?<![.!?。！？…])[.!?。！？…]++[\"'”»)]*+(?=\s|$|[\[【])|[。！？]")
"""Of a run of full stops looked at once, from its beginning: from each of them it would be looked at to its end."""
_LABEL = re.compile(r"^\s*(?:[-*•#>]+|\d{1,2}[.)])\s+")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|z\.B|d\.h|p\.ex|etc|vs|cf|ca|approx|no|nr|mr|mrs|ms|dr|st|prof|\w)\.$", re.IGNORECASE
)
_FIGURE = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Checked:
    """`dropped` counts by reason; `refused` is true if the model itself says that there is no answer."""

    sentences: tuple[Sentence, ...]
    dropped: Mapping[str, int]
    refused: bool = False

    @property
    def holds(self) -> bool:
        """Whether enough is left to be shown."""
        total = len(self.sentences) + sum(self.dropped.values())
        return bool(self.sentences) and len(self.sentences) >= KEPT * total


def check(text: str, prompt: Prompt, question: str) -> Checked:
    """A model's text, sentence by sentence, against what it was shown."""
    bare = plain(_THOUGHTS.sub("", text[: 4 * MOST_CHARACTERS]))[:MOST_CHARACTERS]
    if bare.strip().strip(".\"'*").upper() == NOT_FOUND:
        return Checked((), {}, refused=True)
    kept, dropped = list[Sentence](), dict[str, int]()
    for sentence in _sentences(bare):
        problem = _problem(sentence, prompt, question)
        if not problem and len(kept) < MOST_SENTENCES:
            kept.append(sentence)
        else:
            reason = problem or "too many"
            dropped[reason] = dropped.get(reason, 0) + 1
    return Checked(tuple(kept), dropped)


def _problem(sentence: Sentence, prompt: Prompt, question: str) -> str:
    """Why a sentence is dropped; empty if it is not."""
    if not sentence.cites:
        return "no citation"
    if any(number not in prompt.passages for number in sentence.cites):
        return "unknown passage"
    if len(sentence.text) > LONGEST_SENTENCE:
        return "too long"
    if acts(sentence.text) or prompt.boundary in sentence.text:
        return "link, mention or mark"
    cited = "\n".join(prompt.passages[number] for number in sentence.cites)
    return "" if _is_backed(sentence.text, cited, question) else "not in the passage"


def _is_backed(text: str, cited: str, question: str) -> bool:
    words = telling_words(text)
    figures = {figure.lstrip("0") for figure in _FIGURE.findall(text)}
    known = {figure.lstrip("0") for figure in _FIGURE.findall(f"{cited}\n{question}")}
    shared = len(words & telling_words(cited))
    return figures <= known and shared >= max(1, SHARED * len(words))


def _sentences(text: str) -> Iterator[Sentence]:
    for line in text.splitlines():
        yield from _of_line(_LABEL.sub("", line))


def _of_line(line: str) -> Iterator[Sentence]:
    """A line's sentences, each with the citations in it and right behind it."""
    start = 0
    for end in _ends(line):
        yield from _sentence(line[start:end])
        start = end
    yield from _sentence(line[start:])


def _ends(line: str) -> Iterator[int]:
    for found in _END.finditer(line):
        if _ABBREVIATION.search(line[max(0, found.end() - 12) : found.end()]) is None:
            end = found.end()
            while cites := _CITES.match(line, end):
                end = cites.end()
            yield end


def _sentence(piece: str) -> Iterator[Sentence]:
    cites = tuple(dict.fromkeys(number for found in _CITES.finditer(piece) for number in _numbers(found[1])))
    words = " ".join(_CITES.sub("", piece).split())
    if any(char.isalnum() for char in words):
        yield Sentence(words, cites)


def _numbers(text: str) -> Sequence[int]:
    """`1, 3-5` to 1, 3, 4, 5; a range of more than a few is no citation of anything."""
    numbers: list[int] = []
    for part in re.split(r"[,;]", text):
        first, *rest = (int(number) for number in _FIGURE.findall(part))
        last = rest[-1] if rest else first
        numbers += range(first, last + 1) if 0 <= last - first < 5 else [0]
    return numbers
