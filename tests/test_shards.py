"""A bot's servers divided into shards: over several instances of capture, and within one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from ragd.bot.commands.registration import Registration
from ragd.store import Store
from ragd.store.coverage import ProvedInterval
from tests.bot.bots import make_bot
from tests.processes import Place, Process, environment, running, stored_messages, truth, until

COUNT = 2


@dataclass(frozen=True)
class Room:
    """A guild with one channel, of which messages are there already."""

    place: Place
    guild_id: int
    channel_id: int

    @property
    def shard(self) -> int:
        return (self.guild_id >> 22) % COUNT

    def post(self, content: str) -> int:
        return self.place.post(content, self.channel_id)

    def proofs(self, process: Process) -> list[ProvedInterval]:
        store = Store.open_read_only(process.settings.database_path)
        try:
            return store.coverage.proofs(self.channel_id)
        finally:
            store.close()


@pytest.fixture
def rooms(place: Place) -> list[Room]:
    """Two of each shard."""
    control, rooms = place.control, []
    for number in range(1000, 1004):
        guild = control.create_guild(f"Lab {number}", place.owner_id, guild_id=number << 22)
        control.add_member(guild, place.member_id)
        control.invite_bot(guild, place.bot_id)
        rooms.append(Room(place, guild, control.create_channel(guild, "general")))
        control.post_many(rooms[-1].channel_id, place.member_id, [f"old {i}" for i in range(120)])
    return rooms


def shards(place: Place, directory: Path, ids: str, **more: str) -> dict[str, str]:
    return environment(place.sandbox, directory, RAGD_SHARD_COUNT=str(COUNT), RAGD_SHARD_IDS=ids, **more)


def sessions(place: Place) -> dict[int, str]:
    """Session ids by shard."""
    return {found["shard"][0]: found["id"] for found in place.control.gateway()["sessions"]}


def complete(process: Process, place: Place, rooms: list[Room]) -> bool:
    """Whether the store holds what exists in these rooms and nothing else, without a hole."""
    wanted = {room.channel_id for room in rooms}
    exists = {key: row for key, row in truth(place.control.ledger()).items() if row[0] in wanted}
    store = Store.open_read_only(process.settings.database_path)
    try:
        return stored_messages(process.settings.database_path) == exists and not store.coverage.holes()
    finally:
        store.close()


def connected(process: Process) -> None:
    until(lambda: process.counter("connected") and process.counter("resyncs"), process.tail())


def test_two_instances_capture_everything_once(place: Place, rooms: list[Room], short_path: Path) -> None:
    with ExitStack() as stack:
        both = [stack.enter_context(running("capture", shards(place, short_path / str(i), str(i)))) for i in range(2)]
        for process in both:
            connected(process)
        for i in range(20):
            for room in rooms:
                room.post(f"live {i}")
        for shard, process in enumerate(both):
            of_shard = [room for room in rooms if room.shard == shard]
            assert len(of_shard) == 2
            # the first guild of all, `place`'s own, is in one of them, with a channel in which nobody writes
            until(lambda process=process, mine=of_shard: complete(process, place, mine), process.tail())
    stored = [stored_messages(process.settings.database_path).keys() for process in both]
    assert not stored[0] & stored[1]
    assert stored[0] | stored[1] == place.control.ledger().messages.keys()


@pytest.fixture
def both(place: Place, rooms: list[Room], short_path: Path) -> Iterator[Process]:
    """One capture with two shards, which has read what was there."""
    with running("capture", shards(place, short_path, "0-1", RAGD_RECONCILE_HOURS="0")) as process:
        until(lambda: process.counter("sessions") == COUNT and complete(process, place, rooms), process.tail())
        yield process


def test_a_broken_session_concerns_its_own_guilds_alone(place: Place, rooms: list[Room], both: Process) -> None:
    broken = 1
    for room in rooms:
        room.post("before")
    until(lambda: both.counter("posted") == len(rooms))
    place.control.expire_sessions(sessions(place)[broken])
    place.control.cut(session_id=sessions(place)[broken])
    missed = {room.channel_id: room.post("during the break") for room in rooms}
    until(lambda: both.counter("sessions") == COUNT + 1 and complete(both, place, rooms), both.tail())
    for room in rooms:
        source = next(
            proof.source for proof in room.proofs(both) if proof.start_id <= missed[room.channel_id] <= proof.end_id
        )
        assert source == ("rest" if room.shard == broken else "gateway")
    assert both.counter("connected")


def test_sessions_are_resumed_after_an_outage(place: Place, rooms: list[Room], both: Process) -> None:
    place.control.network(up=False)
    until(lambda: both.counter("shards_away") == COUNT)
    for room in rooms:
        room.post("while the network was away")
    place.control.network(up=True)
    until(lambda: both.counter("connected") and complete(both, place, rooms), both.tail(), seconds=90)
    assert both.counter("resumes") >= COUNT
    assert place.control.gateway()["identifies"] == COUNT


def test_a_message_that_one_shard_did_not_bring_is_found(place: Place, rooms: list[Room], short_path: Path) -> None:
    with running("capture", shards(place, short_path, "0,1", RAGD_DEAF_SECONDS="4")) as process:
        until(lambda: process.counter("compared_at") and complete(process, place, rooms), process.tail())
        place.control.drop(1)
        rooms[0].post("dropped on the way")
        until(lambda: complete(process, place, rooms), process.tail())
        until(lambda: process.counter("forced_reconnects") == 1)


def test_too_few_shards_is_told_with_how_many_it_takes(place: Place, short_path: Path) -> None:
    place.control.sharding(recommended=3, required=2)
    process = Process("capture", environment(place.sandbox, short_path)).start()
    assert process.wait() == 78
    said = process.tail()
    assert "RAGD_SHARD_COUNT=1: Discord refuses a shard of more than 2,500 servers - set it to 3 or more" in said
    assert said.count("Traceback") == 0


@pytest.mark.parametrize("ids", ["0-1", "1"])
def test_a_shard_that_discord_does_not_know_is_named(place: Place, short_path: Path, ids: str) -> None:
    with running("capture", shards(place, short_path, ids)) as process:
        connected(process)
        place.control.cut(code=4010)
        assert process.wait() == 78
        assert f"Discord does not know shard RAGD_SHARD_IDS={ids.replace('-', ',')} of" in process.tail()


def test_a_recommendation_is_passed_on_and_nothing_ends(place: Place, short_path: Path) -> None:
    place.control.sharding(recommended=2)
    with running("capture", environment(place.sandbox, short_path)) as process:
        connected(process)
        assert process.tail().count("Discord recommends 2 shards") == 1


def test_a_token_reset_ends_a_capture_with_several_shards(place: Place, both: Process) -> None:
    place.control.reset_token(place.bot_id)
    place.control.invalidate(resumable=False)
    assert both.wait() == 78
    assert both.tail().count("Discord refused DISCORD_BOT_TOKEN") == 1


@pytest.mark.parametrize(("ids", "registers"), [("0", True), ("1-2", False), ("", True)])
async def test_the_instance_with_shard_0_registers_commands(short_path: Path, ids: str, registers: bool) -> None:
    bot = await make_bot(short_path, RAGD_SHARD_COUNT="3", RAGD_SHARD_IDS=ids)
    assert any(isinstance(cog, Registration) for cog in bot.cogs.values()) == registers
    await bot.close()
