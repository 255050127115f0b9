"""Which channels are captured, by RAGD_ALLOW_IDS and RAGD_DENY_IDS: one rule, for capture, store and purge alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """The two lists: ids of guilds, categories, channels and threads. No id is in both (the settings see to that)."""

    allow: frozenset[int] = frozenset()
    deny: frozenset[int] = frozenset()

    def verdict(self, path: Iterable[int | None]) -> bool | None:
        """What the most specific listed id of a path says: allowed, denied, or None when nothing on it is listed.

        `path` goes from the most specific to the least: thread, channel, category, guild. What there is not of these
        is left out or None.
        """
        for place in path:
            if place in self.deny:
                return False
            if place in self.allow:
                return True
        return None

    def includes(self, path: Iterable[int | None], *, imported: bool = False) -> bool:
        """Whether what lies on the path is to be captured, and found.

        Where nothing is listed, an allow list leaves everything else out; but not what somebody imported from a file
        on purpose (`imported`), which only a denial hides.
        """
        verdict = self.verdict(path)
        return (imported or not self.allow) if verdict is None else verdict
