"""Where to cut a message that is longer than the model reads.

Between code blocks and text if it can be, else between sentences or lines, else between words; a line of code is cut
only if nothing else can be. A code block that is cut gets its fences back in both parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

FENCE = "```"
_OPENING = re.compile(r"```[\w+#.-]{0,20}\n")
_SENTENCE_END = re.compile(r"(?<=[.!?…。！？])\s+|\n\s*|(?<=[。！？])(?=[^\s。！？])")
_LINE_END = re.compile(r"\n")
_WORD_END = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a message."""

    text: str
    fence: str = ""
    """The line that opened the code block in which it begins; empty outside of code."""

    @property
    def is_line(self) -> bool:
        """Whether it would be cut within a line: rather than that on their account it goes without fences."""
        return "\n" not in self.text.strip("\n")

    @property
    def fenced(self) -> str:
        """The text, with fences around what is code by what stands before or after it."""
        text = self.fence + self.text
        if not self.open_fence:
            return text
        return text + (FENCE if text.endswith("\n") else f"\n{FENCE}")

    @property
    def open_fence(self) -> str:
        """The opening of the code block that goes on after the end; empty if none does."""
        text = self.fence + self.text
        fences = [match.start() for match in re.finditer(FENCE, text)]
        if len(fences) % 2 == 0:
            return ""
        opening = _OPENING.match(text, fences[-1])
        return opening[0] if opening else f"{FENCE}\n"


def cut(piece: Piece) -> tuple[Piece, Piece]:
    """A piece of two characters or more in two."""
    at = _best_cut(piece)
    first = Piece(piece.text[:at], piece.fence)
    return first, Piece(piece.text[at:], first.open_fence)


def _best_cut(piece: Piece) -> int:
    """The nearest to the middle of the best kind there is.

    Ends of a kind count first in the middle three quarters, lest a short greeting become a chunk of its own, and so
    that halving goes hardly deeper than the logarithm of the length.
    """
    length = len(piece.text)
    margin = max(1, length // 8)
    for ends, least in _kinds(piece, margin):
        inner = [end for end in ends if least <= end <= length - least]
        if inner:
            return min(inner, key=lambda end: abs(2 * end - length))
    return length // 2


def _kinds(piece: Piece, margin: int) -> Iterator[tuple[list[int], int]]:
    """Kinds of cuts, the best first, with how far from either end they must be."""
    text = piece.text
    code = _code(piece)
    inside = [*code]

    def prose(ends: list[int]) -> list[int]:
        return [end for end in ends if not any(start < end < stop for start, stop in inside)]

    lines, words = _ends(_LINE_END, text), _ends(_WORD_END, text)
    yield [edge for span in code for edge in span], margin
    yield sorted({*prose(_ends(_SENTENCE_END, text)), *(lines if code else ())}), margin
    yield lines if code else [], 1
    yield prose(words), margin
    yield prose(words), 1
    yield words, margin


def _ends(pattern: re.Pattern[str], text: str) -> list[int]:
    return [match.end() for match in pattern.finditer(text)]


def _code(piece: Piece) -> list[tuple[int, int]]:
    """Where code blocks begin and end in the text, fences included."""
    fences = [(match.start(), match.end()) for match in re.finditer(FENCE, piece.text)]
    if piece.fence:
        fences.insert(0, (0, 0))
    if len(fences) % 2:
        fences.append((len(piece.text), len(piece.text)))
    return [(opening[0], closing[1]) for opening, closing in list(pairwise(fences))[::2]]
