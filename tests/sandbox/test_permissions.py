"""ragd.sandbox.permissions against discord.py's own arithmetic, and the rules discord.py does not know."""

from __future__ import annotations

import random
from collections.abc import Iterator

import discord
import pytest

from ragd.sandbox import permissions
from ragd.sandbox.entities import Channel, ChannelType, Guild, Overwrite, OverwriteTarget
from ragd.sandbox.payloads import guild_create_payload
from ragd.sandbox.permissions import ALL, IN_DM, Permission, can_read_history, can_view, permissions_for
from ragd.sandbox.world import World

VIEW, HISTORY = int(Permission.VIEW_CHANNEL), int(Permission.READ_MESSAGE_HISTORY)
# discord.py strips the voice bits from text channels, and forgets one bit when a channel is hidden
VOICE_BITS = discord.Permissions.voice().value
FORGOTTEN = int(Permission.SET_VOICE_CHANNEL_STATUS)


def random_bits(rng: random.Random) -> int:
    """Permission bits, most of them set or most of them clear; ADMINISTRATOR is rare."""
    kept = ALL if rng.random() < 0.5 else rng.getrandbits(53)
    bits = rng.getrandbits(53) & kept & ALL
    return bits if rng.random() < 0.05 else bits & ~Permission.ADMINISTRATOR


def random_overwrites(rng: random.Random, guild: Guild) -> list[Overwrite]:
    """Overwrites in random order for some roles (perhaps @everyone) and some members."""
    targets = [(role_id, OverwriteTarget.ROLE) for role_id in guild.roles]
    targets += [(user_id, OverwriteTarget.MEMBER) for user_id in guild.members]
    chosen = rng.sample(targets, rng.randint(0, len(targets)))
    return [Overwrite(target_id, kind, random_bits(rng), random_bits(rng)) for target_id, kind in chosen]


def random_guild(seed: int) -> tuple[World, Guild]:
    """A guild of six members, five roles and channels of several kinds, threads under two of them."""
    rng = random.Random(seed)
    world = World()
    users = [world.create_user(f"user{number}").id for number in range(6)]
    guild = world.create_guild("g", users[0], everyone_permissions=random_bits(rng))
    roles = [world.create_role(guild.id, f"role{number}", permissions=random_bits(rng)).id for number in range(5)]
    for user_id in users[1:]:
        world.add_member(guild.id, user_id, roles=rng.sample(roles, rng.randint(0, 3)))
    for kind in (ChannelType.TEXT, ChannelType.NEWS, ChannelType.VOICE, ChannelType.FORUM, ChannelType.TEXT):
        channel = world.create_channel(guild.id, kind.name.lower(), kind, overwrites=random_overwrites(rng, guild))
        if kind == ChannelType.TEXT:
            world.create_thread(channel.id, users[1], "open")
            world.create_thread(channel.id, users[1], "closed", private=True)
    return world, guild


def as_discord_py_sees_it(world: World, guild: Guild) -> discord.Guild:
    """The guild parsed by discord.py from the payload of GUILD_CREATE."""
    state = discord.Client(intents=discord.Intents.all())._connection
    threads = list(guild.threads.values())
    return discord.Guild(data=guild_create_payload(world, guild, guild.owner_id, threads=threads), state=state)


def pairs(guild: Guild, theirs: discord.Guild) -> Iterator[tuple[Channel, discord.Member, int]]:
    """Every channel and member with discord.py's bits."""
    for channel in (*guild.channels.values(), *guild.threads.values()):
        known = theirs.get_channel_or_thread(channel.id)
        assert known is not None
        for member in theirs.members:
            yield channel, member, known.permissions_for(member).value


@pytest.mark.parametrize("seed", range(60))
def test_bits_equal_those_of_discord_py(seed: int) -> None:
    world, guild = random_guild(seed)
    theirs = as_discord_py_sees_it(world, guild)
    assert len(theirs.members) == len(guild.members)
    for channel, member, expected in pairs(guild, theirs):
        found = permissions_for(world, guild.id, member.id, channel.id)
        ignored = 0 if channel.is_thread or channel.type == ChannelType.VOICE else VOICE_BITS
        ignored |= 0 if found & VIEW else FORGOTTEN
        assert found & ~ignored == expected & ~ignored, (channel.name, member.name)


@pytest.mark.parametrize("seed", range(60))
def test_guild_wide_bits_equal_those_of_discord_py(seed: int) -> None:
    world, guild = random_guild(seed)
    for member in as_discord_py_sees_it(world, guild).members:
        assert permissions.guild_permissions(guild, member.id) == member.guild_permissions.value


def test_every_bit_has_the_place_that_discord_py_gives_it() -> None:
    assert discord.Permissions.all().value == ALL
    renamed = {
        "USE_VAD": "use_voice_activation",
        "USE_EXTERNAL_EMOJIS": "external_emojis",
        "USE_EXTERNAL_STICKERS": "external_stickers",
        "MANAGE_GUILD_EXPRESSIONS": "manage_expressions",
        "CREATE_GUILD_EXPRESSIONS": "create_expressions",
        "SEND_POLLS": "create_polls",
    }
    for permission in Permission:
        name = renamed.get(str(permission.name), str(permission.name).lower())
        assert getattr(discord.Permissions(int(permission)), name), name


