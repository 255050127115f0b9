"""What happens at Discord during a test: a community in a sandbox of this process, played and disturbed from here."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Self

from ragd.sandbox.client import SandboxThread
from ragd.sandbox.community import Community, Question
from ragd.sandbox.entities import ChannelType, LedgerEntry
from ragd.sandbox.permissions import can_read_history
from ragd.sandbox.playback import Playback
from ragd.sandbox.run import CommunityChoice, set_scene
from ragd.sandbox.world import World
from tests.processes import TOKEN, Place, environment
from tests.tree.tree import INTERVALS

SUBJECTS = (
    "the kettle in the kitchen",
    "the bicycle shed",
    "Jun's birthday",
    "the key of the cellar",
    "the choir on Thursday",
)
"""Of what is chatted."""


class Stage:
    """A community with ragd's bot in it. Use as a context manager."""

    def __init__(self, community: CommunityChoice = "demo", *, seeded: float = 1.0) -> None:
        world = World()
        scene = set_scene(world, TOKEN, community, seeded=seeded)
        assert scene.playback is not None
        self.playback: Playback = scene.playback
        self.sandbox = SandboxThread(world=world)
        self._bot_id = scene.application.bot_id
        self._plays: list[asyncio.Task[None]] = []

    def __enter__(self) -> Self:
        self.sandbox.start()
        self.place = self._place()
        return self

    def __exit__(self, *_: object) -> None:
        self.sandbox.call(lambda: [play.cancel() for play in self._plays])
        self.sandbox.stop()

    @property
    def community(self) -> Community:
        return self.playback.community

    def _place(self) -> Place:
        """The first open text channel and somebody who may write there."""
        community = self.community
        channel = next(c for c in community.channels if c.type == ChannelType.TEXT and not c.only_roles)
        member = next(a for a in community.accounts if not a.bot and not a.joins_later and a.id != community.owner_id)
        return Place(self.sandbox, community.guild_id, community.owner_id, member.id, channel.id, self._bot_id)

    def variables(self, home: Path, **overrides: str) -> dict[str, str]:
        """What a `ragd` at this Discord is started with; its data goes below `home`."""
        return environment(self.sandbox, home / "data", **{**INTERVALS, **overrides})

    def unreadable(self) -> frozenset[int]:
        """Channels whose messages the bot may not read, by Discord's rules."""
        world = self.sandbox.world
        return self.sandbox.call(
            lambda: frozenset(key for key in world.channels if not can_read_history(world, self._bot_id, key))
        )

    def questions(self) -> list[Question]:
        """The community's questions that something answers which has been said by now and the bot may read."""
        hidden, ledger = self.unreadable(), self.place.ledger().messages
        return [
            question
            for question in self.community.questions
            if question.answers
            and all(_is_open(ledger.get(self.message_id(answer)), hidden) for answer in question.answers)
        ]

    def message_id(self, script_id: int) -> int:
        """The id that a message of the community has in this world."""
        return self.playback.ids.get(script_id, script_id)

    def replay(self, max_gap_seconds: float) -> asyncio.Task[None]:
        """Begin to play the rest of the history, live, with that pause between two steps at most."""
        play: asyncio.Task[None] = self.sandbox.call(
            lambda: asyncio.get_running_loop().create_task(
                self.playback.replay(1.0, max_gap_seconds=max_gap_seconds), name="replay"
            )
        )
        self._plays.append(play)
        return play

    @property
    def played(self) -> float:
        """How much of the history has happened, 0 to 1."""
        return self.playback.done / len(self.community.history)

    @contextmanager
    def chatting(self, pause_seconds: float = 0.01) -> Iterator[None]:
        """Somebody posts, edits and deletes all the while, from another thread."""
        stop = threading.Event()
        with ThreadPoolExecutor(1, "chat") as pool:
            chat = pool.submit(self._chat, lambda: stop.wait(pause_seconds))
            try:
                yield
            finally:
                stop.set()
                chat.result()

    def _chat(self, is_over: Callable[[], bool]) -> None:
        chance, ours, number = Random(7), list[int](), 0
        while not is_over():
            number += 1
            text = f"{number}: somebody should look after {chance.choice(SUBJECTS)}"
            fate = chance.random()
            if fate < 0.7 or len(ours) < 5:
                ours.append(self.place.post(text))
            elif fate < 0.85:
                self.place.control.edit(chance.choice(ours), text)
            else:
                self.place.control.delete(ours.pop(chance.randrange(len(ours))))


def _is_open(entry: LedgerEntry | None, hidden: frozenset[int]) -> bool:
    return entry is not None and entry.channel_id not in hidden
