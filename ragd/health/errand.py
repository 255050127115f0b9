"""Errands: what may take longer than a pass of the watchdog may wait, done in a thread and fetched when it is done."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ragd.errors import RagdError

_log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Errand(Generic[Result]):
    """One job at a time in a daemon thread, so that one that hangs keeps neither a pass nor the process from ending.

    Every method is for the thread of the passes. A job opens and closes its own connections.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._began = 0.0
        self._result: Result | None = None
        self._error: RagdError | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is under way and nothing waits to be fetched."""
        return self._thread is None

    def begin(self, now: float, job: Callable[[], Result]) -> None:
        """Start a job; only when idle."""
        assert self.idle, "one at a time"
        self._result, self._error, self._began = None, None, now
        self._thread = threading.Thread(target=self._run, args=(job,), name=self._name, daemon=True)
        self._thread.start()

    def _run(self, job: Callable[[], Result]) -> None:
        try:
            self._result = job()
        except RagdError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - a bug in a check must not end the watchdog: logged, and a failure
            _log.exception("errand %s ended by an error of its own", self._name)
            self._error = RagdError(f"{type(error).__name__}: {error}", hint="this is a bug of ragd, see the log")

    def seconds(self, now: float) -> float:
        """How long the job has been under way; 0 when idle."""
        return now - self._began if self._thread else 0.0

    def fetch(self) -> Result | None:
        """The result, once; None while there is none. Raises the RagdError that the job raised."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread = None
        if self._error is not None:
            raise self._error
        return self._result
