"""What was readable and is not any more: from the next question on, whatever the index still holds."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ragd.sandbox.entities import OverwriteTarget
from tests.processes import until
from tests.redteam.stage import READ, VIEW, Stage

_numbers = itertools.count()
Change = Callable[["Room"], None]


class Room:
    """A channel of its own, a thread in it, and somebody who may read both."""

    def __init__(self, stage: Stage) -> None:
        self.stage, control = stage, stage.control
        self.word = f"zibibbo{next(_numbers)}"
        self.role = control.create_role(stage.guild, self.word)
        self.user = stage.outsider()
        control.set_member_roles(stage.guild, self.user, [self.role])
        self.channel = control.create_channel(stage.guild, f"room-{self.word}")
        control.set_overwrite(self.channel, self.role, OverwriteTarget.ROLE, allow=READ)
        control.set_overwrite(self.channel, stage.guild, OverwriteTarget.ROLE, deny=VIEW)
        self.message = stage.say(self.channel, f"The {self.word} wine is in the left barrel.")
        self.thread = control.create_thread(self.channel, stage.writer, "barrels")
        stage.say(self.thread, f"Another {self.word} wine is in the right barrel.")
        stage.wait_for(self.word)

    def finds(self) -> bool:
        return self.word in self.stage.slash(self.user, "wine barrel")

    def finds_anew(self) -> bool:
        """Asked by another member of the same role, whom no cooldown holds up."""
        user = self.stage.outsider()
        self.stage.control.set_member_roles(self.stage.guild, user, [self.role])
        return self.word in self.stage.slash(user, "wine barrel")


CHANGES: dict[str, Change] = {
    "the role is taken away": lambda room: room.stage.control.set_member_roles(room.stage.guild, room.user, []),
    "the role's overwrite is turned": lambda room: room.stage.control.set_overwrite(
        room.channel, room.role, OverwriteTarget.ROLE, deny=VIEW
    ),
    "the role's overwrite is taken off": lambda room: room.stage.control.delete_overwrite(room.channel, room.role),
    "the member is shut out": lambda room: room.stage.control.set_overwrite(
        room.channel, room.user, OverwriteTarget.MEMBER, deny=VIEW
    ),
    "history alone is denied": lambda room: room.stage.control.set_overwrite(
        room.channel, room.role, OverwriteTarget.ROLE, allow=VIEW, deny=READ & ~VIEW
    ),
    "the role is deleted": lambda room: room.stage.control.change(
        "delete_role", guild_id=room.stage.guild, role_id=room.role
    ),
    "the channel becomes age-restricted": lambda room: room.stage.control.update_channel(room.channel, nsfw=True),
    "the bot is shut out": lambda room: room.stage.control.set_member_roles(
        room.stage.guild, room.stage.place.bot_id, []
    ),
    "the channel is deleted": lambda room: room.stage.control.delete_channel(room.channel),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_counts_from_the_next_question_on(stage: Stage, name: str) -> None:
    room = Room(stage)
    assert room.finds()
    CHANGES[name](room)
    try:
        if name in ("the bot is shut out", "the channel is deleted"):  # told by the gateway, written by capture
            until(lambda: not room.finds_anew(), name)
        else:
            assert not room.finds()
    finally:
        stage.control.set_member_roles(stage.guild, stage.place.bot_id, [stage.bot_role])


def test_nobody_is_answered_by_the_permissions_of_before_an_outage(stage: Stage) -> None:
    """While a server is out, Discord does not say what changes in it."""
    room = Room(stage)
    assert room.finds()
    try:
        stage.control.set_guild_unavailable(stage.guild, True)
        stage.control.delete_overwrite(room.channel, room.role)
        assert not room.finds()
    finally:
        stage.control.set_guild_unavailable(stage.guild, False)
    until(lambda: "roof" in stage.slash(stage.outsider(), "rain gauge on the roof"))
    assert not room.finds()


@contextmanager
def frozen(stage: Stage, name: str) -> Iterator[None]:
    """A process that does nothing meanwhile."""
    pid = stage.processes[name].process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_what_was_edited_or_deleted_is_gone_while_the_index_is_stale(stage: Stage) -> None:
    """Nobody makes chunks or vectors, so the index still has the old words and their meaning."""
    room = Room(stage)
    edited = stage.say(room.channel, "The oldword recipe needs seven lemons and a day of rest.")
    deleted = stage.say(room.channel, "The goneword recipe needs nine lemons and two days of rest.")
    stage.wait_for("oldword")
    stage.wait_for("goneword")
    with frozen(stage, "syncer"):
        stage.control.edit(edited, "Nothing to see.")
        stage.control.delete(deleted)
        until(lambda: not stage.operator_finds("goneword") and not stage.operator_finds("oldword"))
        shown = stage.slash(room.user, "recipe that needs lemons and rest")
        assert not any(word in shown for word in ("oldword", "goneword", "lemons and"))
        stage.control.set_member_roles(stage.guild, room.user, [])
        assert "Nothing to see" not in stage.slash(room.user, "nothing to see here")


def test_who_leaves_a_private_thread_finds_it_no_more(stage: Stage) -> None:
    user = stage.insider()
    assert "persimmon" in stage.slash(user, "grows behind the gauge")
    stage.control.change("leave_thread", thread_id=stage.private, user_id=user)
    assert "persimmon" not in stage.slash(user, "grows behind the gauge")


def test_who_is_timed_out_keeps_just_what_discord_leaves(stage: Stage) -> None:
    user = stage.insider()
    assert "bergamot" in stage.slash(user, "recording")
    world = stage.place.sandbox.world
    soon = stage.place.sandbox.call(lambda: world.clock.now_ms()) + 3_600_000
    stage.control.change("time_out", guild_id=stage.guild, user_id=user, until_ms=soon)
    assert "kumquat" in stage.slash(user, "code of the safe")
    assert "bergamot" not in stage.slash(user, "recording")
