"""Where audits look, what they call different, and how it is told."""

from __future__ import annotations

import random

import pytest

from ragd.auditing import (
    Difference,
    Finding,
    Outlook,
    Territory,
    Verdict,
    agree,
    compare,
    confirmed,
    describe,
    proof_of,
    remarks,
    summary,
)
from ragd.store.audits import StoredMessage
from ragd.store.coverage import Covered, ProvedInterval
from tests.health.views import audit
from tests.store.factories import at, message

QUIET, BUSY = Covered(1, 10, 900, ((1, 100), (500, 900))), Covered(1, 20, 60, ((30, 60),))


def stored(message_id: int, content: str = "hello", *, deleted: bool = False, **fields: int) -> StoredMessage:
    return StoredMessage(message_id, fields.get("author_id", 5), content, fields.get("edited_at", 0), deleted)


# Where


def test_all_is_walked_once_newest_first_whatever_the_pages() -> None:
    for chance in map(random.Random, range(20)):
        territory, seen = Territory([QUIET, BUSY]), []
        while place := territory.newest():
            start = chance.randint(place.start_id, place.end_id)
            seen += [(place.channel_id, number) for number in range(place.end_id, start - 1, -1)]
            territory.take(place, start)
        assert len(seen) == len(set(seen)) == 100 + 401 + 31
        assert seen[0] == (10, 900)


def test_random_places_cover_all_that_is_left_and_nothing_else() -> None:
    chance, territory = random.Random(1), Territory([QUIET, BUSY])
    met: set[tuple[int, int]] = set()
    while place := territory.somewhere(chance.random()):
        start = max(place.start_id, place.end_id - 3)
        page = {(place.channel_id, number) for number in range(start, place.end_id + 1)}
        assert not page & met
        met |= page
        territory.take(place, start)
    assert met == {(10, n) for n in (*range(1, 101), *range(500, 901))} | {(20, n) for n in range(30, 61)}


@pytest.mark.parametrize("point", [0.0, 0.3, 0.999999999999, 1.0])
def test_any_point_is_a_place(point: float) -> None:
    assert Territory([QUIET, BUSY]).somewhere(point) is not None
    assert Territory([]).somewhere(point) is None


def test_a_time_before_there_was_the_channel_is_not_looked_at() -> None:
    channel_id = at(0)
    territory = Territory([Covered(1, channel_id, at(100), ((1, at(100)),))])
    places = [territory.somewhere(number / 100) for number in range(100)]
    assert all(place and place.end_id >= channel_id for place in places)


def test_a_message_is_a_place_while_it_is_left() -> None:
    territory = Territory([QUIET])
    place = territory.at(10, 600)
    assert place is not None
    assert (place.start_id, place.end_id) == (500, 600)
    territory.take(place, 550)
    assert territory.at(10, 560) is None
    assert territory.at(10, 200) is None
    assert territory.at(99, 600) is None
    assert territory.at(10, 601) is not None


def test_only_the_channels_that_are_wanted() -> None:
    territory = Territory([QUIET, BUSY], only=[20])
    assert list(territory.channels) == [20]
    assert not Territory([QUIET]).is_whole(10)
    assert Territory([Covered(1, 10, 90, ((1, 90),))]).is_whole(10)
    territory.drop(20)
    assert territory.newest() is territory.newest(20) is None


# What


def test_every_kind_of_difference() -> None:
    shown = [message(n) for n in (1, 2, 3, 4)]
    rows = [stored(1), stored(2, deleted=True), stored(3, "other", edited_at=7, author_id=6), stored(5)]
    rows.append(stored(6, deleted=True))
    seen = compare(shown, rows)
    assert (seen.checked, seen.deleted) == (5, 1)
    assert seen.differences == {
        2: Verdict(Difference.BURIED),
        3: Verdict(Difference.DIFFERENT, "author, content, edit time"),
        4: Verdict(Difference.MISSING),
        5: Verdict(Difference.SURPLUS),
    }
    assert compare([message(1)], [stored(1)]).differences == {}


def test_what_only_one_look_saw_was_on_its_way() -> None:
    first = compare([message(1), message(2), message(3)], [stored(3, "old")])
    second = compare([message(1), message(2), message(3), message(4)], [stored(1), stored(3, deleted=True)])
    assert confirmed(first, second) == {2: Verdict(Difference.MISSING), 3: Verdict(Difference.BURIED)}


def test_the_proof_that_was_wrong_is_named() -> None:
    proofs = [ProvedInterval(1, 10, "rest", 5, 6), ProvedInterval(11, 20, "gateway", 7, 8)]
    assert proof_of(11, proofs) is proofs[1]
    assert proof_of(21, proofs) is None
    document = Finding(Verdict(Difference.MISSING), 1, 10, 11, proofs[1], mended=True).document()
    assert (document["proved_by"], document["proved_from_ms"], document["proved_at_ms"]) == ("gateway", 7, 8)
    assert describe(document) == "was missing; mended"
    different = Finding(Verdict(Difference.DIFFERENT, "content"), 1, 10, 11, None, mended=False).document()
    assert describe(different) == "was different (content); NOT mended"


# How it is told


def test_summaries() -> None:
    well = audit(checked=2115, present=2115, deleted=12)
    assert summary(well) == "2,115 of 2,115 present, 12 deleted as expected"
    ill = audit(checked=2115, present=2112, deleted=12, found=3, unmended=1)
    assert summary(ill) == "2,112 of 2,115 present, 12 deleted as expected; 3 found to differ, 2 of them mended"


def test_remarks() -> None:
    assert remarks(audit(checked=1, details=Outlook().document())) == []
    assert "nothing was compared" in remarks(audit(details=Outlook().document()))[0]
    outlook = Outlook(holes=2, unread=[7, 8], while_away=3, threads=4)
    outlook.threads_off = [{"thread_id": "9", "discord": 1200, "stored": 1199}]
    outlook.search = [
        {"guild_id": "1", "discord": 1000, "stored": 995, "channels": 3},
        {"guild_id": "2", "discord": 500, "stored": 1000, "channels": 3},
        {"guild_id": "3", "problem": "its index is being made"},
    ]
    assert remarks(audit(checked=1, details=outlook.document())) == [
        "2 holes still to be fetched; what lies there was not compared",
        "not readable this time: channels 7, 8",
        "3 were edited or deleted while ragd had no session, and were put right now",
        "message counts of 4 threads compared, 1 differ",
        "thread 9: Discord counts 1,200, the store 1,199",
        "Discord's search counts 1,000 messages in 3 channels, the store 995: agrees",
        "Discord's search counts 500 messages in 3 channels, the store 1,000: differs; its index may lag",
        "Discord's search was not asked in guild 3: its index is being made",
    ]


def test_a_lagging_index_agrees() -> None:
    assert agree(10, 5)
    assert not agree(10, 4)
    assert agree(10_000, 9_900)
    assert not agree(10_000, 9_800)
