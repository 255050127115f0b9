"""What became of an imported file."""

from __future__ import annotations

from collections import Counter as Tally
from dataclasses import dataclass, field

REASONS = {
    "deleted": "deleted on Discord",
    "elsewhere": "in another channel here",
    "excluded": "in a channel that is left out",
    "withheld": "withheld: their authors objected, or they are older than is kept",
}
"""Why the store does not want a message, by its verdict."""


@dataclass
class Skipped:
    """Messages that were not imported for the same reason."""

    reason: str
    count: int = 0
    first_byte: int | None = None
    """Where the first stands that could not be read; None for those that the store did not want."""


@dataclass
class FileReport:
    """Figures are of messages unless they say otherwise."""

    file: str
    guild: str = ""
    channel: str = ""
    channel_id: int = 0
    messages: int = 0
    """In the file, up to where it could be read."""
    new: int = 0
    updated: int = 0
    """Known from an earlier export, and written anew."""
    known: int = 0
    older: int = 0
    """Not as the store has them, which was read from Discord later."""
    skipped: dict[str, Skipped] = field(default_factory=dict)
    complete_from: int = 0
    complete_to: int = 0
    """First and last id of what counts as complete by this file's word, but for gaps; 0 if nothing does."""
    bytes_read: int = 0
    seconds: float = 0.0
    problem: str = ""
    """What is the matter with the file."""

    @property
    def is_sound(self) -> bool:
        return not self.problem and all(skipped.first_byte is None for skipped in self.skipped.values())

    def count(self, totals: Tally[str]) -> None:
        """Take in what the store made of a batch (Ingest.totals)."""
        for kind in ("new", "updated", "known", "older"):
            setattr(self, kind, getattr(self, kind) + totals[f"import_{kind}"])
        for verdict, reason in REASONS.items():
            if found := totals[f"import_{verdict}"]:
                self.skip(reason, found)

    def skip(self, reason: str, count: int = 1, first_byte: int | None = None) -> None:
        entry = self.skipped.setdefault(reason, Skipped(reason, first_byte=first_byte))
        entry.count += count
