"""What agents get to see of what people wrote."""

from __future__ import annotations

import pytest

from ragd.cli.mcp.quoting import all_quoted, quoted


@pytest.mark.parametrize(
    "text",
    ["plain\nlines", "👨‍👩‍👧 family", "❤️‍🔥", "می‌خواهم", "क्‍ष", "雪 and café", "שלום", "a\tb".expandtabs(4)],
)
def test_what_people_read_stays(text: str) -> None:
    assert quoted(text) == text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("zero\u200bwidth\u2060\ufeff", "zerowidth"),
        ("bidi \u202eevil\u202c \u2066x\u2069", "bidi evil x"),
        ("esc\x1b[31mred\x07\x00", "esc[31mred"),
        ("tags\U000e0041\U000e0042", "tags"),
        ("selectors\U000e0100\U000e0101\ufe00\ufe01\ufe02", "selectors\ufe00"),
        ("fillers\u3164\u115f\uffa0\u034f", "fillers"),
        ("bits\u200c\u200d\u200c\u200d \u200d\u200c", "bits "),
        ("a\u200c\u200d\u200cb", "a\u200cb"),
        ("surrogate\ud800", "surrogate"),
    ],
)
def test_what_nobody_sees_goes(text: str, seen: str) -> None:
    assert quoted(text) == seen


def test_every_string_of_a_document() -> None:
    assert all_quoted({"a": ["x\u200b", 1, None, ("y\x07",)], "b": {"c": "z"}}) == {
        "a": ["x", 1, None, ["y"]],
        "b": {"c": "z"},
    }
