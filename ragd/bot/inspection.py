"""One audit on its way: where it looks, what it makes of what it sees, and how that is put right."""

from __future__ import annotations

import asyncio
import os
import random
import time
from dataclasses import dataclass, replace
from itertools import count

from ragd.auditing import (
    Comparison,
    Difference,
    Finding,
    Outlook,
    Place,
    Territory,
    Verdict,
    compare,
    confirmed,
    proof_of,
)
from ragd.bot.backfill import Backfill
from ragd.bot.client import CaptureClient
from ragd.bot.counting import InStore, count_by_search, count_threads
from ragd.bot.journal import Journal
from ragd.bot.pages import GoneChannelError, Pages, UnreadableChannelError, guarded
from ragd.store.audits import Audit, StoredMessage, Tally
from ragd.store.coverage import ProvedInterval
from ragd.store.events import ChannelGone, PageRead

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

_LOOK_SECONDS = 0.5

THREADS_WALKED = 5
"""Threads whose count is off that are compared from end to end."""

LOST = (Difference.MISSING, Difference.BURIED)
"""What no edit or deletion at Discord can bring about."""


class Withdrawn(Exception):  # noqa: N818 - no error: nobody wants the result any more
    """It was taken back, or somebody else has it."""


@dataclass(frozen=True, slots=True)
class Means:
    """What of capture an audit uses."""

    client: CaptureClient
    journal: Journal
    backfill: Backfill
    in_store: InStore
    chance: random.Random


