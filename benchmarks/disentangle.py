"""How well conversations are told apart: on annotated IRC, and on a Discord server's chats.

    python -m benchmarks disentangle

Needs ../shared/data/irc-disentanglement (metrics as in Kummerfeld et al., ACL 2019, section 4.3) and
../shared/data/pyscript-discord. Every figure on IRC but one comes from cross-validation: each file is judged by weights
that were trained on the others.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is imported: two processes train side by side

import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import pairwise

from benchmarks.chats import read_chats
from benchmarks.tables import Table, number
from ragd.chunking import DEFAULT_OPTIONS, SourceMessage, is_boundary
from ragd.chunking.conversation import Probabilities, listen
from ragd.chunking.reading import NOBODY, read_segment
from ragd.chunking.scorer import Scorer, bundled_scorer
from ragd.snowflake import from_unix_seconds, to_unix_ms, to_unix_seconds
from training.disentangler import fold
from training.irc import Day, Links, Scores, evaluate, read_days, score_clusters

FULL = {"folds": 10, "mixtures": 60}
QUICK = {"folds": 1, "mixtures": 3}

GAP_MS = DEFAULT_OPTIONS.gap_ms
ADDRESSEE_MS, OWN_MS = 3_600_000, 900_000
FIRST_SECOND = 1_700_000_000

Segment = Sequence[SourceMessage]
Chosen = dict[int, int | None]
"""By message id: what it goes on from, None if it opens a conversation."""


def run(folds: int, mixtures: int) -> list[Table]:
    """A table of IRC and two of Discord, of what there is of the data."""
    days = read_days()
    segments = [segment for channel in read_chats() for segment in segments_of(channel)]
    if not days or not segments:
        print("disentangle: ../shared/data lacks irc-disentanglement or pyscript-discord", file=sys.stderr)
    tables = [irc(days, folds)] if days else []
    return [*tables, quiet(segments), laid_over(segments, mixtures)] if segments else tables


# --- IRC ---


def irc(days: Sequence[Day], folds: int) -> Table:
    """The four metrics of each way, of so many of the days."""
    days = days[:folds]
    table = Table(
        "Conversations of annotated IRC", ["", "one-to-one", "1 - scaled VI", "exact match F1", "link F1", "messages/s"]
    )
    ways: dict[str, Callable[[Segment], Chosen]] = {"previous message": previous, "plain rules": rules}
    for name, way in ways.items():
        table.add(name, *_figures(evaluate(days, {day.name: _links(day, way(day.messages)) for day in days})), "")
    with ProcessPoolExecutor(2) as pool:
        chosen = list(pool.map(held_out, [day.name for day in days]))
    links = {day.name: _links(day, each) for day, each in zip(days, chosen, strict=True)}
    table.add("ragd, trained on the other files", *_figures(evaluate(days, links)), "")
    begun = time.perf_counter()
    links = {day.name: _links(day, learned(day.messages)) for day in days}
    rate = sum(len(day.messages) for day in days) / (time.perf_counter() - begun)
    table.add("ragd as shipped, trained on these too", *_figures(evaluate(days, links)), number(rate))
    for name, *cells in PUBLISHED:
        table.add(f"{name} (published, on the test set)", *cells, "")
    table.notes.append(
        f"{len(days)} half-days of #ubuntu, {sum(len(day.gold) for day in days):,} annotated lines, percent. Plain"
        " rules: to whom it speaks, within 60 min, else its author's last within 15, else it opens a conversation."
    )
    return table


PUBLISHED = (
    ("linear model", "69.5", "88.9", "21.8", "63.5"),
    ("feed-forward model", "75.6", "91.3", "36.2", "72.3"),
)


def held_out(name: str) -> Chosen:
    """One day as a scorer judges it that knows only the others."""
    days = read_days()
    day = next(day for day in days if day.name == name)
    return learned(day.messages, fold(days, day))


def learned(messages: Segment, scorer: Scorer | None = None) -> Chosen:
    """As ragd does it; without the grid of six hours, which cuts where the clock says."""
    return listen(messages, GAP_MS, (scorer or bundled_scorer()).probabilities(messages)).links


def previous(messages: Segment) -> Chosen:
    """Each message goes on from the one before."""
    ids = [message.id for message in messages]
    return {ids[0]: None, **{later: earlier for earlier, later in pairwise(ids)}}


def rules(messages: Segment) -> Chosen:
    """What needs no learning."""
    reading = read_segment(messages, bundled_scorer().vocabulary)
    latest: dict[int, SourceMessage] = {}
    chosen: Chosen = {}
    for message, me, them in zip(messages, reading.author.tolist(), reading.addressee.tolist(), strict=True):
        ways = ((them, ADDRESSEE_MS), (me, OWN_MS))
        found = (
            latest[who] for who, within_ms in ways if who != NOBODY and _lately(latest.get(who), message, within_ms)
        )
        turn = next(found, None)
        chosen[message.id] = turn.id if turn else None
        latest[me] = message
    return chosen


def _lately(turn: SourceMessage | None, message: SourceMessage, within_ms: int) -> bool:
    return turn is not None and to_unix_ms(message.id) - to_unix_ms(turn.id) < within_ms


def _links(day: Day, chosen: Chosen) -> Links:
    line = {message.id: number for message, number in zip(day.messages, day.lines, strict=True)}
    return {line[later]: {line[later if earlier is None else earlier]} for later, earlier in chosen.items()}


def _figures(scores: Scores) -> list[str]:
    return [f"{value:.1f}" for value in (scores.one_to_one, scores.information, scores.exact, scores.link)]


# --- Discord ---


def segments_of(channel: Segment) -> Iterator[Segment]:
    """A channel's messages between two boundaries."""
    start = 0
    for at in range(1, len(channel) + 1):
        if at == len(channel) or is_boundary("conversation", channel[at - 1].id, channel[at].id):
            yield channel[start:at]
            start = at


