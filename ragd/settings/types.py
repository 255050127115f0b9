"""Types of settings that take more than pydantic's own: how their text is read, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

STRATEGY_NAMES = ("single", "temporal", "conversation", "sliding_window", "author", "tokens")

MOST_SHARDS = 65_536
"""More than any bot has."""


def _unset(value: object) -> object:
    return None if value == "" else value


def _off(value: object) -> object:
    return 0 if value == "" else value


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _strategies(value: object) -> object:
    return tuple(_parts(value)) if isinstance(value, str) else value


def _known_strategies(value: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in value if name not in STRATEGY_NAMES]
    if unknown or not value:
        raise ValueError(f"must name one or more of {', '.join(STRATEGY_NAMES)}, separated by commas")
    return tuple(dict.fromkeys(value))


def _ids(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = _parts(value)
    for part in parts:
        if not re.fullmatch(r"[1-9][0-9]{0,18}", part, re.ASCII):
            raise ValueError(f"{part!r} is no id of Discord's: numbers separated by commas are wanted")
    return tuple(dict.fromkeys(map(int, parts)))


def _shard_ids(value: object) -> object:
    return tuple(_shards(value)) if isinstance(value, str) else value


def _shards(text: str) -> Iterable[int]:
    """`0-3` or `0,2` as ascending ids. Raises ValueError."""
    ids = set[int]()
    for part in _parts(text):
        found = re.fullmatch(r"(\d{1,6})(?:\s*-\s*(\d{1,6}))?", part, re.ASCII)
        if not found:
            raise ValueError("must be shards and ranges of shards separated by commas, as in 0-3 or 0,2")
        first, last = int(found[1]), int(found[2] or found[1])
        if not first <= last < MOST_SHARDS:
            raise ValueError(f"the range {part} must rise, and end below {MOST_SHARDS}")
        ids.update(range(first, last + 1))
    return sorted(ids)


class Keeping(NamedTuple):
    """How long messages are kept of a thread, channel, category or guild; `place_id` 0 for every other."""

    place_id: int
    days: int
    """0: for ever."""

    def __str__(self) -> str:
        return f"{self.place_id}={self.days}" if self.place_id else str(self.days)


def _keepings(value: object) -> object:
    """`365,123=30` as rules. Raises ValueError."""
    if isinstance(value, int):
        value = str(value)
    if not isinstance(value, str):
        return value
    rules: dict[int, Keeping] = {}
    for part in _parts(value):
        found = re.fullmatch(r"(?:([1-9][0-9]{0,18})\s*=\s*)?([0-9]{1,5})", part, re.ASCII)
        if not found:
            raise ValueError(
                f"{part!r}: must be days, and days by id of a channel, category or guild, as in 365,123456789=30"
            )
        rule = Keeping(int(found[1] or 0), int(found[2]))
        if rule.place_id in rules:
            raise ValueError(f"{part!r}: {'the id' if rule.place_id else 'the days for all'} may be given only once")
        rules[rule.place_id] = rule
    return tuple(rules.values())


def _urls(value: SecretStr | None) -> SecretStr | None:
    """By form alone; `ragd` asks apprise at its start (ragd/notices.py), which is too heavy for a leaf."""
    for number, url in enumerate(split_urls(value), 1):
        if not re.fullmatch(r"[a-z0-9]+://[^\s/?].*", url, re.IGNORECASE):
            raise ValueError(f"entry {number} ({scheme_of(url)}) must be a URL like `scheme://host/...`")
    return value


def _dsn(value: SecretStr | None) -> SecretStr | None:
    if value and not re.fullmatch(r"https?://[^@\s]+@[^/\s]+/\S+", value.get_secret_value()):
        raise ValueError("must be a URL like https://key@host/project")
    return value


def _http_token(value: SecretStr | None) -> SecretStr | None:
    if value and not re.fullmatch(r"[!-~]{16,}", value.get_secret_value()):
        raise ValueError("must be 16 or more printable ASCII characters without a blank, as of `openssl rand -hex 32`")
    return value


def _no_blanks(value: str | None) -> str | None:
    if value and re.search(r"\s", value):
        raise ValueError("must be a name without blanks")
    return value


def _base_url(value: str | None) -> str | None:
    """A key in the URL would be shown with it."""
    if value and not re.fullmatch(r"https?://[^@\s/?#]+(?:/[^@\s?#]*)?", value):
        raise ValueError("must be a URL like http://127.0.0.1:11434/v1, without a name or password in it")
    return value.rstrip("/") if value else value


def without_credentials(url: str) -> str:
    """What may be shown of a URL that is no secret, and may hold one all the same: as a name, password or argument."""
    return re.sub(r"^(\w+://)?.*@|(?<=[?#]).+", lambda found: f"{found[1] or ''}***", url, flags=re.DOTALL)


def split_urls(urls: SecretStr | None) -> list[str]:
    """The entries of ALERT_URLS. A comma within a URL stays in it: only what begins a URL begins an entry."""
    text = urls.get_secret_value().strip(" ,\t\r\n") if urls else ""
    return re.split(r"[\s,]+(?=[A-Za-z0-9]+:/)|\s+", text) if text else []


def scheme_of(url: str) -> str:
    """What may be shown of an alert URL."""
    found = re.match(r"([A-Za-z0-9]{1,20})://", url)
    return found[1].lower() if found else "no scheme"


# `NAME=` in a settings file is how people switch one off.
_Unset = BeforeValidator(_unset)

OptionalSecret = Annotated[SecretStr | None, _Unset]
OptionalHttpToken = Annotated[SecretStr | None, AfterValidator(_http_token), _Unset]
OptionalPath = Annotated[Path | None, _Unset]
OptionalText = Annotated[str | None, AfterValidator(_no_blanks), _Unset]
OptionalId = Annotated[int | None, _Unset]
OptionalUrls = Annotated[SecretStr | None, AfterValidator(_urls), _Unset]
OptionalUrl = Annotated[str | None, AfterValidator(_base_url), _Unset]
OptionalDsn = Annotated[SecretStr | None, AfterValidator(_dsn), _Unset]
Port = Annotated[int, BeforeValidator(_off)]

Strategies = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_strategies), AfterValidator(_known_strategies)]
Ids = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_ids)]
"""Ids of Discord's, comma-separated."""
Keepings = Annotated[tuple[Keeping, ...], NoDecode, BeforeValidator(_keepings)]
ShardIds = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_shard_ids)]
