"""Checks that the embedder is faithful: nDCG@10 on SciFact, published for all-MiniLM-L6-v2 as 0.645.

    python -m benchmarks.scifact [int8|fp32]

Needs ../shared/data/scifact. Searches exactly. Documents, title and abstract, are cut at what the model reads, as
they are for the published figure; ragd itself never cuts a passage.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ragd.embedding import BUNDLED_MODEL, Embedder

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
    """The rows of the ten nearest documents of each query, best first."""
    return np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :DEPTH]


def score(embedder: Embedder, documents: int | None = None) -> float:
    """nDCG@10 over all documents, or over so many of them, those that answer something first."""
    corpus, questions = read_lines(DATA / "corpus.jsonl"), read_lines(DATA / "queries_test.jsonl")
    relevance = read_relevance(DATA / "qrels_test.tsv")
    answers = {document for found in relevance.values() for document in found}
    corpus = sorted(corpus, key=lambda entry: entry["_id"] not in answers)[:documents]
    known = {entry["_id"] for entry in corpus}
    asked = [entry for entry in questions if relevance.get(entry["_id"], {}).keys() & known]
    rows = embedder.embed(cut([f"{entry['title']} {entry['text']}" for entry in corpus], embedder.max_tokens))
    best = search(rows, np.vstack([embedder.embed_query(entry["text"]) for entry in asked]))
    scores = [
        ndcg([corpus[row]["_id"] for row in found], relevance[entry["_id"]])
        for entry, found in zip(asked, best, strict=True)
    ]
    return float(np.mean(scores))


def main() -> None:
    """Embeds, searches, prints the figure of the graph given, or of the one that ragd takes here."""
    if not DATA.is_dir():
        sys.exit("benchmarks.scifact: ../shared/data/scifact is absent, nothing measured")
    embedder, begun = Embedder.open(graph=(*sys.argv[1:], "auto")[0]), time.perf_counter()
    found = score(embedder)
    print(f"SciFact nDCG@10 {found:.4f} ({embedder.form}; published: 0.645), {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
