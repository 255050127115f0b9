"""Events that could not be read, and handlers that failed: nothing may be lost by them, and nothing may end by them.

discord.py lets an error while it reads an event end the connection, for good; and one in a handler is logged and the
event forgotten, while the next one extends the claim that nothing is missing. Here a message that cannot be read is
kept as far as it can (ragd/bot/reading.py). Whatever else fails ends the session's claims: all is stated anew, and
what came since is read over REST.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ragd.bot.reading import Payload, plain_row
from ragd.store.events import Edited, Posted

if TYPE_CHECKING:
    from ragd.bot.client import CaptureClient

_log = logging.getLogger(__name__)

PAUSE_SECONDS = 60.0
"""At least so long between two times that everything is stated anew: what fails once may fail with every event."""

_BEGINNINGS = frozenset({"READY", "RESUMED"})
"""Without them there is no session, and to go on would only hide it."""

_MESSAGES: Mapping[str, type[Posted] | type[Edited]] = {"MESSAGE_CREATE": Posted, "MESSAGE_UPDATE": Edited}

Parse = Callable[[Any], Any]


class Doubts:
    """Of one client; lives in its event loop."""

    def __init__(self, client: CaptureClient) -> None:
        self._client = client
        self._restated_at = -PAUSE_SECONDS
        self._restating: asyncio.TimerHandle | None = None

    def guard(self, parsers: dict[str, Parse]) -> None:
        """Have events read through us; `parsers` is discord.py's table, by name of event."""
        for name, parse in parsers.items():
            if name not in _BEGINNINGS:
                parsers[name] = partial(self._parse, name, parse)

    def _parse(self, name: str, parse: Parse, payload: Payload) -> None:
        try:
            parse(payload)
        except Exception as error:  # noqa: BLE001 - any: it stands for a format that discord.py does not know
            if not self._keep(name, payload, error):
                self.note(name, error)

    def _keep(self, name: str, payload: Payload, error: Exception) -> bool:
        """Record a message of a guild as far as it can be read; False if that is not enough."""
        event = _MESSAGES.get(name)
        guild = self._client.get_guild(int(payload.get("guild_id") or 0)) if event else None
        if event is None or guild is None:
            return False
        try:
            row = plain_row(payload, guild.id, error)
        except (KeyError, TypeError, ValueError):
            return False
        if not self._client.scope.excludes(guild.get_channel_or_thread(row.channel_id)):
            self._client.journal.record(event(row))
        return True

    def note(self, what: str, error: BaseException | None) -> None:
        """Something that came was not dealt with. Its words are not logged: they may quote a message."""
        _log.error("%s could not be dealt with (%s): it is looked up over REST", what, type(error).__name__)
        client = self._client
        for shard_id in client.held.ids:
            client.journal.record(client.held.broken(shard_id))
        if self._restating is None:
            wait = max(0.0, self._restated_at + PAUSE_SECONDS - time.monotonic())
            self._restating = asyncio.get_running_loop().call_later(wait, self._restate)

    def _restate(self) -> None:
        self._restating = None
        self._restated_at = time.monotonic()
        self._client.announce_everything()
