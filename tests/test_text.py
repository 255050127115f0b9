"""What search reads of a message, and of which messages."""

from __future__ import annotations

import time
from typing import Any

import discord
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragd.extra import dump_extra, read_extra
from ragd.text import (
    CONVERSATION,
    NOT_CONVERSATION,
    SearchPolicy,
    is_chunkable,
    mentioned_ids,
    searchable_text,
)

OWN, OTHER_BOT, PERSON = 7, 8, 9


def text_of(content: str = "", **extra: Any) -> str:
    return searchable_text(content, dump_extra(extra))  # type: ignore[arg-type]


def test_markup_reads_as_people_see_it() -> None:
    shown = text_of(
        "<@1> and <@!2>, ask <@&3> in <#4> <a:party:5> <:ok:6> at <t:1700000000:R>, or </search near:7>",
        mentions=[{"id": 1, "name": "Ann"}],
        mention_roles=[{"id": 3, "name": "crew"}],
        mention_channels=[{"id": 4, "name": "galley"}],
    )
    assert shown == "@Ann and @someone, ask @crew in #galley :party: :ok: at 2023-11-14 22:13 UTC, or /search near"


def test_what_is_no_markup_stays() -> None:
    content = "a < b > c, [docs](https://example.com/<x>) <https://example.com/a?b=c> <t:99999999999999:R> <@x>"
    assert text_of(content) == content


def test_a_name_that_looks_like_markup_is_not_looked_at_again() -> None:
    assert text_of("<@1> hi", mentions=[{"id": 1, "name": "<@2>"}, {"id": 2, "name": "Bob"}]) == "@<@2> hi"


def test_embeds_give_all_their_texts_in_order() -> None:
    embed = {
        "author": {"name": "The Gazette", "url": "https://example.com"},
        "title": "Otters",
        "description": "seen by <@1>",
        "fields": [{"name": "where", "value": "weir"}, {"name": "when", "value": "dawn", "inline": True}],
        "footer": {"text": "page 3"},
        "provider": {"name": "Example"},
        "url": "https://example.com/otters",
    }
    shown = text_of("look", embeds=[embed], mentions=[{"id": 1, "name": "Ann"}])
    assert shown.split("\n") == ["look", "The Gazette", "Otters", "seen by @Ann", "where: weir", "when: dawn", "page 3"]


def test_a_forward_gives_what_was_forwarded() -> None:
    snapshot = {
        "content": "the key is under the <:pot:5>",
        "created_at": 1,
        "embeds": [{"title": "a map"}],
        "attachments": [{"id": 1, "name": "map.png", "size": 2, "description": "a hand-drawn map"}],
        "stickers": [{"id": 2, "name": "wave"}],
        "components": [{"type": "text_display", "content": "really"}],
    }
    shown = text_of(snapshots=[snapshot]).split("\n")
    assert shown == ["the key is under the :pot:", "a map", "really", "[map.png: a hand-drawn map, sticker wave]"]


def test_a_poll_gives_its_answers_and_its_votes_when_it_is_over() -> None:
    answers = [{"id": 1, "text": "soup"}, {"id": 2, "emoji": "🥗"}]
    assert text_of(poll={"question": "Lunch?", "answers": answers}) == "Lunch?\n- soup\n- 🥗"
    over = [{**answers[0], "votes": 3}, {**answers[1], "votes": 0}]
    assert text_of(poll={"question": "Lunch?", "answers": over}) == "Lunch?\n- soup (3 votes)\n- 🥗 (0 votes)"


def test_components_give_their_words_from_outside_in() -> None:
    row = {"type": "action_row", "parts": [{"type": "button", "label": "Join", "url": "https://example.com"}]}
    box = {"type": "container", "parts": [{"type": "text_display", "content": "# Choir"}, row]}
    select = {"type": "select", "placeholder": "Voice", "parts": [{"label": "alto", "description": "low"}]}
    assert text_of(components=[box, select]).split("\n") == ["# Choir", "Join", "Voice", "alto", "low"]


