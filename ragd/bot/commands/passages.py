"""Passages as Discord shows them: cited, quoted so that nothing in them acts, and within Discord's limits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ragd.answers import SearchAnswer, SearchResult
from ragd.bot.commands.errors import BadValue
from ragd.bot.commands.wording import clip, code_block, inert, inert_line, moment, width

NOTHING_FOUND = "Nothing found in the channels you can read."
NOTHING_PUBLIC = "Nothing found in the channels that everybody here can read."
AGE_RESTRICTED = "-# Age-restricted channels were left out: ask in one of them to search those too."

_QUOTE_MOST = 600
"""Characters of a passage that are quoted at most: enough to tell whether it is worth the jump."""

_QUOTE_LEAST = 40

_LAG_TOLD = 100
"""Messages still to be indexed from which the reader is told so; not how many, for it counts channels of others too."""

_SPAN = re.compile(r"(\d{1,6})\s*([mhdw])")
_SPAN_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_WORD = re.compile(r"\w{3,}")
BLOCK_OVERHEAD = width(code_block(""))


@dataclass(frozen=True, slots=True)
class Answer:
    """What is shown: passages, best first, and what the reader should know of how they were found."""

    question: str
    found: SearchAnswer
    public: bool
    """Everybody in the channel reads it, so only what all may read was searched."""
    left_out_by_age: bool = False
    """Whether there are age-restricted channels that would have been searched had it been asked in one."""
    command: str = "search"


def render_answer(answer: Answer, room: int) -> str:
    """All passages in at most `room` characters; each gets the same share, none is left out before it must be."""
    results = answer.found.results
    if not results:
        return "\n".join([nothing_found(answer), *reading_notes(answer)])
    notes = "\n".join(reading_notes(answer))
    headers = [_header(number, result) for number, result in enumerate(results, 1)]
    headers = that_fit(headers, room - width(notes) - 1)
    spent = sum(width(header) + BLOCK_OVERHEAD + 2 for header in headers) + width(notes) + 1
    share = min(_QUOTE_MOST, max(0, (room - spent) // len(headers))) if headers else 0
    blocks = [
        f"{header}\n{code_block(quote(result.text, answer.question, share, result.highlight))}"
        for header, result in zip(headers, results, strict=False)
    ]
    return "\n".join([*blocks, notes] if notes else blocks)


def nothing_found(answer: Answer) -> str:
    """That there is no answer, and why."""
    said = NOTHING_PUBLIC if answer.public else NOTHING_FOUND
    return f"{said[:-1]}: {inert_line(answer.found.why, 300)}." if answer.found.why else said


def that_fit(headers: Sequence[str], room: int) -> list[str]:
    """As many as leave each at least a little to quote."""
    kept: list[str] = []
    for header in headers:
        room -= width(header) + BLOCK_OVERHEAD + 2 + _QUOTE_LEAST
        if room < 0:
            break
        kept.append(header)
    return kept


def _header(number: int, result: SearchResult) -> str:
    at = moment(unix_seconds(result.time), "f")
    where = inert_line(result.channel, 50)
    return f"**{number}.** [#{where}]({result.url}) · {inert_line(result.author, 40)} · {at}"


def unix_seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()


def reading_notes(answer: Answer) -> list[str]:
    """What the reader should know of how well the channels are known."""
    notes = [f"Note: {inert_line(remark, 200)}." for remark in answer.found.remarks[:3]]
    if answer.found.indexed_to:
        notes.append(_state(answer.found))
    if answer.found.lag_messages >= _LAG_TOLD:
        notes.append("Search is catching up: some messages cannot be found yet.")
    if answer.left_out_by_age:
        notes.append(AGE_RESTRICTED)
    if answer.public:
        notes.append(
            f"Only channels that everybody here can read were searched; `/{answer.command}` looks into all of yours."
        )
    return notes


def _state(found: SearchAnswer) -> str:
    """How well what was searched is known."""
    holes = f", {found.holes:,} {'hole' if found.holes == 1 else 'holes'} in its history" if found.holes else ""
    return f"-# Searched up to {moment(unix_seconds(found.indexed_to), 'f')}{holes}"


def quote(text: str, question: str, length: int, best: str = "") -> str:
    """A passage, its best message marked; of a long one, what begins there, or where most of the question is met."""
    lines, marked = _lines(text), _lines(best)[:1]
    if width("\n".join(lines)) + 2 > length and lines:
        lines = lines[lines.index(marked[0]) if marked and marked[0] in lines else _best_line(lines, question) :]
    shown = [f"> {line}" if line in marked and len(lines) > 1 else line for line in lines]
    return clip("\n".join(shown), length)


def _lines(text: str) -> list[str]:
    """Without blank ones; what is set in, further lines of a message, stays so."""
    lines = [line for line in inert(text).splitlines() if line.strip()]
    return [("  " if line.startswith("  ") else "") + " ".join(line.split()) for line in lines]


def _best_line(lines: Sequence[str], question: str) -> int:
    wanted = set(_WORD.findall(question.casefold()))
    hits = [len(wanted.intersection(_WORD.findall(line.casefold()))) for line in lines]
    return hits.index(max(hits))


def parse_since(text: str, now: datetime) -> str:
    """A date or time (UTC unless it says otherwise), or a span such as 7d, to ISO 8601. Raises BadValue."""
    try:
        if span := _SPAN.fullmatch(text.strip()):
            return (now - timedelta(**{_SPAN_UNITS[span[2]]: int(span[1])})).isoformat()
        given = datetime.fromisoformat(text.strip())
        return (given if given.tzinfo else given.replace(tzinfo=UTC)).isoformat()
    except (ValueError, OverflowError):
        raise BadValue("`since` must be a date (2026-01-31), an ISO time, or a span such as 30m, 12h, 7d, 2w") from None
