"""Whether the passage with the reply is found for a question: by words, by meaning, by both, on real chats.

Ground truth are replies of the chats in ../shared/data/pyscript-discord: a message with `?`, of 6 to 80 words, answered
by another author in 5 words or more. The question is put as it was written, and it is *hidden*: taken out of the store
before it is asked, its passages made anew without it, as if somebody asked the same again who had not asked before. A
passage counts when it holds the reply. Half of the questions, those of even message ids, are for tuning; the figures
are of the other half.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.embedding import CHATS
from benchmarks.stage import workspace
from benchmarks.tables import Table
from ragd.chunking import STRATEGIES
from ragd.config import load_settings
from ragd.embedding import Embedder
from ragd.fusion import Candidate
from ragd.search import Query, Search
from ragd.searcher import Follower
from ragd.store import Store
from ragd.store.events import ChannelRow, ChannelsSeen, GuildSeen, MessageRow, Posted
from ragd.syncer import Syncer
from ragd.worker import StopFlag

FULL: dict[str, Any] = {"questions": None}
QUICK: dict[str, Any] = {"questions": 12}

DEPTH = 10
GUILD = 1
DEFAULT = ("temporal", "conversation")
"""What ragd chunks by unless told otherwise."""
QUESTION_WORDS = range(6, 81)
REPLY_WORDS = 5
BATCH = 500


@dataclass(frozen=True, slots=True)
class Pair:
    """A question and a reply to it, by the ids of their messages."""

    question: int
    reply: int
    text: str


def read_exports(folder: Path) -> Iterator[tuple[ChannelRow, list[MessageRow]]]:
    """Channels and messages of DiscordChatExporter's files."""
    for path in sorted(folder.glob("*.json")):
        export = orjson.loads(path.read_bytes())
        channel_id = int(export["channel"]["id"])
        rows = [_row(channel_id, entry) for entry in export["messages"]]
        newest = max((row.id for row in rows), default=0)
        yield ChannelRow(channel_id, GUILD, None, 0, export["channel"]["name"], newest), rows


def _row(channel_id: int, entry: dict[str, Any]) -> MessageRow:
    author, reference = entry["author"], entry.get("reference") or {}
    return MessageRow(
        id=int(entry["id"]),
        guild_id=GUILD,
        channel_id=channel_id,
        author_id=int(author["id"]),
        author_name=author["nickname"],
        is_bot=author["isBot"],
        type={"Default": 0, "Reply": 19}.get(entry["type"], 7),
        content=entry["content"],
        reply_to_id=int(reference["messageId"]) if reference.get("messageId") else None,
    )


def pairs(rows: Sequence[MessageRow]) -> list[Pair]:
    """The ground truth, by the age of the reply; a question with several replies is several pairs."""
    by_id = {row.id: row for row in rows}
    found = []
    for reply in rows:
        asked = by_id.get(reply.reply_to_id or 0)
        if asked is None or asked.author_id == reply.author_id or asked.is_bot or reply.is_bot:
            continue
        long_enough = len(asked.content.split()) in QUESTION_WORDS and len(reply.content.split()) >= REPLY_WORDS
        if long_enough and "?" in asked.content:
            found.append(Pair(asked.id, reply.id, asked.content))
    return found


