"""Erasures: asked for by a member or the operator, done in slices by one process; the table is queue and history.

It writes messages beside Ingest, in the same way: a change number for each, inside an IMMEDIATE transaction. Chunks
that hold what is erased go in that same transaction, with their vectors and words: nobody has to wait until the syncer
comes to them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from playhouse.apsw_ext import APSWDatabase

from ragd.store.canary import CANARY_CHANNEL
from ragd.store.chunks import ChunkStore
from ragd.store.coverage import THREAD_TYPES
from ragd.store.database import Row
from ragd.store.purge import PurgeStore
from ragd.store.wishes import WishQueries
from ragd.store.withholding import ERASED
from ragd.store.words import WordIndex

Kind = Literal["user", "channel", "before"]
Asker = Literal["member", "operator"]
State = Literal["rows", "file", "log", "index", "done"]
"""Messages and chunks; words merged and the database's file rewritten; its log emptied; index files written anew."""

SLICE = 250
"""Messages a transaction: some 20 ms, in which capture waits."""

KEPT_SECONDS = 365 * 86_400
"""A member's receipt is no proof that has to last for ever; who was erased stands in `person`."""

PURGE_WANTED = "index_purge_wanted"
"""Counter: the chunk change that index files must have followed, with no file left that has not."""

PURGED = "index_purged:"
"""Counter, by strategy: the newest PURGE_WANTED that the searcher has done."""

Counts = tuple[int, int, int]
"""Messages, chunks and vectors."""

_ANY_ID = 2**63 - 1

_COLUMNS = (
    "id, kind, subject, until_id, asked_by, state, asked_at, finished_at, messages, chunks, vectors, index_change,"
    " problem, receipt"
)
_THREADS = ",".join(map(str, THREAD_TYPES))


@dataclass(frozen=True, slots=True)
class Erasure:
    """One row; see the model."""

    id: int
    kind: Kind
    subject: int
    until_id: int
    asked_by: Asker
    state: State
    asked_at: int
    finished_at: int | None
    messages: int
    chunks: int
    vectors: int
    index_change: int
    problem: str
    receipt: dict[str, Any]


