"""Faults on order: plain state that gateway and REST consult; no I/O here.

Faults that act on connections at once (cut, reconnect, invalidate, ...) are methods of `gateway.Gateway`.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one REST request.

    `delay_seconds` passes first; then `reset` breaks the connection, or `status` is the answer (429 with
    `retry_after_seconds` and, if `is_global`, the global header), or, with neither, the request goes through.
    """

    status: int | None = None
    delay_seconds: float = 0.0
    retry_after_seconds: float = 1.0
    is_global: bool = False
    reset: bool = False


@dataclass(slots=True)
class RestRule:
    """A fault for requests whose path fits a shell pattern, `remaining` times (None: until cleared)."""

    id: int
    fault: Fault
    pattern: str = "*"
    method: str | None = None
    remaining: int | None = None
    hits: int = 0

    def fits(self, method: str, path: str) -> bool:
        """Is this request meant, and is the rule not used up?"""
        if self.remaining == 0 or (self.method is not None and self.method != method):
            return False
        return fnmatchcase(path, self.pattern)

    def take(self) -> Fault:
        """Use the rule once."""
        self.hits += 1
        if self.remaining is not None:
            self.remaining -= 1
        return self.fault


@dataclass(slots=True)
class IdentifyBudget:
    """The session start limit: how many IDENTIFYs a token has left."""

    total: int = 1000
    remaining: int = 1000
    reset_after_ms: int = _DAY_MS
    max_concurrency: int = 1
    refused: int = 0

    def spend(self) -> bool:
        """Take one IDENTIFY; False when none is left."""
        if self.remaining <= 0:
            self.refused += 1
            return False
        self.remaining -= 1
        return True

    def payload(self) -> dict[str, int]:
        """The `session_start_limit` object of `GET /gateway/bot`."""
        return {
            "total": self.total,
            "remaining": self.remaining,
            "reset_after": self.reset_after_ms,
            "max_concurrency": self.max_concurrency,
        }


@dataclass(slots=True)
class Sharding:
    """What a bot is told about shards: how many it should have, and how few a session may be one of."""

    recommended: int = 1
    required: int = 1


@dataclass(slots=True)
class Faults:
    """The switches. Everything is off in a new one and after `clear()`; identify budget and sharding are none."""

    zombie: bool = False
    """Heartbeats are not ACKed; events flow."""
    deaf: bool = False
    """Heartbeats are ACKed; events are lost."""
    drop_next: int = 0
    """So many more events are lost."""
    drop_fraction: float = 0.0
    """This share of events is lost."""
    drop_names: frozenset[str] = frozenset()
    """Only events of these names are lost to deafness and drops; empty: all but READY and RESUMED."""
    keep_for_resume: bool = False
    """Events that deafness or drops keep back come again on RESUME, instead of never."""
    refuse_gateway: bool = False
    """New gateway connections are reset."""
    refuse_rest: bool = False
    """REST connections are reset."""
    refuse_resume: bool = False
    """Every RESUME is answered by op 9 false."""
    rest_rules: list[RestRule] = field(default_factory=list)
    dropped_events: int = 0
    identify_budget: IdentifyBudget = field(default_factory=IdentifyBudget)
    sharding: Sharding = field(default_factory=Sharding)
    _rule_ids: count[int] = field(default_factory=lambda: count(1))
    _random: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311  repeatable on purpose

    # -- REST

    def rest_fault(self, method: str, path: str) -> Fault | None:
        """The fault for a request, spending its rule; `path` comes without `/api/v10`. Called once a request."""
        if self.refuse_rest:
            return Fault(reset=True)
        for rule in self.rest_rules:
            if rule.fits(method, path):
                return rule.take()
        return None

    def add_rest_rule(
        self, fault: Fault, *, pattern: str = "*", method: str | None = None, times: int | None = None
    ) -> RestRule:
        """Order a fault for the next `times` fitting requests (None: until cleared). Older rules come first."""
        rule = RestRule(next(self._rule_ids), fault, pattern, method, times)
        self.rest_rules.append(rule)
        return rule

    def clear_rest_rules(self) -> None:
        """Take all REST rules away."""
        self.rest_rules.clear()

    # -- gateway

    def loses(self, event_name: str) -> bool:
        """Is this event, for one session, lost? Spends `drop_next` and counts."""
        if self.drop_names and event_name not in self.drop_names:
            return False
        lost = self.deaf or self.drop_next > 0 or self._by_chance()
        if lost:
            self.dropped_events += 1
            if self.drop_next > 0 and not self.deaf:
                self.drop_next -= 1
        return lost

    def _by_chance(self) -> bool:
        return self.drop_fraction > 0 and self._random.random() < self.drop_fraction

    def clear(self) -> None:
        """Switch every fault off; counts and the identify budget stay."""
        fresh = Faults()
        for name in _SWITCHES:
            setattr(self, name, getattr(fresh, name))
        self.clear_rest_rules()

    def report(self) -> dict[str, Any]:
        """The switches and rules as JSON-ready values."""
        switches = {name: getattr(self, name) for name in _SWITCHES}
        switches["drop_names"] = sorted(self.drop_names)
        return {
            **switches,
            "dropped_events": self.dropped_events,
            "rest_rules": self.rest_rules,
            "identify_budget": self.identify_budget.payload(),
            "sharding": asdict(self.sharding),
        }


_SWITCHES = (
    "zombie",
    "deaf",
    "drop_next",
    "drop_fraction",
    "drop_names",
    "keep_for_resume",
    "refuse_gateway",
    "refuse_rest",
    "refuse_resume",
)
