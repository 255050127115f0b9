"""Passages in Discord: nothing in them acts, and no limit is passed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragd.answers import SearchAnswer, SearchResult
from ragd.bot.commands.errors import BadValue
from ragd.bot.commands.passages import Answer, parse_since, quote, render_answer
from ragd.bot.commands.wording import EMBED_ROOM, TEXT_ROOM, clip, code_block, inert, inert_line, width

NASTY = "@everyone <@123> <@&4> <#5> </sync now:6> https://evil.example/x discord.gg/abc ||the end|| ``` [a](b) \u202e"


def result(text: str = "ann: hello", **fields: str) -> SearchResult:
    values = {
        "strategy": "temporal",
        "guild_id": "1",
        "channel_id": "2",
        "channel": "general",
        "author": "ann",
        "time": "2026-01-31T12:00:00+00:00",
        "text": text,
        "url": "https://discord.com/channels/1/2/3",
    }
    return SearchResult(score=0.5, message_ids=["3"], **{**values, **fields})


def shown(*results: SearchResult, lag: int = 0, public: bool = False, room: int = EMBED_ROOM) -> str:
    return render_answer(Answer("rain gauge", SearchAnswer(list(results), 9, lag, 1.0), public), room)


def test_a_passage_is_cited_and_quoted() -> None:
    assert shown(result("ann: the rain gauge leaks")) == (
        "**1.** [#general](https://discord.com/channels/1/2/3) · ann · <t:1769860800:f>\n"
        "```\nann: the rain gauge leaks\n```"
    )


def test_further_lines_of_a_message_stay_set_in() -> None:
    text = "mal: when is it?\n  admin: send me   your token\nadmin: at nine"
    assert shown(result(text, highlight="admin: at nine")).endswith(
        "```\nmal: when is it?\n  admin: send me your token\n> admin: at nine\n```"
    )


def test_nothing_found_is_said_plainly() -> None:
    assert shown() == "Nothing found in the channels you can read."
    assert shown(lag=99) == shown()
    assert shown(lag=100).endswith("\nSearch is catching up: some messages cannot be found yet.")
    assert shown(public=True).splitlines() == [
        "Nothing found in the channels that everybody here can read.",
        "Only channels that everybody here can read were searched; `/search` looks into all of yours.",
    ]


def test_nothing_that_people_wrote_acts() -> None:
    text = shown(result(NASTY, author=NASTY, channel=NASTY))
    for active in ("@everyone", "<@1", "<@&", "<#5", "</sync", "https://evil", "discord.gg", "the end", "\u202e"):
        assert active not in text, active
    assert text.count("```") == 2, "the quote's own, and none out of the quote"
    assert text.split("```")[0].count("](") == 1, "the jump link's own; in a code block a link is none"


@given(st.text(max_size=3000), st.text(max_size=200), st.integers(1, 10), st.sampled_from((TEXT_ROOM, EMBED_ROOM)))
def test_no_answer_passes_discords_limit(text: str, name: str, count: int, room: int) -> None:
    answer = shown(*[result(text, author=name, channel=name)] * count, lag=700, public=True, room=room)
    assert width(answer) <= room
    assert answer.count("```") % 2 == 0
    assert "**1.**" in answer


def test_ten_long_passages_are_all_there_in_an_embed() -> None:
    answer = shown(*[result(f"ann: {'word ' * 400}")] * 10)
    assert "**10.**" in answer
    assert width(answer) <= EMBED_ROOM


def test_the_quote_begins_where_the_question_is_met() -> None:
    text = "\n".join(["ann: good morning " * 20, "bob: the rain gauge counts twice", "ann: why?"])
    assert quote(text, "rain gauge", 60) == "bob: the rain gauge counts twice\nann: why?"
    assert quote("a\n\n b  \n", "x", 60) == "a\nb"


@given(st.text(), st.integers(0, 50))
def test_clip_never_passes_its_length(text: str, length: int) -> None:
    assert width(clip(text, length)) <= length
    assert clip(text, width(text)) == text


@given(st.text(alphabet=st.sampled_from("@<>#&/:.`|discordgg \n*_[]()\\\u200b\u202e"), max_size=60))
def test_inert_text_stays_inert(text: str) -> None:
    safe = inert(text)
    assert "://" not in safe
    assert not any(safe[at : at + 2] in ("<@", "<#", "</", "<:") for at in range(len(safe)))
    assert "`" not in code_block(text)[3:-3]


def test_a_name_shows_as_it_is_written_and_no_more() -> None:
    assert inert_line("a_b *c*\n# d") == r"a\_b \*c\* # d"
    assert inert_line("x" * 100, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7d", "2026-01-24T12:00:00+00:00"),
        ("30m", "2026-01-31T11:30:00+00:00"),
        ("2026-01-01", "2026-01-01T00:00:00+00:00"),
        ("2026-01-01T05:00:00+02:00", "2026-01-01T05:00:00+02:00"),
    ],
)
def test_since(text: str, expected: str) -> None:
    assert parse_since(text, datetime(2026, 1, 31, 12, tzinfo=UTC)) == expected


@pytest.mark.parametrize("text", ["yesterday", "999999w", "", "7x", "2026-13-01"])
def test_since_that_is_no_time(text: str) -> None:
    with pytest.raises(BadValue, match="`since` must be a date"):
        parse_since(text, datetime(2026, 1, 31, tzinfo=UTC))
