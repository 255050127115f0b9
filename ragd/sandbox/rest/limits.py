"""Rate limits as Discord applies them: one fixed window per route and major parameter, one for everything.

Source: Discord's reference, "Rate Limits". Every answer carries the state of its bucket; too many invalid
answers (401, 403, 429) bar the caller at the edge, as Cloudflare does in front of Discord.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

Clock = Callable[[], float]

INVALID_STATUSES = frozenset({401, 403, 429})
MESSAGES_PATH = "/channels/{channel_id}/messages"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `requests` per window of `seconds`, counted from the window's first request."""

    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """The default lets a test run fast while every header stays true; `like_discord` is for realism.

    `routes` maps "METHOD /path/{template}" (without the /api/v10 prefix) to a limit of its own.
    """

    route: Limit = Limit(50, 1.0)
    everything: Limit = Limit(1000, 1.0)
    invalid: Limit = Limit(10_000, 600.0)
    routes: Mapping[str, Limit] = field(default_factory=dict)

    @classmethod
    def like_discord(cls) -> LimitSettings:
        """Limits of about the size observed on Discord, which publishes none but the global one."""
        return cls(
            route=Limit(10, 1.0),
            everything=Limit(50, 1.0),
            routes={
                f"GET {MESSAGES_PATH}": Limit(5, 1.0),
                f"POST {MESSAGES_PATH}": Limit(5, 5.0),
                f"DELETE {MESSAGES_PATH}/{{message_id}}": Limit(5, 1.0),
                "PUT " + MESSAGES_PATH + "/{message_id}/reactions/{emoji}/{user_id}": Limit(1, 0.25),
                "POST /webhooks/{webhook_id}/{token}": Limit(5, 2.0),
            },
        )


class Window:
    """A fixed window: opens with a request, lasts `limit.seconds`, admits `limit.requests`."""

    __slots__ = ("closes_at", "limit", "used")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.closes_at = 0.0
        self.used = 0

    def admit(self, now: float) -> bool:
        """Count a request at `now`; False when the window is full."""
        if now >= self.closes_at:
            self.closes_at, self.used = now + self.limit.seconds, 0
        if self.used >= self.limit.requests:
            return False
        self.used += 1
        return True

    def seconds_left(self, now: float) -> float:
        return max(0.0, self.closes_at - now)

    @property
    def remaining(self) -> int:
        return self.limit.requests - self.used


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the limits say about one request: its bucket's headers and, when refused, why."""

    headers: dict[str, str]
    scope: str = ""
    """"user", "global" or "edge" when refused, empty when admitted."""
    retry_after_seconds: float = 0.0


class RateLimits:
    """The buckets of one API, and counts of what it answered."""

    def __init__(self, settings: LimitSettings, clock: Clock = time.monotonic) -> None:
        self.settings = settings
        self.answers: Counter[int] = Counter()
        """Answers given, by HTTP status."""
        self._clock = clock
        self._windows: dict[tuple[str, str], Window] = {}
        self._global: dict[str, Window] = {}
        self._invalid_at: deque[float] = deque()

    @property
    def invalid_requests(self) -> int:
        """How many answers so far were 401, 403 or 429: what Discord counts against a bot's address."""
        return sum(self.answers[status] for status in INVALID_STATUSES)

    def report(self) -> dict[str, Any]:
        """The counts, JSON-ready."""
        answers = {str(status): count for status, count in sorted(self.answers.items())}
        return {"answers": answers, "invalid_requests": self.invalid_requests}

    def reconfigure(self, settings: LimitSettings) -> None:
        """Apply other limits from the next request on, all windows empty."""
        self.settings = settings
        self._windows.clear()
        self._global.clear()

    def check(self, caller: str, route: str, major: str, *, counts_globally: bool = True) -> Verdict:
        """Count one request of `caller` to `route` ("METHOD /template") with major parameter `major`."""
        now = self._clock()
        if self._is_barred(now):
            return Verdict({}, "edge", self.settings.invalid.seconds)
        if counts_globally and (wait := self._global_wait(caller, now)) > 0:
            return Verdict({"X-RateLimit-Global": "true"}, "global", wait)
        bucket = bucket_hash(route)
        window = self._window(f"{caller}:{bucket}", major, self.settings.routes.get(route, self.settings.route))
        admitted = window.admit(now)
        headers = _headers(window, bucket, now)
        return Verdict(headers) if admitted else Verdict(headers, "user", window.seconds_left(now))

    def record(self, status: int, scope: str = "") -> None:
        """Count an answer; a 429 of scope "shared" is not the caller's fault and not held against it."""
        self.answers[status] += 1
        if status in INVALID_STATUSES and scope != "shared":
            self._invalid_at.append(self._clock())

    def _is_barred(self, now: float) -> bool:
        while self._invalid_at and self._invalid_at[0] <= now - self.settings.invalid.seconds:
            self._invalid_at.popleft()
        return len(self._invalid_at) >= self.settings.invalid.requests

    def _global_wait(self, caller: str, now: float) -> float:
        window = self._global.get(caller)
        if window is None:
            window = self._global[caller] = Window(self.settings.everything)
        return 0.0 if window.admit(now) else window.seconds_left(now)

    def _window(self, bucket: str, major: str, limit: Limit) -> Window:
        window = self._windows.get((bucket, major))
        if window is None:
            window = self._windows[bucket, major] = Window(limit)
        return window


def bucket_hash(route: str) -> str:
    """The opaque bucket name of a route: 32 hex digits, the same in every process."""
    return blake2b(route.encode(), digest_size=16).hexdigest()


def _headers(window: Window, bucket: str, now: float) -> dict[str, str]:
    left = window.seconds_left(now)
    return {
        "X-RateLimit-Limit": str(window.limit.requests),
        "X-RateLimit-Remaining": str(window.remaining),
        "X-RateLimit-Reset": f"{time.time() + left:.3f}",
        "X-RateLimit-Reset-After": f"{left:.3f}",
        "X-RateLimit-Bucket": bucket,
    }
