"""Taking values of unknown quality out of JSON objects; a key that is absent and one that is null mean the same.

Files of all versions of DiscordChatExporter lack some key or other, so absence is no error where there is a sensible
value for it; a value of another kind is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

Object = Mapping[str, Any]

_Kind = TypeVar("_Kind")

LARGEST_ID = 2**63 - 2
"""The id after it must fit into SQLite as well."""

_LARGEST_NUMBER = 2**40
"""No file is as large and nothing was counted as often; of as many as a file has room for the sum still fits."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class UnfitError(Exception):
    """A value is not of the kind that it should be; the text names key, what was expected and what was found.

    It holds nothing of what people wrote.
    """


def get_id(data: Object, key: str) -> int:
    """An id in digits, or 0 when absent."""
    value = data.get(key)
    if value is None:
        return 0
    digits = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20
    number = int(value) if digits or (isinstance(value, int) and not isinstance(value, bool)) else -1
    if not 0 <= number <= LARGEST_ID:
        raise _unfit(key, "an id", value)
    return number


def require_id(data: Object, key: str) -> int:
    """An id that must be there."""
    number = get_id(data, key)
    if not number:
        raise _unfit(key, "an id", data.get(key))
    return number


def get_text(data: Object, key: str) -> str:
    """A text, "" when absent."""
    return _get(data, key, str, "a text", "")


def get_number(data: Object, key: str) -> int:
    """A whole number that sizes and counts may be, 0 when absent."""
    number = _get(data, key, int, "a size or count", 0)
    if isinstance(number, bool) or not 0 <= number <= _LARGEST_NUMBER:
        raise _unfit(key, "a size or count", number)
    return number


def get_flag(data: Object, key: str) -> bool:
    """True or false, false when absent."""
    return _get(data, key, bool, "true or false", False)


def get_object(data: Object, key: str) -> dict[str, Any]:
    """An object, an empty one when absent."""
    return _get(data, key, dict, "an object", {})


def get_objects(data: Object, key: str) -> list[dict[str, Any]]:
    """A list of objects, an empty one when absent."""
    values: list[Any] = _get(data, key, list, "a list", [])
    for value in values:
        if not isinstance(value, dict):
            raise _unfit(f"{key}[]", "an object", value)
    return values


def get_time(data: Object, key: str) -> int:
    """An ISO 8601 time as Unix milliseconds, 0 when absent; one without offset is UTC."""
    text = get_text(data, key)
    if not text:
        return 0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UnfitError(f"{key}: expected an ISO 8601 time, found another text") from None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND


def _get(data: Object, key: str, kind: type[_Kind], expected: str, default: _Kind) -> _Kind:
    value = data.get(key)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise _unfit(key, expected, value)
    return value


def _unfit(key: str, expected: str, found: object) -> UnfitError:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    shown = names.get(type(found), "a number")
    return UnfitError(f"{key}: expected {expected}, found {'another text' if shown == expected else shown}")
