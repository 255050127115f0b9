"""Audits: Discord is asked what exists, in random places, and the store is compared with it.

Whoever wants one writes a row into the table `audit`, and capture, which alone has the token, the permissions and the
rate limiter, does it (ragd/bot/inspection.py): slowly, one request at a time. What differs is looked at twice, because
an event may be on its way, and is mended as any page is that was read: through the journal.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time

from ragd.bot.inspection import Inspection, Means, Withdrawn
from ragd.bot.pages import AuditFailed
from ragd.errors import ConfigError, TransientError
from ragd.heartbeat import process_exists
from ragd.store import Store
from ragd.store.audits import Audit, Tally

_log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""Between two looks into the table."""

PATIENCE_SECONDS = 20
"""How long a person's request waits for a connection to Discord."""

DAILY_SAMPLE = 500
DAY_SECONDS = 86_400.0
JITTER_SECONDS = 7_200.0
"""Each daily audit is that much earlier or later than a day after the one before: many ragds never ask together."""

FIRST_SECONDS = 3_600.0
"""Before the first one of all, for a new ragd has its history to read; and after one that failed."""


class Auditor:
    """One task in capture. Does one audit at a time."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._client, self._in_store = means.client, means.in_store

    async def run(self) -> None:
        """Look for audits until cancelled. Raises ConfigError when Discord refuses the token."""
        while True:
            try:
                await self.look(time.time())
            except TransientError as error:
                _log.warning("audits wait for the store: %s", error)
            await asyncio.sleep(POLL_SECONDS)

    async def look(self, now: float) -> bool:
        """Do the audit that is due at that time (Unix seconds), if any; returns whether there was one."""
        await self._schedule(now)
        due = await self._in_store(lambda store: store.audits.due(os.getpid(), now, process_exists))
        if due is None:
            return False
        if not self._client.is_ready() or self._client.sessions.away:
            await self._refuse_impatient(due, now)
            return False
        if not await self._in_store(lambda store: store.audits.take(due, os.getpid(), now)):
            return False
        await self._carry_out(due)
        return True

    async def _refuse_impatient(self, due: Audit, now: float) -> None:
        """A daily audit waits until Discord is there; a person is told."""
        if due.kind == "asked" and due.asked_at < now - PATIENCE_SECONDS:
            problem = "capture is not connected to Discord"
            await self._in_store(lambda store: store.audits.fail(due.id, problem, now))

    async def _schedule(self, now: float) -> None:
        """Have a daily audit in the table. The row is the schedule, so a restart changes nothing."""
        if await self._in_store(lambda store: _is_scheduled(store, now)):
            return
        last = await self._in_store(lambda store: store.audits.last_daily())
        due = next_daily_at(last, now, self._means.chance)
        await self._in_store(lambda store: store.audits.schedule_daily(DAILY_SAMPLE, due))

    async def _carry_out(self, audit: Audit) -> None:
        started = time.monotonic()
        inspection = Inspection(audit, self._means)
        try:
            await inspection.run()
        except Withdrawn:
            _log.info("audit %d was taken back", audit.id)
        except (AuditFailed, ConfigError) as error:
            if self._client.is_closed():
                return  # capture stops: the row stays as it is, and the next one takes it up
            problem = str(error)
            _log.warning("audit %d failed: %s", audit.id, problem)
            await self._in_store(lambda store: store.audits.fail(audit.id, problem, time.time()))
            if isinstance(error, ConfigError):
                raise
        else:
            _report(audit, inspection.tally, time.monotonic() - started)


def next_daily_at(last: Audit | None, now: float, chance: random.Random) -> float:
    """A day after the last one that ended, an hour after one that failed or from now if there was none, give or take;
    Unix seconds. One that is overdue comes within the jitter.
    """
    if last is None or last.state == "failed":
        return now + FIRST_SECONDS * chance.uniform(0.5, 1.5)
    due = min(max(now, (last.ended_at or 0) + DAY_SECONDS), now + DAY_SECONDS)
    return due + JITTER_SECONDS * chance.uniform(-1, 1)


def _is_scheduled(store: Store, now: float) -> bool:
    """A time that is too far off is one of a clock that was set back since."""
    daily = store.audits.next_daily()
    return daily is not None and daily.asked_at <= now + DAY_SECONDS + JITTER_SECONDS


def _report(audit: Audit, tally: Tally, seconds: float) -> None:
    _log.log(
        logging.WARNING if tally.found else logging.INFO,
        "audit %d: %d of %d messages present, %d deleted as expected, %d found to differ, %d not mended, in %.0f s",
        audit.id,
        tally.present,
        tally.checked,
        tally.deleted,
        tally.found,
        tally.unmended,
        seconds,
    )
