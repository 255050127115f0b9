"""The indexes of words: kept in step with messages inside the transaction that writes them, filled, mended, compacted.

`message_word` holds each message's words (FTS5, unicode61), `message_trigram` the trigrams of its fragments
(ragd/terms.py). Both are contentless, for their text is a function of the message's row: rowid is the message's id, so
newest first is the order of the index, and nothing has to be kept in step but the rows themselves.

A removed message cannot be found from the commit on, but its words stay in the index's pages until those are merged:
`compact` merges all of them, in steps, and then they have left the file.
"""

from __future__ import annotations

from collections.abc import Iterable

from ragd.store.database import Queries, Row
from ragd.terms import fragments, marks
from ragd.text import searchable_text

WORDS_VERSION = 1
"""Raise it when `searchable_text`, `fragments` or `marks` would say otherwise of a stored message: then all of them are
indexed anew."""

WORD_TOKENIZER = "porter unicode61 remove_diacritics 2"
"""English words by their stem, others as they are written, accents aside; as migration 5 has it."""

TO_FILL = "words_to_fill"
"""Counter: stored messages with an id below it may be missing from the indexes; 0 when none is."""

VERSION = "words_version"
REMOVED = "words_removed"
"""Counter: messages taken out of the indexes since these were last compacted."""
MERGED = "words_merged"
"""Counter: how many of these the compaction under way takes along; those that come after its begin wait for another."""

TABLES = ("message_word", "message_trigram")

MERGE_PAGES = 200
"""FTS5 pages (4 KB) written a step of a compaction: some milliseconds, for which capture waits to write."""


class WordIndex(Queries):
    """Writes the indexes. `follow` belongs inside the transaction that wrote the messages; the rest is the syncer's."""

    def follow(self, change: int) -> None:
        """Index what was written after that change number, and take out what was deleted or edited."""
        self._index(self._all("SELECT id, content, extra, chunkable FROM message WHERE change > ?", change))

    def _index(self, rows: Iterable[Row]) -> None:
        rows = list(rows)
        removed = self._remove([row[0] for row in rows])
        texts = [(row[0], searchable_text(row[1], row[2]), marks(row[1], row[2])) for row in rows if row[3]]
        self._execute_many("INSERT INTO message_word (rowid, text, marks) VALUES (?, ?, ?)", texts)
        parts = [(message_id, fragments(text)) for message_id, text, _ in texts]
        self._execute_many(
            "INSERT INTO message_trigram (rowid, text) VALUES (?, ?)", [part for part in parts if part[1]]
        )
        if removed:
            self._count_up(REMOVED, removed)

    def _remove(self, message_ids: Iterable[int]) -> int:
        """Take messages out; returns how many were in."""
        known = [
            message_id
            for message_id in message_ids
            if self._all("SELECT 1 FROM message_word_docsize WHERE id = ?", message_id)
        ]
        for table in TABLES:
            self._execute_many(f"DELETE FROM {table} WHERE rowid = ?", [(message_id,) for message_id in known])
        return len(known)

    # Filling

    def begin(self) -> None:
        """Have everything indexed anew if another version of ragd understood messages otherwise."""
        with self._transaction():
            if self._counter(VERSION) == WORDS_VERSION:
                return
            for table in TABLES:
                self._execute(f"INSERT INTO {table} ({table}) VALUES ('delete-all')")
            self._set(TO_FILL, int(self._one("SELECT coalesce(max(id) + 1, 0) FROM message")[0]))
            self._set(REMOVED, 0)
            self._set(MERGED, 0)
            self._set(VERSION, WORDS_VERSION)

    def fill(self, limit: int) -> int:
        """Index some of the messages that were stored before there was an index, newest first; returns how many."""
        if not self._counter(TO_FILL):
            return 0
        with self._transaction():
            rows = self._all(
                "SELECT id, content, extra, chunkable FROM message WHERE id < ? ORDER BY id DESC LIMIT ?",
                self._counter(TO_FILL),
                limit,
            )
            self._index(rows)
            self._set(TO_FILL, rows[-1][0] if len(rows) == limit else 0)
        return len(rows)

    def waiting(self) -> int:
        """How many stored messages the indexes may lack."""
        mark = self._counter(TO_FILL)
        return int(self._one("SELECT count(*) FROM message WHERE id < ? AND chunkable", mark)[0]) if mark else 0

    def mend(self) -> int:
        """The full pass: index what is missing, take out what does not belong; returns how many messages that was."""
        if self._counter(TO_FILL):
            return 0
        missing = "SELECT m.id FROM message m WHERE m.chunkable AND m.id NOT IN (SELECT id FROM message_word_docsize)"
        extra = "SELECT d.id FROM message_word_docsize d LEFT JOIN message m ON m.id = d.id WHERE m.chunkable IS NOT 1"
        wrong = [row[0] for row in [*self._all(missing), *self._all(extra)]]
        if wrong:
            with self._transaction():
                self._mend(wrong)
        return len(wrong)

    def _mend(self, message_ids: list[int]) -> None:
        self._remove(message_ids)
        for message_id in message_ids:
            self._index(self._all("SELECT id, content, extra, chunkable FROM message WHERE id = ?", message_id))

    # Compaction

    def needs_compaction(self) -> bool:
        """Whether the indexes still hold words of messages that are gone."""
        return self._counter(REMOVED) > 0

    def compact(self, *, begin: bool) -> bool:
        """One step of merging everything into one piece; True while there is more to do."""
        if begin:
            with self._transaction():
                self._set(MERGED, self._counter(REMOVED))
        pages = -MERGE_PAGES if begin else MERGE_PAGES
        more = False
        for table in TABLES:
            with self._transaction():
                before = self._total_changes()
                self._execute(f"INSERT INTO {table} ({table}, rank) VALUES ('merge', ?)", pages)
                # FTS5: a merge that did nothing changes fewer than two rows
                more |= self._total_changes() - before >= 2
        if not more:
            with self._transaction():
                self._count_up(REMOVED, -self._counter(MERGED))
                self._set(MERGED, 0)
        return more

    def _total_changes(self) -> int:
        return int(self._database.connection().total_changes())

    # Counters

    def _counter(self, name: str) -> int:
        rows = self._all("SELECT value FROM counter WHERE name = ?", name)
        return int(rows[0][0]) if rows else 0

    def _set(self, name: str, value: int) -> None:
        self._execute(
            "INSERT INTO counter (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            name,
            value,
        )

    def _count_up(self, name: str, by: int) -> None:
        self._execute(
            "INSERT INTO counter (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + ?",
            name,
            by,
            by,
        )
