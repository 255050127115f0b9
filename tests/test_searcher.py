"""The searcher as a process: it answers by words at once, by meaning when it can."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.queries import NOWHERE
from ragd.answers import Allowed, SearchAnswer, SearchRequest
from ragd.errors import TransientError, UnavailableError
from ragd.search_client import ask_searcher
from ragd.searcher import Searcher
from ragd.store import Store
from ragd.store.events import ChannelsSeen, Deleted, GuildSeen, Posted
from tests.processes import Process, environment, settings_of, until
from tests.store.factories import CHANNEL, GUILD, at, channel, message


@pytest.fixture
def store(tmp_path: Path) -> Store:
    path = settings_of(environment(NOWHERE, tmp_path)).database_path  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    store = Store.open(path)
    store.ingest().apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel(at(60))])])
    return store


def test_a_message_is_found_by_word_at_commit_over_the_socket(store: Store, tmp_path: Path) -> None:
    searcher = Process("searcher", environment(NOWHERE, tmp_path)).start()  # type: ignore[arg-type]

    def ask(text: str, access: object = "operator") -> SearchAnswer | None:
        try:
            return ask_searcher(searcher.settings.search_socket, SearchRequest(text, access))  # type: ignore[arg-type]
        except UnavailableError:
            return None

    try:
        until(lambda: ask("anything"), "the searcher answers")
        store.ingest().apply([Posted(message(at(0), "the reed switch bounces")), Posted(message(at(60), "电池没电"))])
        answer = ask("switch")
        assert answer is not None
        assert [result.message_ids for result in answer.results] == [[str(at(0))]]
        assert (answer.indexed_to, answer.holes) == ("2023-11-14T22:14:20+00:00", 1)
        assert [result.text for result in ask("电池").results] == ["ann: 电池没电"]  # type: ignore[union-attr]
        hidden = ask("switch", Allowed([CHANNEL + 1]))
        assert hidden is not None
        assert (hidden.results, hidden.indexed_to, hidden.holes) == ([], "", 0)
        store.ingest().apply([Deleted(GUILD, CHANNEL, [at(0)])])
        assert ask("switch").results == []  # type: ignore[union-attr]
    finally:
        searcher.process.terminate()
        searcher.process.wait(20)
        store.close()


@pytest.fixture
def beaten(store: Store, tmp_path: Path) -> Iterator[Process]:
    """A searcher over messages that all have many of the same words."""
    words = [
        f"{first}{second}" for first in ("rain", "roof", "gauge", "pump", "reed", "safe") for second in "bcdfgkmpt"
    ]
    texts = [" ".join(words[number % 9 :]) for number in range(4_000)]
    store.ingest().apply([Posted(message(at(number), text)) for number, text in enumerate(texts)])
    store.close()
    searcher = Process("searcher", environment(NOWHERE, tmp_path)).start()  # type: ignore[arg-type]
    try:
        yield searcher.running()
    finally:
        searcher.end()


def test_many_who_ask_at_once_do_not_make_it_look_dead(beaten: Process) -> None:
    """The watchdog replaces a searcher that does not beat: so a beat must not wait until all of them are answered."""
    words = [
        f"{first}{second}" for second in "bcdfgkmpt" for first in ("rain", "roof", "gauge", "pump", "reed", "safe")
    ]
    request = SearchRequest(" ".join(words), Allowed([CHANNEL]))
    longest, newest = 0.0, time.monotonic()

    def ask(_: int) -> int:
        return len(ask_searcher(beaten.settings.search_socket, request, 60).results)

    with ThreadPoolExecutor(60) as pool:
        began, asked = time.monotonic(), [pool.submit(ask, number) for number in range(60)]
        beat = beaten.beat()
        while not all(one.done() for one in asked):
            if (now := beaten.beat()) and beat and now.beat != beat.beat:
                beat, newest = now, time.monotonic()
            longest = max(longest, time.monotonic() - newest)
            time.sleep(0.02)
    assert longest < (time.monotonic() - began) / 3


async def test_who_would_wait_too_long_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragd.searcher.TURN_SECONDS", 0.05)
    searcher = Searcher(settings_of(environment(NOWHERE, tmp_path)))  # type: ignore[arg-type]
    slow = threading.Event()
    first = asyncio.create_task(searcher._in_turn(lambda: slow.wait(20)))
    await asyncio.sleep(0)
    with pytest.raises(TransientError, match="too many"):
        await searcher._in_turn(lambda: 2)
    slow.set()
    assert await first
    assert await searcher._in_turn(lambda: 3) == 3
    searcher._thread.shutdown()
