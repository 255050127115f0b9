"""The query language: any text is a query."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragd.asked import LONGEST_PHRASE, LONGEST_WORD, MOST_PHRASES, MOST_WORDS, Wanted, parse

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
PIECES = st.sampled_from(
    [
        '"',
        "“",
        "-",
        "from:",
        "in:",
        "since:7d",
        "before:2025-02-30",
        "has:link",
        " ",
        "AND",
        "NEAR(",
        "*",
        "^",
        "{a}:",
        "\0",
    ]
)


def asked(text: str) -> Wanted:
    return parse(text, NOW)


def seconds(*date: int) -> float:
    return datetime(*date, tzinfo=UTC).timestamp()  # type: ignore[misc, arg-type]


def test_words_phrases_and_what_must_not_be_there() -> None:
    found = asked('how do I "read a file" -windows -"blue screen" C++, how?')
    assert found.words == ["how", "do", "I", "C++"]
    assert (found.phrases, found.excluded) == (["read a file"], ["windows", "blue screen"])
    assert found.text == "how do I read a file C++, how?"


def test_names_as_people_type_them() -> None:
    found = asked('from:"Ann Lee" in:#general pump')
    assert (found.author, found.channel, found.words) == ("Ann Lee", "general", ["pump"])
    found = asked("from:<@!123> in:<#45> pump")
    assert (found.author, found.channel) == ("123", "45")
    assert asked("from:@ann FROM:bob").author == "bob"


@pytest.mark.parametrize(
    ("text", "since", "before"),
    [
        ("since:2026-01-05", seconds(2026, 1, 5), None),
        ("after:2026-01-05", seconds(2026, 1, 6), None),
        ("after:2025", seconds(2026, 1, 1), None),
        ("before:2025-12", None, seconds(2025, 12, 1)),
        ("since:7d before:2d", seconds(2026, 1, 24, 12), seconds(2026, 1, 29, 12)),
        ("since:2026-01-05T10:00:00+02:00", seconds(2026, 1, 5, 8), None),
        ("since:2024 since:2025 before:2027 before:2026", seconds(2025, 1, 1), seconds(2026, 1, 1)),
    ],
)
def test_times(text: str, since: float | None, before: float | None) -> None:
    found = asked(text)
    assert (found.since, found.before) == (since, before)
    assert (found.words, found.text) == ([], "")


def test_what_messages_have_and_where() -> None:
    found = asked("has:links has:image in:thread pump")
    assert (found.has, found.in_thread, found.words) == ({"link", "image"}, True, ["pump"])


@pytest.mark.parametrize("text", ["since:yesterday", "before:2025-02-30", "has:cats", "since:999999w", "after:0000"])
def test_an_operator_that_makes_no_sense_is_looked_for_and_remarked(text: str) -> None:
    found = asked(text)
    assert found.words == [text]
    assert len(found.remarks) == 1
    assert found.remarks[0].startswith(text)


def test_an_option_is_no_word_to_avoid() -> None:
    found = asked("python -m venv --user")
    assert (found.excluded, found.words) == ([], ["python", "m", "venv", "user"])


@given(st.one_of(st.text(max_size=400), st.lists(st.one_of(PIECES, st.text(max_size=4))).map("".join)))
def test_any_text_is_a_query_within_bounds(text: str) -> None:
    found = asked(text)
    assert len(found.words) <= MOST_WORDS
    assert all(0 < len(word) <= LONGEST_WORD for word in found.words)
    assert max(len(found.phrases), len(found.excluded)) <= MOST_PHRASES
    assert all(0 < len(phrase) <= LONGEST_PHRASE for phrase in [*found.phrases, *found.excluded])
    assert "\0" not in found.text


def test_a_pasted_page_is_cut() -> None:
    assert len(asked(" ".join(map(str, range(5000)))).words) == MOST_WORDS
