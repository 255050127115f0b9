"""Reading JSON of unknown quality: every complaint is one line that names the file and the place in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ragd.errors import DamagedError

from .snowflake import parse_iso

_MAX_ID_DIGITS = 20


class Node:
    """A JSON value and where it stands. Every reader raises DamagedError when the value is of another kind."""

    def __init__(self, value: object, file: str, place: str = "") -> None:
        self.value = value
        self.file = file
        self.place = place

    def error(self, complaint: str) -> DamagedError:
        """The error to raise about this value: `history.json: messages[3].id: <complaint>`."""
        where = f"{self.file}: {self.place}" if self.place else self.file
        return DamagedError(f"{where}: {complaint}")

    def __getitem__(self, key: str) -> Node:
        """The value of a key that must be there; null counts as there."""
        mapping = self.mapping()
        if key not in mapping:
            raise self.error(f"lacks {key!r}")
        return Node(mapping[key], self.file, f"{self.place}.{key}" if self.place else key)

    def get(self, key: str) -> Node | None:
        """The value of a key, or None when it is absent or null."""
        return None if self.mapping().get(key) is None else self[key]

    def mapping(self) -> Mapping[str, Any]:
        """The value as an object."""
        if not isinstance(self.value, dict):
            raise self.error(f"should be an object, is {_kind(self.value)}")
        return self.value

    def only(self, *keys: str) -> None:
        """Complain about a key that is not one of `keys`: it would be a typing error."""
        for key in self.mapping():
            if key not in keys:
                raise self.error(f"has an unknown key {key!r}")

    def each(self, key: str | None = None) -> Iterator[Node]:
        """The items of this list, or of the list under `key` (none when the key is absent or null)."""
        if key is not None:
            child = self.get(key)
            return iter(()) if child is None else child.each()
        if not isinstance(self.value, list):
            raise self.error(f"should be a list, is {_kind(self.value)}")
        return (Node(item, self.file, f"{self.place}[{index}]") for index, item in enumerate(self.value))

    def text(self) -> str:
        """The value as a string."""
        if not isinstance(self.value, str):
            raise self.error(f"should be a string, is {_kind(self.value)}")
        return self.value

    def number(self) -> int:
        """The value as a whole number."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self.error(f"should be a whole number, is {_kind(self.value)}")
        return self.value

    def flag(self) -> bool:
        """The value as true or false."""
        if not isinstance(self.value, bool):
            raise self.error(f"should be true or false, is {_kind(self.value)}")
        return self.value

    def snowflake(self) -> int:
        """The value as an id: digits in a string."""
        text = self.text()
        if not (text.isascii() and text.isdigit() and len(text) <= _MAX_ID_DIGITS):
            raise self.error(f"should be an id of digits, is {text[:40]!r}")
        return int(text)

    def time_ms(self) -> int:
        """The value as ISO 8601 time, in Unix milliseconds."""
        try:
            return parse_iso(self.text())
        except ValueError:
            raise self.error(f"should be an ISO 8601 time, is {self.text()[:40]!r}") from None


def parse_json(text: str, file: str) -> Node:
    """The root of a JSON text; `file` is its name in complaints."""
    try:
        return Node(json.loads(text), file)
    except json.JSONDecodeError as exc:
        raise DamagedError(f"{file}: line {exc.lineno} column {exc.colno}: not JSON: {exc.msg}") from exc
    except (ValueError, RecursionError) as exc:  # JSON, but no file of ours
        raise DamagedError(f"{file}: a number too long or brackets too deep: {exc}") from exc


def read_json(path: Path) -> Node:
    """The root of a JSON file. Raises DamagedError when it cannot be read or is not UTF-8 JSON."""
    try:
        return parse_json(path.read_text(encoding="utf-8-sig"), path.name)
    except OSError as exc:
        raise DamagedError(f"{path}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise DamagedError(f"{path}: not UTF-8 at byte {exc.start}") from exc


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
