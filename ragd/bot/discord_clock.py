"""What time it is at Discord, told by the ids of messages: this machine's clock may be wrong, or jump."""

from __future__ import annotations

import time

from ragd.snowflake import from_unix_seconds, to_unix_seconds


class DiscordClock:
    """This machine's clock until the first message has come live, from then on Discord's, carried on by a monotonic
    clock, which nobody can set.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()
        self._is_set = False

    def hear(self, message_id: int) -> None:
        """A message came live. It is as old as it took to arrive: so the one that says the latest time is right."""
        offset = to_unix_seconds(message_id) - time.monotonic()
        self._offset = max(self._offset, offset) if self._is_set else offset
        self._is_set = True

    def ago(self, seconds: float) -> int:
        """The lowest id of the moment so many seconds ago."""
        return from_unix_seconds(time.monotonic() + self._offset - seconds)
