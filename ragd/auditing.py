"""Audits: where to look, what of it differs, and how that is told. Pure; ragd/bot/audit.py asks Discord."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ragd.store.audits import Audit, StoredMessage
from ragd.store.coverage import Covered, Interval, ProvedInterval
from ragd.store.events import MessageRow

SEARCH_TOLERANCE = 0.01
SEARCH_SLACK = 5
"""How far Discord's search may be off before it is told: its index lags, and leaves out what it cannot index."""


class Difference(StrEnum):
    """How a message may be otherwise at Discord than in the store, the worst first."""

    MISSING = "missing"
    """Discord has it in a stretch that the store calls complete, and the store has never seen it."""
    BURIED = "buried"
    """The store has it as deleted, and Discord has it still: nothing brings a tombstone back by itself."""
    DIFFERENT = "different"
    """An edit was not noticed."""
    SURPLUS = "surplus"
    """It was deleted at Discord, and that was not noticed."""
    GONE = "gone"
    """As SURPLUS, of a whole channel."""


_SENTENCES = {
    Difference.MISSING: "was missing",
    Difference.BURIED: "is a tombstone, but Discord has it still",
    Difference.DIFFERENT: "was different",
    Difference.SURPLUS: "was deleted at Discord and not noticed",
    Difference.GONE: "the channel was deleted at Discord and not noticed",
}


# Where to look


@dataclass(frozen=True, slots=True)
class Place:
    """A stretch of a channel that is complete and not compared yet; it is read from its end down."""

    guild_id: int
    channel_id: int
    start_id: int
    end_id: int


class Territory:
    """All that is to be compared: what is complete of the channels, less what has been compared already."""

    def __init__(self, covered: Iterable[Covered], only: Collection[int] = ()) -> None:
        chosen = [channel for channel in covered if not only or channel.channel_id in only]
        self._channels = {channel.channel_id: channel for channel in chosen}
        self._left: dict[int, list[Interval]] = {channel.channel_id: list(channel.intervals) for channel in chosen}

    @property
    def channels(self) -> Collection[int]:
        """All of which something was complete at the beginning."""
        return self._channels.keys()

    def guild_of(self, channel_id: int) -> int:
        return self._channels[channel_id].guild_id

    def is_whole(self, channel_id: int) -> bool:
        """Whether all of the channel was complete at the beginning."""
        return channel_id in self._channels and self._channels[channel_id].is_whole

    def newest(self, channel_id: int | None = None) -> Place | None:
        """The newest stretch that is left of a channel, or of any; None when there is none."""
        if channel_id is None:
            channel_id = next(iter(self._left), 0)
        left = self._left.get(channel_id)
        return self._place(channel_id, *left[-1]) if left else None

    def at(self, channel_id: int, message_id: int) -> Place | None:
        """What is left from that message down; None if it is not to be compared, or has been."""
        for start, end in self._left.get(channel_id, ()):
            if start <= message_id <= end:
                return self._place(channel_id, start, message_id)
        return None

    def somewhere(self, point: float) -> Place | None:
        """The place at that part (0 to 1) of all that is left, laid end to end: by time, busy or not."""
        spans = [(channel_id, span) for channel_id, left in self._left.items() for span in left]
        remaining = int(point * sum(_extent(channel_id, span) for channel_id, span in spans))
        for channel_id, span in spans:
            extent = _extent(channel_id, span)
            if remaining < extent:
                return self._place(channel_id, span[0], span[1] - remaining)
            remaining -= extent
        return self.newest()

    def take(self, place: Place, start_id: int) -> None:
        """Count start_id..place.end_id as compared."""
        left = self._left.get(place.channel_id, [])
        self._left[place.channel_id] = [part for span in left for part in _without(span, start_id, place.end_id)]
        if not self._left[place.channel_id]:
            self.drop(place.channel_id)

    def drop(self, channel_id: int) -> None:
        """Leave a channel alone from here on."""
        self._left.pop(channel_id, None)

    def _place(self, channel_id: int, start_id: int, end_id: int) -> Place:
        return Place(self.guild_of(channel_id), channel_id, start_id, end_id)


def _extent(channel_id: int, span: Interval) -> int:
    """Ids in a span, as a rule without those of the time before there was the channel, whose own id says when."""
    start, end = span
    return end - (channel_id if start < channel_id <= end else start) + 1


def _without(span: Interval, first: int, last: int) -> Iterator[Interval]:
    if span[0] < first:
        yield span[0], min(span[1], first - 1)
    if span[1] > last:
        yield max(span[0], last + 1), span[1]


# What differs


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a message differs; `fields` names what of it, if it is there on both sides."""

    difference: Difference
    fields: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One stretch of a channel at Discord against the store."""

    checked: int
    deleted: int
    """Tombstones that are gone from Discord too."""
    differences: Mapping[int, Verdict]
    """By message id."""


def compare(shown: Sequence[MessageRow], stored: Sequence[StoredMessage]) -> Comparison:
    """What Discord shows of a stretch against all that the store has in it."""
    rows = {row.id: row for row in stored}
    there = {row.id for row in shown}
    judged = {row.id: _judge(row, rows.get(row.id)) for row in shown}
    differences = {message_id: verdict for message_id, verdict in judged.items() if verdict is not None}
    surplus = [row.id for row in stored if not row.deleted and row.id not in there]
    differences.update((message_id, Verdict(Difference.SURPLUS)) for message_id in surplus)
    deleted = sum(row.deleted and row.id not in there for row in stored)
    return Comparison(len(there) + len(surplus), deleted, differences)


