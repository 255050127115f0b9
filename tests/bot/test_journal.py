"""The queue between gateway and store: order, batches, failures, overflow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from ragd.bot import journal as journal_module
from ragd.bot import spool as spool_module
from ragd.bot.details import valid_text
from ragd.bot.journal import Journal
from ragd.bot.spool import Spool
from ragd.errors import TransientError
from ragd.store.events import (
    AccessChanged,
    ChannelGone,
    ChannelsSeen,
    Deleted,
    Edited,
    Event,
    GuildGone,
    GuildSeen,
    GuildSilent,
    GuildsListed,
    ImportDoubted,
    Imported,
    ImportedChannel,
    ImportedRow,
    LoggedIn,
    PageRead,
    Posted,
    Reacted,
    Refused,
    ScopeSet,
    SessionBroken,
    ThreadsListed,
)
from tests.store.factories import at, channel, message

ALL_KINDS: list[Event] = [
    SessionBroken(),
    LoggedIn(77),
    GuildSeen(1, "g"),
    GuildsListed([1, 2], [0, 1], 4),
    GuildGone(2),
    GuildSilent(1),
    ScopeSet([3], [4, 5]),
    ChannelsSeen([channel(at(1)), channel(id=11, archived=True)]),
    Posted(message(at(1), "caf\u00e9\nand more", reply_to_id=5)),
    Edited(message(at(1), "edited", edited_at=7, extra='{"stickers":["wave"]}')),
    Deleted(1, 10, [at(1), at(2)]),
    Reacted(at(1), "party:5", -1),
    Reacted(at(1), None, 0),
    PageRead(1, 10, 1, at(3), [message(at(2)), message(at(3))]),
    ChannelGone(10),
    ThreadsListed(10, 123),
    SessionBroken((1, 2)),
    Refused(10, "threads"),
    AccessChanged(1, 10),
    Imported(
        GuildSeen(1, "g"), [ImportedChannel(10, 1, None, 0, "general")], [ImportedRow(message(at(4)), 5)], [(1, at(4))]
    ),
    ImportDoubted(10, 1, at(4)),
]


def test_every_kind_of_event_is_tried() -> None:
    assert {type(event) for event in ALL_KINDS} == set(get_args(Event))


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "capture.spool")
    yield spool
    spool.clear()


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


async def test_events_are_committed_in_order_and_together(spool: Spool) -> None:
    journal, disk = Journal(spool, nothing), Disk()
    for number in range(5):
        journal.record(guild(number))
    await journal.write_next(disk.apply, 1)
    assert disk.batches == [[guild(number) for number in range(5)]]
    assert (len(journal), journal.committed) == (0, 5)


async def test_a_refused_batch_is_kept_and_tried_again(spool: Spool) -> None:
    journal, disk = Journal(spool, nothing), Disk()
    journal.record(guild(1))
    disk.full = True
    with pytest.raises(TransientError):
        await journal.write_next(disk.apply, 1)
    journal.record(guild(2))
    disk.full = False
    await journal.write_next(disk.apply, 1)
    assert disk.events == [guild(1), guild(2)]


async def test_commit_returns_when_all_before_it_is_durable(spool: Spool) -> None:
    journal, disk = Journal(spool, nothing), Disk()
    journal.record(guild(1))
    barrier = asyncio.create_task(journal.commit())
    await asyncio.sleep(0)
    assert not barrier.done()
    await journal.write_next(disk.apply, 1)
    await asyncio.wait_for(barrier, 1)
    assert disk.events == [guild(1)]


async def test_waiting_ends_without_events(spool: Spool) -> None:
    journal, disk = Journal(spool, nothing), Disk()
    await asyncio.wait_for(journal.write_next(disk.apply, 0.01), 5)
    assert disk.batches == []


async def drain(journal: Journal, disk: Disk) -> None:
    while len(journal):
        await asyncio.wait_for(journal.write_next(disk.apply, 1), 5)


async def test_what_memory_has_no_room_for_waits_on_disk_in_order(
    monkeypatch: pytest.MonkeyPatch, spool: Spool
) -> None:
    monkeypatch.setattr(journal_module, "MAX_IN_MEMORY", 3)
    monkeypatch.setattr(journal_module, "BATCH_EVENTS", 4)
    journal, disk = Journal(spool, nothing), Disk()
    events = [*ALL_KINDS, *map(guild, range(20))]
    for event in events:
        journal.record(event)
    assert (len(journal), journal.spooled) == (len(events), len(events) - 3)
    barrier = asyncio.create_task(journal.commit())
    await asyncio.sleep(0)
    await journal.write_next(disk.apply, 1)
    journal.record(guild(99))
    await drain(journal, disk)
    assert disk.events == [*events, guild(99)]
    while not barrier.done():
        await journal.write_next(disk.apply, 1)
    assert not spool.path.exists(), "it goes with its last event"


async def test_an_overflow_breaks_the_session_and_has_everything_stated_anew(
    monkeypatch: pytest.MonkeyPatch, spool: Spool
) -> None:
    monkeypatch.setattr(journal_module, "MAX_IN_MEMORY", 2)
    monkeypatch.setattr(spool_module, "MAX_BYTES", 100)
    restated: list[bool] = []

    async def restate() -> None:
        restated.append(True)

    journal, disk = Journal(spool, restate), Disk()
    for number in range(50):
        journal.record(guild(number))
    kept = len(journal)
    assert 2 < kept < 50
    await drain(journal, disk)
    assert disk.events == [*map(guild, range(kept)), SessionBroken()]
    assert restated == [True]
    journal.record(guild(100))
    await drain(journal, disk)
    assert disk.events[-1] == guild(100)


def test_a_spool_left_behind_by_a_dead_process_is_not_read(tmp_path: Path) -> None:
    first = Spool(tmp_path / "spool")
    first.append(guild(1))
    second = Spool(tmp_path / "spool")
    assert len(second) == 0
    assert second.take(5) == []
    first.clear()


def test_half_a_surrogate_pair_becomes_text_that_can_be_stored() -> None:
    assert valid_text(json.loads('"a\\ud83d b"')) == "a? b"
    assert valid_text("caf\u00e9 \U0001f327") == "caf\u00e9 \U0001f327"