def test_files_give_their_names_as_they_were_and_are() -> None:
    files = [
        {"id": 1, "name": "_.pdf", "size": 1, "title": "Прайс"},
        {"id": 2, "name": "cat.png", "size": 1, "title": "cat"},
    ]
    assert text_of("here", attachments=files) == "here\n[Прайс (_.pdf), cat.png]"


def test_rows_of_older_versions_still_read() -> None:
    old = (
        '{"attachments":[{"id":1,"name":"a.png","size":3,"type":null}],"embeds":[{"title":"T","description":"D"}],'
        '"mentions":[{"id":5,"name":"Ann"}],"stickers":["wave"]}'
    )
    assert searchable_text("<@5>", old) == "@Ann\nT\nD\n[a.png, sticker wave]"
    assert mentioned_ids(old) == (5,)
    assert read_extra(old)["stickers"] == [{"name": "wave"}]


names = st.text(st.characters(exclude_characters="<>", exclude_categories=["Cs"]), min_size=1, max_size=8)
words = st.text(st.characters(exclude_characters="<", exclude_categories=["Cs"]), max_size=40)


@given(st.lists(st.tuples(words, st.integers(1, 2**63 - 1), names), max_size=5))
def test_every_mention_is_replaced_by_its_name_and_nothing_else_is_touched(
    parts: list[tuple[str, int, str]],
) -> None:
    by_id = {number: name for _, number, name in parts}
    written = "".join(f"{word}<@{number}>" for word, number, _ in parts)
    shown = "".join(f"{word}@{by_id[number]}" for word, number, _ in parts)
    mentions = [{"id": number, "name": name} for number, name in by_id.items()]
    assert text_of(written, mentions=mentions) == searchable_text(shown, "{}")


def test_a_long_run_of_blanks_takes_no_time() -> None:
    begun = time.process_time()
    assert len(text_of("a" + " " * 200_000 + "b" + "\t" * 200_000)) == 200_002
    assert time.process_time() - begun < 5, "each blank of the run was looked at for each blank before it"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_content_has_a_text_that_utf8_takes(content: str) -> None:
    shown = text_of(content)
    assert shown == shown.strip()
    shown.encode()


# Whose messages, and which


def test_each_type_that_discord_py_knows_has_been_thought_about() -> None:
    known = {kind.value for kind in discord.MessageType}
    assert known - (CONVERSATION.keys() | NOT_CONVERSATION.keys()) == set()
    assert CONVERSATION.keys().isdisjoint(NOT_CONVERSATION)


@pytest.mark.parametrize(
    ("index_bots", "own", "heard"),
    [
        (False, 0, {PERSON}),
        (False, OWN, {PERSON}),
        (True, 0, {PERSON}),
        (True, OWN, {PERSON, OTHER_BOT}),
    ],
)
def test_bots_take_part_only_when_asked_for_and_we_never_do(index_bots: bool, own: int, heard: set[int]) -> None:
    policy = SearchPolicy(index_bots, own)
    assert {
        author
        for author in (OWN, OTHER_BOT, PERSON)
        if is_chunkable(policy, author, author != PERSON, 0, "words", "{}")
    } == heard


@pytest.mark.parametrize("kind", [*NOT_CONVERSATION, 99])
def test_system_messages_and_unknown_ones_are_kept_and_not_searched(kind: int) -> None:
    assert not is_chunkable(SearchPolicy(), PERSON, False, kind, "words", "{}")


@pytest.mark.parametrize(
    ("content", "taken"),
    [
        ("!search rain gauge", False),
        ("!search", False),
        ("!sync\nnow", False),
        ("!searching high and low", True),
        ("! search", True),
        ("!important: read this", True),
        ("so I typed !search rain", True),
    ],
)
def test_what_is_typed_to_ragd_is_not_searched(content: str, taken: bool) -> None:
    assert is_chunkable(SearchPolicy(command_prefix="!"), PERSON, False, 0, content, "{}") == taken
    assert is_chunkable(SearchPolicy(), PERSON, False, 0, content, "{}")


def test_what_says_nothing_is_not_searched() -> None:
    assert not is_chunkable(SearchPolicy(), PERSON, False, 0, " \n", '{"pinned":true}')
    assert is_chunkable(SearchPolicy(), PERSON, False, 0, "", '{"poll":{"question":"Lunch?","answers":[]}}')
