"""Loads the settings, once in `main()`; they are passed on from there.

Nothing is read at import. Values come from the environment, then from a file: `.env` in the working directory, or for
an installation that `make install` made the system's, /etc/ragd/ragd.env. Both daemon and ragdctl read it, at each
start, so a worker that is started anew has what stands there now.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from ragd.errors import ConfigError, NoPermissionError
from ragd.settings import MASK, Settings, shown, variable
from ragd.settings.files import settings_files, settings_in_files
from ragd.settings.types import STRATEGY_NAMES, scheme_of, split_urls

__all__ = ["MASK", "STRATEGY_NAMES", "Settings", "load_settings", "scheme_of", "split_urls", "variable"]

NOT_SETTINGS = frozenset(
    {
        "RAGD_PYTHON",
        "RAGD_SUPERVISOR_INCLUDE",
        "RAGD_LOG_FD",
        "RAGD_SOCKET_MODE",
        "RAGD_SANDBOX_PORT",
        "RAGD_SANDBOX_CONTROL_PORT",
        "RAGD_MODEL_WHEEL",
        "RAGD_TEST_DATA",
        "RAGD_FAULT_SLACK",
        "RAGD_FAULT_AWAY_SECONDS",
    }
)
"""Variables with our prefix that the launcher, the build and the tests use, which are no settings of the daemon."""


def load_settings(**overrides: Any) -> Settings:
    """Read environment and file; `overrides` are by variable name and win.

    Raises ConfigError naming the variable, its value and the rule it breaks, NoPermissionError.
    """
    _refuse_unknown()
    try:
        return Settings(**{"_env_file": settings_files(), **overrides})
    except ValidationError as error:
        raise ConfigError(_first_problem(error), hint="see the table of settings in README.md") from None


def _refuse_unknown() -> None:
    """A misspelt RAGD_ variable would silently leave its default in force."""
    known = {variable(name) for name in Settings.model_fields}
    given = {*os.environ, *_named_in_files()}
    for name in sorted(given):
        if name.startswith("RAGD_") and name not in known and name not in NOT_SETTINGS:
            near = difflib.get_close_matches(name, known, 1)
            raise ConfigError(f"{name} is no setting of ragd", hint=f"did you mean {near[0]}?" if near else "remove it")


def _named_in_files() -> Iterable[str]:
    try:
        return settings_in_files()
    except PermissionError as error:
        raise NoPermissionError(
            f"{error.filename} may not be read", hint="ask as root, or as a member of the group that it belongs to"
        ) from None


def _first_problem(error: ValidationError) -> str:
    detail: ErrorDetails = error.errors(include_url=False)[0]
    rule = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return rule
    name = str(detail["loc"][0])
    value = "***" if name in _secret_variables() else repr(shown(name, str(detail["input"])))
    return f"{name}={value}: {rule[:1].lower()}{rule[1:]}"


def _secret_variables() -> set[str]:
    fields = Settings.model_fields.items()
    return {variable(name) for name, field in fields if SecretStr in (field.annotation, *get_args(field.annotation))}
