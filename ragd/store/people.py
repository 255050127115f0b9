"""What members have said about being recorded: who objected, who agreed where it takes that; `/privacy`, `ragdctl`."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ragd.snowflake import from_unix_seconds
from ragd.store.wishes import WishQueries
from ragd.store.withholding import EVERYWHERE


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a member."""

    messages: int
    channels: int
    oldest_id: int
    """0 for none."""
    opted_out_at: int
    """Unix seconds; 0 for not opted out."""


class PeopleStore(WishQueries):
    """Wishes hold from the commit on, for Ingest asks in its transaction (ragd/store/withholding.py)."""

    def kept(self, user_id: int) -> Kept:
        """Reads every message of theirs from an index: up to some 100 ms."""
        messages, channels, oldest = self._one(
            "SELECT count(*), count(DISTINCT channel_id), coalesce(min(id), 0) FROM message"
            " WHERE author_id = ? AND NOT deleted",
            user_id,
        )
        found = self._all("SELECT opted_out_at FROM person WHERE user_id = ?", user_id)
        return Kept(int(messages), int(channels), int(oldest), int(found[0][0]) if found else 0)

    def opt_out(self, user_id: int) -> None:
        """Nothing of theirs is stored from here on. Idempotent: the first time counts."""
        with self._transaction():
            self._count_wish()
            self._execute(
                "INSERT INTO person (user_id, opted_out_at) VALUES (?, ?) ON CONFLICT (user_id) DO UPDATE SET"
                " opted_out_at = CASE WHEN opted_out_at > 0 THEN opted_out_at ELSE excluded.opted_out_at END",
                user_id,
                int(time.time()),
            )

    def opt_in(self, user_id: int, now_id: int) -> None:
        """What they write from `now_id` on is stored again; what was withheld until now is not fetched after all, and
        what was stored before they objected stays."""
        with self._transaction():
            if self._execute("UPDATE person SET opted_out_at = 0 WHERE user_id = ? AND opted_out_at > 0", user_id):
                self._count_wish()
                self._execute(
                    "INSERT INTO consent (channel_id, user_id, from_id) VALUES (?, ?, ?)"
                    " ON CONFLICT (channel_id, user_id) DO UPDATE SET from_id = max(from_id, excluded.from_id)",
                    EVERYWHERE,
                    user_id,
                    now_id,
                )

    def set_opt_in(self, channel_id: int, on: bool) -> None:
        """Record in that channel and its threads only who agrees, or everybody again."""
        with self._transaction():
            self._count_wish()
            if on:
                self._execute(
                    "INSERT INTO opt_in_channel (channel_id, since) VALUES (?, ?) ON CONFLICT DO NOTHING",
                    channel_id,
                    int(time.time()),
                )
            else:
                self._execute("DELETE FROM opt_in_channel WHERE channel_id = ?", channel_id)

    def is_opt_in(self, channel_id: int) -> bool:
        return bool(self._all("SELECT 1 FROM opt_in_channel WHERE channel_id = ?", channel_id))

    def agree(self, channel_id: int, user_id: int, now_id: int) -> None:
        """Record them in that channel from `now_id` on. Idempotent: the first time counts."""
        with self._transaction():
            self._count_wish()
            self._execute(
                "INSERT INTO consent (channel_id, user_id, from_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                channel_id,
                user_id,
                now_id,
            )

    def withdraw(self, channel_id: int, user_id: int) -> bool:
        """Take that back; False if they had not agreed."""
        with self._transaction():
            self._count_wish()
            return bool(self._execute("DELETE FROM consent WHERE channel_id = ? AND user_id = ?", channel_id, user_id))

    def agrees(self, channel_id: int, user_id: int) -> bool:
        return bool(self._all("SELECT 1 FROM consent WHERE channel_id = ? AND user_id = ?", channel_id, user_id))

    def named(self, name: str) -> dict[int, int]:
        """Messages by author id of everybody who has written under that name (case does not matter)."""
        return dict(
            self._all(
                "SELECT author_id, count(*) FROM message WHERE lower(author_name) = lower(?) AND author_id > 0"
                " GROUP BY author_id",
                name,
            )
        )

    def present_id(self, now: float | None = None) -> int:
        """An id above those of all messages that are stored and of all that were written by `now`, by default the
        present of our clock; Unix seconds."""
        return max(
            from_unix_seconds(time.time() if now is None else now),
            int(self._one("SELECT coalesce(max(id), 0) FROM message")[0]),
        )
