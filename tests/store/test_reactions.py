"""Reactions as they come live and as a page states them; search never notices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragd.store import Store
from ragd.store.events import Deleted, Edited, PageRead, Posted, Reacted
from ragd.store.reactions import changed_reactions, dump_reactions
from tests.store.factories import CHANNEL, GUILD, at, message

THUMB, PARTY = "👍", "party:5"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "ragd.sqlite3", durability="FULL")
    yield store
    store.close()


def reactions(store: Store) -> dict[int, dict[str, int]]:
    return {row[0]: json.loads(row[1]) for row in store._all("SELECT id, reactions FROM message")}


def change(store: Store) -> tuple[int, ...]:
    return tuple(row[0] for row in store._all("SELECT change FROM message ORDER BY id"))


def test_live_reactions_are_counted_and_search_does_not_notice(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([Posted(message(at(1)))])
    before = change(store)
    ingest.apply([Reacted(at(1), THUMB, 1), Reacted(at(1), THUMB, 1), Reacted(at(1), PARTY, 1)])
    assert reactions(store) == {at(1): {THUMB: 2, PARTY: 1}}
    ingest.apply([Reacted(at(1), THUMB, -1), Reacted(at(1), PARTY, 0)])
    assert reactions(store) == {at(1): {THUMB: 1}}
    ingest.apply([Reacted(at(1), None, 0), Reacted(at(1), PARTY, 1)])
    assert reactions(store) == {at(1): {PARTY: 1}}
    assert change(store) == before


def test_a_page_states_them_and_an_edit_leaves_them(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([Posted(message(at(1))), Posted(message(at(2))), Reacted(at(1), THUMB, 1), Reacted(at(2), THUMB, 1)])
    before = change(store)
    rows = [message(at(1), reactions=dump_reactions({PARTY: 4})), message(at(2))]
    ingest.apply([PageRead(GUILD, CHANNEL, 1, at(2), rows)])
    assert reactions(store) == {at(1): {PARTY: 4}, at(2): {}}
    assert change(store) == before
    ingest.apply([Edited(message(at(1), "other words", edited_at=5))])
    assert reactions(store)[at(1)] == {PARTY: 4}
    ingest.apply([PageRead(GUILD, CHANNEL, 1, at(3), [*rows, message(at(3), reactions=dump_reactions({THUMB: 1}))])])
    assert reactions(store)[at(3)] == {THUMB: 1}, "a message that was not known yet brings its own"


def test_an_older_page_states_reactions_of_an_edited_message_too(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([Posted(message(at(1), "new", edited_at=9))])
    ingest.apply([PageRead(GUILD, CHANNEL, 1, at(1), [message(at(1), "old", reactions=dump_reactions({THUMB: 2}))])])
    assert reactions(store) == {at(1): {THUMB: 2}}
    assert store._one("SELECT content FROM message")[0] == "new"


def test_no_message_is_made_up_and_a_tombstone_has_none(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([Posted(message(at(1))), Reacted(at(1), THUMB, 1), Reacted(at(2), THUMB, 1)])
    ingest.apply([Deleted(GUILD, CHANNEL, [at(1)]), Reacted(at(1), THUMB, 1)])
    rows = [message(at(1), reactions=dump_reactions({THUMB: 3}))]
    ingest.apply([PageRead(GUILD, CHANNEL, 1, at(1), rows)])
    assert reactions(store) == {at(1): {}}


def test_an_emoji_that_lost_its_name_is_still_the_same() -> None:
    assert json.loads(changed_reactions('{"party:5":2}', [Reacted(1, ":5", -1)])) == {"party:5": 1}
    assert json.loads(changed_reactions('{"party:5":2}', [Reacted(1, "other:5", 0)])) == {}


steps = st.tuples(st.sampled_from([THUMB, PARTY, "⭐", None]), st.sampled_from([-1, 0, 1]))


@given(st.lists(steps))
def test_counts_are_positive_and_batches_make_no_difference(steps: list[tuple[str | None, int]]) -> None:
    changes = [Reacted(1, emoji, by if emoji else 0) for emoji, by in steps]
    at_once, one_by_one = changed_reactions("{}", changes), "{}"
    for each in changes:
        one_by_one = changed_reactions(one_by_one, [each])
    assert at_once == one_by_one
    assert all(count > 0 for count in json.loads(at_once).values())