# -- what discord.py leaves to the server


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def guild(world: World) -> Guild:
    """A guild whose @everyone may view and read; owner is user 1, members are 2 and 3."""
    for user_id in (1, 2, 3, 4):
        world.create_user(f"user{user_id}", user_id=user_id)
    guild = world.create_guild("g", 1, guild_id=100, everyone_permissions=VIEW | HISTORY)
    for user_id in (2, 3):
        world.add_member(guild.id, user_id)
    return guild


def test_outsiders_and_unknown_channels_have_nothing(world: World, guild: Guild) -> None:
    channel = world.create_channel(guild.id, "general")
    assert permissions_for(world, guild.id, 4, channel.id) == 0
    assert permissions_for(world, guild.id, 2, 999) == 0
    assert permissions_for(world, 101, 2, channel.id) == 0
    assert not can_view(world, 4, channel.id)
    assert not can_view(world, 2, 999)
    assert not can_read_history(world, 2, 999)


def test_hiding_a_channel_hides_its_history(world: World, guild: Guild) -> None:
    channel = world.create_channel(guild.id, "general")
    assert can_read_history(world, 2, channel.id)
    world.set_overwrite(channel.id, 2, OverwriteTarget.MEMBER, deny=VIEW)
    assert not can_view(world, 2, channel.id)
    assert not can_read_history(world, 2, channel.id)
    assert can_read_history(world, 3, channel.id)
    assert can_read_history(world, 1, channel.id)


def test_history_may_be_withheld_alone(world: World, guild: Guild) -> None:
    channel = world.create_channel(guild.id, "general")
    world.set_overwrite(channel.id, guild.id, OverwriteTarget.ROLE, deny=HISTORY)
    assert can_view(world, 2, channel.id)
    assert not can_read_history(world, 2, channel.id)


def test_overwrites_of_a_category_do_not_reach_its_channels(world: World, guild: Guild) -> None:
    category = world.create_channel(guild.id, "staff", ChannelType.CATEGORY)
    world.set_overwrite(category.id, guild.id, OverwriteTarget.ROLE, deny=VIEW)
    unsynced = world.create_channel(guild.id, "lobby", parent_id=category.id, overwrites=[])
    assert can_view(world, 2, unsynced.id)


def test_threads_follow_their_parent(world: World, guild: Guild) -> None:
    parent = world.create_channel(guild.id, "general")
    thread = world.create_thread(parent.id, 1, "t")
    assert can_read_history(world, 2, thread.id)
    world.set_overwrite(parent.id, guild.id, OverwriteTarget.ROLE, deny=VIEW)
    assert not can_view(world, 2, thread.id)


def test_private_threads_show_themselves_to_members_and_moderators(world: World, guild: Guild) -> None:
    parent = world.create_channel(guild.id, "general")
    thread = world.create_thread(parent.id, 1, "secret", private=True)
    assert not can_view(world, 2, thread.id)
    world.join_thread(thread.id, 2)
    assert can_read_history(world, 2, thread.id)
    assert not can_view(world, 3, thread.id)
    world.set_overwrite(parent.id, 3, OverwriteTarget.MEMBER, allow=int(Permission.MANAGE_THREADS))
    assert can_view(world, 3, thread.id)


def test_membership_of_a_private_thread_does_not_open_its_parent(world: World, guild: Guild) -> None:
    parent = world.create_channel(guild.id, "general")
    thread = world.create_thread(parent.id, 1, "secret", private=True)
    world.join_thread(thread.id, 2)
    world.set_overwrite(parent.id, 2, OverwriteTarget.MEMBER, deny=VIEW)
    assert not can_view(world, 2, thread.id)


def test_a_dm_is_for_its_two_users(world: World, guild: Guild) -> None:
    dm = world.create_dm(2, 3)
    assert permissions_for(world, None, 2, dm.id) == IN_DM
    assert can_read_history(world, 3, dm.id)
    assert not can_view(world, 1, dm.id)


def test_who_is_timed_out_may_only_look(world: World, guild: Guild) -> None:
    voice = world.create_channel(guild.id, "stage", ChannelType.STAGE)
    world.set_role_permissions(guild.id, guild.id, VIEW | HISTORY | Permission.CONNECT | Permission.SEND_MESSAGES)
    now = world.clock.now_ms()
    world.time_out(guild.id, 2, now + 60_000)
    assert permissions_for(world, guild.id, 2, voice.id) == VIEW | HISTORY
    theirs = as_discord_py_sees_it(world, guild).get_member(2)
    assert theirs is not None
    assert theirs.is_timed_out()
    world.time_out(guild.id, 2, now - 1)
    assert permissions_for(world, guild.id, 2, voice.id) & Permission.CONNECT
