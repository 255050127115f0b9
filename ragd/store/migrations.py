"""Numbered migrations; each is applied with its record in one transaction, in order, once."""

from __future__ import annotations

import time
from dataclasses import dataclass

from playhouse.apsw_ext import APSWDatabase

from ragd.errors import ConfigError, UnavailableError


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    statements: tuple[str, ...]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        1,
        "messages, coverage, chunks, vectors",
        (
            """CREATE TABLE guild (
                id INTEGER PRIMARY KEY,
                name TEXT NOT NULL,
                removed INTEGER NOT NULL DEFAULT 0
            )""",
            """CREATE TABLE channel (
                id INTEGER PRIMARY KEY,
                guild_id INTEGER NOT NULL,
                parent_id INTEGER,
                type INTEGER NOT NULL,
                name TEXT NOT NULL,
                last_message_id INTEGER NOT NULL DEFAULT 0,
                readable INTEGER NOT NULL DEFAULT 1,
                archived INTEGER NOT NULL DEFAULT 0,
                deleted INTEGER NOT NULL DEFAULT 0,
                threads_listed_at INTEGER NOT NULL DEFAULT 0
            )""",
            "CREATE INDEX channel_guild ON channel (guild_id)",
            """CREATE TABLE message (
                id INTEGER PRIMARY KEY,
                guild_id INTEGER NOT NULL,
                channel_id INTEGER NOT NULL,
                author_id INTEGER NOT NULL DEFAULT 0,
                author_name TEXT NOT NULL DEFAULT '',
                is_bot INTEGER NOT NULL DEFAULT 0,
                type INTEGER NOT NULL DEFAULT 0,
                content TEXT NOT NULL DEFAULT '',
                extra TEXT NOT NULL DEFAULT '{}',
                reply_to_id INTEGER,
                edited_at INTEGER NOT NULL DEFAULT 0,
                deleted INTEGER NOT NULL DEFAULT 0,
                chunkable INTEGER NOT NULL DEFAULT 0,
                source TEXT NOT NULL,
                received_at INTEGER NOT NULL,
                change INTEGER NOT NULL
            )""",
            "CREATE UNIQUE INDEX message_change ON message (change)",
            "CREATE INDEX message_channel ON message (channel_id, id)",
            "CREATE INDEX message_tombstone ON message (id) WHERE deleted",
            "CREATE INDEX message_author ON message (author_id, id)",
            """CREATE TABLE coverage (
                channel_id INTEGER NOT NULL,
                start_id INTEGER NOT NULL,
                end_id INTEGER NOT NULL,
                source TEXT NOT NULL,
                proved_at INTEGER NOT NULL,
                PRIMARY KEY (channel_id, start_id)
            ) WITHOUT ROWID""",
            "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
            "INSERT INTO counter (name, value) VALUES ('message_change', 0), ('chunk_change', 0)",
            """CREATE TABLE model (
                id INTEGER PRIMARY KEY,
                key TEXT NOT NULL UNIQUE,
                name TEXT NOT NULL,
                dimension INTEGER NOT NULL
            )""",
            """CREATE TABLE sync_state (
                strategy TEXT PRIMARY KEY,
                version INTEGER NOT NULL,
                position INTEGER NOT NULL
            ) WITHOUT ROWID""",
            """CREATE TABLE dirty_cell (
                strategy TEXT NOT NULL,
                channel_id INTEGER NOT NULL,
                cell INTEGER NOT NULL,
                low_id INTEGER NOT NULL,
                high_id INTEGER NOT NULL,
                messages INTEGER NOT NULL,
                PRIMARY KEY (strategy, channel_id, cell)
            ) WITHOUT ROWID""",
            # AUTOINCREMENT: an id is a label in an index file, so it must never name another chunk later.
            """CREATE TABLE chunk (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                key TEXT NOT NULL UNIQUE,
                strategy TEXT NOT NULL,
                channel_id INTEGER NOT NULL,
                cell INTEGER NOT NULL,
                first_id INTEGER NOT NULL,
                last_id INTEGER NOT NULL,
                text TEXT NOT NULL,
                text_hash BLOB NOT NULL,
                change INTEGER NOT NULL
            )""",
            "CREATE INDEX chunk_cell ON chunk (strategy, channel_id, cell)",
            "CREATE INDEX chunk_change ON chunk (change)",
            "CREATE INDEX chunk_text_hash ON chunk (text_hash)",
            """CREATE TABLE chunk_message (
                chunk_id INTEGER NOT NULL,
                message_id INTEGER NOT NULL,
                PRIMARY KEY (chunk_id, message_id)
            ) WITHOUT ROWID""",
            "CREATE INDEX chunk_message_message ON chunk_message (message_id)",
            """CREATE TABLE chunk_removal (
                chunk_id INTEGER PRIMARY KEY,
                strategy TEXT NOT NULL,
                change INTEGER NOT NULL,
                removed_at INTEGER NOT NULL
            )""",
            "CREATE INDEX chunk_removal_change ON chunk_removal (change)",
            """CREATE TABLE vector (
                model_id INTEGER NOT NULL,
                text_hash BLOB NOT NULL,
                data BLOB NOT NULL,
                PRIMARY KEY (model_id, text_hash)
            ) WITHOUT ROWID""",
            """CREATE TABLE alert (
                id INTEGER PRIMARY KEY,
                key TEXT NOT NULL,
                severity TEXT NOT NULL,
                text TEXT NOT NULL,
                raised_at INTEGER NOT NULL,
                resolved_at INTEGER,
                count INTEGER NOT NULL DEFAULT 1,
                announced_at INTEGER,
                resolution_announced_at INTEGER
            )""",
            "CREATE UNIQUE INDEX alert_open ON alert (key) WHERE resolved_at IS NULL",
        ),
    ),
    Migration(
        2,
        "health history",
        (
            """CREATE TABLE health_check (
                name TEXT PRIMARY KEY,
                verdict TEXT NOT NULL,
                figure REAL,
                unit TEXT NOT NULL,
                text TEXT NOT NULL,
                hint TEXT NOT NULL,
                checked_at INTEGER NOT NULL,
                changed_at INTEGER NOT NULL
            ) WITHOUT ROWID""",
            """CREATE TABLE health_history (
                name TEXT NOT NULL,
                slot INTEGER NOT NULL,
                runs INTEGER NOT NULL,
                warnings INTEGER NOT NULL,
                failures INTEGER NOT NULL,
                PRIMARY KEY (name, slot)
            ) WITHOUT ROWID""",
            "ALTER TABLE dirty_cell ADD COLUMN marked_at INTEGER NOT NULL DEFAULT 0",
        ),
    ),
    Migration(
        3,
        "reminders of alerts, and why one is not delivered",
        (
            "ALTER TABLE alert ADD COLUMN last_at INTEGER",
            "ALTER TABLE alert ADD COLUMN reminders INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE alert ADD COLUMN reminded_at INTEGER",
            "ALTER TABLE alert ADD COLUMN announced_reminders INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE alert ADD COLUMN problem TEXT NOT NULL DEFAULT ''",
        ),
    ),
    Migration(
        4,
        "how intervals were proved, why channels are left out, reactions, audits",
        (
            "ALTER TABLE coverage ADD COLUMN proved_from INTEGER NOT NULL DEFAULT 0",
            "UPDATE coverage SET proved_from = proved_at",
            "ALTER TABLE channel ADD COLUMN details TEXT NOT NULL DEFAULT '{}'",
            "ALTER TABLE channel ADD COLUMN excluded INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE channel ADD COLUMN imported INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE channel ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE channel ADD COLUMN refused_until INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE channel ADD COLUMN thread_refusals INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE channel ADD COLUMN threads_refused_until INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE message ADD COLUMN reactions TEXT NOT NULL DEFAULT '{}'",
            "ALTER TABLE chunk ADD COLUMN made_at INTEGER NOT NULL DEFAULT 0",
            """CREATE TABLE audit (
                id INTEGER PRIMARY KEY,
                kind TEXT NOT NULL,
                sample INTEGER NOT NULL,
                channels TEXT NOT NULL DEFAULT '[]',
                state TEXT NOT NULL,
                asked_at INTEGER NOT NULL,
                started_at INTEGER,
                ended_at INTEGER,
                pid INTEGER,
                attempts INTEGER NOT NULL DEFAULT 0,
                touched_at INTEGER NOT NULL DEFAULT 0,
                checked INTEGER NOT NULL DEFAULT 0,
                present INTEGER NOT NULL DEFAULT 0,
                deleted INTEGER NOT NULL DEFAULT 0,
                found INTEGER NOT NULL DEFAULT 0,
                unmended INTEGER NOT NULL DEFAULT 0,
                findings TEXT NOT NULL DEFAULT '[]',
                details TEXT NOT NULL DEFAULT '{}',
                problem TEXT NOT NULL DEFAULT ''
            )""",
        ),
    ),
    Migration(
        5,
        "search by words",
        (
            # Contentless: their text is a function of the message's row, see ragd/store/words.py.
            """CREATE VIRTUAL TABLE message_word USING fts5 (
                text, marks, content='', contentless_delete=1, tokenize='porter unicode61 remove_diacritics 2'
            )""",
            """CREATE VIRTUAL TABLE message_trigram USING fts5 (
                text, content='', contentless_delete=1, tokenize='trigram remove_diacritics 1'
            )""",
            "CREATE VIRTUAL TABLE message_trigram_terms USING fts5vocab (message_trigram, 'row')",
            # What is stored already is indexed by the syncer, newest first, while everything runs.
            "INSERT INTO counter (name, value) VALUES ('words_version', 1),"
            " ('words_to_fill', (SELECT coalesce(max(id) + 1, 0) FROM message))",
        ),
    ),
    Migration(
        6,
        "erasure, opt-out, retention",
        (
            "ALTER TABLE message ADD COLUMN erase_at INTEGER NOT NULL DEFAULT 0",
            "CREATE INDEX message_erase ON message (erase_at) WHERE erase_at > 0",
            """CREATE TABLE person (
                user_id INTEGER PRIMARY KEY,
                opted_out_at INTEGER NOT NULL DEFAULT 0,
                erased_until INTEGER NOT NULL DEFAULT 0
            )""",
            "CREATE TABLE opt_in_channel (channel_id INTEGER PRIMARY KEY, since INTEGER NOT NULL)",
            """CREATE TABLE consent (
                channel_id INTEGER NOT NULL,
                user_id INTEGER NOT NULL,
                from_id INTEGER NOT NULL,
                PRIMARY KEY (channel_id, user_id)
            ) WITHOUT ROWID""",
            """CREATE TABLE cutoff (
                channel_id INTEGER PRIMARY KEY,
                before_id INTEGER NOT NULL,
                erased_to INTEGER NOT NULL DEFAULT 0
            )""",
            """CREATE TABLE erasure (
                id INTEGER PRIMARY KEY,
                kind TEXT NOT NULL,
                subject INTEGER NOT NULL,
                until_id INTEGER NOT NULL,
                asked_by TEXT NOT NULL,
                state TEXT NOT NULL,
                asked_at INTEGER NOT NULL,
                finished_at INTEGER,
                messages INTEGER NOT NULL DEFAULT 0,
                chunks INTEGER NOT NULL DEFAULT 0,
                vectors INTEGER NOT NULL DEFAULT 0,
                index_change INTEGER NOT NULL DEFAULT 0,
                problem TEXT NOT NULL DEFAULT '',
                receipt TEXT NOT NULL DEFAULT '{}'
            )""",
            "CREATE INDEX erasure_open ON erasure (id) WHERE state <> 'done'",
        ),
    ),
    Migration(
        7,
        "which model serves, and what its vectors depend on",
        (
            "ALTER TABLE model ADD COLUMN sha256 TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE model ADD COLUMN pooling TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE model ADD COLUMN max_tokens INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE model ADD COLUMN text_form INTEGER NOT NULL DEFAULT 0",
            # whoever opens it looks whether it is the one with that key
            "ALTER TABLE model ADD COLUMN source TEXT NOT NULL DEFAULT 'bundled'",
            "ALTER TABLE model ADD COLUMN serving INTEGER NOT NULL DEFAULT 0",
            "UPDATE model SET serving = 1 WHERE id = (SELECT max(id) FROM model)",
            "CREATE INDEX chunk_last ON chunk (last_id, id)",
        ),
    ),
    Migration(
        8,
        "who bears a name, without reading every message",
        ("CREATE INDEX message_author_name ON message (lower(author_name), id) WHERE NOT deleted",),
    ),
    Migration(
        9,
        "which database this is",
        ("INSERT INTO counter (name, value) VALUES ('instance', random())",),
    ),
)


