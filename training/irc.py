"""The annotated IRC of Kummerfeld et al. (ACL 2019, CC-BY-4.0) as messages, and the metrics of its section 4.3.

Half-days of #ubuntu, each with its last 250 lines or so linked by hand to what they answer. System lines (`===`) are
left out of what the disentangler reads, as Discord's are: each is a conversation of its own.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragd.chunking import SourceMessage
from ragd.snowflake import from_unix_seconds

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "irc-disentanglement" / "dev"

_LINE = re.compile(r"\[(\d\d):(\d\d)\] (?:<([^>]*)>|\* ?(\S+)) ?(.*)")
_NOON = 1_700_006_400 - 1_700_006_400 % 86_400
_BACKWARDS_MINUTES = 600
"""A clock that falls by so much has passed midnight."""

Links = dict[int, set[int]]
"""By line number: the lines that it answers; itself when it opens a conversation."""


@dataclass(frozen=True)
class Day:
    """One annotated file."""

    name: str
    messages: Sequence[SourceMessage]
    lines: Sequence[int]
    """The line number of each message."""
    gold: Links


def read_days(folder: Path = DATA) -> list[Day]:
    """All annotated files of a folder, by name."""
    return [_read_day(path) for path in sorted(folder.glob("*.ascii.txt"))]


def _read_day(path: Path) -> Day:
    text = path.read_text(encoding="utf-8", errors="replace")
    said = list(_said(text.split("\n")))
    authors = {nick: number for number, nick in enumerate(dict.fromkeys(nick for _, _, nick, _ in said), start=1)}
    messages = [
        SourceMessage(from_unix_seconds(_NOON + 60 * minute) + line, authors[nick], nick, words or " ")
        for line, minute, nick, words in said
    ]
    annotation = path.with_name(path.name.replace("ascii", "annotation"))
    return Day(path.name.removesuffix(".ascii.txt"), messages, [line for line, *_ in said], _read_links(annotation))


def _said(lines: Iterable[str]) -> Iterator[tuple[int, int, str, str]]:
    """Line number, minute, nick and text of whatever a person said."""
    day = latest = 0
    for number, line in enumerate(lines):
        if match := _LINE.match(line):
            minute = 60 * int(match[1]) + int(match[2]) + day
            if minute < latest - _BACKWARDS_MINUTES:
                day += 1440
                minute += 1440
            latest = max(latest, minute)
            yield number, latest, match[3] or match[4], match[5]


def _read_links(path: Path) -> Links:
    gold: Links = defaultdict(set)
    for line in path.read_text(encoding="ascii").splitlines():
        one, other = sorted(map(int, line.split()[:2]))
        gold[other].add(one)
    return dict(gold)


@dataclass(frozen=True)
class Scores:
    """In percent; all files together, links to lines before the annotated ones included, as published."""

    one_to_one: float
    information: float
    """1 - variation of information / log n"""
    exact: float
    """F1 of conversations found whole, of more than one message"""
    link: float
    """F1"""


def evaluate(days: Sequence[Day], links: Mapping[str, Links]) -> Scores:
    """What was predicted, by file name, against the annotation. Lines without a prediction open a conversation."""
    gold_clusters, found_clusters = [], []
    hits = predicted = wanted = 0
    for day in days:
        found = {line: links[day.name].get(line, {line}) for line in day.gold}
        hits += sum(len(day.gold[line] & found[line]) for line in found)
        predicted += sum(map(len, found.values()))
        wanted += sum(map(len, day.gold.values()))
        gold_clusters += _clusters(day.name, day.gold)
        found_clusters += _clusters(day.name, found)
    return Scores(*score_clusters(gold_clusters, found_clusters), link=200 * hits / (predicted + wanted))


Cluster = frozenset[tuple[str, int]]


def score_clusters(gold: Sequence[Cluster], found: Sequence[Cluster]) -> tuple[float, float, float]:
    """One-to-one overlap, 1 - scaled VI and exact-match F1 of two partitions of the same lines, in percent."""
    total = sum(map(len, gold))
    information = 100 * (1 - _variation(gold, found, total) / math.log2(total))
    return 100 * _overlap(gold, found) / total, information, _exact(gold, found)


def _clusters(name: str, links: Links) -> list[Cluster]:
    """Annotated lines that links connect, also by way of lines that are not."""
    parent: dict[int, int] = {}

    def root(line: int) -> int:
        while parent.setdefault(line, line) != line:
            parent[line] = parent[parent[line]]
            line = parent[line]
        return line

    for line, answered in links.items():
        for other in answered:
            parent[root(other)] = root(line)
    clusters: dict[int, set[tuple[str, int]]] = defaultdict(set)
    for line in links:
        clusters[root(line)].add((name, line))
    return [frozenset(cluster) for cluster in clusters.values()]


def _overlap(gold: Sequence[Cluster], found: Sequence[Cluster]) -> float:
    """The most lines that a one-to-one pairing of clusters can agree on."""
    where = {line: at for at, cluster in enumerate(found) for line in cluster}
    counts = np.zeros((len(gold), len(found)), np.int64)
    for at, cluster in enumerate(gold):
        for line in cluster:
            counts[at, where[line]] += 1
    rows, columns = assign(-counts)
    return float(counts[rows, columns].sum())


def assign(cost: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cheapest one-to-one pairing of rows and columns (shortest augmenting paths, Jonker and Volgenant)."""
    if cost.shape[0] > cost.shape[1]:
        columns, rows = assign(cost.T)
        return rows, columns
    count, width = cost.shape
    row_price, column_price = np.zeros(count + 1), np.zeros(width + 1)
    owner, via = np.zeros(width + 1, np.int64), np.zeros(width + 1, np.int64)
    for row in range(1, count + 1):
        owner[0], column = row, 0
        least, used = np.full(width + 1, np.inf), np.zeros(width + 1, bool)
        while owner[column]:
            used[column] = True
            current = owner[column]
            reduced = cost[current - 1] - row_price[current] - column_price[1:]
            better = ~used[1:] & (reduced < least[1:])
            least[1:][better], via[1:][better] = reduced[better], column
            nearest = int(np.where(used[1:], np.inf, least[1:]).argmin()) + 1
            delta = least[nearest]
            row_price[owner[used]] += delta
            column_price[used] -= delta
            least[~used] -= delta
            column = nearest
        while column:
            owner[column] = owner[via[column]]
            column = int(via[column])
    taken = np.flatnonzero(owner[1:])
    return owner[1:][taken] - 1, taken


def _variation(gold: Sequence[Cluster], found: Sequence[Cluster], total: int) -> float:
    """Bits."""
    own = {line: at for at, cluster in enumerate(gold) for line in cluster}
    where = {line: at for at, cluster in enumerate(found) for line in cluster}
    joint = Counter((own[line], where[line]) for line in own)
    return -sum(
        count / total * (math.log2(count / len(gold[one])) + math.log2(count / len(found[other])))
        for (one, other), count in joint.items()
    )


def _exact(gold: Sequence[Cluster], found: Sequence[Cluster]) -> float:
    wanted = {cluster for cluster in gold if len(cluster) > 1}
    given = {cluster for cluster in found if len(cluster) > 1}
    return 200 * len(wanted & given) / max(1, len(wanted) + len(given))
