"""Applies what capture saw to the store: one transaction a batch, in order, every step idempotent."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from peewee import EXCLUDED, fn
from playhouse.apsw_ext import APSWDatabase

from ragd.store.coverage import CoverageStore
from ragd.store.database import Queries
from ragd.store.events import (
    ChannelGone,
    ChannelRow,
    ChannelsSeen,
    Deleted,
    Edited,
    Event,
    GuildSeen,
    MessageRow,
    PageRead,
    Posted,
    SessionBroken,
    ThreadsListed,
)
from ragd.store.models import Channel, Guild
from ragd.store.words import WordIndex
from ragd.text import is_chunkable

_TOMBSTONE_SLICE = 5_000

_UPSERT = """
INSERT INTO message (id, guild_id, channel_id, author_id, author_name, is_bot, type, content, extra, reply_to_id,
                     edited_at, chunkable, source, received_at, change)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    content = excluded.content, extra = excluded.extra, edited_at = excluded.edited_at,
    chunkable = excluded.chunkable, change = excluded.change
WHERE NOT message.deleted
  AND (excluded.edited_at > message.edited_at
       OR excluded.edited_at = message.edited_at
          AND (excluded.content <> message.content OR excluded.extra <> message.extra))
"""
# A tombstone wins over everything, a newer edit over an older one: a page that was read before a live event and
# applied after it changes nothing. With equal edit times the later word counts (an embed that Discord filled in).

_TOMBSTONE = """
INSERT INTO message (id, guild_id, channel_id, deleted, source, received_at, change) VALUES (?, ?, ?, 1, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    deleted = 1, chunkable = 0, content = '', extra = '{}', author_name = '', change = excluded.change
WHERE NOT message.deleted
"""


class Ingest(Queries):
    """The one writer of messages and coverage; lives in capture, in one thread.

    It remembers which channels are live: those whose every message since `live_from` came by an unbroken gateway
    session. That memory is lost with the process, on purpose: the next session has to prove itself anew.
    """

    def __init__(self, database: APSWDatabase) -> None:
        super().__init__(database)
        self._live_from: dict[int, int] = {}
        self.totals: Tally[str] = Tally()
        """Since the process started: `posted`, `edited`, `deleted`, `pages`, `backfilled`."""

    def apply(self, events: Sequence[Event]) -> None:
        """Commit a batch. When this returns, all of it is durable; when it raises, nothing of it happened.

        Raises TransientError when the database is locked or full: the caller keeps the batch and tries again.
        """
        batch = _Batch(self._database, dict(self._live_from))
        with self._transaction():
            batch.run(events)
        self._live_from = batch.live_from
        self.totals.update(batch.totals)


class _Batch(Queries):
    """One transaction's work; its memory becomes Ingest's only when the commit succeeded."""

    def __init__(self, database: APSWDatabase, live_from: dict[int, int]) -> None:
        super().__init__(database)
        self._coverage = CoverageStore(database)
        self.live_from = live_from
        self.totals: Tally[str] = Tally()
        self._now_ms = time.time_ns() // 1_000_000
        self._change = 0
        self._newest: dict[int, int] = {}
        self._handlers: dict[type, Callable[[list[Any]], None]] = {
            SessionBroken: self._session_broken,
            GuildSeen: self._guilds_seen,
            ChannelsSeen: self._channels_seen,
            Posted: self._posted,
            Edited: self._edited,
            Deleted: self._deleted,
            PageRead: self._pages_read,
            ChannelGone: self._channels_gone,
            ThreadsListed: self._threads_listed,
        }

    def run(self, events: Sequence[Event]) -> None:
        (self._change,) = self._one("SELECT value FROM counter WHERE name = 'message_change'")
        before = self._change
        for kind, run in groupby(events, type):
            self._handlers[kind](list(run))
        self._extend_live()
        WordIndex(self._database).follow(before)
        self._execute("UPDATE counter SET value = ? WHERE name = 'message_change'", self._change)

    def _next_change(self) -> int:
        self._change += 1
        return self._change

    def _session_broken(self, _events: list[SessionBroken]) -> None:
        self._extend_live()
        self.live_from.clear()

    def _guilds_seen(self, events: list[GuildSeen]) -> None:
        for event in events:
            Guild.insert(id=event.id, name=event.name).on_conflict(
                conflict_target=[Guild.id], update={Guild.name: event.name, Guild.removed: False}
            ).execute(self._database)

    def _channels_seen(self, events: list[ChannelsSeen]) -> None:
        for channel in (channel for event in events for channel in event.channels):
            self._upsert_channel(channel)
            self.live_from.setdefault(channel.id, channel.last_message_id + 1)
            if not channel.readable:
                self.live_from.pop(channel.id)

    def _posted(self, events: list[Posted]) -> None:
        rows = [event.row for event in events]
        self._upsert(rows, "gateway")
        self.totals["posted"] += len(rows)
        for row in rows:
            self._newest[row.channel_id] = max(row.id, self._newest.get(row.channel_id, 0))

    def _edited(self, events: list[Edited]) -> None:
        self._upsert([event.row for event in events], "gateway")
        self.totals["edited"] += len(events)

    def _deleted(self, events: list[Deleted]) -> None:
        for event in events:
            self._bury(event.guild_id, event.channel_id, event.message_ids, "gateway")

    def _pages_read(self, events: list[PageRead]) -> None:
        for page in events:
            self._bury_vanished(page)
            self._upsert(page.rows, "rest")
            self._coverage.add_interval(page.channel_id, page.start_id, page.end_id, "rest")
            self.totals["pages"] += 1
            self.totals["backfilled"] += len(page.rows)

    def _bury_vanished(self, page: PageRead) -> None:
        """What the store has in the page's range and Discord has not was deleted while nobody listened."""
        stored = self._all(
            "SELECT id FROM message WHERE channel_id = ? AND id BETWEEN ? AND ? AND NOT deleted",
            page.channel_id,
            page.start_id,
            page.end_id,
        )
        vanished = {row[0] for row in stored} - {row.id for row in page.rows}
        self._bury(page.guild_id, page.channel_id, sorted(vanished), "rest")

    def _channels_gone(self, events: list[ChannelGone]) -> None:
        for event in events:
            self._forget_channel(event.channel_id)

    def _forget_channel(self, channel_id: int) -> None:
        threads = self._all("SELECT id FROM channel WHERE parent_id = ?", channel_id)
        for gone in (channel_id, *(row[0] for row in threads)):
            Channel.update(deleted=True).where(Channel.id == gone).execute(self._database)
            self._coverage.forget(gone)
            self.live_from.pop(gone, None)
            self._newest.pop(gone, None)
            self._bury_channel(gone)

    def _bury_channel(self, channel_id: int) -> None:
        query = "SELECT guild_id, id FROM message WHERE channel_id = ? AND NOT deleted LIMIT ?"
        while rows := self._all(query, channel_id, _TOMBSTONE_SLICE):
            self._bury(rows[0][0], channel_id, [row[1] for row in rows], "gateway")

    def _threads_listed(self, events: list[ThreadsListed]) -> None:
        for event in events:
            Channel.update(threads_listed_at=event.at).where(Channel.id == event.channel_id).execute(self._database)

    def _upsert(self, rows: Iterable[MessageRow], source: str) -> None:
        self._execute_many(
            _UPSERT,
            (
                (
                    row.id,
                    row.guild_id,
                    row.channel_id,
                    row.author_id,
                    row.author_name,
                    row.is_bot,
                    row.type,
                    row.content,
                    row.extra,
                    row.reply_to_id,
                    row.edited_at,
                    is_chunkable(row.type, row.is_bot, row.content, row.extra),
                    source,
                    self._now_ms,
                    self._next_change(),
                )
                for row in rows
            ),
        )

    def _bury(self, guild_id: int, channel_id: int, message_ids: Sequence[int], source: str) -> None:
        self._execute_many(
            _TOMBSTONE,
            (
                (message_id, guild_id, channel_id, source, self._now_ms, self._next_change())
                for message_id in message_ids
            ),
        )
        self.totals["deleted"] += len(message_ids)

    def _extend_live(self) -> None:
        for channel_id, newest_id in self._newest.items():
            Channel.update(last_message_id=newest_id).where(
                (Channel.id == channel_id) & (Channel.last_message_id < newest_id)
            ).execute(self._database)
            live_from = self.live_from.get(channel_id)
            if live_from is not None and newest_id >= live_from:
                self._coverage.extend_live(channel_id, live_from, newest_id)
        self._newest.clear()

    def _upsert_channel(self, channel: ChannelRow) -> None:
        Channel.insert(
            id=channel.id,
            guild_id=channel.guild_id,
            parent_id=channel.parent_id,
            type=channel.type,
            name=channel.name,
            last_message_id=channel.last_message_id,
            readable=channel.readable,
            archived=channel.archived,
        ).on_conflict(
            conflict_target=[Channel.id],
            update={
                Channel.parent_id: EXCLUDED.parent_id,
                Channel.type: EXCLUDED.type,
                Channel.name: EXCLUDED.name,
                Channel.last_message_id: fn.max(Channel.last_message_id, EXCLUDED.last_message_id),
                Channel.readable: EXCLUDED.readable,
                Channel.archived: EXCLUDED.archived,
                Channel.deleted: False,
            },
        ).execute(self._database)
