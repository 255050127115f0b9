"""Discord's error answers: HTTP status, JSON code, message and, for bad forms, the field at fault.

Codes and texts follow Discord's reference, "Opcodes and Status Codes", JSON error codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """An answer other than 2xx; the error middleware turns it into Discord's JSON shape."""

    def __init__(self, status: int, code: int, message: str, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields

    def payload(self) -> dict[str, Any]:
        """The JSON body; `errors` is there for 50035 only."""
        body: dict[str, Any] = {"message": self.message, "code": self.code}
        if self.fields is not None:
            body["errors"] = self.fields
        return body


def unauthorized() -> ApiError:
    return ApiError(401, 0, "401: Unauthorized")


def missing_access() -> ApiError:
    """The caller cannot see the thing asked for."""
    return ApiError(403, 50001, "Missing Access")


def missing_permissions() -> ApiError:
    """The caller sees the thing but may not do this to it."""
    return ApiError(403, 50013, "Missing Permissions")


def forbidden(code: int, message: str) -> ApiError:
    return ApiError(403, code, message)


def bad_request(code: int, message: str) -> ApiError:
    return ApiError(400, code, message)


_UNKNOWN_CODES = {
    "Application": 10002,
    "Channel": 10003,
    "Guild": 10004,
    "Member": 10007,
    "Message": 10008,
    "Role": 10011,
    "User": 10013,
    "Emoji": 10014,
    "Webhook": 10015,
    "interaction": 10062,
    "application command": 10063,
}


def unknown(what: str) -> ApiError:
    """404 with the code of `what`, one of Discord's own nouns ("Channel", "Message", ...)."""
    return ApiError(404, _UNKNOWN_CODES[what], f"Unknown {what}")


def invalid_form(field: str, code: str, message: str) -> ApiError:
    """50035: `field` (dots separate nested names) breaks the rule that `code` and `message` name."""
    tree: dict[str, Any] = {"_errors": [{"code": code, "message": message}]}
    for part in reversed(field.split(".")):
        tree = {part: tree}
    return ApiError(400, 50035, "Invalid Form Body", tree)
