"""The store: the only truth. Every query to the database is in this package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from playhouse.apsw_ext import APSWDatabase

from ragd.store.alerts import AlertStore
from ragd.store.audits import AuditStore
from ragd.store.canary import CANARY_CHANNEL, CanaryStore
from ragd.store.chunks import ChunkStore
from ragd.store.completeness import CompletenessStore
from ragd.store.coverage import CoverageStore, Hole
from ragd.store.database import BUSY_SECONDS, Durability, Queries, open_database, translated_errors
from ragd.store.embeddings import EmbeddingStore
from ragd.store.erasure import ErasureStore
from ragd.store.events import ChannelRow
from ragd.store.exports import ExportStore
from ragd.store.figures import FigureStore
from ragd.store.health import HealthStore
from ragd.store.ingest import Ingest
from ragd.store.instance import INSTANCE_SQL, instance_of
from ragd.store.lookup import Lookup
from ragd.store.migrations import migrate, require_schema
from ragd.store.models import Channel
from ragd.store.people import PeopleStore
from ragd.store.purge import PurgeStore
from ragd.store.refusals import RefusalStore
from ragd.store.spending import SpendingStore
from ragd.store.standing import StandingStore
from ragd.store.surroundings import SurroundingsStore
from ragd.store.traces import TraceStore
from ragd.store.vectors import VectorStore
from ragd.store.words import WordIndex

__all__ = ["ChunkStore", "Counts", "Hole", "Ingest", "Store", "VectorStore"]

_WITH_VECTOR = (
    "chunk WHERE EXISTS (SELECT 1 FROM vector v WHERE v.text_hash = chunk.text_hash"
    " AND v.model_id = (SELECT id FROM model ORDER BY serving DESC LIMIT 1))"
)

PUBLIC_THREADS = (10, 11)
"""Discord's channel types ANNOUNCEMENT_THREAD and PUBLIC_THREAD."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How much the store holds; vectors are counted once a chunk that has one."""

    messages: int
    deleted: int
    channels: int
    chunks: int
    vectors: int
    holes: int
    unreadable_channels: int
    lag_messages: int
    refused_channels: int = 0


