"""Audits: Discord is asked what exists, in random places, and the store is compared with it.

Whoever wants one writes a row into the table `audit`, and capture, which alone has the token, the permissions and the
rate limiter, does it: slowly, one request at a time. What differs is looked at twice, because an event may be on its
way, and is mended as any page is that was read: through the journal.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Awaitable
from dataclasses import replace
from typing import TypeVar

import aiohttp
import discord

from ragd.auditing import Comparison, Difference, Finding, Outlook, Place, Territory, compare, confirmed, proof_of
from ragd.bot.backfill import Backfill
from ragd.bot.client import CaptureClient
from ragd.bot.counting import InStore, count_by_search, count_threads
from ragd.bot.journal import Journal
from ragd.bot.normalise import MessageChannel, can_read, message_row
from ragd.errors import ConfigError, TransientError
from ragd.heartbeat import process_exists
from ragd.store import Store
from ragd.store.audits import Audit, StoredMessage, Tally
from ragd.store.coverage import FIRST_ID, ProvedInterval
from ragd.store.events import ChannelGone, PageRead

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

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

PLACE = 25
"""Messages read at a random place: many places say more than many messages of one."""

PAGE = 100
"""Messages a page when everything is compared: the most Discord gives."""

PAUSE_SECONDS = {"asked": 0.2, "daily": 2.0}
"""Between two requests: Discord allows 50 a second, and those are the backfill's."""

SETTLE_SECONDS = 2.0
"""Until what seems to differ is looked at again: an event takes a fraction of that."""

REST_SECONDS = 30.0
"""How long a difference waits for capture to have read again what happened while there was no session."""

THREADS_WALKED = 5
"""Threads whose count is off that are compared from end to end."""


class AuditFailed(Exception):  # noqa: N818 - an outcome: it is told to who asked
    """The audit cannot be brought to its end; says why."""


class Withdrawn(Exception):  # noqa: N818 - no error: nobody wants the result any more
    """It was taken back, or somebody else has it."""


class Auditor:
    """One task in capture. Does one audit at a time."""

    def __init__(
        self,
        client: CaptureClient,
        journal: Journal,
        backfill: Backfill,
        in_store: InStore,
        chance: random.Random | None = None,
    ) -> None:
        self._client = client
        self._journal = journal
        self._backfill = backfill
        self._in_store = in_store
        self._chance = chance or random.SystemRandom()

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
        if not self._connected():
            await self._refuse_impatient(due, now)
            return False
        if not await self._in_store(lambda store: store.audits.take(due, os.getpid(), now)):
            return False
        await self._carry_out(due)
        return True

    def _connected(self) -> bool:
        return self._client.is_ready() and not self._client.disconnected_seconds

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
        due = next_daily_at(last, now, self._chance)
        await self._in_store(lambda store: store.audits.schedule_daily(DAILY_SAMPLE, due))

    async def _carry_out(self, audit: Audit) -> None:
        started = time.monotonic()
        try:
            inspection = Inspection(audit, self._client, self._journal, self._backfill, self._in_store, self._chance)
            await inspection.run()
        except Withdrawn:
            _log.info("audit %d was taken back", audit.id)
        except (AuditFailed, ConfigError) as error:
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


