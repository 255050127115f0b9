"""Applies what capture saw to the store: one transaction a batch, in order, every step idempotent."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from peewee import EXCLUDED, fn
from playhouse.apsw_ext import APSWDatabase

from ragd.scope import Scope
from ragd.store.chunks import ChunkStore
from ragd.store.coverage import CoverageStore
from ragd.store.database import Queries
from ragd.store.events import (
    AccessChanged,
    ChannelGone,
    ChannelRow,
    ChannelsSeen,
    Deleted,
    Edited,
    Event,
    GuildGone,
    GuildSeen,
    GuildSilent,
    GuildsListed,
    ImportDoubted,
    Imported,
    LoggedIn,
    MessageRow,
    PageRead,
    Posted,
    Reacted,
    Refused,
    ScopeSet,
    SessionBroken,
    ThreadsListed,
)
from ragd.store.imports import ImportStore
from ragd.store.judgement import Judgement
from ragd.store.message_writer import MessageWriter
from ragd.store.models import Channel, Guild
from ragd.store.reactions import ReactionStore
from ragd.store.refusals import RefusalStore
from ragd.store.standing import StandingStore
from ragd.store.withholding import Withholding
from ragd.store.words import WordIndex
from ragd.text import SearchPolicy

_NEVER = 2**63 - 1
"""As `live_from`: Discord refused the channel, so who knows what else it keeps back. Until the next session, nothing
live proves anything there, and what it brings is read again over REST.
"""


class Ingest(Queries):
    """The writer of messages and coverage: one lives in capture, in one thread, others for the length of an import.

    It remembers which channels are live: those whose every message since `live_from` came by an unbroken gateway
    session. That memory is lost with the process, on purpose: the next session has to prove itself anew.
    """

    def __init__(
        self,
        database: APSWDatabase,
        *,
        index_bots: bool = False,
        command_prefix: str = "",
        deleted_kept_ms: int = 0,
    ) -> None:
        super().__init__(database)
        self._deleted_kept_ms = deleted_kept_ms
        self._live_from: dict[int, int] = {}
        self._excluded = StandingStore(database).excluded()
        self._judgement = Judgement(database)
        self._policy = SearchPolicy(index_bots, self._judgement.own_user_id(), command_prefix)
        self.judges = True
        """Whether stored messages may have to be judged anew: then `judge_some` is to be called."""
        self.totals: Tally[str] = Tally()
        """Since the process started: `posted`, `edited`, `deleted`, `pages`, `backfilled`, and what a page showed that
        nobody had told: `missed_posts`, `missed_edits`, `missed_deletes`; `import_*` by Verdict."""

    def apply(self, events: Sequence[Event]) -> None:
        """Commit a batch. When this returns, all of it is durable; when it raises, nothing of it happened.

        Raises TransientError when the database is locked or full: the caller keeps the batch and tries again.
        """
        batch = _Batch(self._database, dict(self._live_from), set(self._excluded), self._policy, self._deleted_kept_ms)
        with self._transaction():
            batch.run(events)
        self._live_from, self._excluded = batch.live_from, batch.excluded
        self.judges = self.judges or batch.policy != self._policy
        self._policy = batch.policy
        self.totals.update(batch.totals)

    def judge_some(self) -> None:
        """Let the next stored messages take part in search, or not, by the rules of now. Raises TransientError."""
        self.judges = self._judgement.judge_some(self._policy)


class _Batch(Queries):
    """One transaction's work; its memory becomes Ingest's only when the commit succeeded."""

    def __init__(
        self,
        database: APSWDatabase,
        live_from: dict[int, int],
        excluded: set[int],
        policy: SearchPolicy,
        deleted_kept_ms: int,
    ) -> None:
        super().__init__(database)
        self._coverage = CoverageStore(database)
        self._standing = StandingStore(database)
        self._refusals = RefusalStore(database)
        self._reactions = ReactionStore(database)
        self._messages = MessageWriter(database, policy, self._next_change, deleted_kept_ms=deleted_kept_ms)
        self._chunks = ChunkStore(database)
        self._imports = ImportStore(database, policy, self._messages.withhold)
        self.live_from = live_from
        self.excluded = excluded
        """Channels whose messages are not taken: those that no client has in its cache too."""
        self.totals: Tally[str] = Tally()
        self._change = 0
        self._newest: dict[int, int] = {}
        self._handlers: dict[type, Callable[[list[Any]], None]] = {
            SessionBroken: self._session_broken,
            LoggedIn: self._logged_in,
            GuildSeen: self._guilds_seen,
            GuildsListed: self._guilds_listed,
            GuildGone: self._guilds_gone,
            GuildSilent: self._guilds_silent,
            ScopeSet: self._scope_set,
            ChannelsSeen: self._channels_seen,
            Posted: self._posted,
            Edited: self._edited,
            Deleted: self._deleted,
            Reacted: self._reactions.apply,
            PageRead: self._pages_read,
            ChannelGone: self._channels_gone,
            ThreadsListed: self._threads_listed,
            Refused: self._refused,
            AccessChanged: self._access_changed,
            Imported: self._imported,
            ImportDoubted: self._imports_doubted,
        }

    def run(self, events: Sequence[Event]) -> None:
        (self._change,) = self._one("SELECT value FROM counter WHERE name = 'message_change'")
        before = self._change
        for kind, run in groupby(events, type):
            self._handlers[kind](list(run))
        self._extend_live()
        WordIndex(self._database).follow(before)
        self._chunks.blank_changed(before)
        self._execute("UPDATE counter SET value = ? WHERE name = 'message_change'", self._change)

    @property
    def policy(self) -> SearchPolicy:
        return self._messages.policy

    def _next_change(self) -> int:
        self._change += 1
        return self._change

    def _session_broken(self, events: list[SessionBroken]) -> None:
        self._extend_live()
        for event in events:
            for channel_id in self._channels_of(event.shard):
                self.live_from.pop(channel_id, None)

    def _channels_of(self, shard: tuple[int, int] | None) -> list[int]:
        """Channels of a shard's guilds, or all that are live (Discord's reference, "Sharding")."""
        if shard is None:
            return list(self.live_from)
        shard_id, count = shard
        return [row[0] for row in self._all("SELECT id FROM channel WHERE (guild_id >> 22) % ? = ?", count, shard_id)]

    def _logged_in(self, events: list[LoggedIn]) -> None:
        self._messages.policy = replace(self.policy, own_user_id=events[-1].user_id)
        Judgement(self._database).set_own_user_id(self.policy.own_user_id)

    def _guilds_seen(self, events: list[GuildSeen]) -> None:
        for event in events:
            Guild.insert(id=event.id, name=event.name).on_conflict(
                conflict_target=[Guild.id], update={Guild.name: event.name, Guild.removed: False}
            ).execute(self._database)

    def _guilds_listed(self, events: list[GuildsListed]) -> None:
        for event in events:
            self._end_live(self._standing.remove_absent_guilds(event))

    def _guilds_gone(self, events: list[GuildGone]) -> None:
        for event in events:
            self._end_live(self._standing.remove_guild(event.guild_id))

    def _guilds_silent(self, events: list[GuildSilent]) -> None:
        for event in events:
            self._end_live(self._standing.channels_of(event.guild_id))

    def _scope_set(self, events: list[ScopeSet]) -> None:
        event = events[-1]
        self.excluded = self._standing.apply_scope(Scope(frozenset(event.allow), frozenset(event.deny)))
        self._end_live(self.excluded)

    def _end_live(self, channel_ids: Iterable[int]) -> None:
        """From here on the gateway's silence about these channels proves nothing. What came before still counts."""
        self._extend_live()
        for channel_id in channel_ids:
            self.live_from.pop(channel_id, None)

    def _channels_seen(self, events: list[ChannelsSeen]) -> None:
        doubtful = self._refusals.doubtful()
        for channel in (channel for event in events for channel in event.channels):
            silenced = self._standing.follow_parent(channel)
            self._upsert_channel(channel)
            proves_from = _NEVER if channel.id in doubtful else channel.last_message_id + 1
            self.live_from.setdefault(channel.id, proves_from)
            if channel.excluded:
                self.excluded.add(channel.id)
            else:
                self.excluded.discard(channel.id)
            if channel.excluded or not channel.readable:
                self._end_live([channel.id, *silenced])

    def _captured(self, rows: Iterable[MessageRow]) -> list[MessageRow]:
        rows = list(rows)
        out = self.excluded | Withholding(self._database).unplaced({row.channel_id for row in rows})
        return [row for row in rows if row.channel_id not in out]

    def _posted(self, events: list[Posted]) -> None:
        rows = self._captured(event.row for event in events)
        self._messages.write(rows, "gateway")
        self.totals["posted"] += len(rows)
        for row in rows:
            self._newest[row.channel_id] = max(row.id, self._newest.get(row.channel_id, 0))

    def _edited(self, events: list[Edited]) -> None:
        rows = self._captured(event.row for event in events)
        self._messages.write(rows, "gateway")
        self.totals["edited"] += len(rows)

    def _deleted(self, events: list[Deleted]) -> None:
        for event in events:
            self._messages.bury(event.guild_id, event.channel_id, event.message_ids, "gateway")
            self.totals["deleted"] += len(event.message_ids)

    def _pages_read(self, events: list[PageRead]) -> None:
        for page in events:
            # left out, or deleted, while the answer was on its way: what it says exists does not any more
            if page.channel_id in self.excluded or self._standing.is_gone(page.channel_id):
                continue
            self.totals.update(self._messages.write_page(page))
            self._coverage.add_interval(page.channel_id, page.start_id, page.end_id, "rest")
            self._refusals.clear(page.channel_id, "messages")
            self.totals["pages"] += 1
            self.totals["backfilled"] += len(page.rows)

    def _channels_gone(self, events: list[ChannelGone]) -> None:
        for event in events:
            self._forget_channel(event.channel_id)

    def _forget_channel(self, channel_id: int) -> None:
        # a category takes nothing along: Discord moves its channels to the top
        for gone in (channel_id, *self._standing.threads_of(channel_id)):
            Channel.update(deleted=True).where(Channel.id == gone).execute(self._database)
            self._coverage.forget(gone)
            self.live_from.pop(gone, None)
            self._newest.pop(gone, None)
            self.totals["deleted"] += self._messages.bury_channel(gone)

    def _threads_listed(self, events: list[ThreadsListed]) -> None:
        for event in events:
            Channel.update(threads_listed_at=event.at).where(Channel.id == event.channel_id).execute(self._database)
            self._refusals.clear(event.channel_id, "threads")

    def _refused(self, events: list[Refused]) -> None:
        for event in events:
            self._refusals.note(event.channel_id, event.wanted)
            if event.wanted == "messages":
                self._extend_live()
                self.live_from[event.channel_id] = _NEVER

    def _access_changed(self, events: list[AccessChanged]) -> None:
        for event in events:
            self._refusals.forgive(event.guild_id, event.channel_id)

    def _imported(self, events: list[Imported]) -> None:
        for event in events:
            verdicts = self._imports.take(event, self._next_change)
            self.totals.update({f"import_{verdict}": count for verdict, count in verdicts.items()})

    def _imports_doubted(self, events: list[ImportDoubted]) -> None:
        for event in events:
            self._coverage.withdraw_imports(event.channel_id, event.start_id, event.end_id)

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
            details=channel.details,
            excluded=channel.excluded,
        ).on_conflict(
            conflict_target=[Channel.id],
            update={
                Channel.parent_id: EXCLUDED.parent_id,
                Channel.type: EXCLUDED.type,
                Channel.name: EXCLUDED.name,
                Channel.last_message_id: fn.max(Channel.last_message_id, EXCLUDED.last_message_id),
                Channel.readable: EXCLUDED.readable,
                Channel.archived: EXCLUDED.archived,
                Channel.details: EXCLUDED.details,
                Channel.excluded: EXCLUDED.excluded,
                Channel.imported: False,
                Channel.deleted: False,
            },
        ).execute(self._database)