def unmarked(segment: Segment) -> list[SourceMessage]:
    """Without what Discord says about who replies to what."""
    return [replace(message, reply_to_id=None) for message in segment]


WAYS: dict[str, Callable[[Segment], Chosen]] = {
    "everything together": previous,
    "plain rules": rules,
    "ragd": learned,
    "the scorer alone": lambda segment: _alone(segment, bundled_scorer().probabilities(segment)),
}


def _alone(segment: Segment, scores: Iterable[Probabilities]) -> Chosen:
    """Whatever is likeliest, however few voices there are."""
    best = [int(each.argmax()) for each in scores]
    return {message.id: segment[at - best[at]].id if best[at] else None for at, message in enumerate(segment)}


def quiet(segments: Sequence[Segment]) -> Table:
    """Do replies stay with what they answer, their marks hidden, and into how many pieces does a channel fall?"""
    table = Table("A quiet Discord server, reply marks hidden", ["", "replies kept", "conversations a 100 messages"])
    total = sum(map(len, segments))
    for name, way in WAYS.items():
        kept = asked = conversations = 0
        for segment in segments:
            home = homes(segment, way(unmarked(segment)))
            conversations += len(set(home.values()))
            pairs = [(each.id, each.reply_to_id) for each in segment if each.reply_to_id in home]
            asked += len(pairs)
            kept += sum(home[later] == home[earlier] for later, earlier in pairs if earlier is not None)
        table.add(name, f"{kept} of {asked}", number(100 * conversations / total))
    table.notes.append(
        f"PyScript's chats, {total:,} messages; silences of half an hour and the grid alone cut them into"
        f" {number(100 * len(segments) / total)} pieces a 100 messages. Replies across a cut are left out."
    )
    return table


def homes(segment: Segment, chosen: Chosen) -> dict[int, int]:
    """By message id the one that opened its conversation."""
    home: dict[int, int] = {}
    for message in segment:
        earlier = chosen[message.id]
        home[message.id] = message.id if earlier is None else home[earlier]
    return home


def laid_over(segments: Sequence[Segment], count: int) -> Table:
    """Conversations of the quiet server in one channel at once: whose message is whose?"""
    usable = [segment for segment in segments if len(segment) >= 4 and len({each.author_id for each in segment}) >= 2]
    table = Table(
        "Discord conversations laid over one another",
        ["", *(f"{at} at once{marks}" for marks in ("", ", no reply marks") for at in (2, 3, 4))],
    )
    for name, way in WAYS.items():
        cells = [_mixed(usable, at, count, way, hide) for hide in (False, True) for at in (2, 3, 4)]
        table.add(name, *cells)
    table.notes.append(
        f"One-to-one overlap / exact match F1, percent, of {count} mixtures each of segments of 4 messages or more by 2"
        " authors or more, begun at a random moment of the first one; a segment counts as one conversation."
        " OPENING_ODDS was chosen among ten settings by these mixtures and the table above."
    )
    return table


def _mixed(segments: Sequence[Segment], at_once: int, count: int, way: Callable[[Segment], Chosen], hide: bool) -> str:
    chance = random.Random(at_once)
    gold, found = [], []
    for nth in range(count):
        messages, source = mixture(chance.sample(segments, at_once), chance)
        home = homes(messages, way(unmarked(messages)) if hide else with_marks(messages, way))
        gold += [
            frozenset((str(nth), each) for each, of in source.items() if of == one) for one in set(source.values())
        ]
        found += [frozenset((str(nth), each) for each, of in home.items() if of == one) for one in set(home.values())]
    scores = score_clusters(gold, found)
    return f"{scores[0]:.1f} / {scores[2]:.1f}"


def with_marks(messages: Segment, way: Callable[[Segment], Chosen]) -> Chosen:
    """What a way chooses, but where Discord says what a message replies to."""
    known = {message.id for message in messages}
    marked = {each.id: each.reply_to_id for each in messages if each.reply_to_id in known}
    return {**way(messages), **marked}


def mixture(segments: Sequence[Segment], chance: random.Random) -> tuple[list[SourceMessage], dict[int, int]]:
    """Segments begun at random moments of the first one, as one, and by message id which it came from."""
    seconds = to_unix_seconds(segments[0][-1].id) - to_unix_seconds(segments[0][0].id)
    rows = []
    for nth, segment in enumerate(segments):
        begun = FIRST_SECOND + (chance.random() * seconds if nth else 0) - to_unix_seconds(segment[0].id)
        rows += [(begun + to_unix_seconds(message.id), nth, message) for message in segment]
    rows.sort(key=lambda row: row[0])
    new = {row[2].id: from_unix_seconds(row[0]) + at for at, row in enumerate(rows)}
    messages = [replace(each, id=new[each.id], reply_to_id=new.get(each.reply_to_id or 0)) for _, _, each in rows]
    return messages, {new[message.id]: nth for _, nth, message in rows}
