"""Who may read what, against the sandbox's own computation of Discord's rules, over random guilds."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import discord
import pytest

from ragd.bot.commands.access import as_readers_of, private_threads, readable, within
from ragd.bot.permissions import as_everybody, as_member
from ragd.sandbox.entities import Channel, ChannelType, Guild, Overwrite, OverwriteTarget
from ragd.sandbox.permissions import ALL, Permission, can_read_history
from ragd.sandbox.world import World
from tests.bot.bots import as_discord_py_sees_it

VIEW, HISTORY, CONNECT = Permission.VIEW_CHANNEL, Permission.READ_MESSAGE_HISTORY, Permission.CONNECT
PUBLIC = (ChannelType.PUBLIC_THREAD, ChannelType.NEWS_THREAD)


def random_bits(rng: random.Random) -> int:
    return rng.choice((0, VIEW, HISTORY, VIEW | HISTORY | CONNECT, rng.getrandbits(53) & ALL)) & ~(
        0 if rng.random() < 0.05 else Permission.ADMINISTRATOR
    )


def random_world(seed: int) -> tuple[World, Guild]:
    """A guild with roles and overwrites at random, and threads of all kinds, some archived."""
    rng = random.Random(seed)
    world = World()
    users = [world.create_user(f"user{number}").id for number in range(6)]
    guild = world.create_guild("g", users[0], everyone_permissions=random_bits(rng) | VIEW | HISTORY | CONNECT)
    roles = [world.create_role(guild.id, f"role{number}", permissions=random_bits(rng)).id for number in range(4)]
    for user_id in users[1:]:
        world.add_member(guild.id, user_id, roles=rng.sample(roles, rng.randint(0, 2)))
    targets = [(role, OverwriteTarget.ROLE) for role in guild.roles]
    targets += [(user, OverwriteTarget.MEMBER) for user in guild.members]
    for kind in (ChannelType.TEXT, ChannelType.NEWS, ChannelType.TEXT, ChannelType.FORUM):
        chosen = rng.sample(targets, rng.randint(0, 4))
        overwrites = [Overwrite(one, kind_, random_bits(rng), random_bits(rng)) for one, kind_ in chosen]
        channel = world.create_channel(guild.id, "c", kind, overwrites=overwrites)
        if kind == ChannelType.FORUM:
            world.create_forum_post(channel.id, users[0], "post", "text")
            continue
        for private in (False, True):
            for archived in (False, True):
                thread = world.create_thread(channel.id, rng.choice(users), "t", private=private)
                world.join_thread(thread.id, rng.choice(users))
                if archived:
                    world.archive_thread(thread.id)
    return world, guild


def everything(guild: Guild) -> list[Channel]:
    return [*guild.channels.values(), *guild.threads.values()]


def stored_threads(guild: Guild) -> dict[int, int]:
    """What the store knows: public threads, archived or not."""
    return {one.id: one.parent_id or 0 for one in guild.threads.values() if one.type in PUBLIC}


def is_archived_private(channel: Channel) -> bool:
    return channel.type == ChannelType.PRIVATE_THREAD and channel.thread is not None and channel.thread.archived


@pytest.mark.parametrize("seed", range(80))
async def test_a_member_reaches_exactly_what_discord_lets_the_member_read(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, guild = random_world(seed)
    theirs = as_discord_py_sees_it(world, guild)
    monkeypatch.setattr(discord.Thread, "fetch_member", fetch_member_of(world))
    for member in theirs.members:
        reach = readable(theirs, as_member(member), stored_threads(guild), age_restricted=True)
        reach |= await private_threads(theirs, member, reach)
        expected = {
            channel.id
            for channel in everything(guild)
            if can_read_history(world, member.id, channel.id) and not is_archived_private(channel)
        }
        assert reach.keys() == expected, member.name


def fetch_member_of(world: World) -> Any:
    async def fetch_member(thread: discord.Thread, member_id: int) -> None:
        await asyncio.sleep(0)
        state = world.channel(thread.id).thread
        if state is None or member_id not in state.members:
            raise not_found()

    return fetch_member


def not_found() -> discord.NotFound:
    class Response:
        status, reason = 404, "Not Found"

    return discord.NotFound(Response(), "Unknown Member")  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(80))
def test_what_everybody_reaches_each_single_member_may_read(seed: int) -> None:
    world, guild = random_world(seed)
    theirs = as_discord_py_sees_it(world, guild)
    for one in readable(theirs, as_everybody, stored_threads(guild), age_restricted=True):
        assert all(can_read_history(world, member.id, one) for member in theirs.members), one


def small_guild() -> tuple[World, Guild, int]:
    world = World()
    owner, member = world.create_user("ann").id, world.create_user("bob").id
    guild = world.create_guild("g", owner)
    world.add_member(guild.id, member)
    return world, guild, member


def reach_of(world: World, guild: Guild, member_id: int | None, **more: Any) -> set[int]:
    theirs = as_discord_py_sees_it(world, guild)
    member = theirs.get_member(member_id) if member_id else None
    reads = as_member(member) if member else as_everybody
    return set(readable(theirs, reads, stored_threads(guild), **{"age_restricted": False, **more}))


def test_everybody_reads_what_no_overwrite_takes_away() -> None:
    world, guild, member = small_guild()
    open_, taken = (world.create_channel(guild.id, name).id for name in ("open", "taken"))
    world.set_overwrite(taken, member, OverwriteTarget.MEMBER, deny=VIEW)
    assert reach_of(world, guild, None) == {open_}
    world.set_overwrite(taken, member, OverwriteTarget.MEMBER, allow=VIEW)
    assert reach_of(world, guild, None) == {open_, taken}


def test_a_voice_chat_is_for_who_may_connect() -> None:
    world, guild, member = small_guild()
    voice = world.create_channel(guild.id, "voice", ChannelType.VOICE).id
    assert reach_of(world, guild, member) == reach_of(world, guild, None) == {voice}
    world.set_overwrite(voice, guild.id, OverwriteTarget.ROLE, deny=CONNECT)
    assert reach_of(world, guild, member) == reach_of(world, guild, None) == set()


def test_a_guest_of_a_voice_channel_has_only_the_looks_of_a_member() -> None:
    world, guild, member = small_guild()
    general = world.create_channel(guild.id, "general").id
    voice = world.create_channel(guild.id, "voice", ChannelType.VOICE).id
    theirs = as_discord_py_sees_it(world, guild)
    bob, chat = theirs.get_member(member), theirs.get_channel(voice)
    assert bob is not None
    assert set(readable(theirs, as_member(bob), {}, age_restricted=False)) == {general, voice}
    bob._flags = discord.MemberFlags(guest=True).value
    assert readable(theirs, as_member(bob), {}, age_restricted=False) == {}
    assert set(readable(theirs, as_readers_of(chat), {}, age_restricted=False)) == {voice}
    world.set_overwrite(voice, member, OverwriteTarget.MEMBER, deny=HISTORY)
    theirs = as_discord_py_sees_it(world, guild)
    assert readable(theirs, as_readers_of(theirs.get_channel(voice)), {}, age_restricted=False) == {}


def test_age_restricted_channels_and_their_threads_count_only_where_the_asker_is_known_to_be_of_age() -> None:
    world, guild, member = small_guild()
    channel = world.create_channel(guild.id, "adults", nsfw=True).id
    thread = world.create_thread(channel, member, "t").id
    assert reach_of(world, guild, member) == set()
    assert reach_of(world, guild, member, age_restricted=True) == {channel, thread}


def test_a_thread_that_became_known_as_private_is_no_public_one() -> None:
    world, guild, member = small_guild()
    channel = world.create_channel(guild.id, "general").id
    thread = world.create_thread(channel, guild.owner_id, "t", private=True).id
    theirs = as_discord_py_sees_it(world, guild)
    bob = theirs.get_member(member)
    assert bob is not None
    assert set(readable(theirs, as_member(bob), {thread: channel}, age_restricted=False)) == {channel}


def test_threads_of_channels_that_are_gone_are_left_out() -> None:
    world, guild, member = small_guild()
    assert reach_of(world, guild, member) == set()
    theirs = as_discord_py_sees_it(world, guild)
    assert readable(theirs, as_everybody, {5: 404}, age_restricted=False) == {}


async def test_who_cannot_be_asked_about_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_thread: discord.Thread, _member_id: int) -> None:
        raise TimeoutError

    monkeypatch.setattr(discord.Thread, "fetch_member", refuse)
    world, guild, member = small_guild()
    channel = world.create_channel(guild.id, "general").id
    world.join_thread(world.create_thread(channel, guild.owner_id, "t", private=True).id, member)
    theirs = as_discord_py_sees_it(world, guild)
    bob = theirs.get_member(member)
    assert bob is not None
    assert await private_threads(theirs, bob, {channel: channel}) == {}


def test_a_channel_is_searched_with_its_threads() -> None:
    assert within({1: 1, 2: 1, 3: 3}, None) == [1, 2, 3]
    assert within({1: 1, 2: 1, 3: 3}, 1) == [1, 2]
    assert within({1: 1, 2: 1, 3: 3}, 2) == [2]
    assert within({1: 1, 2: 1, 3: 3}, 404) == []
