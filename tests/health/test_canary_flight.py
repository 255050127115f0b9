"""The canary's whole way with real processes: syncer and searcher on one store, the watchdog's flight beside them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.answers import SearchRequest
from ragd.config import Settings
from ragd.errors import UnavailableError
from ragd.health.canary import fly
from ragd.search_client import ask_searcher
from ragd.store import Store
from ragd.store.events import ChannelsSeen, GuildSeen, Posted
from tests.processes import Process, running, until
from tests.store.factories import GUILD, at, channel, message

NEVER = threading.Event()


@pytest.fixture
def variables(short_path: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RAGD_", "DISCORD_"))}
    return {
        **inherited,
        "DISCORD_BOT_TOKEN": "x",
        "RAGD_DATA_DIR": str(short_path),
        "RAGD_HEARTBEAT_SECONDS": "0.2",
        "RAGD_HTTP_PORT": "0",
    }


@pytest.fixture
def pipeline(variables: dict[str, str]) -> Iterator[tuple[Process, Process]]:
    with running("syncer", variables) as syncer, running("searcher", variables) as searcher:
        yield syncer, searcher


def rows_of_canaries(settings: Settings) -> int:
    store = Store.open_read_only(settings.database_path)
    try:
        (messages,) = store._one("SELECT count(*) FROM message WHERE channel_id = 0")
        (chunks,) = store._one("SELECT count(*) FROM chunk WHERE channel_id = 0")
    finally:
        store.close()
    return int(messages + chunks)


def test_it_returns_and_leaves_nothing(pipeline: tuple[Process, Process]) -> None:
    syncer, searcher = pipeline
    settings = syncer.settings
    store = Store.open(settings.database_path)
    store.ingest().apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel()]), Posted(message(at(0), "a canary sings"))])
    until(lambda: store.chunks.lag() == 0)
    counted = store.counts()
    for _ in range(2):
        flight = fly(settings.database_path, settings.search_socket, NEVER)
        assert flight.seconds is not None, searcher.tail()
        assert 0 < flight.seconds < 30
        assert rows_of_canaries(settings) == 0
    answer = ask_searcher(settings.search_socket, SearchRequest("ragd canary", "operator", 50))
    assert [result.text for result in answer.results] == ["ann: a canary sings"]
    assert store.counts() == counted
    until(lambda: searcher.counter("queries") == 1, "flights count as no query")
    store.close()


def test_one_that_is_lost_is_lost_at_somebody(pipeline: tuple[Process, Process]) -> None:
    syncer, searcher = pipeline
    settings = syncer.settings
    os.kill(syncer.process.pid, signal.SIGSTOP)
    flight = fly(settings.database_path, settings.search_socket, NEVER, limit_seconds=1.5)
    assert (flight.seconds, flight.lost_at) == (None, "syncer")
    os.kill(syncer.process.pid, signal.SIGCONT)
    until(lambda: fly(settings.database_path, settings.search_socket, NEVER, 5.0).seconds is not None)
    assert rows_of_canaries(settings) == 0

    searcher.kill()
    flight = fly(settings.database_path, settings.search_socket, NEVER, limit_seconds=3.0)
    assert (flight.seconds, flight.lost_at) == (None, "searcher")
    assert "no searcher answers" in flight.problem


def test_who_is_told_to_stop_does_not_wait(variables: dict[str, str]) -> None:
    settings = Process("syncer", variables).settings
    Store.open(settings.database_path).close()
    stopped = threading.Event()
    stopped.set()
    assert fly(settings.database_path, settings.search_socket, stopped).seconds is None
    assert rows_of_canaries(settings) == 0  # no syncer has ever followed the messages: nobody knows of it
    with pytest.raises(UnavailableError):
        ask_searcher(settings.search_socket, SearchRequest("x", "operator"))
