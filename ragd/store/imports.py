"""What a file may add to the store: Discord's own word comes first, of two files that of the later export."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from typing import Literal

import orjson
from playhouse.apsw_ext import APSWDatabase

from ragd.store.coverage import THREAD_TYPES, CoverageStore, Interval
from ragd.store.database import Queries, Row
from ragd.store.events import GuildSeen, Imported, ImportedChannel, ImportedRow, MessageRow
from ragd.store.withholding import Withholding
from ragd.text import SearchPolicy, is_chunkable

Verdict = Literal["new", "updated", "known", "older", "deleted", "elsewhere", "excluded", "withheld"]
"""`older`: what the store has was read from Discord later; `deleted`: it is gone from Discord; `elsewhere`: the store
has it in another channel; `excluded`: the channel is left out; `withheld`: its author objected or it is too old."""

_COLUMNS = "author_id, author_name, is_bot, type, content, extra, reactions, reply_to_id, edited_at"

_WRITE = f"""
INSERT INTO message (id, guild_id, channel_id, {_COLUMNS}, chunkable, source, received_at, change)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'import', ?, ?)
ON CONFLICT (id) DO UPDATE SET
    author_id = excluded.author_id, author_name = excluded.author_name, is_bot = excluded.is_bot,
    type = excluded.type, content = excluded.content, extra = excluded.extra, reactions = excluded.reactions,
    reply_to_id = excluded.reply_to_id, edited_at = excluded.edited_at, chunkable = excluded.chunkable,
    received_at = excluded.received_at, change = excluded.change