def migrate(database: APSWDatabase) -> int:
    """Bring the schema up to date and return its number. Several processes may call it at once.

    Takes no lock when there is nothing to do: a process must be able to start while another one writes for long (an
    erasure rewrites the file). Raises ConfigError when the database was written by a newer ragd.
    """
    if database.table_exists("migration") and applied_number(database) == MIGRATIONS[-1].number:
        return MIGRATIONS[-1].number
    database.execute_sql(
        "CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER)"
    )
    _refuse_newer(applied_number(database))
    for migration in MIGRATIONS:
        _apply(database, migration)
    return MIGRATIONS[-1].number


def require_schema(database: APSWDatabase) -> None:
    """Refuse to read a database whose tables are not those that this ragd knows.

    Raises UnavailableError for one that a writer is only just making or bringing up to date, ConfigError for one
    that a newer ragd wrote.
    """
    made = database.table_exists("migration")
    number, newest = applied_number(database) if made else 0, MIGRATIONS[-1].number
    if number < newest:
        raise UnavailableError(
            f"the database is being made or upgraded: migration {number} of {newest}",
            hint="try again in a moment, while ragd runs",
        )
    _refuse_newer(number)


def _refuse_newer(number: int) -> None:
    if number > MIGRATIONS[-1].number:
        raise ConfigError(
            f"the database has migration {number}, this ragd knows {MIGRATIONS[-1].number}",
            hint="it was written by a newer ragd: upgrade, or restore an older backup",
        )


def applied_number(database: APSWDatabase) -> int:
    """The number of the newest migration the database has, 0 for none."""
    (number,) = database.execute_sql("SELECT coalesce(max(number), 0) FROM migration").fetchone()
    return int(number)


def _apply(database: APSWDatabase, migration: Migration) -> None:
    with database.atomic("IMMEDIATE"):
        if applied_number(database) >= migration.number:
            return
        for statement in migration.statements:
            database.execute_sql(statement)
        database.execute_sql(
            "INSERT INTO migration (number, name, applied_at) VALUES (?, ?, ?)",
            (migration.number, migration.name, int(time.time())),
        )
