"""Reading a JSON file of any size with the memory of one message, and saying exactly where it is broken.

Why not a library: what is on PyPI either gives events per token to Python (ijson: a dozen calls a message where one
regular expression does), or yields whole values without saying at which byte of the file they stood, and an export that
broke off after three gigabytes is mended by offset. Only the extents of values are found here; what is in them is
orjson's affair, so nothing of JSON's grammar but strings and nesting is written a second time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

import orjson

from ragd.errors import DamagedError
from ragd.exchange.fields import UnfitError

BLOCK_BYTES = 2**20

LONGEST_VALUE_BYTES = 32 * 2**20
"""No message is as long, not one with thousands of people under its reactions; what is, has lost its end."""

_BOM = b"\xef\xbb\xbf"
_BLANKS = re.compile(rb"[ \t\n\r]*")
_SCALAR = re.compile(rb'[^ \t\n\r,:{}\[\]"]+')
_STRING_PATTERN = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
"""Possessive: a string can be read in one way only, and what could be gone back to would take sixty times its room."""

_STRING = re.compile(_STRING_PATTERN, re.DOTALL)


def _up_to(brackets: bytes) -> re.Pattern[bytes]:
    """Matches up to the next of the brackets, over other bytes, whole strings, and pairs of brackets with none inside.

    Group 1 is the bracket. There is none where what was read so far ends before one, or in the middle of a string; the
    next match then goes on there. It always matches and so never backtracks; the bound keeps its stack small.
    """
    other = rb'[^"' + brackets + rb"]*"
    string = _STRING_PATTERN
    opening, closing = brackets[: len(brackets) // 2], brackets[len(brackets) // 2 :]
    pair = rb"[" + opening + rb"]" + other + rb"(?:" + string + other + rb"){0,100}[" + closing + rb"]"
    return re.compile(
        other + rb"(?:(?:" + string + rb"|" + pair + rb")" + other + rb"){0,1000}([" + brackets + rb"])?", re.DOTALL
    )


# Of an object only braces are counted, of a list only brackets: if those inside are wrong, orjson says so.
_TO_BRACE = _up_to(rb"{}")
_TO_BRACKET = _up_to(rb"\[\]")


class Value(NamedTuple):
    """A value and the byte of the file at which it begins.

    The data of a list's element that is JSON, and yet more than can be kept, are the UnfitError that says why.
    """

    offset: int
    data: Any


class JsonStream:
    """One pass over a file that is a JSON object with a long list in it.

    `members` yields the object's keys; after each, the caller takes its value with `value`, or with `elements` if it
    is the long list. All raise DamagedError: one line with file, byte, what was expected and what was found.
    """

    def __init__(self, file: BinaryIO, name: str, block_bytes: int = BLOCK_BYTES) -> None:
        self.name = name
        self._file = file
        self._block_bytes = block_bytes
        self._buffer = b""
        self._begins = 0
        """Byte of the file at which the buffer begins."""
        self._at = 0
        while len(self._buffer) < len(_BOM) and self._more():
            pass
        self._at = len(_BOM) if self._buffer.startswith(_BOM) else 0

    @property
    def offset(self) -> int:
        """How many bytes have been understood."""
        return self._begins + self._at

    def members(self) -> Iterator[str]:
        """The keys of the file's one object, each to be followed by taking its value."""
        self._take(b"{", "an object, `{`")
        if self._peek() == b"}":
            self._at += 1
        else:
            yield from self._pairs()
        if self._peek():
            raise self.error("nothing after the object")

    def _pairs(self) -> Iterator[str]:
        while True:
            if self._peek() != b'"':
                raise self.error("a name in quotes")
            key = str(self.value().data)
            self._take(b":", "`:` after a name")
            yield key
            if self._take(b",}", "`,` or `}` after a value") == b"}":
                return

    def elements(self) -> Iterator[Value]:
        """The objects of the list that comes now, one at a time."""
        self._take(b"[", "a list, `[`")
        if self._peek() == b"]":
            self._at += 1
            return
        while True:
            if self._peek() != b"{":
                raise self.error("an object, `{`")
            yield self._value(self._parse_element)
            if self._take(b",]", "`,` or `]` after an object") == b"]":
                return

    def value(self) -> Value:
        """The value that comes now, whole."""
        return self._value(self._parse)

    def _value(self, parse: Callable[[bytes], Any]) -> Value:
        first, offset = self._peek(), self.offset
        if first == b"{":
            end = self._nested_end(_TO_BRACE, b"{")
        elif first == b"[":
            end = self._nested_end(_TO_BRACKET, b"[")
        else:
            end = self._string_end() if first == b'"' else self._scalar_end()
        value = Value(offset, parse(self._buffer[self._at : end]))
        self._at = end
        return value

    def error(self, expected: str, offset: int | None = None) -> DamagedError:
        """The error to raise about a place, by itself the one that was reached."""
        if offset is None:
            self._peek()
        place = self.offset if offset is None else offset
        at = place - self._begins
        found = _shown(self._buffer[at : at + 1]) if 0 <= at <= len(self._buffer) else "something else"
        return self.problem(f"expected {expected}, found {found}", place)

    def problem(self, complaint: str, offset: int) -> DamagedError:
        """The error to raise about what a value says."""
        return DamagedError(f"{self.name}: byte {offset:,}: {complaint}")

    # Below: positions in the buffer

    def _more(self) -> bool:
        """Forget what has been understood and read on; False at the end of the file."""
        block = self._file.read(self._block_bytes)
        self._buffer = self._buffer[self._at :] + block
        self._begins += self._at
        self._at = 0
        return bool(block)

    def _peek(self) -> bytes:
        """The next byte that is not blank, b"" at the end."""
        while True:
            blanks = _BLANKS.match(self._buffer, self._at)
            self._at = blanks.end() if blanks else self._at
            if self._at < len(self._buffer):
                return self._buffer[self._at : self._at + 1]
            if not self._more():
                return b""

    def _take(self, wanted: bytes, expected: str) -> bytes:
        found = self._peek()
        if not found or found not in wanted:
            raise self.error(expected)
        self._at += 1
        return found

    def _nested_end(self, to_next: re.Pattern[bytes], opening: bytes) -> int:
        depth = length = 1
        while depth:
            match = to_next.match(self._buffer, self._at + length)
            if match is None or match.end() == self._at + length:
                self._go_on()
                continue
            length = match.end() - self._at
            if bracket := match[1]:
                depth += 1 if bracket == opening else -1
        return self._at + length

    def _string_end(self) -> int:
        while not (match := _STRING.match(self._buffer, self._at)):
            self._go_on()
        return match.end()

    def _scalar_end(self) -> int:
        """Of a number, true, false or null, which may go on in the next block."""
        while match := _SCALAR.match(self._buffer, self._at):
            if match.end() < len(self._buffer):
                return match.end()
            if len(self._buffer) - self._at > LONGEST_VALUE_BYTES or not self._more():
                return len(self._buffer)
        raise self.error("a value")

    def _go_on(self) -> None:
        """Read on for the end of the value that begins here."""
        if len(self._buffer) - self._at > LONGEST_VALUE_BYTES or not self._more():
            raise self._unfinished()

    def _unfinished(self) -> DamagedError:
        """The end of a value was not found: because the file ends, or because something before is wrong."""
        raw = self._buffer[self._at :]
        try:
            self._parse(raw)
        except DamagedError as error:
            return error
        return self.error("a shorter value")

    def _parse(self, raw: bytes) -> Any:
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            return self._refuse(raw, error)

    def _parse_element(self, raw: bytes) -> Any:
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            if _is_json(raw):
                return UnfitError(f"expected JSON that can be kept, found more ({error.msg})")
            return self._refuse(raw, error)

    def _refuse(self, raw: bytes, error: orjson.JSONDecodeError) -> None:
        """Raise what is wrong in a value that begins where we are."""
        try:
            raw.decode()
        except UnicodeDecodeError as broken:
            if broken.end < len(raw) or broken.reason != "unexpected end of data":
                raise self.error("UTF-8", self.offset + broken.start) from None
        where = len(error.doc[: error.pos].encode("utf-8", "surrogatepass"))
        if where >= len(raw):
            what = {b"{": "the end of the object", b"[": "the end of the list", b'"': "the end of the string"}
            begun = what.get(raw[:1], "the end of the value")
            raise self.error(f"{begun} that begins at byte {self.offset:,}", self.offset + len(raw)) from None
        raise self.error(f"JSON ({error.msg})", self.offset + where) from None


def _is_json(raw: bytes) -> bool:
    """Whether the grammar allows what orjson refused: it reads no half of a surrogate pair, no number that is more than
    a double holds, and nothing that is nested too deep; what comes after such a value is as good as ever."""
    try:
        json.loads(raw.decode(), parse_int=str, parse_float=str, parse_constant=_refuse_constant)
    except RecursionError:
        return True  # its end was found; whether that is right shows in what follows
    except ValueError:
        return False
    return True


def _refuse_constant(name: str) -> None:
    """NaN and Infinity are Python's own."""
    raise ValueError(name)


def _shown(byte: bytes) -> str:
    if not byte:
        return "the end of the file"
    return f"`{byte.decode()}`" if 0x20 < byte[0] < 0x7F else f"the byte 0x{byte[0]:02x}"