"""

_CONFIRM = "UPDATE message SET received_at = ?1 WHERE id = ?2 AND source = 'import' AND received_at < ?1"
# no new change number: nothing that search reads has changed

_THREADS = ",".join(map(str, THREAD_TYPES))


class ImportStore(Queries):
    """Part of Ingest's transaction."""

    def __init__(
        self, database: APSWDatabase, policy: SearchPolicy, withhold: Callable[[Sequence[MessageRow]], None]
    ) -> None:
        super().__init__(database)
        self._policy = policy
        self._withhold = withhold
        self._withholding = Withholding(database)
        self._coverage = CoverageStore(database)

    def take(self, event: Imported, next_change: Callable[[], int]) -> Tally[Verdict]:
        """Store what is to be stored of it, and its claims; returns what became of each message."""
        channel = event.channels[-1]
        self._see_guild(event.guild)
        for seen in event.channels:
            self._see_channel(seen)
        deleted, excluded = self._state(channel.id)
        if excluded:
            return Tally({"excluded": len(event.rows)})
        _, withheld = self._withholding.split([imported.row for imported in event.rows])
        self._withhold(withheld)
        kept_out = {row.id for row in withheld}
        rows = [imported for imported in event.rows if imported.row.id not in kept_out]
        verdicts = self._judge(channel.id, rows, all_gone=deleted)
        self._write(verdicts, next_change)
        for start_id, end_id in () if deleted else event.proved:
            self._coverage.add_interval(channel.id, start_id, end_id, "import")
        self._note_newest(channel.id, event.rows)
        told: Tally[Verdict] = Tally(verdict for _, verdict in verdicts)
        told["withheld"] += len(withheld)
        return told

    def _see_guild(self, guild: GuildSeen) -> None:
        self._execute("INSERT INTO guild (id, name) VALUES (?, ?) ON CONFLICT DO NOTHING", guild.id, guild.name)

    def _see_channel(self, channel: ImportedChannel) -> None:
        """Make one that the bot has never seen, or bring it up to date with a later export."""
        details = {"exported_at": channel.exported_at, **({"topic": channel.topic} if channel.topic else {})}
        self._execute(
            "INSERT INTO channel (id, guild_id, parent_id, type, name, readable, imported, details)"
            " VALUES (?, ?, ?, ?, ?, 0, 1, ?) ON CONFLICT (id) DO UPDATE SET"
            " parent_id = excluded.parent_id, type = excluded.type, name = excluded.name, details = excluded.details"
            " WHERE imported AND coalesce(json_extract(channel.details, '$.exported_at'), 0)"
            " <= json_extract(excluded.details, '$.exported_at') AND channel.details <> excluded.details",
            channel.id,
            channel.guild_id,
            channel.parent_id,
            channel.type,
            channel.name,
            orjson.dumps(details, option=orjson.OPT_SORT_KEYS).decode(),
        )

    def _state(self, channel_id: int) -> tuple[bool, bool]:
        """Whether a channel, or the one that a thread is in, was deleted on Discord, and whether it is left out."""
        deleted, excluded = self._one(
            "SELECT c.deleted OR coalesce(p.deleted, 0), c.excluded OR coalesce(p.excluded, 0) FROM channel c"
            f" LEFT JOIN channel p ON p.id = c.parent_id AND c.type IN ({_THREADS}) WHERE c.id = ?",
            channel_id,
        )
        return bool(deleted), bool(excluded)

    def _note_newest(self, channel_id: int, rows: Sequence[ImportedRow]) -> None:
        newest_id = max((imported.row.id for imported in rows), default=0)
        self._execute(
            "UPDATE channel SET last_message_id = ? WHERE id = ? AND last_message_id < ?",
            newest_id,
            channel_id,
            newest_id,
        )

    def _judge(
        self, channel_id: int, rows: Sequence[ImportedRow], *, all_gone: bool
    ) -> list[tuple[ImportedRow, Verdict]]:
        """What is to become of each; of those that come twice, the second is known."""
        stored = self._stored([imported.row.id for imported in rows])
        proved = [(p.start_id, p.end_id) for p in self._coverage.proofs(channel_id) if p.source != "import"]
        verdicts: list[tuple[ImportedRow, Verdict]] = []
        seen: set[int] = set()
        for imported in rows:
            message_id = imported.row.id
            known = stored.get(message_id)
            if message_id in seen:
                verdict: Verdict = "known"
            elif known is None:
                # Discord listed all of that interval and it was not among them
                verdict = "deleted" if all_gone or _lies_in(proved, message_id) else "new"
            else:
                verdict = _compare(imported, known)
            seen.add(message_id)
            verdicts.append((imported, verdict))
        return verdicts

    def _stored(self, ids: Sequence[int]) -> dict[int, Row]:
        marks = ",".join("?" * len(ids))
        rows = self._all(
            f"SELECT id, deleted, channel_id, source, received_at, {_COLUMNS} FROM message WHERE id IN ({marks})", *ids
        )
        return {row[0]: row[1:] for row in rows}

    def _write(self, verdicts: Sequence[tuple[ImportedRow, Verdict]], next_change: Callable[[], int]) -> None:
        written = (imported for imported, verdict in verdicts if verdict in ("new", "updated"))
        self._execute_many(_WRITE, (self._parameters(imported, next_change()) for imported in written))
        confirmed = (imported for imported, verdict in verdicts if verdict == "known")
        self._execute_many(_CONFIRM, ((imported.read_at, imported.row.id) for imported in confirmed))

    def _parameters(self, imported: ImportedRow, change: int) -> tuple[object, ...]:
        row = imported.row
        chunkable = is_chunkable(self._policy, row.author_id, row.is_bot, row.type, row.content, row.extra)
        return (row.id, row.guild_id, row.channel_id, *_columns(row), chunkable, imported.read_at, change)


def _columns(row: MessageRow) -> tuple[object, ...]:
    """In the order of _COLUMNS."""
    return (
        row.author_id,
        row.author_name,
        row.is_bot,
        row.type,
        row.content,
        row.extra,
        row.reactions,
        row.reply_to_id,
        row.edited_at,
    )


def _compare(imported: ImportedRow, known: Row) -> Verdict:
    deleted, channel_id, source, received_at, *columns = known
    if deleted:
        return "deleted"
    if channel_id != imported.row.channel_id:
        return "elsewhere"
    if tuple(columns) == _columns(imported.row):
        return "known"
    if source != "import" or imported.read_at < received_at:
        return "older"
    return "updated"


def _lies_in(intervals: Sequence[Interval], message_id: int) -> bool:
    """Whether ascending, disjoint intervals hold an id."""
    place = bisect_right(intervals, message_id, key=lambda interval: interval[0])
    return place > 0 and message_id <= intervals[place - 1][1]
