"""Words, fragments and marks: what of a message the word indexes hold, and how a word is looked up in them. Pure.

Two indexes (ragd/store/words.py). `unicode61` splits at everything that is no letter or digit, so it holds words. What
a person means as one piece without blanks around it, in code or in a script that is written without blanks, it cannot
give back: such fragments go into a second index of trigrams as well, where any part of them is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

HAS = ("link", "file", "code", "image", "embed")
"""What `has:` may ask for."""

SHORTEST_TRIGRAM = 3
PADDING = "  "
"""Behind each fragment, so that its last character, and its last two, begin a trigram too: in Chinese a word is two."""

_LONGEST_FRAGMENT = 400
"""Of a longer one, a pasted key or picture as text, nobody looks for the rest."""

_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u0f00-\u0fff"  # Tibetan
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\uac00-\ud7af"  # Hangul: spaced, but particles are written onto the word
)
_HAS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_PLAIN = re.compile(r"[^\W\d_](?:[^\W\d_A-Z]|['’](?=\w))*|[^\W\d_a-z]{1,5}s?|\d{1,2}")
"""A word as prose has it, or an abbreviation; nothing of it is code."""
_EDGES = ".,;:!?()[]{}\"“”„'’`*~<>|…-"
_BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001))))
_STOP = """
a about again all also am an and any are as at be been being but by can can't could did do does doing don't
for from had has have having he her here his how i i'm i've if in into is it it's its just may me might more
most must my no not of off on only or other our out over own same shall she should so some such than that
that's the their them then there these they this those to too under up very was we were what when where
which while who whom why will with would you your
"""
STOP_WORDS = frozenset(_STOP.split())
"""English words that tell nothing of what is asked; they count when nothing else is asked. In other languages, how many
messages have a word tells the same."""

_LINK = re.compile(r"https?://\S")
_CODE = re.compile(r"`[^`]")
_IMAGE_NAME = re.compile(r"\.(?:png|jpe?g|gif|webp|avif|bmp|svg|heic)$", re.IGNORECASE)
_WORD = re.compile(r"\w+")


def fragments(text: str) -> str:
    """What of a text is looked up by its parts: code, paths, links, numbers, and scripts without blanks; or nothing."""
    return "\n".join(piece[:_LONGEST_FRAGMENT] + PADDING for piece in text.split() if is_fragment(piece))


def is_fragment(piece: str) -> bool:
    """Whether a piece without blanks is more, or other, than a word of prose."""
    core = trimmed(piece)
    return bool(core) and (_HAS_UNSPACED.search(core) is not None or _PLAIN.fullmatch(core) is None)


def is_unspaced(piece: str) -> bool:
    """Whether it has characters of a script that puts no blanks between words."""
    return _HAS_UNSPACED.search(piece) is not None


def trimmed(piece: str) -> str:
    """Without the punctuation around it."""
    return piece.strip(_EDGES + _BLANKS)


def has_word(piece: str) -> bool:
    """Whether there is a letter or digit in it: without one the index of words knows nothing of it."""
    return _WORD.search(piece.replace("_", " ")) is not None


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, for comparing texts with one another."""
    return _WORD.findall(text.casefold())


def quoted(text: str) -> str:
    """As a string of FTS5's query language, in which nothing has a meaning."""
    return '"' + text.replace("\0", " ").replace('"', '""') + '"'


def mark(kind: str) -> str:
    """The token by which messages that have a link, file, ... are found; it is in a column of its own."""
    return f"has{kind}"


def marks(content: str, extra: str) -> str:
    """The marks of a message, from its row."""
    details: dict[str, Any] = orjson.loads(extra) if extra != "{}" else {}
    return " ".join(mark(kind) for kind in _kinds(content, details))


def _kinds(content: str, details: dict[str, Any]) -> Iterator[str]:
    files = details.get("attachments") or ()
    if _LINK.search(content):
        yield "link"
    if _CODE.search(content):
        yield "code"
    if files:
        yield "file"
    if any(map(_is_image, files)):
        yield "image"
    if details.get("embeds"):
        yield "embed"


def _is_image(file: dict[str, Any]) -> bool:
    kind = str(file.get("type") or "")
    return kind.startswith("image/") or (not kind and _IMAGE_NAME.search(str(file.get("name") or "")) is not None)
