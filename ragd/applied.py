"""What each process was started with, or has taken over since: fingerprints of its settings in the runtime directory.

Written by the process itself, read by `ragdctl reload`, which so knows what has changed and whether it is in force.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import SecretStr

from ragd.config import Settings, variable
from ragd.errors import CannotCreateError, UnavailableError
from ragd.settings.files import CREDENTIALS, credential
from ragd.worker import make_directory


@dataclass(frozen=True, slots=True)
class Applied:
    """What a process was started with: fingerprints of the settings by variable, and which of them came from its
    environment, where a file cannot change them."""

    fingerprints: Mapping[str, str]
    fixed: frozenset[str]


def record_settings(process: str, settings: Settings) -> None:
    """Leave word of what this process is started with. Raises CannotCreateError."""
    directory = settings.applied_dir
    make_directory(directory)
    document = {"fingerprints": fingerprints(settings), "fixed": sorted(_from_environment())}
    temporary = directory / f"{process}.{os.getpid()}.tmp"
    try:
        temporary.write_bytes(orjson.dumps(document))
        temporary.replace(directory / f"{process}.json")
    except OSError as error:
        raise CannotCreateError(f"cannot write {temporary}: {error.strerror}", hint="free some space there") from None


def read_applied(directory: Path, process: str) -> Applied:
    """What a process was started with. Raises UnavailableError if it never said so."""
    try:
        document = orjson.loads((directory / f"{process}.json").read_bytes())
        return Applied(dict(document["fingerprints"]), frozenset(document["fixed"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UnavailableError(
            f"nobody knows what {process} was started with ({error})", hint="restart it: `ragdctl restart`"
        ) from None


def fingerprints(settings: Settings) -> dict[str, str]:
    """Enough of each setting to see that it changed, and of a secret no more than that."""
    return {variable(name): _fingerprint(getattr(settings, name)) for name in type(settings).model_fields}


def _fingerprint(value: object) -> str:
    return hashlib.sha256(_plain(value).encode()).hexdigest()[:16]


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_plain, value))
    return value.get_secret_value() if isinstance(value, SecretStr) else repr(value)


def _from_environment() -> frozenset[str]:
    """What stands in our environment, or was handed over by systemd once and for all."""
    handed_over = {name for name in CREDENTIALS if credential(name)}
    return frozenset({name.upper() for name in os.environ} & {*map(variable, Settings.model_fields)} | handed_over)
