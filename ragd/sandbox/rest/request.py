"""Reading requests and writing answers: ids, query parameters, JSON and multipart bodies."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import BodyPartReader, web

from ragd.sandbox.entities import Payload

from .errors import ApiError, bad_request, invalid_form

_MAX_SNOWFLAKE = (1 << 63) - 1
_DIGITS = re.compile(r"\d+")
_TRUE = frozenset({"1", "true", "True"})


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a multipart request: only its size is kept, the sandbox stores no files.

    `index` is the n of its part's name `files[n]`, by which the JSON describes it.
    """

    index: str
    filename: str
    size: int
    content_type: str | None


@dataclass(frozen=True, slots=True)
class Body:
    """A request's JSON, and the files that came with it."""

    json: Any
    uploads: list[Upload] = field(default_factory=list)

    @property
    def fields(self) -> Payload:
        """The JSON as an object; raises 50035 when it is anything else."""
        if not isinstance(self.json, dict):
            raise invalid_form("_", "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
        return self.json


def reply(data: Any, status: int = 200) -> web.Response:
    """A JSON answer. The content type carries no charset: discord.py compares it with plain application/json."""
    return web.Response(body=orjson.dumps(data), status=status, content_type="application/json")


def no_content() -> web.Response:
    """204, as Discord answers where there is nothing to say."""
    return web.Response(status=204)


# -- path and query


def snowflake(text: str, name: str) -> int:
    """The id in `text`; 50035 for the field `name` when it is none."""
    if not text.isdecimal() or not text.isascii() or int(text) > _MAX_SNOWFLAKE:
        raise invalid_form(name, "NUMBER_TYPE_COERCE", f'Value "{text}" is not snowflake.')
    return int(text)


def path_id(request: web.Request, name: str) -> int:
    """The id in the path under `name`."""
    return snowflake(request.match_info[name], name)


def query_snowflake(request: web.Request, name: str) -> int | None:
    """An id in the query, None when absent."""
    text = request.query.get(name)
    return None if text is None else snowflake(text, name)


def query_int(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number in the query, `low` to `high`; Discord's 50035 when it is not."""
    text = request.query.get(name)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        raise invalid_form(name, "NUMBER_TYPE_COERCE", f'Value "{text}" is not int.') from None
    if value > high:
        raise invalid_form(name, "NUMBER_TYPE_MAX", f"int value should be less than or equal to {high}.")
    if value < low:
        raise invalid_form(name, "NUMBER_TYPE_MIN", f"int value should be greater than or equal to {low}.")
    return value


def query_flag(request: web.Request, name: str) -> bool:
    """A boolean in the query, False when absent."""
    return request.query.get(name) in _TRUE


# -- body


async def read_body(request: web.Request) -> Body:
    """The body of a request, be it JSON, multipart with `payload_json`, or nothing (an empty object)."""
    if request.content_type.startswith("multipart/"):
        return await _read_multipart(request)
    return Body(_parse(await request.read()))


async def read_fields(request: web.Request) -> Payload:
    """The body of a request that must be a JSON object."""
    return (await read_body(request)).fields


def _parse(raw: bytes) -> Any:
    if not raw:
        return {}
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise bad_request(50109, "The request body contains invalid JSON.") from None


async def _read_multipart(request: web.Request) -> Body:
    raw, uploads = b"", list[Upload]()
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            raise ApiError(400, 50035, "Invalid Form Body")
        content = bytes(await part.read())
        if part.name == "payload_json":
            raw = content
        elif part.filename is not None:
            index = _DIGITS.search(part.name or "")
            kind = part.headers.get("Content-Type")
            uploads.append(Upload(index[0] if index else "", part.filename, len(content), kind))
    return Body(_parse(raw), uploads)


def text_field(fields: Payload | Any, name: str, longest: int, *, path: str | None = None) -> str:
    """A required, non-empty string of at most `longest` characters; `path` names it in the error."""
    where = path or name
    if not isinstance(fields, dict):
        raise invalid_form(where, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise invalid_form(where, "BASE_TYPE_REQUIRED", "This field is required")
    if len(value) > longest:
        raise invalid_form(where, "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {longest} in length.")
    return value


def optional_id(fields: Payload, name: str) -> int | None:
    """An id in a body (Discord takes strings and numbers), None when absent or null."""
    value = fields.get(name)
    return None if value is None else snowflake(str(value), name)