def _judge(shown: MessageRow, row: StoredMessage | None) -> Verdict | None:
    if row is None:
        return Verdict(Difference.MISSING)
    if row.withheld:
        return None
    if row.deleted:
        return Verdict(Difference.BURIED)
    pairs = {
        "author": (shown.author_id, row.author_id),
        "content": (shown.content, row.content),
        "edit time": (shown.edited_at, row.edited_at),
    }
    wrong = [name for name, (ours, theirs) in pairs.items() if ours != theirs]
    return Verdict(Difference.DIFFERENT, ", ".join(wrong)) if wrong else None


def confirmed(first: Comparison, second: Comparison) -> dict[int, Verdict]:
    """What differed at both looks: what only one of them saw was on its way."""
    return {
        message_id: verdict for message_id, verdict in second.differences.items() if message_id in first.differences
    }


@dataclass(frozen=True, slots=True)
class Finding:
    """One message, or channel, that was not as Discord has it. Without a word of its text."""

    verdict: Verdict
    guild_id: int
    channel_id: int
    message_id: int
    """0 for a whole channel."""
    proof: ProvedInterval | None
    """What had claimed that the store is complete there."""
    mended: bool

    def document(self) -> dict[str, Any]:
        """As JSON keeps it: ids are strings, for they do not fit a JSON number."""
        proof = self.proof
        return {
            "difference": self.verdict.difference.value,
            "guild_id": str(self.guild_id),
            "channel_id": str(self.channel_id),
            "message_id": str(self.message_id),
            "fields": self.verdict.fields,
            "proved_by": proof.source if proof else None,
            "proved_from_ms": proof.proved_from if proof else None,
            "proved_at_ms": proof.proved_at if proof else None,
            "mended": self.mended,
        }


def proof_of(message_id: int, proofs: Iterable[ProvedInterval]) -> ProvedInterval | None:
    return next((proof for proof in proofs if proof.start_id <= message_id <= proof.end_id), None)


# What else was looked at


@dataclass
class Outlook:
    """Around the messages themselves: what could not be compared, what Discord counts. It is told, not judged."""

    pages: int = 0
    holes: int = 0
    """Stretches that are still being fetched."""
    unread: list[int] = field(default_factory=list)
    """Channels that could not be read this time."""
    while_away: int = 0
    """Edits and deletions of a time when there was no session, read again before capture came to it."""
    threads: int = 0
    """How many threads' message counts were compared."""
    threads_off: list[dict[str, Any]] = field(default_factory=list)
    search: list[dict[str, Any]] = field(default_factory=list)
    """By guild: what Discord's own search counts and what the store does, or why it could not be asked."""

    def document(self) -> dict[str, Any]:
        return {
            "pages": self.pages,
            "holes": self.holes,
            "unread_channels": [str(channel_id) for channel_id in self.unread],
            "while_away": self.while_away,
            "threads": self.threads,
            "threads_off": self.threads_off,
            "search": self.search,
        }


def agree(theirs: int, ours: int) -> bool:
    """Whether two counts of messages are as near as those of a lagging index can be."""
    return abs(theirs - ours) <= max(SEARCH_SLACK, SEARCH_TOLERANCE * max(theirs, ours))


# How it is told


def summary(audit: Audit) -> str:
    """`2,115 of 2,115 present, 12 deleted as expected`."""
    told = f"{audit.present:,} of {audit.checked:,} present, {audit.deleted:,} deleted as expected"
    if not audit.found:
        return told
    return f"{told}; {audit.found:,} found to differ, {audit.found - audit.unmended:,} of them mended"


def remarks(audit: Audit) -> list[str]:
    """What else there is to say of an audit that ended, a line each."""
    return [*_remarks_on_reading(audit), *_remarks_on_counts(audit.details)]


def _remarks_on_reading(audit: Audit) -> Iterator[str]:
    details = audit.details
    if not audit.checked:
        yield "nothing was compared: of what was asked about, nothing is known to be complete yet"
    if details.get("holes"):
        holes = _many(details["holes"], "hole")
        yield f"{holes} still to be fetched; what lies there was not compared"
    if details.get("unread_channels"):
        yield f"not readable this time: channels {', '.join(details['unread_channels'])}"
    if details.get("while_away"):
        yield f"{details['while_away']:,} were edited or deleted while ragd had no session, and were put right now"


def _remarks_on_counts(details: Mapping[str, Any]) -> Iterator[str]:
    if details.get("threads"):
        off = details["threads_off"]
        yield f"message counts of {_many(details['threads'], 'thread')} compared, {len(off):,} differ"
        for thread in off:
            yield f"thread {thread['thread_id']}: Discord counts {thread['discord']:,}, the store {thread['stored']:,}"
    for told in details.get("search", ()):
        if told.get("problem"):
            yield f"Discord's search was not asked in guild {told['guild_id']}: {told['problem']}"
        else:
            verdict = "agrees" if agree(told["discord"], told["stored"]) else "differs; its index may lag"
            yield (
                f"Discord's search counts {_many(told['discord'], 'message')} in {_many(told['channels'], 'channel')},"
                f" the store {told['stored']:,}: {verdict}"
            )


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def describe(finding: Mapping[str, Any]) -> str:
    """A finding's document in one line, without the link."""
    difference = Difference(finding["difference"])
    fields = f" ({finding['fields']})" if finding["fields"] else ""
    return f"{_SENTENCES[difference]}{fields}; {'mended' if finding['mended'] else 'NOT mended'}"
