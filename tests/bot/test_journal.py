"""The queue between gateway and store: order, batches, failures, overflow."""

from __future__ import annotations

import asyncio
import json

import pytest

from ragd.bot import journal as journal_module
from ragd.bot.journal import Journal
from ragd.bot.normalise import valid_text
from ragd.errors import TransientError
from ragd.store.events import Event, GuildSeen, SessionBroken


class Disk:
    """Takes batches, or refuses them."""

    def __init__(self) -> None:
        self.full = False
        self.batches: list[list[Event]] = []

    async def apply(self, events: list[Event]) -> None:
        if self.full:
            raise TransientError("no space left")
        self.batches.append(events)

    @property
    def events(self) -> list[Event]:
        return [event for batch in self.batches for event in batch]


def guild(number: int) -> GuildSeen:
    return GuildSeen(number, f"guild {number}")


async def nothing() -> None:
    return


async def test_events_are_committed_in_order_and_together() -> None:
    journal, disk = Journal(nothing), Disk()
    for number in range(5):
        journal.record(guild(number))
    await journal.write_next(disk.apply, 1)
    assert disk.batches == [[guild(number) for number in range(5)]]
    assert (len(journal), journal.committed) == (0, 5)


async def test_a_refused_batch_is_kept_and_tried_again() -> None:
    journal, disk = Journal(nothing), Disk()
    journal.record(guild(1))
    disk.full = True
    with pytest.raises(TransientError):
        await journal.write_next(disk.apply, 1)
    journal.record(guild(2))
    disk.full = False
    await journal.write_next(disk.apply, 1)
    assert disk.events == [guild(1), guild(2)]


async def test_commit_returns_when_all_before_it_is_durable() -> None:
    journal, disk = Journal(nothing), Disk()
    journal.record(guild(1))
    barrier = asyncio.create_task(journal.commit())
    await asyncio.sleep(0)
    assert not barrier.done()
    await journal.write_next(disk.apply, 1)
    await asyncio.wait_for(barrier, 1)
    assert disk.events == [guild(1)]


async def test_waiting_ends_without_events() -> None:
    journal, disk = Journal(nothing), Disk()
    await asyncio.wait_for(journal.write_next(disk.apply, 0.01), 5)
    assert disk.batches == []


async def test_an_overflow_breaks_the_session_and_has_everything_stated_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MAX_PENDING", 3)
    restated: list[bool] = []

    async def restate() -> None:
        restated.append(True)

    journal, disk = Journal(restate), Disk()
    for number in range(5):
        journal.record(guild(number))
    await journal.write_next(disk.apply, 1)
    assert disk.events == [guild(0), guild(1), guild(2)]
    assert restated == [True]
    await journal.write_next(disk.apply, 1)
    assert disk.events[-1] == SessionBroken()


def test_half_a_surrogate_pair_becomes_text_that_can_be_stored() -> None:
    assert valid_text(json.loads('"a\\ud83d b"')) == "a? b"
    assert valid_text("caf\u00e9 \U0001f327") == "caf\u00e9 \U0001f327"
