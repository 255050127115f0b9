"""Figures and times as people read them in Discord, and what people wrote made harmless."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

TEXT_ROOM = 2000
"""Characters that fit the content of a message."""

EMBED_ROOM = 4096
"""Characters that fit the description of an embed."""

_NOTHING = "-"
_GAP = "\u200b"
"""Zero-width space: what it stands in is no mention, link or invitation any more."""

_SPOILER = re.compile(r"\|\|.+?\|\|", re.DOTALL)
_ACTIVE = re.compile(r"@|<(?=[#@/:tai&])|(?<=:)//|(?<=discord)\.(?=gg|com|app)", re.IGNORECASE)
_MARKUP = re.compile(r"([\\*_~|`>\[\]])")
_JOINERS = "\u200c\u200d"


def memory(count: int | None) -> str:
    return _NOTHING if count is None else f"{count / 2**20:.0f} MiB"


def disk(count: int | None) -> str:
    return _NOTHING if count is None else f"{count / 2**30:.1f} GiB"


def span(seconds: float | None) -> str:
    """A length of time in the unit that suits: `34 s`, `5 min`, `3.5 h`, `12 d`."""
    if seconds is None:
        return _NOTHING
    for limit, divisor, form in ((120, 1, "{:.0f} s"), (7200, 60, "{:.0f} min"), (172_800, 3600, "{:.1f} h")):
        if seconds < limit:
            return form.format(seconds / divisor)
    return f"{seconds / 86400:.0f} d"


def moment(unix_seconds: float | None, style: str = "R") -> str:
    """A time that Discord shows by the reader's clock and language (style R: how long ago or from now)."""
    return "never" if unix_seconds is None else f"<t:{int(unix_seconds)}:{style}>"


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def clip(text: str, length: int) -> str:
    """At most so many of Discord's characters (UTF-16 units, to be safe); what was cut shows as an ellipsis."""
    if width(text) <= length:
        return text
    if length <= 0:
        return ""
    kept = text[: length - 1]  # a character is one unit or two: cut by units only what that leaves too long
    while width(kept) > length - 1:
        kept = kept[:-1]
    return f"{kept.rstrip()}…"


def width(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def inert(text: str) -> str:
    """What people wrote, without what could ping, link, unfold, turn the direction of writing or show a spoiler."""
    kept = "".join(character for character in text if _is_harmless(character))
    hidden = _SPOILER.sub("[spoiler]", kept)
    return _ACTIVE.sub(lambda found: _disarm(found[0]), hidden)


def _disarm(piece: str) -> str:
    return _GAP + piece if piece in ("//", ".") else piece + _GAP


def _is_harmless(character: str) -> bool:
    # Cc control, Cf format (all of bidi among them), Cs surrogates
    return character in ("\n", *_JOINERS) or unicodedata.category(character) not in ("Cc", "Cf", "Cs")


def inert_line(text: str, length: int = 80) -> str:
    """A name or the like, on one line, with the markup escaped that acts in the middle of one."""
    return _MARKUP.sub(r"\\\1", clip(" ".join(inert(text).split()), length))


def code_block(text: str) -> str:
    """Shown as it is: Discord looks for neither markup nor mentions nor links in it."""
    return f"```\n{text.replace('`', 'ˋ')}\n```"


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns in a code block; the first column to the left, the others to the right. Rows are of one length."""
    first, *others = ([len(cell) for cell in column] for column in zip(*rows, strict=True))
    widths = [max(lengths) for lengths in others]
    lines = (
        "  ".join([row[0].ljust(max(first)), *map(str.rjust, row[1:], widths)]).rstrip()  # as wide as its column
        for row in rows
    )
    return code_block("\n".join(lines))
