"""What is not to be stored, whatever brings it: messages of who objected or was erased, or older than is kept.

Of such a message a tombstone of `source` `erased` is stored: its id alone. So coverage stays a proof, and nobody
fetches for ever what is withheld; and no page, event or file brings it back.
"""

from __future__ import annotations

from collections.abc import Sequence

from ragd.store.coverage import THREAD_TYPES
from ragd.store.database import Queries
from ragd.store.events import MessageRow

ERASED = "erased"
"""`source` of a tombstone of what was erased here, or never stored, and may well be there at Discord."""

EVERYWHERE = 0
"""As the channel of a consent: by somebody who had objected, and opted in again."""

_THREADS = ",".join(map(str, THREAD_TYPES))


_NOBODY = (False, 0, 0)


class Withholding(Queries):
    """Reads; within Ingest's transaction, so that a wish holds from its commit on."""

    def split(self, rows: Sequence[MessageRow]) -> tuple[list[MessageRow], list[MessageRow]]:
        """Those to be stored, and those to be withheld; each in their order."""
        if not rows or not self._has_rules():
            return list(rows), []
        people = self._people({row.author_id for row in rows})
        before = self._before({row.channel_id for row in rows})
        consents = self._consents({row.channel_id for row in rows})
        late = {row.id for row in rows if row.id < people.get(row.author_id, _NOBODY)[2]}
        unseen = late - self._living(late) if late else late
        kept: list[MessageRow] = []
        withheld: list[MessageRow] = []
        for row in rows:
            opted_out, erased_until, _ = people.get(row.author_id, _NOBODY)
            agreed = consents.get(row.channel_id)
            refused = agreed is not None and row.id < agreed.get(row.author_id, row.id + 1)
            refused |= row.id in unseen
            if opted_out or row.id <= erased_until or row.id < before.get(row.channel_id, 0) or refused:
                withheld.append(row)
            else:
                kept.append(row)
        return kept, withheld

    def unplaced(self, channel_ids: set[int]) -> set[int]:
        """Those of which nobody knows yet whether they are threads of a channel that takes agreement; none where no
        channel does. Once they are known, REST brings what was not taken of them."""
        if not self._all("SELECT 1 FROM opt_in_channel LIMIT 1"):
            return set()
        return {one for one in channel_ids if not self._all("SELECT 1 FROM channel WHERE id = ?", one)}

    def _has_rules(self) -> bool:
        (some,) = self._one(
            "SELECT EXISTS (SELECT 1 FROM person) OR EXISTS (SELECT 1 FROM cutoff)"
            " OR EXISTS (SELECT 1 FROM opt_in_channel)"
        )
        return bool(some)

    def _people(self, author_ids: set[int]) -> dict[int, tuple[bool, int, int]]:
        """Of those with a wish: whether they object, up to which id they were erased, and from which on, having
        objected, they opted in again."""
        rows = self._all(
            "SELECT p.user_id, p.opted_out_at > 0, p.erased_until, coalesce(c.from_id, 0) FROM person p"
            f" LEFT JOIN consent c ON c.channel_id = {EVERYWHERE} AND c.user_id = p.user_id"
            f" WHERE p.user_id IN ({_marks(author_ids)})",
            *author_ids,
        )
        return {row[0]: (bool(row[1]), row[2], row[3]) for row in rows}

    def _living(self, message_ids: set[int]) -> set[int]:
        """Those that are stored: since before their author objected."""
        rows = self._all(f"SELECT id FROM message WHERE id IN ({_marks(message_ids)}) AND NOT deleted", *message_ids)
        return {row[0] for row in rows}

    def _before(self, channel_ids: set[int]) -> dict[int, int]:
        """The id by channel below which nothing is kept."""
        found: dict[int, int] = dict(
            self._all(
                f"SELECT channel_id, before_id FROM cutoff WHERE channel_id IN (0, {_marks(channel_ids)})", *channel_ids
            )
        )
        return {channel_id: max(found.get(channel_id, 0), found.get(0, 0)) for channel_id in channel_ids}

    def _consents(self, channel_ids: set[int]) -> dict[int, dict[int, int]]:
        """By channel in which only who agreed is recorded: those who did, and from which id on."""
        found: dict[int, dict[int, int]] = {}
        for channel_id in channel_ids:
            for (asked,) in self._all(
                "SELECT o.channel_id FROM opt_in_channel o WHERE o.channel_id = ?1 OR o.channel_id ="
                f" (SELECT parent_id FROM channel WHERE id = ?1 AND type IN ({_THREADS}))",
                channel_id,
            ):
                agreed: dict[int, int] = dict(
                    self._all("SELECT user_id, from_id FROM consent WHERE channel_id = ?", asked)
                )
                found[channel_id] = {**found.get(channel_id, {}), **agreed}
        return found


def _marks(values: set[int]) -> str:
    return ",".join("?" * len(values))
