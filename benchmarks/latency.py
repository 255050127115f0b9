"""Message to searchable, through the whole tree: posted at Discord, found over the searcher's socket."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from benchmarks.stage import Poster, Tree, outside, posted_at, sandbox, texts, tree, variables, workspace
from benchmarks.tables import Table, number, p50_p99
from ragd.errors import RagdError
from ragd.search_client import SearchRequest, ask_searcher
from ragd.store import Store
from tests.processes import Place, furnish

FULL: dict[str, Any] = {"rate": 2.0, "seconds": 60}
QUICK: dict[str, Any] = {"rate": 2.0, "seconds": 8}

CHANNELS = 5
HISTORY = 40
LONGEST_SECONDS = 30.0
POLL_SECONDS = 0.003


@dataclass(frozen=True)
class Posted:
    id: int
    channel_id: int
    text: str


@dataclass(frozen=True)
class Found:
    """Milliseconds after the posting."""

    durable: float
    embedded: float
    searchable: float


def run(rate: float, seconds: float) -> list[Table]:
    """Post for a while, and find each message by its own text."""
    found = measure(rate, seconds)
    table = Table("Posted to searchable, whole tree", ["until it is", "p50 ms", "p99 ms", "max ms"])
    for stage in ("durable", "embedded", "searchable"):
        taken = [getattr(one, stage) for one in found]
        half, most = p50_p99(taken)
        table.add(stage, number(half), number(most), number(max(taken)))
    table.notes.append(
        f"{len(found)} messages at random moments, {rate:g} a second on average, in {CHANNELS} channels, production's"
        " settings. From the time in the message's id (rounded down to 1 ms); embedded: a chunk with it and its vector"
        " is committed; searchable: its text, asked over the searcher's socket, is answered by a passage with it."
    )
    return [table]


def measure(rate: float, seconds: float) -> list[Found]:
    """A tree, a guild with some history, and people who talk."""
    with sandbox() as server, workspace() as directory:
        place: Place = furnish(server)  # type: ignore[arg-type]
        names = (f"channel-{at}" for at in range(1, CHANNELS))
        channels = [place.channel_id, *(place.control.create_channel(place.guild_id, name) for name in names)]
        place.control.post_many(place.channel_id, place.member_id, texts(HISTORY))
        with tree(variables(server, directory)) as running:
            running.settled()
            return _find_all(running, Talk(Poster(server), place.member_id, channels, rate, seconds))


class Talk:
    """Posts in the background, in a random channel at random moments."""

    def __init__(self, poster: Poster, author_id: int, channels: list[int], rate: float, seconds: float) -> None:
        self._poster, self._author_id, self._channels = poster, author_id, channels
        self._rate = rate
        self._count = max(1, int(rate * seconds))
        self._thread = threading.Thread(target=self._talk)
        self.posted: deque[Posted] = deque()

    def _talk(self) -> None:
        chance = random.Random(0)
        for text in texts(HISTORY + self._count)[HISTORY:]:
            time.sleep(chance.expovariate(self._rate))
            channel_id = chance.choice(self._channels)
            self.posted.append(Posted(self._poster.post(channel_id, self._author_id, text), channel_id, text))
        self._poster.close()

    def start(self) -> None:
        self._thread.start()

    def goes_on(self) -> bool:
        return self._thread.is_alive()


class Watch:
    """Looks for one message: in the store and, once it may be found, over the searcher's socket."""

    def __init__(self, message: Posted) -> None:
        self._message = message
        self._posted_at = posted_at(message.id)
        self._durable = self._embedded = 0.0
        self.found: Found | None = None

    def look(self, store: Store) -> None:
        """Note what the store has by now. Cheap, and in a thread of its own, so that no answer is waited for."""
        if not self._durable and store._all("SELECT 1 FROM message WHERE id = ?", self._message.id):
            self._durable = self._age_ms()
        if not self._embedded and _is_embedded(store, self._message.id):
            self._embedded = self._age_ms()

    def ask(self, socket: Path) -> None:
        """Ask for it if the store says that it may be found. Raises RagdError when it has taken too long."""
        if self._age_ms() > LONGEST_SECONDS * 1000:
            raise RagdError(f"message {self._message.id} cannot be found after {LONGEST_SECONDS:.0f} s")
        if self._durable and self._embedded and self._is_answered(socket):
            self.found = Found(self._durable, self._embedded, self._age_ms())

    def _age_ms(self) -> float:
        return (time.time() - self._posted_at) * 1000

    def _is_answered(self, socket: Path) -> bool:
        since = datetime.fromtimestamp(self._posted_at, UTC).isoformat()
        request = SearchRequest(self._message.text, "operator", 50, channel=str(self._message.channel_id), since=since)
        return any(str(self._message.id) in result.message_ids for result in ask_searcher(socket, request).results)


def _is_embedded(store: Store, message_id: int) -> bool:
    """Whether any strategy has a chunk with it; a chunk is committed together with its vector."""
    return bool(store._all("SELECT 1 FROM chunk_message WHERE message_id = ?", message_id))


class Observer:
    """Follows all open messages in the store, in the background."""

    def __init__(self, path: Path) -> None:
        self.open: list[Watch] = []
        """Replaced, never changed: the thread may be walking over it."""
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._observe)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def _observe(self) -> None:
        with outside(self._path) as store:
            while not self._stop.wait(POLL_SECONDS):
                for watch in self.open:
                    watch.look(store)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _find_all(running: Tree, talk: Talk) -> list[Found]:
    done: list[Watch] = []
    with Observer(running.settings.database_path) as observer:
        talk.start()
        while talk.goes_on() or talk.posted or observer.open:
            while talk.posted:
                observer.open = [*observer.open, Watch(talk.posted.popleft())]
            for watch in observer.open:
                watch.ask(running.settings.search_socket)
            done += [watch for watch in observer.open if watch.found]
            observer.open = [watch for watch in observer.open if not watch.found]
            time.sleep(POLL_SECONDS)
    return [watch.found for watch in done if watch.found]
