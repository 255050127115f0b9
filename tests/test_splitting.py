"""Where over-long messages are cut: code and links survive if they can."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragd.chunking import SourceMessage, chunk_messages
from ragd.chunking.splitting import Piece, cut

LINES = st.lists(st.sampled_from(["x = 1", "def f(a):", "    return a.b. c", "", "# one. two. three."]), max_size=12)
BLOCKS = LINES.map(lambda lines: "```py\n" + "".join(f"{line}\n" for line in lines) + "```")
PROSE = st.lists(st.sampled_from(["try this.", "Really?", "https://example.org/a?b=c", "word"]), max_size=30).map(
    " ".join
)
MESSAGES = st.lists(st.one_of(BLOCKS, PROSE), min_size=1, max_size=4).map("\n".join)


def count_words(text: str) -> int:
    return 2 + len(text.split())


def parts(text: str, max_tokens: int) -> list[str]:
    message = SourceMessage(1 << 22, 1, "ann", text)
    chunks = chunk_messages("single", [message], count_tokens=count_words, max_tokens=max_tokens)
    return [chunk.text.removeprefix("ann: ") for chunk in chunks]


@settings(deadline=None)
@given(
    text=st.text(st.sampled_from("a` \n.py"), min_size=2, max_size=60), fence=st.sampled_from(["", "```\n", "```py\n"])
)
def test_two_pieces_are_the_whole_and_each_has_something(text: str, fence: str) -> None:
    first, second = cut(Piece(text, fence))
    assert first.text + second.text == text
    assert first.text
    assert second.text


@settings(deadline=None)
@given(text=MESSAGES, max_tokens=st.integers(12, 40))
def test_every_part_of_cut_code_has_its_fences_and_nothing_is_lost(text: str, max_tokens: int) -> None:
    found = parts(text or "x", max_tokens)
    assert all(count_words(part) + 1 <= max_tokens for part in found)
    assert all(part.count("```") % 2 == 0 for part in found)
    bare = [re.sub(r"```(py)?|\s", "", part) for part in [text or "x", "".join(found)]]
    assert bare[0] == bare[1]


@settings(deadline=None)
@given(text=MESSAGES, max_tokens=st.integers(16, 40))
def test_no_line_of_code_and_no_link_is_cut(text: str, max_tokens: int) -> None:
    """Every one of them alone fits."""
    lines = {line for block in re.findall(r"```py\n(.*?)```", text, re.DOTALL) for line in block.splitlines()}
    for part in parts(text or "x", max_tokens):
        for block in re.findall(r"```(?:py)?\n(.*?)\n?```", part, re.DOTALL):
            assert set(block.splitlines()) <= lines | {""}
        assert all(link == "https://example.org/a?b=c" for link in re.findall(r"\S*(?:https|example)\S*", part))


def test_a_code_block_stays_whole_if_it_fits() -> None:
    code = "```py\nfor each in them:\n    print(each. name)\n```"
    assert parts(f"One two three four. Five six.\n{code}\nseven eight nine ten", 14) == [
        "One two three four. Five six.\n",
        f"{code}",
        "\nseven eight nine ten",
    ]


def test_a_cut_block_is_code_on_both_sides() -> None:
    assert parts("```py\na = 1\nb = 2\nc = 3\nd = 4\n```", 12) == [
        "```py\na = 1\nb = 2\n```",
        "```py\nc = 3\nd = 4\n```",
    ]


@pytest.mark.parametrize("text", ["```py\n" + "x" * 400, "```" + "y" * 400 + "```", "``` " * 30])
def test_odd_fences_do_no_harm(text: str) -> None:
    message = SourceMessage(1 << 22, 1, "ann", text)
    chunks = chunk_messages("single", [message], count_tokens=len, max_tokens=40)
    assert all(len(chunk.text) <= 40 for chunk in chunks)
    assert "".join(re.sub(r"```(py)?|\s", "", each.text.removeprefix("ann: ")) for each in chunks) == re.sub(
        r"```(py)?|\s", "", text
    )
