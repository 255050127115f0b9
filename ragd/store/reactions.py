"""Reactions: how often each emoji stands under a message, in a column that search does not read.

Nothing here touches `message.change`: no chunk is made anew for a thumb. What comes live is counted on; a page of
Discord's says how it is. Where a page and an event cross, a count may be off by one until the next page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import orjson

from ragd.store.database import Queries
from ragd.store.events import MessageRow, Reacted

NONE = "{}"


def dump_reactions(counts: Mapping[str, int]) -> str:
    """As the column has it: those that are there, in an order of our own."""
    if not counts:
        return NONE
    present = {emoji: count for emoji, count in counts.items() if count > 0}
    return orjson.dumps(present, option=orjson.OPT_SORT_KEYS).decode()


def changed_reactions(column: str, changes: Iterable[Reacted]) -> str:
    """The column after these changes to one message, in their order. No count falls below none."""
    counts: dict[str, int] = orjson.loads(column)
    for change in changes:
        if change.emoji is None:
            counts.clear()
            continue
        key = _key_in(counts, change.emoji)
        counts[key] = max(0, counts.get(key, 0) + change.by) if change.by else 0
    return dump_reactions(counts)


def _key_in(counts: Mapping[str, int], emoji: str) -> str:
    """The key that an emoji stands under already: a server's own may have lost or changed its name since."""
    _, colon, number = emoji.rpartition(":")
    same = (key for key in counts if colon and key.endswith(f":{number}"))
    return emoji if emoji in counts else next(same, emoji)


class ReactionStore(Queries):
    """The column's writer, inside of Ingest's transaction."""

    def apply(self, changes: Sequence[Reacted]) -> None:
        """Count on. Messages that the store has not, or has as tombstones, are left alone."""
        by_message: dict[int, list[Reacted]] = {}
        for change in changes:
            by_message.setdefault(change.message_id, []).append(change)
        for message_id, of_message in by_message.items():
            stored = self._all("SELECT reactions FROM message WHERE id = ? AND NOT deleted", message_id)
            for (column,) in stored:
                self._write([(changed_reactions(column, of_message), message_id)])

    def state(self, rows: Iterable[MessageRow], stored: Mapping[int, str]) -> None:
        """What Discord's page says holds; `stored` is what the messages of it that are known have now."""
        self._write(
            [(row.reactions, row.id) for row in rows if stored.get(row.id, row.reactions) != row.reactions],
        )

    def _write(self, written: Iterable[tuple[str, int]]) -> None:
        self._execute_many("UPDATE message SET reactions = ? WHERE id = ? AND NOT deleted", written)
