"""Which words two texts share. Pure; for telling what is about the same, not for finding."""

from __future__ import annotations

from ragd.terms import STOP_WORDS, is_unspaced, words_of

_SUFFIXES = ("ingly", "edly", "ing", "ies", "ed", "es", "ly", "s")
_SHORTEST_STEM = 3


def telling_words(text: str) -> frozenset[str]:
    """Stems of the words that say something; of scripts without blanks every pair of characters."""
    found = set[str]()
    for word in words_of(text.replace("_", " ")):
        if is_unspaced(word):
            found.update(word[at : at + 2] for at in range(max(1, len(word) - 1)))
        elif word not in STOP_WORDS and (len(word) > 1 or word.isdigit()):
            found.add(_stem(word))
    return frozenset(found)


def _stem(word: str) -> str:
    """Crude, and the same for both sides: `charging` and `charged` are one."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _SHORTEST_STEM:
            return word.removesuffix(suffix).removesuffix("e")
    return word.removesuffix("e") if len(word) > _SHORTEST_STEM else word
