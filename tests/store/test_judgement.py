"""Which stored messages take part in search after the rule has changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ragd.store import Ingest, Store, judgement
from ragd.store.database import Row
from ragd.store.events import Deleted, Edited, LoggedIn, Posted
from ragd.text import SearchPolicy
from tests.store.factories import CHANNEL, GUILD, at, message

OWN, OTHER_BOT, PERSON = 7, 8, 9


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(judgement, "SLICE", 2)
    store = Store.open(tmp_path / "ragd.sqlite3", durability="FULL")
    yield store
    store.close()


def talk(ingest: Ingest, *, begin: int = 0) -> None:
    """Three rounds of a person, another bot and us."""
    ingest.apply(
        [
            Posted(message(at(begin + nth), author_id=author, is_bot=author != PERSON))
            for nth, author in enumerate((PERSON, OTHER_BOT, OWN) * 3)
        ]
    )


def heard(store: Store) -> set[int]:
    return {row[0] for row in store._all("SELECT DISTINCT author_id FROM message WHERE chunkable")}


def changes(store: Store) -> dict[int, int]:
    return dict(store._all("SELECT id, change FROM message"))


def judge_all(ingest: Ingest) -> int:
    slices = 0
    while ingest.judges:
        ingest.judge_some()
        slices += 1
    return slices


def test_bots_come_in_and_go_out_with_the_setting_but_never_we(store: Store) -> None:
    first = store.ingest()
    first.apply([LoggedIn(OWN)])
    talk(first)
    assert heard(store) == {PERSON}
    second = store.ingest(index_bots=True)
    assert judge_all(second) > 4, "a slice a transaction"
    assert heard(store) == {PERSON, OTHER_BOT}
    third = store.ingest()
    judge_all(third)
    assert heard(store) == {PERSON}


def test_only_what_comes_out_differently_is_a_change_for_the_syncer(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([LoggedIn(OWN)])
    talk(ingest)
    ingest.apply([Deleted(GUILD, CHANNEL, [at(1)])])
    before = changes(store)
    judge_all(store.ingest(index_bots=True))
    changed = {key for key, number in changes(store).items() if number != before[key]}
    assert changed == {at(4), at(7)}, "the other bot's, but not its tombstone"
    assert min(changes(store)[key] for key in changed) > max(before.values())
    (counter,) = store._one("SELECT value FROM counter WHERE name = 'message_change'")
    assert counter == max(changes(store).values())


def test_it_is_done_once_and_goes_on_where_a_restart_broke_it_off(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([LoggedIn(OWN)])
    talk(ingest)
    whole = judge_all(store.ingest(index_bots=True))
    assert judge_all(store.ingest(index_bots=True)) == 1, "nothing left"
    broken_off = store.ingest()
    broken_off.judge_some()
    assert judge_all(store.ingest()) == whole - 1
    assert heard(store) == {PERSON}


def test_messages_written_meanwhile_are_judged_by_the_rule_of_now(store: Store) -> None:
    ingest = store.ingest()
    ingest.apply([LoggedIn(OWN)])
    talk(ingest)
    ingest = store.ingest(index_bots=True)
    ingest.judge_some()
    talk(ingest, begin=100)
    judge_all(ingest)
    assert heard(store) == {PERSON, OTHER_BOT}
    assert store._one("SELECT count(*) FROM message WHERE chunkable")[0] == 12


def test_an_edit_between_reading_and_writing_is_not_overwritten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgement, "SLICE", 100)
    ingest = store.ingest()
    ingest.apply([LoggedIn(OWN)])
    talk(ingest)
    judge = judgement._misjudged

    def meanwhile(policy: SearchPolicy, rows: Sequence[Row]) -> list[tuple[int, int, bool]]:
        misjudged = judge(policy, rows)
        store.ingest(index_bots=True).apply([Edited(message(at(1), "", author_id=OTHER_BOT, is_bot=True, edited_at=5))])
        return misjudged

    monkeypatch.setattr(judgement, "_misjudged", meanwhile)
    judge_all(store.ingest(index_bots=True))
    assert store._one("SELECT chunkable FROM message WHERE id = ?", at(1))[0] == 0, "it says nothing any more"
    assert heard(store) == {PERSON, OTHER_BOT}


def test_before_the_first_login_no_bot_takes_part_for_it_may_be_us(store: Store) -> None:
    ingest = store.ingest(index_bots=True)
    talk(ingest)
    judge_all(ingest)
    assert heard(store) == {PERSON}
    ingest.apply([LoggedIn(OWN)])
    judge_all(ingest)
    assert heard(store) == {PERSON, OTHER_BOT}


def test_another_account_takes_over(store: Store) -> None:
    ingest = store.ingest(index_bots=True)
    ingest.apply([LoggedIn(OWN)])
    talk(ingest)
    ingest.apply([LoggedIn(OTHER_BOT)])
    judge_all(ingest)
    assert heard(store) == {PERSON, OWN}


def test_the_account_is_remembered(store: Store) -> None:
    store.ingest().apply([LoggedIn(OWN)])
    ingest = store.ingest(index_bots=True)
    talk(ingest)
    assert heard(store) == {PERSON, OTHER_BOT}
