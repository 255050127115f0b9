"""Whether what ragd has on disk is right: against the sandbox's ledger, and against chunking from scratch."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import apsw
import numpy as np
from numpy.typing import NDArray

from ragd.chunking import chunk_messages
from ragd.embedding import Embedder
from ragd.errors import UnavailableError
from ragd.noise import scale_of
from ragd.search import MAX_LIMIT
from ragd.search_client import SearchResult
from ragd.store import Store
from ragd.syncer import source_message
from tests.processes import assert_complete, stored_messages
from tests.tree.stage import Stage
from tests.tree.tree import Tree

STRATEGIES = ("temporal", "conversation")

OF_A_CHANNEL = "channel_id IN (SELECT id FROM channel)"
"""What came from Discord, and not what ragd puts on the way itself to see how long it takes."""

TOLERANCE = 0.001
"""Of a cosine: it is rounded on its way, and another number of threads may add up in another order."""


def assert_all_right(stage: Stage, tree: Tree, embedder: Embedder) -> None:
    """Store and ledger are equal, every message is in chunks and vectors, nothing is damaged, questions are answered.

    Waits for what is still on its way.
    """
    assert_captured(stage, tree)
    tree.settle()
    assert_chunked(tree.settings.database_path, embedder)
    assert_sound(tree.settings.database_path)
    assert_answers(stage, tree, embedder)


def assert_captured(stage: Stage, tree: Tree) -> None:
    """Each message of the ledger is in the store exactly once, edits and deletes applied, and no hole is open."""
    path = tree.settings.database_path
    tree.wait(lambda: is_readable(path), "a database with its tables")
    ledger, unreadable = stage.place.ledger(), stage.unreadable()
    wanted = {key for key, entry in ledger.messages.items() if entry.channel_id not in unreadable}
    tree.wait(lambda: stored_messages(path).keys() == wanted, "store and ledger hold the same messages")
    assert_complete(stage.place, path, unreadable)
    edited = {key for key in wanted if ledger.messages[key].edited_timestamp}
    with contextlib.closing(Store.open_read_only(path)) as store:
        rows = store._all(f"SELECT id, author_id, edited_at > 0 FROM message WHERE NOT deleted AND {OF_A_CHANNEL}")
        tombstones = {row[0] for row in store._all(f"SELECT id FROM message WHERE deleted AND {OF_A_CHANNEL}")}
    assert {row[0]: row[1] for row in rows} == {key: ledger.messages[key].author_id for key in wanted}
    assert {row[0] for row in rows if row[2]} == edited
    assert tombstones <= ledger.deleted


def is_readable(path: Path) -> bool:
    """Whether the processes that make the database have got as far as its schema."""
    try:
        Store.open_read_only(path).close()
    except UnavailableError:
        return False
    return True


def assert_chunked(path: Path, embedder: Embedder) -> None:
    """Chunks are those that chunking everything from scratch makes; each has its vector, and no vector is left over."""
    with contextlib.closing(Store.open_read_only(path)) as store:
        for strategy in STRATEGIES:
            assert _stored_keys(store, strategy) == _keys_from_scratch(store, strategy, embedder), strategy
            unchunked = (
                f"SELECT id FROM message WHERE chunkable AND {OF_A_CHANNEL}"
                " AND id NOT IN (SELECT message_id FROM chunk_message JOIN chunk ON chunk.id = chunk_id"
                " AND strategy = ?)"
            )
            assert store._all(unchunked, strategy) == [], strategy
        assert store._all("SELECT id FROM chunk WHERE text_hash NOT IN (SELECT text_hash FROM vector)") == []
        assert store._all("SELECT model_id FROM vector WHERE text_hash NOT IN (SELECT text_hash FROM chunk)") == []
        assert store._all("SELECT chunk_id FROM chunk_message WHERE chunk_id NOT IN (SELECT id FROM chunk)") == []


def _stored_keys(store: Store, strategy: str) -> list[str]:
    return sorted(
        row[0] for row in store._all(f"SELECT key FROM chunk WHERE strategy = ? AND {OF_A_CHANNEL}", strategy)
    )


def _keys_from_scratch(store: Store, strategy: str, embedder: Embedder) -> list[str]:
    keys = []
    for (channel_id,) in store._all("SELECT id FROM channel"):
        messages = [source_message(row) for row in store.chunks.message_texts(channel_id, 0, 1 << 62)]
        chunks = chunk_messages(strategy, messages, count_tokens=embedder.count_tokens, max_tokens=embedder.max_tokens)
        keys += [chunk.key for chunk in chunks]
    return sorted(keys)


def assert_sound(path: Path) -> None:
    """SQLite's own check of the file."""
    with contextlib.closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def assert_answers(stage: Stage, tree: Tree, embedder: Embedder) -> None:
    """Every chunk is indexed, and among what is found, cited, is what lies nearest of all that is in the store.

    That holds whatever the model makes of a question; whether it is any good is another test's matter.
    """
    store = tree.status().store
    assert store is not None
    tree.wait(lambda: tree.search("hello").indexed == store.chunks, f"{store.chunks} chunks are indexed")
    chunks = _chunk_vectors(tree.settings.database_path)
    assert len(chunks.message_ids) == store.chunks
    for question in stage.community.questions:
        assert_nearest_is_shown(stage, tree, chunks, question.text, embedder)


@dataclass(frozen=True)
class ChunkVectors:
    """All chunks: the message ids of each, and a matrix with the vector of each as a row."""

    message_ids: list[tuple[str, ...]]
    vectors: NDArray[np.float32]


def _chunk_vectors(path: Path) -> ChunkVectors:
    with contextlib.closing(Store.open_read_only(path)) as store:
        rows = store._all(
            "SELECT data, (SELECT group_concat(message_id) FROM (SELECT message_id FROM chunk_message"
            " WHERE chunk_id = chunk.id ORDER BY message_id)) FROM chunk JOIN vector USING (text_hash)"
            f" WHERE {OF_A_CHANNEL}"
        )
    vectors = np.stack([np.frombuffer(data, "<f4") for data, _ in rows])
    return ChunkVectors([tuple(ids.split(",")) for _, ids in rows], vectors)


def assert_nearest_is_shown(stage: Stage, tree: Tree, chunks: ChunkVectors, text: str, embedder: Embedder) -> None:
    """Scores are the cosines of chunks that are shown, and the nearest chunk, or one just as near, is among them.

    Nothing is shown when all is far. Where it stands among what words found is for the fusion to say, and for its
    tests to judge.
    """
    results = tree.search(text, MAX_LIMIT).results
    scores = chunks.vectors @ embedder.embed_query(text)
    for result in results:
        assert_cited(stage, result)
        within = [
            abs(result.score - score)
            for ids, score in zip(chunks.message_ids, scores, strict=True)
            if set(ids) <= set(result.message_ids)
        ]
        assert not within or min(within) < TOLERANCE, text
    if not results:
        assert scores.max() < scale_of(embedder).near, text
        return
    nearest = [ids for ids, score in zip(chunks.message_ids, scores, strict=True) if score > scores.max() - TOLERANCE]
    shown = [set(result.message_ids) for result in results]
    assert any(len(set(ids) & some) * 2 > min(len(ids), len(some)) for ids in nearest for some in shown), text


def assert_cited(stage: Stage, result: SearchResult) -> None:
    """The jump link opens the passage's best message."""
    assert result.best_message_id in result.message_ids
    guild = stage.community.guild_id
    assert result.url == f"https://discord.com/channels/{guild}/{result.channel_id}/{result.best_message_id}"