class Inspection:
    """Reads one page after another. Lives in capture's event loop."""

    def __init__(self, audit: Audit, means: Means) -> None:
        self._audit = audit
        self._client, self._journal = means.client, means.journal
        self._backfill, self._in_store, self._chance = means.backfill, means.in_store, means.chance
        self._pages = Pages(means.client)
        self._territory = Territory(())
        self._outlook = Outlook()
        self._findings: list[Finding] = []
        self.tally = Tally()

    async def run(self) -> None:
        """Compare, mend, and write the result. Raises AuditFailed, Withdrawn, ConfigError or TransientError."""
        await self._survey()
        await self._revisit()
        await self._walk_odd_threads()
        if await self._total() > self._audit.sample:
            await self._sample()
        else:
            await self._walk(None)
        await self._ask_search()
        await self._finish()

    async def _survey(self) -> None:
        await self._journal.commit()
        covered = await self._in_store(lambda store: store.coverage.covered())
        known = {guild.id for guild in self._client.guilds}
        self._territory = Territory((one for one in covered if one.guild_id in known), self._audit.channels)
        holes = await self._in_store(lambda store: store.coverage.holes())
        only = self._audit.channels
        self._outlook.holes = sum(not only or hole.channel_id in only for hole in holes)

    async def _total(self) -> int:
        """Messages that there are to compare; a number larger than the sample need not be exact."""
        audit = self._audit
        if audit.channels:
            return await self._in_store(
                lambda store: sum(store.audits.count_in(channel, thread=False) for channel in audit.channels)
            )
        return await self._in_store(lambda store: store.audits.count_messages(audit.sample + 1))

    async def _ask_search(self) -> None:
        guilds = {self._territory.guild_of(channel_id) for channel_id in self._territory.channels}
        for guild in self._client.guilds:
            if guild.id in guilds:
                self._outlook.search.append(await guarded(count_by_search(guild, self._territory, self._in_store)))

    async def _finish(self) -> None:
        audit, tally, now = self._audit, self.tally, time.time()
        findings = [finding.document() for finding in self._findings]
        details = self._outlook.document()
        if not await self._in_store(
            lambda store: store.audits.finish(audit.id, os.getpid(), tally, findings, details, now)
        ):
            raise Withdrawn

    # Where

    async def _revisit(self) -> None:
        """What the last audit could not mend is looked at first, or it would be forgotten by chance."""
        last = (await self._in_store(lambda store: store.audits.last())).done
        for finding in last.findings if last else ():
            place = self._territory.at(int(finding["channel_id"]), int(finding["message_id"]))
            if place is not None and not finding["mended"]:
                await self._inspect(place, PLACE)

    async def _walk_odd_threads(self) -> None:
        """Discord's counts of threads cost a request a guild; a thread whose count is off is compared as a whole."""
        for guild in self._client.guilds:
            counted = await guarded(count_threads(guild, self._territory, self._journal, self._in_store))
            self._outlook.threads += counted.compared
            self._outlook.threads_off += [off.document() for off in counted.off]
            for off in counted.off[:THREADS_WALKED]:
                await self._walk(off.thread_id)

    async def _walk(self, channel_id: int | None) -> None:
        """All that is left of a channel, or of everything, newest first."""
        while place := self._territory.newest(channel_id):
            await self._inspect(place, PAGE)

    async def _sample(self) -> None:
        """Random places until there are enough messages: of every other one the time is random, else the message.

        By time alone busy hours would hardly be seen, by messages alone never one that is missing with all around it.
        """
        sample = self._audit.sample
        for turn in count():
            if self.tally.checked >= sample or turn >= max(10, sample // 5):
                return
            place = await self._random_message() if turn % 2 else None
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
        try:
            await self._compare(place, await self._pages.read(place, limit), limit)
        except UnreadableChannelError:
            self._territory.drop(place.channel_id)
            self._outlook.unread.append(place.channel_id)
        except GoneChannelError:
            await self._tell_gone(place)
        audit_id, tally = self._audit.id, self.tally
        if not await self._in_store(lambda store: store.audits.touch(audit_id, os.getpid(), tally, time.time())):
            raise Withdrawn
        await asyncio.sleep(PAUSE_SECONDS[self._audit.kind])

    async def _compare(self, place: Place, page: PageRead, limit: int) -> None:
        first = compare(page.rows, (await self._stored(page))[0])
        self._territory.take(place, page.start_id)
        if not first.differences:
            self._count(first, 0, 0)
            return
        await asyncio.sleep(SETTLE_SECONDS)
        rested = await self._rest()
        again = await self._pages.read(replace(place, start_id=page.start_id), limit)
        stored, proofs = await self._stored(again)
        second = compare(again.rows, stored)
        found = confirmed(first, second)
        if found:
            await self._journal.commit(again)
        if not rested:
            found = self._excuse(found)
        await self._record(again, second, found, proofs)

    def _excuse(self, found: dict[int, Verdict]) -> dict[int, Verdict]:
        """What happened while there was no session capture would have read again by itself: it is no finding."""
        lost = {message_id: verdict for message_id, verdict in found.items() if verdict.difference in LOST}
        self._outlook.while_away += len(found) - len(lost)
        return lost

    async def _record(
        self, page: PageRead, seen: Comparison, found: dict[int, Verdict], proofs: list[ProvedInterval]
    ) -> None:
        """Put down what was found in a page, and whether its commit has mended that."""
        left = compare(page.rows, (await self._stored(page))[0]).differences.keys() & found.keys()
        for message_id, verdict in sorted(found.items()):
            mended, proof = message_id not in left, proof_of(message_id, proofs)
            self._findings.append(Finding(verdict, page.guild_id, page.channel_id, message_id, proof, mended))
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

    async def _rest(self) -> bool:
        """Wait until nothing is known to have been missed that capture reads again by itself; False if that lasts."""
        deadline = time.monotonic() + REST_SECONDS
        while not self._backfill.at_rest or self._client.sessions.away:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_LOOK_SECONDS)
        return True

    async def _tell_gone(self, place: Place) -> None:
        """A channel that Discord has no more: a finding, unless capture hears of it by now."""
        channel_id = place.channel_id
        self._territory.drop(channel_id)
        await asyncio.sleep(SETTLE_SECONDS)
        await self._journal.commit()
        messages = await self._in_store(lambda store: store.audits.count_in(channel_id, thread=False))
        proofs = await self._in_store(lambda store: store.coverage.proofs(channel_id))
        if not proofs:  # forgotten with its channel
            return
        await self._journal.commit(ChannelGone(channel_id))
        if not messages:
            return
        self._findings.append(Finding(Verdict(Difference.GONE), place.guild_id, channel_id, 0, proofs[-1], mended=True))
        self._count(Comparison(messages, 0, {}), messages, 0)
