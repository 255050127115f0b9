"""Every request of ours to Discord: counted by what became of it, and held back or refused before it does harm.

Discord bars an address that makes 10,000 invalid requests in 10 minutes: answers 401, 403, and 429 unless its scope is
`shared` (reference, "Rate Limits"). `trace` sees every answer, whoever asked; `gate` stands before discord.py's client,
which all requests pass that carry the bot's token.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import aiohttp
import discord

from ragd.errors import ConfigError
from ragd.heartbeat import Counter

_log = logging.getLogger(__name__)

Result = TypeVar("Result")
Clock = Callable[[], float]
Ask = Callable[..., Coroutine[Any, Any, Any]]

WINDOW_SECONDS = 600.0

MOST_INVALID = 1_000
"""Invalid requests in the window at which background reading waits: a tenth of what bars the address, for a restart
forgets them, and other programs may share it."""

ROOM_AGAIN = MOST_INVALID // 2
"""It goes on when there are so few."""

BACKGROUND_PER_SECOND = 40
"""Of the 50 a second that Discord grants a bot, and that discord.py does not count: it runs into them, again and again,
each time with every request that is under way. The others are for people who ask."""

LONGEST_SLEEP_SECONDS = 1.0
"""Between two looks of those that wait: the token may have been refused meanwhile."""

_INVALID = frozenset({401, 403, 429})
_SWITCHING_PROTOCOLS = 101

_background: ContextVar[bool] = ContextVar("background", default=False)


class TokenRefusedError(ConfigError):
    """Discord takes the bot's token no more: whatever else is asked with it counts against the address."""

    def __init__(self) -> None:
        super().__init__(
            "Discord refused DISCORD_BOT_TOKEN", hint="copy the token anew from the developer portal, page Bot"
        )


async def in_background(work: Awaitable[Result]) -> Result:
    """Do `work` so that its requests, and those of tasks that it starts, wait for room; for a task of its own."""
    _background.set(True)
    return await work


class Requests:
    """The requests of one process. Lives in its event loop."""

    def __init__(self, instances: int = 1, clock: Clock = time.monotonic) -> None:
        """`instances`: how many processes share the bot, and with it the limit on requests."""
        self.total = 0
        self.rate_limited = 0
        self.token_refused = False
        self.clock_ahead: float | None = None
        """Seconds that this machine's clock is ahead of Discord's, as its latest answer tells."""
        self._clock = clock
        self._invalid_at: deque[float] = deque()
        self._full = False
        self._per_second = max(1, BACKGROUND_PER_SECOND // instances)
        self._begun_at: deque[float] = deque(maxlen=self._per_second)

    @property
    def invalid(self) -> int:
        """Invalid requests in the window."""
        oldest = self._clock() - WINDOW_SECONDS
        while self._invalid_at and self._invalid_at[0] <= oldest:
            self._invalid_at.popleft()
        return len(self._invalid_at)

    @property
    def full(self) -> bool:
        """Whether background reading waits for invalid requests to leave the window."""
        invalid = self.invalid
        if self._full != (full := invalid > ROOM_AGAIN if self._full else invalid >= MOST_INVALID):
            self._full = full
            if full:
                _log.warning("Discord refused %d requests in 10 min: background reading waits", invalid)
            else:
                _log.info("background reading goes on: %d requests refused in 10 min", invalid)
        return self._full

    def counters(self) -> dict[str, Counter]:
        return {
            "requests": self.total,
            "rate_limited": self.rate_limited,
            "invalid_requests": self.invalid,
            "requests_paused": self.full,
            "clock_ahead_seconds": None if self.clock_ahead is None else round(self.clock_ahead, 1),
        }

    def require_token(self) -> None:
        """Raise TokenRefusedError if Discord has refused the token."""
        if self.token_refused:
            raise TokenRefusedError

    # Seeing answers

    def trace(self) -> aiohttp.TraceConfig:
        """For discord.py's session, which interactions are answered by as well."""
        config = aiohttp.TraceConfig()
        config.on_request_end.append(self._on_request_end)
        return config

    async def _on_request_end(self, _session: object, _context: object, seen: aiohttp.TraceRequestEndParams) -> None:
        # an interaction has a token of its own, and an expired one is no fault of the bot's
        scope = seen.response.headers.get("X-RateLimit-Scope", "")
        self.count(seen.response.status, scope, with_token="Authorization" in seen.headers)
        self.hear_time(seen.response.headers.get("Date", ""))

    def hear_time(self, date: str) -> None:
        """Note when an answer says that it was given (RFC 9110, 6.6.1)."""
        with contextlib.suppress(ValueError):
            self.clock_ahead = time.time() - parsedate_to_datetime(date).timestamp()

    def count(self, status: int, scope: str = "", *, with_token: bool = True) -> None:
        """Note an answer."""
        if status == _SWITCHING_PROTOCOLS:
            return  # the gateway
        self.total += 1
        self.rate_limited += status == 429
        if status in _INVALID and scope != "shared":
            self._invalid_at.append(self._clock())
        if status == 401 and with_token:
            self.token_refused = True

    # Before asking

    def gate(self, ask: Ask) -> Ask:
        """`HTTPClient.request` with us before it. Raises TokenRefusedError from the first 401 on, whoever asks."""

        async def request(*arguments: Any, **options: Any) -> Any:
            if _background.get():
                await self._wait_for_room()
            self.require_token()
            self._begun_at.append(self._clock())
            try:
                return await ask(*arguments, **options)
            except discord.HTTPException:
                if self.token_refused:
                    raise TokenRefusedError from None
                raise

        return request

    async def _wait_for_room(self) -> None:
        while not self.token_refused and (seconds := self._seconds_to_wait()) > 0:  # noqa: ASYNC110 - for time to pass
            await asyncio.sleep(min(seconds, LONGEST_SLEEP_SECONDS))

    def _seconds_to_wait(self) -> float:
        """Until a background request may be tried; 0 for now."""
        now = self._clock()
        if self.full:
            return max(0.01, self._invalid_at[len(self._invalid_at) - ROOM_AGAIN - 1] + WINDOW_SECONDS - now)
        if len(self._begun_at) < self._per_second:
            return 0.0
        return max(0.0, self._begun_at[0] + 1.0 - now)
