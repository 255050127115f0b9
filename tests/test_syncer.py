"""The syncer against a real store and the real model: in step, resumable, and the same as from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragd.chunking import DEFAULT_OPTIONS, ChunkingOptions, chunk_messages
from ragd.config import STRATEGY_NAMES, Settings, load_settings
from ragd.embedding import Embedder
from ragd.errors import TransientError
from ragd.store import Store
from ragd.store.erasure import SLICE
from ragd.store.events import Deleted, Edited, Event, Posted
from ragd.syncer import WORK_SECONDS, Syncer, source_message
from ragd.worker import StopFlag
from tests.store.factories import CHANNEL, GUILD, at, message

STRATEGIES = ("temporal", "conversation")


def make_settings(directory: Path, **overrides: str) -> Settings:
    return load_settings(RAGD_DATA_DIR=directory, DISCORD_BOT_TOKEN="x", **overrides)


def make_syncer(store: Store, embedder: Embedder, directory: Path, **overrides: str) -> Syncer:
    return Syncer(make_settings(directory, **overrides), store, embedder, StopFlag())


def settle(syncer: Syncer, now: float = 0.0) -> None:
    for _ in range(10_000):
        if not syncer.step(now):
            return
    raise AssertionError("the syncer never comes to rest")


def stored_keys(store: Store, strategy: str) -> set[str]:
    return {row[0] for row in store._all("SELECT key FROM chunk WHERE strategy = ?", strategy)}


def keys_from_scratch(
    store: Store, embedder: Embedder, strategy: str, options: ChunkingOptions = DEFAULT_OPTIONS
) -> set[str]:
    sources = [source_message(row) for row in store.chunks.message_texts(CHANNEL, 0, 1 << 62)]
    chunks = chunk_messages(
        strategy, sources, count_tokens=embedder.count_tokens, max_tokens=embedder.max_tokens, options=options
    )
    return {chunk.key for chunk in chunks}


def assert_consistent(store: Store, embedder: Embedder, strategies: Sequence[str] = STRATEGIES) -> None:
    for strategy in strategies:
        assert stored_keys(store, strategy) == keys_from_scratch(store, embedder, strategy)
    orphans = "SELECT count(*) FROM vector WHERE text_hash NOT IN (SELECT text_hash FROM chunk)"
    missing = "SELECT count(*) FROM chunk WHERE text_hash NOT IN (SELECT text_hash FROM vector)"
    assert store._one(orphans) == (0,)
    assert store._one(missing) == (0,)
    assert store.chunks.lag() == 0


WORDS = ["rain gauge", "why?", "solder the reed switch again", "ok", "the pond migration is stuck", "danke!", "a" * 900]

change = st.one_of(
    st.tuples(st.just("post"), st.integers(0, 40), st.sampled_from(WORDS), st.integers(1, 3)),
    st.tuples(st.just("edit"), st.integers(0, 40), st.sampled_from(WORDS), st.integers(1, 9)),
    st.tuples(st.just("delete"), st.integers(0, 40), st.just(""), st.just(0)),
)


def as_event(kind: str, slot: int, text: str, number: int) -> Event:
    """Slots lie ten minutes apart, so that windows, gaps and the grid are all crossed by forty of them."""
    message_id = at(slot * 600)
    if kind == "post":
        reply = at((slot - 1) * 600) if number == 3 else None
        return Posted(message(message_id, text, author_id=number, author_name=f"author{number}", reply_to_id=reply))
    if kind == "edit":
        return Edited(message(message_id, text, edited_at=number))
    return Deleted(GUILD, CHANNEL, [message_id])


@given(batches=st.lists(st.lists(change, min_size=1, max_size=12), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_incremental_equals_from_scratch(embedder: Embedder, batches: list[list[tuple[str, int, str, int]]]) -> None:
    store = Store.open(Path(":memory:"))
    syncer = make_syncer(store, embedder, Path("/nonexistent"), AUTO_SYNC_STRATEGIES=",".join(STRATEGY_NAMES))
    ingest = store.ingest()
    for batch in batches:
        ingest.apply([as_event(*step) for step in batch])
        settle(syncer)
        assert_consistent(store, embedder, STRATEGY_NAMES)
    store.close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "ragd.sqlite3")


def test_what_others_said_is_embedded_again_when_somebody_is_erased(
    store: Store, embedder: Embedder, tmp_path: Path
) -> None:
    """Not after each slice, whose next one would take it away again."""
    syncer, ingest = make_syncer(store, embedder, tmp_path, AUTO_SYNC_STRATEGIES="single"), store.ingest()
    messages = 3 * SLICE
    ingest.apply(
        [
            Posted(message(at(nth), f"{'gone' if nth % 2 else 'stays'} {nth % 7}", author_id=1 + nth % 2))
            for nth in range(2 * messages)
        ]
    )
    settle(syncer)
    store.erasures.forget_user(2, at(10**6), "member")
    cells = syncer.counters()["cells"]
    while any(erasure.state == "rows" for erasure in store.erasures.open()):
        assert syncer.step(0.9 * WORK_SECONDS)
        assert syncer.counters()["cells"] == cells
    settle(syncer)
    assert_consistent(store, embedder, ["single"])


def test_the_open_tail_is_made_anew_and_closed_chunks_are_left_alone(
    store: Store, embedder: Embedder, tmp_path: Path
) -> None:
    syncer, ingest = make_syncer(store, embedder, tmp_path), store.ingest()
    ingest.apply([Posted(message(at(0), "first conversation"))])
    settle(syncer)
    before = stored_keys(store, "conversation")
    ingest.apply([Posted(message(at(5000), "hours later"))])
    settle(syncer)
    assert before < stored_keys(store, "conversation")
    embedded = syncer.counters()["embedded"]
    ingest.apply([Posted(message(at(5010), "and on"))])
    settle(syncer)
    assert before < stored_keys(store, "conversation")
    assert syncer.counters()["embedded"] - embedded == 1, "one text, which both strategies share"


@pytest.mark.parametrize(
    "event", [Deleted(GUILD, CHANNEL, [at(1)]), Edited(message(at(1), "there is no code", edited_at=1))]
)
def test_what_goes_while_its_chunk_is_made_leaves_no_text_in_it(
    store: Store, embedder: Embedder, tmp_path: Path, event: Event
) -> None:
    syncer, ingest = make_syncer(store, embedder, tmp_path), store.ingest()
    ingest.apply([Posted(message(at(0), "keep this")), Posted(message(at(1), "the code is 4711"))])
    plans = [
        plan for strategy in STRATEGIES for _ in [syncer._follow(strategy)] for plan in syncer._plan_some(strategy)
    ]
    ingest.apply([event])
    syncer._carry_out(plans)
    assert all("4711" not in row[0] for row in store._all("SELECT text FROM chunk"))
    settle(syncer)
    assert all(row[0] for row in store._all("SELECT text FROM chunk"))
    assert_consistent(store, embedder)


def test_a_change_of_what_chunks_do_not_say_makes_none_anew(store: Store, embedder: Embedder, tmp_path: Path) -> None:
    syncer, ingest = make_syncer(store, embedder, tmp_path), store.ingest()
    ingest.apply([Posted(message(at(0), "keep this"))])
    settle(syncer)
    chunks = store._all("SELECT id, text, change FROM chunk")
    ingest.apply([Edited(message(at(0), "keep this", extra='{"pinned":true}'))])
    assert [text for (text,) in store._all("SELECT text FROM chunk") if text] == []
    settle(syncer)
    assert store._all("SELECT id, text, change FROM chunk") == chunks
    assert_consistent(store, embedder)


def test_a_deleted_message_leaves_chunks_and_vectors(store: Store, embedder: Embedder, tmp_path: Path) -> None:
    syncer, ingest = make_syncer(store, embedder, tmp_path), store.ingest()
    ingest.apply([Posted(message(at(0), "keep this")), Posted(message(at(1), "the code is 4711"))])
    settle(syncer)
    ingest.apply([Deleted(GUILD, CHANNEL, [at(1)])])
    settle(syncer)
    assert all("4711" not in row[0] for row in store._all("SELECT text FROM chunk"))
    assert_consistent(store, embedder)


def test_bots_and_system_messages_take_no_part(store: Store, embedder: Embedder, tmp_path: Path) -> None:
    syncer = make_syncer(store, embedder, tmp_path)
    store.ingest().apply(
        [Posted(message(at(0), is_bot=True)), Posted(message(at(1), type=7)), Posted(message(at(2), ""))]
    )
    settle(syncer)
    assert store.counts().chunks == 0


def test_a_stop_in_the_middle_loses_nothing(store: Store, embedder: Embedder, tmp_path: Path) -> None:
    stop = StopFlag()
    syncer = Syncer(make_settings(tmp_path), store, embedder, stop)
    store.ingest().apply([Posted(message(at(i * 4000), f"message number {i}")) for i in range(40)])
    syncer.on_progress(stop.set)
    syncer.step(0.0)
    assert store.chunks.lag() > 0
    settle(make_syncer(store, embedder, tmp_path))
    assert_consistent(store, embedder)


def test_the_newest_cell_comes_first(store: Store, embedder: Embedder, tmp_path: Path) -> None:
    syncer = make_syncer(store, embedder, tmp_path)
    store.ingest().apply([Posted(message(at(i * 86_400), f"day {i}")) for i in range(60)])
    syncer.step(0.0)
    made = {row[0] for row in store._all("SELECT text FROM chunk")}
    assert made == {f"ann: day {59 - i}" for i in range(len(made))}
    assert 0 < len(made) < 60


def test_a_full_pass_mends_what_slipped_through(store: Store, embedder: Embedder, tmp_path: Path) -> None:
    syncer = make_syncer(store, embedder, tmp_path)
    store.ingest().apply([Posted(message(at(0))), Posted(message(at(4000)))])
    settle(syncer)
    with store._transaction():
        store._execute("DELETE FROM chunk WHERE strategy = 'temporal'")
    syncer.step(31 * 60.0)
    settle(syncer, 31 * 60.0)
    assert_consistent(store, embedder)


def test_strategies_come_and_go_with_the_settings(store: Store, embedder: Embedder, tmp_path: Path) -> None:
    store.ingest().apply([Posted(message(at(0)))])
    settle(make_syncer(store, embedder, tmp_path, AUTO_SYNC_STRATEGIES="temporal"))
    assert not stored_keys(store, "conversation")
    settle(make_syncer(store, embedder, tmp_path, AUTO_SYNC_STRATEGIES="conversation"))
    assert not stored_keys(store, "temporal")
    assert stored_keys(store, "conversation") == keys_from_scratch(store, embedder, "conversation")


def test_other_settings_make_a_strategys_chunks_anew(store: Store, embedder: Embedder, tmp_path: Path) -> None:
    store.ingest().apply([Posted(message(at(i * 600), f"number {i}")) for i in range(4)])
    settle(make_syncer(store, embedder, tmp_path))
    before = {strategy: stored_keys(store, strategy) for strategy in STRATEGIES}
    syncer = make_syncer(store, embedder, tmp_path, CHUNKING_WINDOW_SECONDS="900")
    assert {strategy: stored_keys(store, strategy) for strategy in STRATEGIES} == before, "they serve on meanwhile"
    assert store.chunks.lag() == 4
    settle(syncer)
    options = ChunkingOptions(window_ms=900_000)
    assert stored_keys(store, "temporal") == keys_from_scratch(store, embedder, "temporal", options)
    assert not stored_keys(store, "temporal") & before["temporal"]
    assert stored_keys(store, "conversation") == before["conversation"]


def test_chunks_without_a_vector_of_the_model_get_one(store: Store, embedder: Embedder, tmp_path: Path) -> None:
    store.ingest().apply([Posted(message(at(0)))])
    settle(make_syncer(store, embedder, tmp_path))
    with store._transaction():
        store._execute("UPDATE vector SET model_id = 99")
    settle(make_syncer(store, embedder, tmp_path))
    assert_consistent(store, embedder)
    assert store._one("SELECT count(*) FROM vector WHERE model_id = 99") == (0,)


def test_a_locked_database_is_a_passing_error(store: Store, embedder: Embedder, tmp_path: Path) -> None:
    syncer = make_syncer(store, embedder, tmp_path)
    store.ingest().apply([Posted(message(at(0)))])
    store._database.execute_sql("PRAGMA busy_timeout = 50")
    blocker = apsw.Connection(str(tmp_path / "ragd.sqlite3"))
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(TransientError):
        settle(syncer)
    blocker.execute("ROLLBACK")
    blocker.close()
    settle(syncer)
    assert_consistent(store, embedder)


# The write-ahead log


def log_bytes(directory: Path) -> int:
    return (directory / "ragd.sqlite3-wal").stat().st_size


def test_the_log_is_emptied_unless_litestream_does_it(
    tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, wanted in (("false", True), ("true", False)):
        directory = tmp_path / name
        directory.mkdir()
        store = Store.open(directory / "ragd.sqlite3")
        syncer = make_syncer(store, embedder, directory, RAGD_LITESTREAM=name)
        settle(syncer)
        settle(syncer, now=100.0)
        assert (log_bytes(directory) == 0) is wanted
        monkeypatch.setattr("ragd.syncer.LITESTREAM_BYTES", 0)
        settle(syncer, now=200.0)
        assert log_bytes(directory) == 0, "beyond that size it is emptied whoever should have done it"
        monkeypatch.undo()
        syncer.close()


def test_a_log_that_a_reader_holds_is_not_tried_at_every_step(
    tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try keeps capture from writing for as long as it waits."""
    monkeypatch.setattr("ragd.syncer.CHECKPOINT_BYTES", 0)
    monkeypatch.setattr("ragd.syncer.CHECKPOINT_BUSY_SECONDS", 0.01)
    store = Store.open(tmp_path / "ragd.sqlite3")
    syncer = make_syncer(store, embedder, tmp_path)
    settle(syncer)
    tries: list[bool] = []
    checkpoint = store.checkpoint
    monkeypatch.setattr(store, "checkpoint", lambda seconds: tries.append(checkpoint(seconds)) or tries[-1])
    reader = apsw.Connection(str(tmp_path / "ragd.sqlite3"))
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM message").fetchall()
    for second in range(20):
        store._execute("INSERT INTO counter (name, value) VALUES (?, 1)", f"step {second}")
        syncer.step(float(1000 + second))
    assert tries == [False]
    reader.close()
    syncer.step(1031.0)
    assert tries == [False, True]
    syncer.close()
