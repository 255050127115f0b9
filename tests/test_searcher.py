"""The searcher as a process: it answers by words at once, by meaning when it can."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.queries import NOWHERE
from ragd.answers import Allowed, SearchAnswer, SearchRequest
from ragd.errors import UnavailableError
from ragd.search_client import ask_searcher
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
