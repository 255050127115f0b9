"""What each process was started with, or has taken over since: fingerprints of its settings in the runtime directory.

Written by the process itself, read by `ragdctl reload`, which so knows what has changed and whether it is in force.
"""

from __future__ import annotations

import hashlib
import os
import secrets
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
    salt: str

    def changed(self, settings: Settings) -> frozenset[str]:
        """Variables whose value is another now. What is fixed may be among them."""
        now = ((variable(name), getattr(settings, name)) for name in type(settings).model_fields)
        return frozenset(name for name, value in now if self.fingerprints.get(name) != _fingerprint(value, self.salt))


def record_settings(process: str, settings: Settings) -> None:
    """Leave word of what this process is started with. Raises CannotCreateError."""
    directory = settings.applied_dir
    make_directory(directory)
    fixed, salt = _from_environment(), secrets.token_hex(8)
    values = {variable(name): getattr(settings, name) for name in type(settings).model_fields}
    # nobody compares a secret that is fixed
    told = {name: value for name, value in values.items() if not (isinstance(value, SecretStr) and name in fixed)}
    marks = {name: _fingerprint(value, salt) for name, value in told.items()}
    document = {"fingerprints": marks, "fixed": sorted(fixed), "salt": salt}
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
        return Applied(dict(document["fingerprints"]), frozenset(document["fixed"]), str(document.get("salt", "")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UnavailableError(
            f"nobody knows what {process} was started with ({error})", hint="restart it: `ragdctl restart`"
        ) from None


def _fingerprint(value: object, salt: str) -> str:
    """Enough of a value to see that it changed. Of a secret no more than that: the group may read it, so trying out
    what it may be of takes long."""
    if isinstance(value, SecretStr):
        secret = value.get_secret_value().encode()
        return hashlib.scrypt(secret, salt=salt.encode(), n=2**14, r=8, p=1, dklen=16).hex()
    plain = ",".join(map(repr, value)) if isinstance(value, tuple) else repr(value)
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def _from_environment() -> frozenset[str]:
    """What stands in our environment, or was handed over by systemd once and for all."""
    handed_over = {name for name in CREDENTIALS if credential(name)}
    return frozenset({name.upper() for name in os.environ} & {*map(variable, Settings.model_fields)} | handed_over)
