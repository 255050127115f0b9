"""Judging stored messages anew when the rule changes by which they take part in search.

A message is judged when it is written (ragd/store/ingest.py). When the setting for bots, our own account or the rule
itself is another than the one by which the store was judged, every message is judged again, a slice a transaction, and
those that come out differently get new change numbers, so that the syncer follows. Counters remember how far that has
come: a restart goes on, and what is done is not done again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence

from ragd.store.canary import SOURCE as CANARY
from ragd.store.database import Queries, Row
from ragd.store.words import WordIndex
from ragd.text import JUDGEMENT, SearchPolicy, is_chunkable

_log = logging.getLogger(__name__)

SLICE = 2_000
"""Messages at a time: some 50 ms, for which the events that come wait."""

_OWN_USER_ID = "own_user_id"
_JUDGED = "judged_by"
_JUDGING = "judging_by"
_POSITION = "judged_up_to"


class Judgement(Queries):
    """Beside Ingest, in capture's thread for the store."""

    def own_user_id(self) -> int:
        """The user id of the bot itself; 0 before the first login."""
        return self._counter(_OWN_USER_ID)

    def set_own_user_id(self, user_id: int) -> None:
        """Inside of a transaction."""
        self._set(_OWN_USER_ID, user_id)

    def judge_some(self, policy: SearchPolicy) -> bool:
        """Judge the next slice by this policy; True while there is more to do. Before the first login nothing is: it
        tells who we are, and that belongs to the rule."""
        wanted = _fingerprint(policy)
        if not policy.own_user_id or self._counter(_JUDGED) == wanted:
            return False
        begun = self._counter(_JUDGING) == wanted
        if not begun and self._counter(_JUDGED):
            _log.info("which messages take part in search is judged anew")
        rows = self._slice(self._counter(_POSITION) if begun else 0)
        misjudged = _misjudged(policy, rows)
        with self._transaction():
            self._change(misjudged)
            self._set(_JUDGING, wanted)
            self._set(_POSITION, rows[-1][0] if rows else 0)
            if not rows:
                self._set(_JUDGED, wanted)
        return bool(rows)

    def _slice(self, after_id: int) -> list[Row]:
        """Read before the transaction: most slices change nothing, and judging takes longer than writing."""
        return self._all(
            "SELECT id, change, chunkable, author_id, is_bot, type, content, extra FROM message"
            " WHERE id > ? AND NOT deleted AND source <> ? ORDER BY id LIMIT ?",
            after_id,
            CANARY,
            SLICE,
        )

    def _change(self, misjudged: Sequence[tuple[int, int, bool]]) -> None:
        """Whoever wrote a message since it was read has judged it too: its change number is another then."""
        if not misjudged:
            return
        (newest,) = self._one("SELECT value FROM counter WHERE name = 'message_change'")
        self._execute_many(
            "UPDATE message SET chunkable = ?, change = ? WHERE id = ? AND change = ?",
            [
                (chunkable, newest + nth, message_id, change)
                for nth, (message_id, change, chunkable) in enumerate(misjudged, 1)
            ],
        )
        WordIndex(self._database).follow(newest)
        self._execute("UPDATE counter SET value = ? WHERE name = 'message_change'", newest + len(misjudged))

    def _counter(self, name: str) -> int:
        found = self._all("SELECT value FROM counter WHERE name = ?", name)
        return int(found[0][0]) if found else 0

    def _set(self, name: str, value: int) -> None:
        self._execute(
            "INSERT INTO counter (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            name,
            value,
        )


def _misjudged(policy: SearchPolicy, rows: Iterable[Row]) -> list[tuple[int, int, bool]]:
    """Id, change number and new judgement of those that come out differently."""
    judged = (
        (message_id, change, bool(stored), is_chunkable(policy, author_id, bool(is_bot), *words))
        for message_id, change, stored, author_id, is_bot, *words in rows
    )
    return [(message_id, change, chunkable) for message_id, change, stored, chunkable in judged if stored != chunkable]


def _fingerprint(policy: SearchPolicy) -> int:
    """What stands in the counters for a policy; never 0."""
    rule = f"{JUDGEMENT} {policy.index_bots} {policy.own_user_id} {policy.command_prefix}"
    return int.from_bytes(hashlib.sha256(rule.encode()).digest()[:6]) + 1
