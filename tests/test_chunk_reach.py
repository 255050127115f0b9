"""What is remembered of where chunks are says what the store would say, whatever happened since."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ragd.chunk_reach import ChunkReach
from ragd.store import Store, chunks
from ragd.store.chunks import Cell, NewChunk, hash_text
from ragd.store.events import ChannelGone, ChannelsSeen, GuildSeen
from ragd.store.scope import Filter
from tests.store.factories import GUILD, at, channel

STRATEGIES = ("temporal", "author")
CHANNELS = (10, 11, 12, 13)
some_channels = st.frozensets(st.sampled_from((*CHANNELS, 99)))


class Reaching(RuleBasedStateMachine):
    """Chunks come and go, channels become unreadable, removals are forgotten; two readers look now and then."""

    home: Path
    runs = 0

    @initialize()
    def begin(self) -> None:
        Reaching.runs += 1
        self.store = Store.open(self.home / f"{Reaching.runs}.sqlite3")
        self.store.chunks.begin_strategies(dict.fromkeys(STRATEGIES, 1))
        self.see(frozenset(CHANNELS))
        self.often, self.seldom = ChunkReach(self.store), ChunkReach(self.store)
        self.made: dict[str, list[int]] = {strategy: [] for strategy in STRATEGIES}
        self.nth = 0

    def see(self, readable: frozenset[int]) -> None:
        rows = [channel(id=one, name=str(one), readable=one in readable) for one in CHANNELS]
        self.store.ingest().apply([GuildSeen(GUILD, "Guild"), ChannelsSeen(rows)])

    @rule(readable=some_channels)
    def permissions_change(self, readable: frozenset[int]) -> None:
        self.see(readable)

    @rule(channel_id=st.sampled_from(CHANNELS))
    def channel_goes(self, channel_id: int) -> None:
        self.store.ingest().apply([ChannelGone(channel_id)])

    @rule(
        strategy=st.sampled_from(STRATEGIES),
        channel_id=st.sampled_from(CHANNELS),
        added=st.integers(0, 3),
        gone=st.lists(st.integers(0, 20), max_size=3, unique=True),
    )
    def chunks_change(self, strategy: str, channel_id: int, added: int, gone: list[int]) -> None:
        made = self.made[strategy]
        removed = [made[nth] for nth in gone if nth < len(made)]
        fresh = []
        for _ in range(added):
            self.nth += 1
            fresh.append(NewChunk(f"k{self.nth}", [at(self.nth)], "text", hash_text("text")))
        self.store.chunks.commit_cell(Cell(strategy, channel_id, 0, 0, 1, 0), removed, fresh, {})
        self.made[strategy] = [row[0] for row in self.store._all("SELECT id FROM chunk WHERE strategy = ?", strategy)]

    @rule()
    def removals_are_forgotten(self) -> None:
        self.store.chunks.prune_removals()

    @rule(strategy=st.sampled_from(STRATEGIES))
    def strategy_is_given_up(self, strategy: str) -> None:
        self.store.chunks.begin_strategies({one: 1 for one in STRATEGIES if one != strategy})
        self.store.chunks.begin_strategies(dict.fromkeys(STRATEGIES, 1))
        self.made[strategy] = []

    @rule(readable=some_channels | st.none(), asked=some_channels | st.none(), in_thread=st.booleans())
    def somebody_asks(self, readable: frozenset[int] | None, asked: frozenset[int] | None, in_thread: bool) -> None:
        self.compare(self.seldom, Filter(readable, in_channels=asked, in_thread=in_thread))

    @rule(since=st.integers(0, 50))
    def somebody_asks_for_a_time(self, since: int) -> None:
        self.compare(self.seldom, Filter(frozenset(CHANNELS), since_id=at(since)))

    @invariant()
    def says_what_the_store_says(self) -> None:
        self.compare(self.often, Filter(frozenset(CHANNELS)))

    def compare(self, reach: ChunkReach, wanted: Filter) -> None:
        for strategy in STRATEGIES:
            expected = sorted(self.store.vectors.allowed_chunks(strategy, wanted))
            assert reach.allowed(strategy, wanted).tolist() == expected

    def teardown(self) -> None:
        self.store.close()


def test_remembered_places_say_what_the_store_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "REMOVALS_KEPT_SECONDS", -10)
    Reaching.home = tmp_path
    run_state_machine_as_test(
        Reaching,
        settings=settings(
            max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
