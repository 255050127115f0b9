"""What people wrote, and what a language model wrote, without what acts or hides. Pure."""

from __future__ import annotations

import re
import unicodedata

_LINE_ENDS = str.maketrans({"\r": "\n", "\x0b": "\n", "\x0c": "\n", "\x85": "\n", "\u2028": "\n", "\u2029": "\n"})
_JOINERS = "\u200c\u200d"
_SCHEME = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,20}:/{2,}(?:[^\s/@]{1,100}@)?(?P<host>[^\s/?#<>()\[\]]{0,100})[^\s<>]*", re.I
)
_BARE = re.compile(r"\b(?P<host>www\.[^\s/]{1,100}|discord(?:app)?\.(?:gg|com)|t\.me)/?[^\s<>]*", re.I)
_MARKUP_MENTION = re.compile(r"<(?:@[!&]?|#|/[^:<>]{1,100}:|id:)[\w:]{1,40}>")
_AT = re.compile(r"@(?=[\w@])")
_CITATION = re.compile(r"\[(\^?\d[\d,;\s-]{0,20})\]")
_TEMPLATE = re.compile(r"<(?=[|｜/<!\w])|\[(?=/?(?:INST|SYS|TOOL|AVAILABLE)\w*\])", re.I)
_RUN = re.compile(r"(\S)\1{19,}")


def plain(text: str) -> str:
    """Without control and format characters (zero-width, bidi, tags), surrogates, private use and variation selectors.

    Line ends stay, and joiners where two letters of other than Latin script need them.
    """
    kept = text.translate(_LINE_ENDS).replace("\t", " ")
    return "".join(char for at, char in enumerate(kept) if char == "\n" or _shows(kept, at))


def _shows(text: str, at: int) -> bool:
    char = text[at]
    if char in _JOINERS:
        return 0 < at < len(text) - 1 and _is_foreign_letter(text[at - 1]) and _is_foreign_letter(text[at + 1])
    if "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef":
        return False
    return unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn")


def _is_foreign_letter(char: str) -> bool:
    return ord(char) > 0x24F and unicodedata.category(char)[0] in "LM"


def for_prompt(text: str) -> str:
    """As a language model is shown it: no address, no mention, no number like a citation, no mark of a chat template.

    Templates are taken apart because some servers read `<|im_start|>` in a message as what it looks like.
    """
    shown = plain(text)
    for links in (_SCHEME, _BARE):
        shown = links.sub(lambda found: f"(link to {found['host'] or 'somewhere'})", shown)
    shown = _AT.sub("", _MARKUP_MENTION.sub("someone", shown))
    shown = _CITATION.sub(r"(\1)", shown)
    shown = _TEMPLATE.sub(lambda found: found[0] + " ", shown)
    return _RUN.sub(lambda found: found[1] * 19, shown)


def on_one_line(text: str, length: int) -> str:
    """For names."""
    return " ".join(for_prompt(text).split())[:length]


def acts(text: str) -> bool:
    """Whether there is a link, an invitation or a mention in it, hidden or not. A model is shown none."""
    bare = plain(text)
    return any(found.search(bare) for found in (_SCHEME, _BARE, _MARKUP_MENTION, _MASS_MENTION, _MARKDOWN_LINK))


_MASS_MENTION = re.compile(r"@\s?(?:everyone|here)\b", re.I)
_MARKDOWN_LINK = re.compile(r"\]\([^)]{1,2000}")
