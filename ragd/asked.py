"""The query language: what a person typed, taken apart. Pure; any text is a query, and none can fail."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ragd.terms import HAS, trimmed

MOST_WORDS = 64
"""Of more, a pasted page, the first count for search by words; meaning is asked with the whole text."""

MOST_PHRASES = 8
LONGEST_WORD = 64
LONGEST_PHRASE = 200

_QUOTES = str.maketrans(dict.fromkeys("“”„‟«»", '"'))
_PIECE = re.compile(
    r"(?P<minus>-(?=[\w\"]))?(?:(?P<key>from|in|before|after|since|has):(?=[^\s]))?"
    r"(?:\"(?P<phrase>[^\"]*)\"|(?P<bare>\S+))",
    re.IGNORECASE,
)
_SPAN = re.compile(r"(\d{1,6})([mhdw])")
_SPAN_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DATE = re.compile(r"(\d{4})(?:-(\d\d?)(?:-(\d\d?))?)?")
_MENTION = re.compile(r"<(?:@[!&]?|#)(\d+)>")


@dataclass(slots=True)
class Wanted:
    """What is looked for. Names are as typed, times Unix seconds."""

    words: list[str] = field(default_factory=list)
    phrases: list[str] = field(default_factory=list)
    """Each must be in the message, in this order of words."""
    excluded: list[str] = field(default_factory=list)
    """No message of a passage may have one of these words or phrases."""
    author: str | None = None
    channel: str | None = None
    since: float | None = None
    before: float | None = None
    has: set[str] = field(default_factory=set)
    in_thread: bool = False
    text: str = ""
    """What is asked in all, without operators: what the question means is taken from this."""
    remarks: list[str] = field(default_factory=list)
    """What was typed like an operator and is none, and was looked for as it stands."""


def parse(text: str, now: datetime) -> Wanted:
    """Take a query apart; `now` is what spans as in `since:7d` count back from. Never raises."""
    wanted = Wanted()
    said: list[str] = []
    # half a character, as broken clients send it, is in no database and no model's vocabulary
    whole = text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
    for piece in _PIECE.finditer(whole.translate(_QUOTES)):
        said += _take(wanted, piece, now)
    wanted.text = " ".join(said).strip()
    wanted.words = first_of(wanted.words, MOST_WORDS)
    wanted.phrases = first_of(wanted.phrases, MOST_PHRASES)
    wanted.excluded = first_of(wanted.excluded, MOST_PHRASES)
    return wanted


def _take(wanted: Wanted, piece: re.Match[str], now: datetime) -> list[str]:
    """Enter a piece of the query; returns what of it is said rather than ordered."""
    phrase, bare, key = piece["phrase"], piece["bare"], (piece["key"] or "").lower()
    value = phrase if phrase is not None else bare
    if key and not piece["minus"]:
        problem = _operator(wanted, key, value.strip(), now)
        if problem is None:
            return []
        wanted.remarks.append(f"{key}:{value} {problem}")
        value = f"{key}:{value}"
    elif piece["minus"] and _excludes(wanted, phrase, value):
        return []
    if phrase is not None and not key:
        return _phrase(wanted, phrase)
    wanted.words += [word[:LONGEST_WORD] for word in [trimmed(value)] if word]
    return [value]


def _phrase(wanted: Wanted, phrase: str) -> list[str]:
    if kept := " ".join(phrase.split())[:LONGEST_PHRASE]:
        wanted.phrases.append(kept)
    return [kept] if kept else []


def _excludes(wanted: Wanted, phrase: str | None, value: str) -> bool:
    """Whether `-value` leaves out; `-m` is an option in a command line rather than a word to avoid."""
    kept = " ".join(phrase.split()) if phrase is not None else trimmed(value)
    if len(kept) < 2:
        return False
    wanted.excluded.append(kept[:LONGEST_PHRASE])
    return True


def _operator(wanted: Wanted, key: str, value: str, now: datetime) -> str | None:
    """Enter an operator; returns what is wrong with its value, None if nothing is."""
    mention = _MENTION.fullmatch(value)
    name = mention[1] if mention else value
    if key == "from":
        wanted.author = name.removeprefix("@")
    elif key == "has":
        if value.lower().rstrip("s") not in HAS:
            return f"is none of {', '.join(HAS)}"
        wanted.has.add(value.lower().rstrip("s"))
    elif key != "in":
        return _limit_time(wanted, key, value, now)
    elif name.lower() in ("thread", "threads"):
        wanted.in_thread = True
    else:
        wanted.channel = name.removeprefix("#")
    return None


def _limit_time(wanted: Wanted, key: str, value: str, now: datetime) -> str | None:
    span = moment_span(value, now)
    if span is None:
        return "is no date (2026-01-31, 2026-01, 2026) and no span (30m, 12h, 7d, 2w)"
    start, end = span
    if key == "before":
        wanted.before = start if wanted.before is None else min(start, wanted.before)
    else:
        since = end if key == "after" else start
        wanted.since = since if wanted.since is None else max(since, wanted.since)
    return None


def moment_span(text: str, now: datetime) -> tuple[float, float] | None:
    """First and last moment, in Unix seconds, of what a date, month, year, ISO time or span names; UTC if not said."""
    try:
        if span := _SPAN.fullmatch(text.lower()):
            at = (now - timedelta(**{_SPAN_UNITS[span[2]]: int(span[1])})).timestamp()
            return at, at
        if date := _DATE.fullmatch(text):
            return _whole(*(int(part) if part else None for part in date.groups()))
        given = datetime.fromisoformat(text)
        at = (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return at, at


def _whole(year: int | None, month: int | None, day: int | None) -> tuple[float, float]:
    """A day, month or year in UTC. Raises ValueError, OverflowError."""
    start = datetime(year or 0, month or 1, day or 1, tzinfo=UTC)
    if day:
        end = start + timedelta(days=1)
    elif month:
        end = (start + timedelta(days=31)).replace(day=1)
    else:
        end = start.replace(year=start.year + 1)
    return start.timestamp(), end.timestamp()


def first_of(values: Iterable[str], most: int) -> list[str]:
    """The first different ones, case aside."""
    different: dict[str, str] = {}
    for value in values:
        different.setdefault(value.casefold(), value)
    return list(different.values())[:most]