class Bench:
    """The chats in a store, followed by syncer and indexes as in production, in one process."""

    def __init__(self, directory: Path, embedder: Embedder, strategies: Sequence[str] = tuple(STRATEGIES)) -> None:
        self.embedder = embedder
        self.store = Store.open(directory / "ragd.sqlite3")
        self.rows: list[MessageRow] = []
        ingest = self.store.ingest()
        ingest.apply([GuildSeen(GUILD, "chats")])
        for channel, rows in read_exports(CHATS):
            ingest.apply([ChannelsSeen([channel])])
            for start in range(0, len(rows), BATCH):
                ingest.apply([Posted(row) for row in rows[start : start + BATCH]])
            self.rows += rows
        settings = load_settings(
            RAGD_DATA_DIR=directory, DISCORD_BOT_TOKEN="x", AUTO_SYNC_STRATEGIES=",".join(strategies)
        )
        self.syncer = Syncer(settings, self.store, embedder, StopFlag())
        self.followers = {
            strategy: Follower(directory / "index", strategy, embedder, self.store.vectors) for strategy in strategies
        }
        self.follow()

    def follow(self) -> None:
        """Bring chunks and indexes up to the store."""
        while self.syncer.step(0.0):
            pass
        for follower in self.followers.values():
            while follower.step(0.0):
                pass

    def search(self, *, words: bool = True, meaning: bool = True, strategies: Sequence[str] = ()) -> Search:
        """A search by one way or both."""
        used = {name: self.followers[name].index for name in strategies or self.followers}
        search = Unbounded(self.store, self.embedder if meaning else None, used)
        if not words:
            search._lookup = NoWords(search._lookup)  # type: ignore[assignment]
        return search

    def hide(self, message_id: int, hidden: bool) -> None:
        """Take a message out of search, or put it back, as a delete would; it stays in the table."""
        count_up = "UPDATE counter SET value = value + 1 WHERE name = 'message_change' RETURNING value"
        (change,) = self.store._one(count_up)
        with self.store._transaction():
            self.store._execute(
                "UPDATE message SET chunkable = ?, change = ? WHERE id = ?", not hidden, change, message_id
            )
            self.store.words.follow(change - 1)
        self.follow()


class Unbounded(Search):
    """Shows what is no better than noise too: what is compared is the order."""

    def _worth_showing(self, ranked: Sequence[Candidate], shares: Mapping[int, float]) -> list[Candidate]:
        return list(ranked)


class NoWords:
    """A lookup that finds nothing: search by meaning alone."""

    def __init__(self, lookup: Any) -> None:
        self._lookup = lookup

    def ranked(self, *_: object) -> list[tuple[int, float]]:
        return []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lookup, name)


def rank_of(results: Sequence[Any], reply: int) -> int | None:
    """Where the reply stands, from 1."""
    return next((rank for rank, one in enumerate(results, 1) if str(reply) in one.message_ids), None)


def figures(ranks: Sequence[int | None]) -> list[float]:
    """Recall@1, @5, @10 and MRR@10."""
    recalls = [sum(rank is not None and rank <= depth for rank in ranks) / len(ranks) for depth in (1, 5, DEPTH)]
    return [*recalls, sum(1 / rank for rank in ranks if rank and rank <= DEPTH) / len(ranks)]


def ask(bench: Bench, asked: Sequence[Pair], searches: dict[str, Search]) -> dict[str, list[int | None]]:
    """Each question hidden and put to each search."""
    ranks: dict[str, list[int | None]] = {name: [] for name in searches}
    for pair in asked:
        bench.hide(pair.question, True)
        for name, one in searches.items():
            ranks[name].append(rank_of(one.answer(Query(as_query(pair.text), None, DEPTH)).results, pair.reply))
        bench.hide(pair.question, False)
    return ranks


def as_query(text: str) -> str:
    """A message as somebody would put it: without what the query language would read an order in."""
    return text.replace('"', " ").replace(" -", " ")


def run(questions: int | None) -> list[Table]:
    """Words, meaning and both; each strategy and all."""
    if not CHATS.is_dir():
        print("../shared/data/pyscript-discord is absent: nothing measured", file=sys.stderr)
        return []
    embedder = Embedder.open()
    columns = ("search", "strategies", "recall@1", "recall@5", "recall@10", "MRR@10")
    table = Table("Question to reply", columns)
    with workspace() as directory:
        bench = Bench(directory, embedder)
        test = [pair for pair in pairs(bench.rows) if pair.question // 4_194_304 % 2][:questions]
        # a message that words find is shown in its chunk, so the strategies matter here too
        searches: dict[str, Search] = {f"words {'+'.join(DEFAULT)}": bench.search(meaning=False, strategies=DEFAULT)}
        for chosen in (*((strategy,) for strategy in STRATEGIES), DEFAULT):
            searches[f"meaning {'+'.join(chosen)}"] = bench.search(words=False, strategies=chosen)
            searches[f"both {'+'.join(chosen)}"] = bench.search(strategies=chosen)
        for name, ranks in ask(bench, test, searches).items():
            way, _, chosen_name = name.partition(" ")
            table.add(way, chosen_name or "-", *(f"{value:.3f}" for value in figures(ranks)))
        bench.store.close()
    table.notes.append(
        f"{len(test)} questions with a reply, hidden while asked: the half that nothing was tuned on. One question is"
        f" {1 / len(test):.4f}."
    )
    return [table]
