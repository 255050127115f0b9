"""Whose messages a query may find, as SQL: one set of conditions for search by words and by meaning.

First comes reach: channels that exist, that the bot may read and is not told to leave alone, and that the asker may
read. Then what the query itself asks for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import orjson

from ragd.store.coverage import THREAD_TYPES

FINDABLE = "NOT {0}.deleted AND NOT {0}.excluded AND ({0}.readable OR {0}.imported)"
"""What is kept of a channel that the bot may not read any more, or is told to leave alone, is found by nobody."""

SHOWN = "m.chunkable AND m.id > coalesce((SELECT erased_until FROM person WHERE user_id = m.author_id), 0)"
"""What must be true of a row `m` of `message` that is shown. Who has asked to be forgotten is found by nobody from that
commit on, however many messages there are to erase."""

OPEN = "NOT {0}.deleted AND ({0}.readable OR {0}.imported)"
"""What must be true of a thread's parent. Not that it is captured: whether a thread is left out is for the most
specific of the listed ids to say, and stands in the thread's own row."""

THREADS = ",".join(map(str, THREAD_TYPES))

Condition = tuple[str, tuple[object, ...]]
"""SQL and its parameters."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Messages in an index of words: FTS5 expressions, of words and of fragments; all must match."""

    words: str = ""
    fragments: str = ""

    def __bool__(self) -> bool:
        return bool(self.words or self.fragments)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages may be answered; None means any. Ids of Discord, times as snowflakes.

    `channel_ids` are those the asker may read. A chunk passes when one of its messages does, and none is `excluded`.
    """

    channel_ids: Collection[int] | None = None
    author_id: int | None = None
    since_id: int | None = None
    before_id: int | None = None
    in_channels: Collection[int] | None = None
    """Of those the asker may read, the ones asked for."""
    in_thread: bool = False
    required: Matches = Matches()
    excluded: tuple[Matches, ...] = ()

    @property
    def is_empty(self) -> bool:
        return self == Filter()

    @property
    def is_wish(self) -> bool:
        """Whether it leaves out more than what the asker may not read."""
        return self != self.without_wishes()

    def without_wishes(self) -> Filter:
        """Just what the asker may read."""
        return Filter(self.channel_ids)

    def without_words(self) -> Filter:
        """Without what words must or must not be there."""
        return replace(self, required=Matches(), excluded=())


def reach(wanted: Filter) -> Condition:
    """A subquery of the ids of the channels that may be searched."""
    where = [FINDABLE.format("ch"), "NOT coalesce(g.removed, 0)", f"(p.id IS NULL OR {OPEN.format('p')})"]
    parameters: list[object] = []
    for ids in (wanted.channel_ids, wanted.in_channels):
        if ids is not None:
            where.append("ch.id IN (SELECT value FROM json_each(?))")
            parameters.append(_json(ids))
    if wanted.in_thread:
        where.append(f"ch.type IN ({THREADS})")
    return (
        "SELECT ch.id FROM channel ch"
        f" LEFT JOIN channel p ON p.id = ch.parent_id AND ch.type IN ({THREADS})"
        f" LEFT JOIN guild g ON g.id = ch.guild_id WHERE {' AND '.join(where)}",
        tuple(parameters),
    )


def _json(ids: Collection[int]) -> str:
    """Ids as SQLite reads them; one that is too large for it is no channel's."""
    return orjson.dumps([one for one in ids if -(1 << 63) <= one < 1 << 63]).decode()


def of_messages(wanted: Filter) -> Condition:
    """What a row `m` of `message` must fulfil."""
    within, parameters = reach(wanted)
    where, values = ["m.chunkable", f"m.channel_id IN ({within})"], list(parameters)
    for column, bound in (("m.author_id =", wanted.author_id), *_times(wanted, "m.id", "m.id")):
        if bound is not None:
            where.append(f"{column} ?")
            values.append(bound)
    for sql, match in _matching(wanted.required):
        where.append(f"m.id IN ({sql})")
        values.append(match)
    for excluded in wanted.excluded:
        for sql, match in _matching(excluded):
            where.append(f"m.id NOT IN ({sql})")
            values.append(match)
    return " AND ".join(where), tuple(values)


def of_chunks(wanted: Filter) -> Condition:
    """What a row `c` of `chunk` must fulfil."""
    within, parameters = reach(wanted)
    where, values = [f"c.channel_id IN ({within})"], list(parameters)
    for column, bound in _times(wanted, "c.last_id", "c.first_id"):
        if bound is not None:
            where.append(f"{column} ?")
            values.append(bound)
    if wanted.author_id is not None or wanted.required:
        sql, more = of_messages(replace(wanted, excluded=()))
        where.append(
            f"c.id IN (SELECT cm.chunk_id FROM message m JOIN chunk_message cm ON cm.message_id = m.id WHERE {sql})"
        )
        values += more
    for excluded in wanted.excluded:
        for sql, match in _matching(excluded):
            where.append(f"c.id NOT IN (SELECT chunk_id FROM chunk_message WHERE message_id IN ({sql}))")
            values.append(match)
    return " AND ".join(where), tuple(values)


def _times(wanted: Filter, newest: str, oldest: str) -> list[tuple[str, int | None]]:
    return [(f"{newest} >=", wanted.since_id), (f"{oldest} <", wanted.before_id)]


def _matching(matches: Matches) -> list[tuple[str, str]]:
    tables = (("message_word", matches.words), ("message_trigram", matches.fragments))
    return [(f"SELECT rowid FROM {table} WHERE {table} MATCH ?", match) for table, match in tables if match]