class ErasureStore(WishQueries):
    """Asking: any process. Doing: the syncer, or who has the data directory for itself."""

    def __init__(self, database: APSWDatabase) -> None:
        super().__init__(database)
        self._chunks = ChunkStore(database)
        self._purge = PurgeStore(database)

    # Asking

    def forget_user(self, user_id: int, until_id: int, asked_by: Asker) -> int:
        """Have everything of theirs up to that id erased, and never stored again; returns the erasure's id.

        What they ask while an erasure of theirs has not come to an end makes that one larger.
        """
        with self._transaction():
            self._count_wish()
            self._execute(
                "INSERT INTO person (user_id, erased_until) VALUES (?, ?) ON CONFLICT (user_id) DO UPDATE SET"
                " erased_until = max(erased_until, excluded.erased_until)",
                user_id,
                until_id,
            )
            return self._ask("user", user_id, until_id, asked_by)

    def forget_before(self, channel_ids: Collection[int], before_id: int) -> list[int]:
        """Have everything older erased, of these channels with their threads or (none named) of all; returns the
        erasures' ids."""
        with self._transaction():
            self._count_wish()
            for channel_id in channel_ids or [0]:
                for one in [channel_id, *self._threads_of(channel_id)]:
                    self._cut(one, before_id)
            return [self._ask("before", channel_id, before_id, "operator") for channel_id in channel_ids or [0]]

    def purge_channel(self, channel_id: int) -> int | None:
        """Have all erased of a channel that is captured no more (ragd/store/purge.py); None if it is captured.

        Nothing claims from here on to be complete in it.
        """
        with self._transaction():
            if not self._purge.forget_coverage(channel_id):
                return None
            erasure_id = self._ask("channel", channel_id, 0, "operator")
            # from the beginning, also if it has begun already: the channel may have been captured in between
            self._execute("UPDATE erasure SET until_id = 0 WHERE id = ?", erasure_id)
            return erasure_id

    def keep_from(self, first_kept: Mapping[int, int]) -> None:
        """Keep nothing older of these channels than the message id given, without a receipt (RAGD_RETENTION_DAYS)."""
        before: dict[int, int] = dict(self._all("SELECT channel_id, before_id FROM cutoff"))
        later = {channel_id: first for channel_id, first in first_kept.items() if first > before.get(channel_id, 0)}
        if later:
            with self._transaction():
                self._count_wish()
                for channel_id, first in later.items():
                    self._cut(channel_id, first)

    def newest_id(self) -> int:
        """Of all messages that came from Discord; 0 without any."""
        rows = self._all("SELECT id FROM message WHERE channel_id <> ? ORDER BY id DESC LIMIT 1", CANARY_CHANNEL)
        return int(rows[0][0]) if rows else 0

    def _threads_of(self, channel_id: int) -> list[int]:
        rows = self._all(f"SELECT id FROM channel WHERE parent_id = ? AND type IN ({_THREADS})", channel_id)
        return [row[0] for row in rows]

    def _cut(self, channel_id: int, before_id: int) -> None:
        self._execute(
            "INSERT INTO cutoff (channel_id, before_id) VALUES (?, ?) ON CONFLICT (channel_id) DO UPDATE SET"
            " before_id = max(before_id, excluded.before_id)",
            channel_id,
            before_id,
        )

    def _ask(self, kind: Kind, subject: int, until_id: int, asked_by: Asker) -> int:
        open_ = self._all(
            "SELECT id FROM erasure WHERE kind = ? AND subject = ? AND state = 'rows' ORDER BY id", kind, subject
        )
        if open_:
            self._execute("UPDATE erasure SET until_id = max(until_id, ?) WHERE id = ?", until_id, open_[0][0])
            return int(open_[0][0])
        self._execute(
            "INSERT INTO erasure (kind, subject, until_id, asked_by, state, asked_at) VALUES (?, ?, ?, ?, 'rows', ?)",
            kind,
            subject,
            until_id,
            asked_by,
            int(time.time()),
        )
        return int(self._one("SELECT last_insert_rowid()")[0])

    # Looking

    def count_older(self, channel_ids: Collection[int], before_id: int) -> int:
        """Messages that are older, of these channels with their threads or (none named) of all."""
        if not channel_ids:
            query = "SELECT count(*) FROM message WHERE id < ? AND channel_id <> ? AND NOT deleted"
            return int(self._one(query, before_id, CANARY_CHANNEL)[0])
        places = {place for one in channel_ids for place in (one, *self._threads_of(one))}
        query = "SELECT count(*) FROM message WHERE channel_id = ? AND id < ? AND NOT deleted"
        return sum(int(self._one(query, place, before_id)[0]) for place in places)

    def find(self, erasure_id: int) -> Erasure | None:
        found = self._select("id = ?", erasure_id)
        return found[0] if found else None

    def open(self) -> list[Erasure]:
        """Those that are not done, the oldest first."""
        return self._select("state <> 'done' ORDER BY id")

    def newest(self, limit: int) -> list[Erasure]:
        return self._select("1 ORDER BY id DESC LIMIT ?", limit)

    def of_user(self, user_id: int) -> Erasure | None:
        """The newest of a member."""
        found = self._select("kind = 'user' AND subject = ? ORDER BY id DESC LIMIT 1", user_id)
        return found[0] if found else None

    def _select(self, rest: str, *parameters: object) -> list[Erasure]:
        rows = self._all(f"SELECT {_COLUMNS} FROM erasure WHERE {rest}", *parameters)
        return [
            Erasure(**{**dict(zip(_COLUMNS.split(", "), row, strict=True)), "receipt": json.loads(row[-1])})
            for row in rows
        ]

    # Doing

    def erase_some(self, erasure: Erasure) -> bool:
        """Erase a slice of what is asked; when nothing is left the next state begins. True while there is more.

        Killed at any moment it goes on where it was.
        """
        with self._transaction():
            # how far it goes as it is now: who asks again makes it larger (`_ask`), also a moment ago
            (until_id,) = self._one("SELECT until_id FROM erasure WHERE id = ?", erasure.id)
            if erasure.kind == "channel":
                more, counts = self._purge_some(erasure, int(until_id))
            elif erasure.kind == "user":
                counts = self._erase(self._of_user(erasure.subject, int(until_id)))
                more = any(counts)
            else:
                more, counts = self._erase_before(erasure.subject, int(until_id))
            if any(counts):
                self._count(erasure.id, counts)
            if not more:
                self._advance_rows(erasure.id)
        return more

    def empty_some(self, erasure_id: int) -> bool:
        """Empty a slice of a purge's messages; True while there may be more. Any process may call it, beside the one
        that erases: chunks are left to that."""
        with self._transaction():
            asked = self._select("id = ? AND kind = 'channel' AND state = 'rows'", erasure_id)
            emptied = self._empty_some(asked[0], asked[0].until_id) if asked else 0
            if emptied:
                self._count(erasure_id, (emptied, 0, 0))
        return emptied > 0

    def _count(self, erasure_id: int, counts: Counts) -> None:
        self._execute(
            "UPDATE erasure SET messages = messages + ?, chunks = chunks + ?, vectors = vectors + ? WHERE id = ?",
            *counts,
            erasure_id,
        )

    def _empty_some(self, erasure: Erasure, after_id: int) -> int:
        """From the oldest on: `until_id` says how far."""
        last_id, emptied = self._purge.purge_some(erasure.subject, after_id)
        if last_id:
            self._execute("UPDATE erasure SET until_id = ? WHERE id = ?", last_id, erasure.id)
        return emptied

    def _purge_some(self, erasure: Erasure, after_id: int) -> tuple[bool, Counts]:
        """First the messages, then chunks that have none left."""
        if emptied := self._empty_some(erasure, after_id):
            return True, (emptied, 0, 0)
        counts = 0, *self._chunks.drop_channel(erasure.subject, SLICE)
        return any(counts), counts

    def _erase_before(self, subject: int, until_id: int) -> tuple[bool, Counts]:
        """What retention cuts at the same time is no part of it."""
        counts = self._erase_older(subject, until_id)
        return self._next_cut(subject, until_id) is not None, counts

    def erase_older(self) -> int:
        """A slice of what is older than is kept; returns how many messages that was. Call it until `is_cutting` is
        False."""
        with self._transaction():
            return self._erase_older()[0]

    def is_cutting(self) -> bool:
        """Whether something older than is kept may be left."""
        return self._next_cut() is not None

    def _of_user(self, user_id: int, until_id: int) -> list[int]:
        """Tombstones too: they say who wrote."""
        return [
            row[0]
            for row in self._all(
                "SELECT id FROM message WHERE author_id = ? AND id <= ? ORDER BY id DESC LIMIT ?",
                user_id,
                until_id,
                SLICE,
            )
        ]

    def _next_cut(self, subject: int | None = None, until_id: int = _ANY_ID) -> Row | None:
        """A channel of which something is to go, before which id, and how far that is: of any, or of what was asked
        for by its subject and date."""
        found = self._all(
            "SELECT channel_id, min(before_id, ?1), erased_to FROM cutoff WHERE erased_to < min(before_id, ?1)"
            " AND (?2 IS NULL OR channel_id = ?2 OR channel_id IN (SELECT id FROM channel WHERE parent_id = ?2"
            f" AND type IN ({_THREADS}))) LIMIT 1",
            until_id,
            subject,
        )
        return found[0] if found else None

    def _erase_older(self, subject: int | None = None, until_id: int = _ANY_ID) -> Counts:
        cut = self._next_cut(subject, until_id)
        if cut is None:
            return 0, 0, 0
        channel_id, before_id, erased_to = cut
        # all of a channel's or of everybody's, but for the canary
        of_channel = "channel_id = ?" if channel_id else "channel_id <> ?"
        ids = [
            row[0]
            for row in self._all(
                f"SELECT id FROM message WHERE {of_channel} AND id >= ? AND id < ?"
                " AND (NOT deleted OR author_id <> 0 OR author_name <> '' OR erase_at > 0) ORDER BY id LIMIT ?",
                channel_id or CANARY_CHANNEL,
                erased_to,
                before_id,
                SLICE,
            )
        ]
        self._execute(
            "UPDATE cutoff SET erased_to = ? WHERE channel_id = ?",
            ids[-1] if len(ids) == SLICE else before_id,
            channel_id,
        )
        return self._erase(ids)

    def _erase(self, message_ids: list[int]) -> Counts:
        (last,) = self._one(
            "UPDATE counter SET value = value + ? WHERE name = 'message_change' RETURNING value", len(message_ids)
        )
        first = int(last) - len(message_ids) + 1
        self._execute_many(
            f"UPDATE message SET source = CASE WHEN deleted THEN source ELSE '{ERASED}' END, deleted = 1,"
            " chunkable = 0, content = '', extra = '{}', reactions = '{}', author_id = 0, author_name = '',"
            " is_bot = 0, reply_to_id = NULL, edited_at = 0, erase_at = 0, change = ? WHERE id = ?",
            ((first + nth, message_id) for nth, message_id in enumerate(message_ids)),
        )
        WordIndex(self._database).follow(first - 1)
        return len(message_ids), *self._chunks.drop(message_ids)

    def keep_deleted_until(self, latest_ms: int) -> None:
        """Have what deleted messages said kept no longer than that."""
        if self._all("SELECT 1 FROM message WHERE erase_at > 0 AND erase_at > ? LIMIT 1", latest_ms):
            with self._transaction():
                self._execute("UPDATE message SET erase_at = ?1 WHERE erase_at > 0 AND erase_at > ?1", latest_ms)

    def erase_deleted(self, now_ms: int) -> int:
        """A slice of what deleted messages said, when the time has come that it is to be kept; returns how many."""
        due = self._all("SELECT id FROM message WHERE erase_at > 0 AND erase_at <= ? LIMIT ?", now_ms, SLICE)
        if due:
            with self._transaction():
                self._execute_many(
                    "UPDATE message SET content = '', extra = '{}', reactions = '{}', author_name = '', erase_at = 0"
                    " WHERE id = ? AND deleted",
                    due,
                )
        return len(due)

    def _advance_rows(self, erasure_id: int) -> None:
        """Messages and chunks are gone: what was removed up to now must leave the files."""
        (change,) = self._one("SELECT value FROM counter WHERE name = 'chunk_change'")
        self._execute(
            "UPDATE erasure SET state = 'file', index_change = ?, problem = '' WHERE id = ?", change, erasure_id
        )
        self._execute(
            "INSERT INTO counter (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            PURGE_WANTED,
            change,
        )

    def advance(self, erasure_ids: Collection[int], state: State) -> None:
        """The next state of these has begun."""
        with self._transaction():
            for erasure_id in erasure_ids:
                self._execute("UPDATE erasure SET state = ?, problem = '' WHERE id = ?", state, erasure_id)

    def wait(self, erasure_ids: Collection[int], problem: str) -> None:
        """Say what these wait for; writes only what is new."""
        for erasure_id in erasure_ids:
            if self._all("SELECT 1 FROM erasure WHERE id = ? AND problem <> ?", erasure_id, problem):
                with self._transaction():
                    self._execute("UPDATE erasure SET problem = ? WHERE id = ?", problem, erasure_id)

    def finish(self, erasure_id: int, receipt: Mapping[str, Any]) -> None:
        """Write the receipt; those of long ago go."""
        now = int(time.time())
        with self._transaction():
            self._execute(
                "UPDATE erasure SET state = 'done', finished_at = ?, problem = '', receipt = ? WHERE id = ?",
                now,
                json.dumps(receipt),
                erasure_id,
            )
            self._execute("DELETE FROM erasure WHERE state = 'done' AND finished_at < ?", now - KEPT_SECONDS)

    # Index files

    def index_purged(self, strategy: str) -> int:
        """The newest change up to which the searcher has left no file of that strategy's with anything removed."""
        rows = self._all("SELECT value FROM counter WHERE name = ?", PURGED + strategy)
        return int(rows[0][0]) if rows else 0
