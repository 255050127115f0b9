"""Checks that the embedder is faithful: nDCG@10 on SciFact, published for all-MiniLM-L6-v2 as 0.645.

And that search by words is (BM25, published as 0.687), and what both together give: as ragd itself indexes and fuses,
a document being a message.

    python -m benchmarks.scifact [int8|fp32]

Needs ../shared/data/scifact. Searches exactly. Documents, title and abstract, are cut at what the model reads, as
they are for the published figure; ragd itself never cuts a passage.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ragd.asked import parse
from ragd.embedding import BUNDLED_MODEL, Embedder
from ragd.fusion import Fusion
from ragd.search import CHUNKS, WORD_HITS, WORD_WEIGHT
from ragd.store import Store
from ragd.store.events import ChannelRow, ChannelsSeen, GuildSeen, MessageRow, Posted
from ragd.store.scope import Filter
from ragd.terms import STOP_WORDS

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "scifact"
DEPTH = 10

Relevance = dict[str, dict[str, int]]
"""By query, then by document."""


def read_lines(path: Path) -> list[dict[str, str]]:
    """The objects of a file with one on each line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_relevance(path: Path) -> Relevance:
    """The judgements of a tab-separated file with a header."""
    found: Relevance = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            found.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    return found


def cut(texts: Sequence[str], max_tokens: int) -> list[str]:
    """Each text up to the end of the last token that the model reads."""
    tokenizer = Tokenizer.from_file(str(BUNDLED_MODEL / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    room = max_tokens - tokenizer.num_special_tokens_to_add(False)
    cut_texts = []
    for text in texts:
        ends = [end for _, end in tokenizer.encode(text, add_special_tokens=False).offsets]
        cut_texts.append(text if len(ends) <= room else text[: ends[room - 1]])
    return cut_texts


def ndcg(ranked: Sequence[str], relevant: dict[str, int]) -> float:
    """nDCG@10 with linear gain, as BEIR's (trec_eval's) is."""
    discounts = 1 / np.log2(np.arange(2, DEPTH + 2))
    gains = np.array([relevant.get(document, 0) for document in ranked])
    ideal = np.sort(list(relevant.values()))[::-1][:DEPTH]
    return float(gains @ discounts[: len(gains)] / (ideal @ discounts[: len(ideal)]))


def search(documents: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.int64]:
    """The rows of the nearest documents of each query, best first."""
    return np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :CHUNKS]


def search_words(texts: Sequence[str], questions: Sequence[str]) -> list[list[int]]:
    """The rows of the documents that each question's words find, best first."""
    with tempfile.TemporaryDirectory(prefix="ragd-bench-") as directory:
        store = Store.open(Path(directory) / "ragd.sqlite3")
        place = ChannelRow(1, 1, None, 0, "abstracts", len(texts))
        store.ingest().apply([GuildSeen(1, "scifact"), ChannelsSeen([place])])
        rows = [MessageRow(at + 1, 1, 1, 1, "author", False, 0, text) for at, text in enumerate(texts)]
        store.ingest().apply([Posted(row) for row in rows])
        found = []
        for question in questions:
            words = [word for word in parse(question, datetime.now(UTC)).words if word.casefold() not in STOP_WORDS]
            terms = [store.lookup.term(word, Filter()) for word in words]
            found.append([hit[0] - 1 for hit in store.lookup.ranked(terms, Filter(), WORD_HITS)])
        store.close()
    return found


def fuse(by_meaning: Sequence[int], by_words: Sequence[int]) -> list[int]:
    """The ten best rows of both rankings, by reciprocal rank."""
    fusion = Fusion()
    for row in by_meaning:
        fusion.add_by_meaning(row, [row], 0.0)
    for row in by_words:
        fusion.add_by_words(row, [row], row, 0.0, None)
    return [one.place for one in fusion.ranked(WORD_WEIGHT)[:DEPTH]]


@dataclass(frozen=True, slots=True)
class Scores:
    """nDCG@10 by each way."""

    meaning: float
    words: float
    both: float


def scores(embedder: Embedder, documents: int | None = None) -> Scores:
    """nDCG@10 over all documents, or over so many of them, those that answer something first."""
    corpus, questions = read_lines(DATA / "corpus.jsonl"), read_lines(DATA / "queries_test.jsonl")
    relevance = read_relevance(DATA / "qrels_test.tsv")
    answers = {document for found in relevance.values() for document in found}
    corpus = sorted(corpus, key=lambda entry: entry["_id"] not in answers)[:documents]
    known = {entry["_id"] for entry in corpus}
    asked = [entry for entry in questions if relevance.get(entry["_id"], {}).keys() & known]
    texts = [f"{entry['title']} {entry['text']}" for entry in corpus]
    rows = embedder.embed(cut(texts, embedder.max_tokens))
    best = search(rows, np.vstack([embedder.embed_query(entry["text"]) for entry in asked])).tolist()
    by_words = search_words(texts, [entry["text"] for entry in asked])

    def score(found: Sequence[Sequence[int]]) -> float:
        ranked = ([corpus[row]["_id"] for row in rows[:DEPTH]] for rows in found)
        return float(np.mean([ndcg(ids, relevance[entry["_id"]]) for ids, entry in zip(ranked, asked, strict=True)]))

    both = [fuse(rows, words) for rows, words in zip(best, by_words, strict=True)]
    return Scores(score(best), score(by_words), score(both))


def main() -> None:
    """Embeds, searches, prints the figures of the graph given, or of the one that ragd takes here."""
    if not DATA.is_dir():
        sys.exit("benchmarks.scifact: ../shared/data/scifact is absent, nothing measured")
    embedder, begun = Embedder.open(graph=(*sys.argv[1:], "auto")[0]), time.perf_counter()
    found = scores(embedder)
    print(
        f"SciFact nDCG@10: meaning {found.meaning:.4f} ({embedder.form}; published: 0.645), words {found.words:.4f}"
        f" (published: 0.687), both {found.both:.4f}; {time.perf_counter() - begun:.0f} s"
    )


if __name__ == "__main__":
    main()