class Inspection:
    """One audit on its way."""

    def __init__(
        self,
        audit: Audit,
        client: CaptureClient,
        journal: Journal,
        backfill: Backfill,
        in_store: InStore,
        chance: random.Random,
    ) -> None:
        self._audit = audit
        self._client = client
        self._journal = journal
        self._backfill = backfill
        self._in_store = in_store
        self._chance = chance
        self._territory = Territory(())
        self._outlook = Outlook()
        self._findings: list[Finding] = []
        self._channels: dict[int, MessageChannel] = {}
        self.tally = Tally()

    async def run(self) -> None:
        """Compare, mend, and write the result. Raises AuditFailed, Withdrawn, ConfigError or TransientError."""
        await self._survey()
        await self._walk_odd_threads()
        if await self._in_store(lambda store: store.audits.count_messages(self._audit.sample + 1)) > self._audit.sample:
            await self._sample()
        else:
            await self._walk(None)
        guilds = {self._territory.guild_of(channel_id) for channel_id in self._territory.channels}
        self._outlook.search = [
            await self._guarded(count_by_search(guild, self._territory, self._in_store))
            for guild in self._client.guilds
            if guild.id in guilds
        ]
        await self._finish()

    async def _survey(self) -> None:
        await self._journal.commit()
        covered = await self._in_store(lambda store: store.coverage.covered())
        known = {guild.id for guild in self._client.guilds}
        self._territory = Territory((c for c in covered if c.guild_id in known), self._audit.channels)
        holes = await self._in_store(lambda store: store.coverage.holes())
        only = self._audit.channels
        self._outlook.holes = sum(not only or hole.channel_id in only for hole in holes)

    async def _finish(self) -> None:
        audit, tally, now = self._audit, self.tally, time.time()
        findings = [finding.document() for finding in self._findings]
        details = self._outlook.document()
        if not await self._in_store(
            lambda store: store.audits.finish(audit.id, os.getpid(), tally, findings, details, now)
        ):
            raise Withdrawn

    # Where

    async def _walk_odd_threads(self) -> None:
        """Discord's counts of threads cost a request a guild; a thread whose count is off is compared as a whole."""
        for guild in self._client.guilds:
            counted = await self._guarded(count_threads(guild, self._territory, self._journal, self._in_store))
            self._outlook.threads += counted.compared
            self._outlook.threads_off += [off.document() for off in counted.off]
            for off in counted.off[:THREADS_WALKED]:
                await self._walk(off.thread_id)

    async def _walk(self, channel_id: int | None) -> None:
        """All that is left of a channel, or of everything, newest first."""
        while place := self._territory.newest(channel_id):
            await self._inspect(place, PAGE)

    async def _sample(self) -> None:
        """Random places until there are enough messages: of every other one the time is random, else the message."""
        sample = self._audit.sample
        while self.tally.checked < sample and self._outlook.pages < max(10, sample // 5):
            place = await self._random_message() if self._outlook.pages % 2 else None
            place = place or self._territory.somewhere(self._chance.random())
            if place is None:
                return
            await self._inspect(place, min(PLACE, sample))

    async def _random_message(self) -> Place | None:
        point = self._chance.random()
        found = await self._in_store(lambda store: store.audits.any_message(point))
        return self._territory.at(*found) if found else None

    # One place

    async def _inspect(self, place: Place, limit: int) -> None:
        """Compare one page at the end of a place, and count it; what differs is mended."""
        self._outlook.pages += 1
        page = await self._read(place, limit)
        if page is not None:
            await self._compare(place, page, limit)
        if not await self._in_store(
            lambda store: store.audits.touch(self._audit.id, os.getpid(), self.tally, time.time())
        ):
            raise Withdrawn
        await asyncio.sleep(PAUSE_SECONDS[self._audit.kind])

    async def _compare(self, place: Place, page: PageRead, limit: int) -> None:
        first = compare(page.rows, (await self._stored(page))[0])
        self._territory.take(place, page.start_id)
        if not first.differences:
            self._count(first, 0, 0)
            return
        await asyncio.sleep(SETTLE_SECONDS)
        rested = await self._at_rest()
        again = await self._read(replace(place, start_id=page.start_id), limit)
        if again is None:
            return
        stored, proofs = await self._stored(again)
        second = compare(again.rows, stored)
        found = confirmed(first, second)
        if found:
            await self._journal.commit(again)
        if not rested:
            found = self._excuse(found)
        await self._record(again, second, found, proofs)

    def _excuse(self, found: dict[int, tuple[Difference, str]]) -> dict[int, tuple[Difference, str]]:
        """What happened while there was no session capture would have read again by itself: it is no finding."""
        lost = {key: verdict for key, verdict in found.items() if verdict[0] in (Difference.MISSING, Difference.BURIED)}
        self._outlook.while_away += len(found) - len(lost)
        return lost

    async def _record(
        self,
        page: PageRead,
        seen: Comparison,
        found: dict[int, tuple[Difference, str]],
        proofs: list[ProvedInterval],
    ) -> None:
        """Put down what was found in a page, and whether its commit has mended that."""
        left = compare(page.rows, (await self._stored(page))[0]).differences.keys() & found.keys()
        self._findings += [
            Finding(
                difference,
                page.guild_id,
                page.channel_id,
                message_id,
                fields,
                proof_of(message_id, proofs),
                message_id not in left,
            )
            for message_id, (difference, fields) in sorted(found.items())
        ]
        self._count(seen, len(found), len(left))

    def _count(self, seen: Comparison, found: int, unmended: int) -> None:
        before = self.tally
        self.tally = Tally(
            before.checked + seen.checked,
            before.present + seen.checked - found,
            before.deleted + seen.deleted,
            before.found + found,
            before.unmended + unmended,
        )

    async def _stored(self, page: PageRead) -> tuple[list[StoredMessage], list[ProvedInterval]]:
        """What the store has in the stretch of a page once all is committed that came before this moment."""
        await self._journal.commit()
        span = (page.start_id, page.end_id)
        return await self._in_store(
            lambda store: (store.audits.messages(page.channel_id, span), store.coverage.proofs(page.channel_id))
        )

    async def _at_rest(self) -> bool:
        """Whether nothing is known to have been missed that capture is about to read again by itself."""
        deadline = time.monotonic() + REST_SECONDS
        while not (self._backfill.at_rest and not self._client.disconnected_seconds):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True

    # Asking Discord

    async def _read(self, place: Place, limit: int) -> PageRead | None:
        """The newest messages of a place, and from where to where they are all there are; None if it is unreadable."""
        channel = await self._channel(place.channel_id)
        if channel is None or not can_read(channel):
            self._skip(place.channel_id)
            return None
        try:
            messages = await self._guarded(_history(channel, place.end_id, limit))
        except discord.Forbidden:
            self._skip(place.channel_id)
            return None
        except discord.NotFound:
            await self._tell_gone(place)
            return None
        if not messages and not can_read(channel):  # the permission went while we asked
            self._skip(place.channel_id)
            return None
        oldest = min((message.id for message in messages), default=FIRST_ID) if len(messages) == limit else FIRST_ID
        start_id = max(place.start_id, oldest)
        rows = [message_row(message, channel.guild.id) for message in messages if message.id >= start_id]
        return PageRead(place.guild_id, place.channel_id, start_id, place.end_id, rows)

    async def _channel(self, channel_id: int) -> MessageChannel | None:
        """The channel from the cache or, for an archived thread, over REST; None if it cannot be had."""
        cached = self._client.get_channel(channel_id) or self._channels.get(channel_id)
        if isinstance(cached, MessageChannel):
            return cached
        try:
            fetched = await self._guarded(self._client.fetch_channel(channel_id))
        except discord.NotFound:
            place = self._territory.newest(channel_id)
            if place is not None:
                await self._tell_gone(place)
            return None
        except (discord.Forbidden, discord.InvalidData):
            return None
        if not isinstance(fetched, MessageChannel):
            return None
        self._channels[channel_id] = fetched
        return fetched

    def _skip(self, channel_id: int) -> None:
        """Leave out a channel that cannot be read, unless it is gone and has been told as that."""
        if self._territory.newest(channel_id) is not None:
            self._territory.drop(channel_id)
            self._outlook.unread.append(channel_id)

    async def _tell_gone(self, place: Place) -> None:
        """A channel that Discord has no more: a finding, unless capture has heard of it by now."""
        self._territory.drop(place.channel_id)
        await asyncio.sleep(SETTLE_SECONDS)
        await self._journal.commit()
        count = await self._in_store(lambda store: store.audits.count_in(place.channel_id, thread=False))
        proofs = await self._in_store(lambda store: store.coverage.proofs(place.channel_id))
        if not proofs:  # forgotten with its channel
            return
        await self._journal.commit(ChannelGone(place.channel_id))
        self._findings.append(
            Finding(Difference.GONE, place.guild_id, place.channel_id, 0, "", proofs[-1], mended=True)
        )
        self._count(Comparison(count, 0, {}), count or 1, 0)

    async def _guarded(self, asking: Awaitable[Result]) -> Result:
        """Await an answer of Discord's; discord.py has tried five times before it raises a server's error.

        Raises ConfigError for a refused token, AuditFailed when Discord does not answer, Forbidden and NotFound as
        they are.
        """
        try:
            return await asking
        except (discord.Forbidden, discord.NotFound, discord.InvalidData):
            raise
        except (discord.HTTPException, aiohttp.ClientError, TimeoutError) as error:
            if isinstance(error, discord.HTTPException) and error.status == 401:
                hint = "copy the token anew from the developer portal, page Bot"
                raise ConfigError("Discord refuses DISCORD_BOT_TOKEN", hint=hint) from None
            raise AuditFailed(f"Discord does not answer ({_name(error)})") from error


def _name(error: Exception) -> str:
    return f"HTTP status {error.status}" if isinstance(error, discord.HTTPException) else type(error).__name__


async def _history(channel: MessageChannel, end_id: int, limit: int) -> list[discord.Message]:
    """The newest messages at or below end_id."""
    return [message async for message in channel.history(limit=limit, before=discord.Object(end_id + 1))]
