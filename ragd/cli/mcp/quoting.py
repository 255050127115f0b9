"""What people wrote, on its way to an agent: as it reads, without what no reader sees."""

from __future__ import annotations

import re
from typing import Any

from ragd.cli.render import harmless

_UNSEEN = re.compile(r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\U000e0000-\U000e0fff]")
"""Fillers, tags and selectors that show nothing (of Unicode's Default_Ignorable_Code_Point, those that `harmless`
leaves): words could hide in them that nobody but a program reads."""

_REPEATED = re.compile(
    r"(?<=\S)([\u200c\u200d])[\u200c\u200d]*(?=[^\s\u200c\u200d])|[\u200c\u200d]+|([\ufe00-\ufe0f])[\ufe00-\ufe0f]+"
)
"""Joiners and selectors of emoji: one is needed in a place, and a joiner only between two characters."""


def quoted(text: str) -> str:
    """The text without control, zero-width and bidirectional characters; line ends stay, and joiners within words and
    emoji."""
    return _REPEATED.sub(r"\1\2", _UNSEEN.sub("", harmless(text)))


def all_quoted(document: Any) -> Any:
    """The same of every string in a JSON document."""
    if isinstance(document, str):
        return quoted(document)
    if isinstance(document, dict):
        return {name: all_quoted(value) for name, value in document.items()}
    if isinstance(document, list | tuple):
        return [all_quoted(value) for value in document]
    return document
