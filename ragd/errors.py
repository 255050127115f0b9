"""Every error of ragd has one root, says whether trying again can help, and carries its exit code."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a ragd process ends with; numbers from 64 on follow BSD's sysexits.h."""

    OK = 0
    ERROR = 1
    """An error of no more precise kind; for `ragdctl status`: degraded."""
    DOWN = 2
    """For `ragdctl status`: nothing runs. Typer uses the same number for a wrong command line."""
    USAGE = 64
    """The command line names something that does not exist."""
    DATA = 65
    """A file or record is damaged or of another format. supervisord does not restart a worker that ends with it."""
    MISSING = 66
    """Something that should be there is not: `ragdctl audit` found that the store and Discord differ, `ragdctl why`
    that a message is not findable."""
    UNAVAILABLE = 69
    """A process that should answer does not."""
    CANNOT_CREATE = 73
    """A file, directory or socket cannot be made."""
    TEMPORARY = 75
    """Trying again later may help."""
    NO_PERMISSION = 77
    """This user may not read or use something."""
    CONFIG = 78
    """A setting is missing or wrong. supervisord does not restart a worker that ends with it."""


FINAL_EXITS = frozenset({ExitCode.DATA, ExitCode.CONFIG})
"""A worker that ended with one of these would end so again: it is left alone until a person has acted."""


class RagdError(Exception):
    """Root of all errors raised on purpose.

    `str(error)` is one line that says what, where and why; `hint` says how to mend it.
    """

    exit_code: ExitCode = ExitCode.ERROR
    permanent: bool = True

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def one_line(self) -> str:
        """The message and the hint as the CLI prints them."""
        return f"{self} - {self.hint}" if self.hint else str(self)


class ConfigError(RagdError):
    """A setting is missing or has a value that its rule does not allow."""

    exit_code = ExitCode.CONFIG


class DamagedError(RagdError):
    """A file is not what its checksum or format says it should be."""

    exit_code = ExitCode.DATA


class UnavailableError(RagdError):
    """A process or service that should answer does not; it may come back."""

    exit_code = ExitCode.UNAVAILABLE
    permanent = False


class CannotCreateError(RagdError):
    """A file, directory or socket cannot be made."""

    exit_code = ExitCode.CANNOT_CREATE


class UsageError(RagdError):
    """The command line names something that does not exist."""

    exit_code = ExitCode.USAGE


class NoPermissionError(RagdError):
    """This user may not read or use something that is there."""

    exit_code = ExitCode.NO_PERMISSION


class TransientError(RagdError):
    """The same step may succeed when it is tried again."""

    exit_code = ExitCode.TEMPORARY
    permanent = False