class Store(Queries):
    """One connection a thread to the database, and the queries that all processes share.

    Models are bound to no database, queries name theirs: a process may have several stores open.
    """

    def __init__(self, database: APSWDatabase) -> None:
        super().__init__(database)
        self.coverage = CoverageStore(database)
        self.refusals = RefusalStore(database)
        self.completeness = CompletenessStore(database)
        self.chunks = ChunkStore(database)
        self.embeddings = EmbeddingStore(database)
        self.vectors = VectorStore(database)
        self.alerts = AlertStore(database)
        self.exports = ExportStore(database)
        self.figures = FigureStore(database)
        self.health = HealthStore(database)
        self.canary = CanaryStore(database)
        self.audits = AuditStore(database)
        self.traces = TraceStore(database)
        self.standing = StandingStore(database)
        self.purge = PurgeStore(database)
        self.people = PeopleStore(database)
        self.erasures = ErasureStore(database)
        self.words = WordIndex(database)
        self.lookup = Lookup(database)
        self.surroundings = SurroundingsStore(database)
        self.spending = SpendingStore(database)

    @classmethod
    def open(cls, path: Path, *, durability: Durability = "NORMAL", busy_seconds: float = BUSY_SECONDS) -> Store:
        """Open for writing; the file and its schema are made or brought up to date.

        Raises CannotCreateError, ConfigError (written by a newer ragd), DamagedError or TransientError.
        """
        database = open_database(path, durability=durability, busy_seconds=busy_seconds)
        with translated_errors(path):
            migrate(database)
        return cls(database)

    @classmethod
    def open_read_only(cls, path: Path) -> Store:
        """Open for reading.

        Raises UnavailableError when there is nothing to read, or no whole schema yet, and ConfigError for the
        database of a newer ragd.
        """
        database = open_database(path, read_only=True)
        try:
            with translated_errors(path):
                require_schema(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def ingest(self, *, index_bots: bool = False, command_prefix: str = "", deleted_kept_days: float = 0) -> Ingest:
        """The writer of messages and coverage: capture has one, so has an import. `deleted_kept_days`: how long what a
        deleted message said is kept, found by nobody; for the rest see SearchPolicy."""
        kept_ms = int(deleted_kept_days * 86_400_000)
        return Ingest(self._database, index_bots=index_bots, command_prefix=command_prefix, deleted_kept_ms=kept_ms)

    @property
    def database(self) -> APSWDatabase:
        """For query classes that no Store has."""
        return self._database

    def close(self) -> None:
        """Close this thread's connection."""
        self._database.close()

    def instance(self) -> str:
        """Which database this is; it stays so after a restore."""
        return instance_of(self._all(INSTANCE_SQL))

    def channels(self) -> list[ChannelRow]:
        """Channels and threads that exist, by id."""
        with translated_errors():
            rows = Channel.select().where(~Channel.deleted).order_by(Channel.id).execute(self._database)
            return [
                ChannelRow(
                    row.id,
                    row.guild_id,
                    row.parent_id,
                    row.type,
                    row.name,
                    row.last_message_id,
                    row.readable,
                    row.archived,
                    row.details,
                    row.excluded,
                )
                for row in rows
            ]

    def public_threads(self, guild_id: int) -> dict[int, int]:
        """Parents of a guild's public threads by thread id, archived ones too, which Discord's clients do not keep.

        Not those that only a file has told of: who may read them nobody knows.
        """
        kinds = ",".join(map(str, PUBLIC_THREADS))
        return dict(
            self._all(
                f"SELECT id, parent_id FROM channel WHERE guild_id = ? AND type IN ({kinds}) AND NOT deleted"
                " AND NOT imported AND parent_id IS NOT NULL",
                guild_id,
            )
        )

    def threads_listed_at(self) -> dict[int, int]:
        """When the archived threads of each channel were last listed to the end, Unix ms, 0 for never."""
        return dict(self._all("SELECT id, threads_listed_at FROM channel WHERE NOT deleted"))

    def counts(self) -> Counts:
        """Of what people wrote. The canary is taken off, not left out: so all are counted from an index alone."""
        mine = f"channel_id = {CANARY_CHANNEL}"
        deleted = self._count("message WHERE deleted") - self._count(f"message WHERE {mine} AND deleted")
        return Counts(
            messages=self._count("message") - self._count(f"message WHERE {mine}") - deleted,
            deleted=deleted,
            channels=self._count("channel WHERE NOT deleted"),
            chunks=self._count("chunk") - self._count(f"chunk WHERE {mine}"),
            vectors=self._count(_WITH_VECTOR) - self._count(f"{_WITH_VECTOR} AND {mine}"),
            holes=len(self.coverage.holes()),
            unreadable_channels=self.coverage.unreadable_channels(),
            lag_messages=self.chunks.lag(),
            refused_channels=self.refusals.count(),
        )

    def _count(self, rest: str) -> int:
        return int(self._one(f"SELECT count(*) FROM {rest}")[0])

    def wal_bytes(self) -> int:
        """Size of the write-ahead log."""
        wal = Path(f"{self._database.database}-wal")
        return wal.stat().st_size if wal.exists() else 0

    def checkpoint(self, busy_seconds: float) -> bool:
        """Copy the write-ahead log into the database and empty it; False when readers kept it from finishing.

        TRUNCATE, never PASSIVE, and by one process alone (the syncer): see ragd/store/database.py.
        """
        self._one(f"PRAGMA busy_timeout = {int(busy_seconds * 1000)}")
        try:
            blocked, _, _ = self._one("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self._one(f"PRAGMA busy_timeout = {int(self._database.timeout * 1000)}")
        return not blocked
