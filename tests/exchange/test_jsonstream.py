"""The stream against orjson: equal values and offsets for whatever block size; damage is found where it is."""

from __future__ import annotations

import io
import json
import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragd.errors import DamagedError
from ragd.exchange import jsonstream
from ragd.exchange.fields import UnfitError
from ragd.exchange.jsonstream import JsonStream

texts = st.text(st.characters(exclude_categories=["Cs"])) | st.text('"\\{}[],: \n\u2028é👍', max_size=12)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars | texts, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=6
)
objects = st.dictionaries(texts, values, max_size=3)
files = st.dictionaries(texts.filter(lambda key: key != "messages"), values, max_size=4).flatmap(
    lambda members: st.lists(objects, max_size=4).map(lambda messages: {**members, "messages": messages})
)
dumps = st.sampled_from(
    [
        lambda data: json.dumps(data).encode(),
        lambda data: json.dumps(data, indent=2, ensure_ascii=False).encode(),
        lambda data: b"\xef\xbb\xbf \r\n\t" + json.dumps(data, indent="\t").encode() + b"\n ",
        orjson.dumps,
    ]
)
blocks = st.integers(1, 40) | st.just(2**20)


def stream(raw: bytes, block_bytes: int = 2**20) -> JsonStream:
    return JsonStream(io.BytesIO(raw), "f.json", block_bytes)


def read(raw: bytes, block_bytes: int = 2**20) -> dict[str, Any]:
    """All of a file, the messages by the stream's elements, each where it says that it is."""
    source = stream(raw, block_bytes)
    found: dict[str, Any] = {}
    for key in source.members():
        if key != "messages":
            found[key] = source.value().data
            continue
        found[key] = []
        for offset, data in source.elements():
            if isinstance(data, UnfitError):
                raise data
            assert raw[offset : offset + 1] == b"{"
            assert json.JSONDecoder().raw_decode(raw[offset:].decode(errors="replace"))[0] == data
            found[key].append(data)
    assert source.offset == len(raw)
    return found


@settings(max_examples=60, deadline=None)
@given(files, dumps, blocks)
def test_it_reads_what_orjson_reads(data: dict[str, Any], dump: Any, block_bytes: int) -> None:
    assert read(dump(data), block_bytes) == data


@settings(max_examples=60, deadline=None)
@given(files, dumps, blocks, st.data())
def test_a_file_that_breaks_off_is_never_taken_for_whole(
    data: dict[str, Any], dump: Any, block_bytes: int, draw: st.DataObject
) -> None:
    raw = dump(data).rstrip()
    cut = draw.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(DamagedError, match=r"^f\.json: byte [\d,]+: expected .*, found ") as caught:
        read(raw[:cut], block_bytes)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(files, dumps, blocks, st.data())
def test_damage_is_read_as_orjson_reads_it_or_refused(
    data: dict[str, Any], dump: Any, block_bytes: int, draw: st.DataObject
) -> None:
    raw = bytearray(dump(data))
    raw[draw.draw(st.integers(0, len(raw) - 1))] = draw.draw(st.sampled_from(b'{}[]",:\\ x0\xff\x00'))
    damaged = bytes(raw)
    try:
        found = read(damaged, block_bytes)
    except (DamagedError, UnfitError):
        # what the stream refuses need not be broken: it wants objects in `messages`
        return
    assert found == orjson.loads(damaged.removeprefix(b"\xef\xbb\xbf"))


MESSAGES = b'{"messages": ['


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"", "byte 0: expected an object, `{`, found the end of the file"),
        (b"[1]", "byte 0: expected an object, `{`, found `[`"),
        (b"hello", "byte 0: expected an object, `{`, found `h`"),
        (b"{x", "byte 1: expected a name in quotes, found `x`"),
        (b'{"a" 1}', "byte 5: expected `:` after a name, found `1`"),
        (b'{"a": ', "byte 6: expected a value, found the end of the file"),
        (b'{"a": ]', "byte 6: expected a value, found `]`"),
        (b'{"a": 1', "byte 7: expected `,` or `}` after a value, found the end of the file"),
        (b'{"a": 1} x', "byte 9: expected nothing after the object, found `x`"),
        (b'{"a": "bc', "byte 9: expected the end of the string that begins at byte 6, found the end of the file"),
        (MESSAGES + b"1]}", "byte 14: expected an object, `{`, found `1`"),
        (MESSAGES + b"{} {}]}", "byte 17: expected `,` or `]` after an object, found `{`"),
        (MESSAGES + b'{"i":', "byte 19: expected the end of the object that begins at byte 14, found the end"),
        (MESSAGES + b'{"i": 1 "j": 2}]}', 'byte 22: expected JSON (.*), found `"`'),
        (MESSAGES + b'{"i": "\xff"}]}', "byte 21: expected UTF-8, found the byte 0xff"),
        (MESSAGES + b'{"i": 1, {"j": 2}, {"k": 3}]}', "byte 23: expected JSON (.*), found `{`"),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 7, 2**20])
def test_what_is_wrong_and_where(raw: bytes, complaint: str, block_bytes: int) -> None:
    with pytest.raises(DamagedError) as caught:
        read(raw, block_bytes)
    before, _, after = complaint.partition("(.*)")
    assert str(caught.value).startswith(f"f.json: {before}")
    assert str(caught.value).endswith(after) or after in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        rb'"\ud800"',
        rb'"\ude00 half"',
        b"[" * 2000 + b"]" * 2000,
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b"-1e400",
        b"9" * 5000,
    ],
)
@pytest.mark.parametrize("block_bytes", [7, 2**20])
def test_what_is_json_and_cannot_be_kept_costs_only_itself(value: bytes, block_bytes: int) -> None:
    source = stream(MESSAGES + b'{"i": 1}, {"j": ' + value + b'}, {"k": 3}]}', block_bytes)
    first, unfit, last = [element for _ in source.members() for element in source.elements()]
    assert (first.data, last.data, unfit.offset) == ({"i": 1}, {"k": 3}, 24)
    assert isinstance(unfit.data, UnfitError)
    assert str(unfit.data).startswith("expected JSON that can be kept, found more (")


@pytest.mark.parametrize("value", [b"NaN", b"-Infinity", rb'"\ud800" 5', rb'"\ud800\x"', b'"\xed\xa0\x80"', b"01"])
def test_what_is_no_json_ends_it_all_the_same(value: bytes) -> None:
    with pytest.raises(DamagedError, match=r"expected (JSON|UTF-8)"):
        read(MESSAGES + b'{"j": ' + value + b'}, {"k": 3}]}')


def test_a_value_without_an_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonstream, "LONGEST_VALUE_BYTES", 1000)
    with pytest.raises(DamagedError, match=r"byte 14: expected a shorter value|expected the end of the object"):
        read(MESSAGES + b'{"a": "' + b"x" * 100_000, 64)


def test_a_string_of_escapes_takes_no_more_room_than_any_other() -> None:
    raw = b'{"messages": [{"content": "' + rb"\n" * 2**21 + b'"}]}'
    tracemalloc.start()
    try:
        source = stream(raw)
        ((_, message),) = [value for _ in source.members() for value in source.elements()]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(message["content"]) == 2**21
    assert peak < 30 * len(raw), "what might be gone back to was kept"
