"""Notices on their way to the services in ALERT_URLS: straight from the watchdog, past Discord and the database.

Each service has a thread with a queue of its own, so that a dead one keeps no other waiting, and `take` only appends:
the watchdog's pass waits for nobody. The sending itself is a process (ragd/sender.py), which can be killed.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import SecretStr
from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_delay,
    stop_when_event_set,
    wait_random_exponential,
)

from ragd.alerts import LONGEST_QUEUE, Notice, Outlet, Severity
from ragd.config import scheme_of, split_urls
from ragd.errors import ConfigError, RagdError, UnavailableError
from ragd.sender import Order, Outcome

_log = logging.getLogger(__name__)

SEND_SECONDS = 30.0
"""After which a sender is killed."""

_APPRISE_TYPES = {
    Severity.INFO: "info",
    Severity.WARNING: "warning",
    Severity.ERROR: "failure",
    Severity.CRITICAL: "failure",
}

_PRIVATE = ("DISCORD_", "RAGD_", "ALERT_", "SENTRY_", "NOTIFY_", "WATCHDOG_", "CREDENTIALS_")
"""Variables that are no business of a program that talks to the outside; it keeps PATH, proxies and certificates."""

_one_at_a_time = threading.Lock()
"""Each sender has some 45 MB for a second or two, and the machine may be small."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a notice is tried; the pauses between grow, with jitter, to the longest."""

    give_up_seconds: float = 1800.0
    """Until the first reminder, which tells the same."""
    longest_pause_seconds: float = 60.0
    send_seconds: float = SEND_SECONDS


class RefusedUrlError(RagdError):
    """apprise cannot make a service of the URL: no use in trying again."""


def open_outlets(urls: SecretStr | None, patience: Patience | None = None) -> list[Service]:
    """One outlet an entry of ALERT_URLS. Nothing is started before there is something to send."""
    entries = enumerate(split_urls(urls), 1)
    return [Service(number, SecretStr(url), patience or Patience()) for number, url in entries]


def check_urls(urls: SecretStr | None) -> None:
    """Have apprise look at each entry; nothing is sent. Raises ConfigError naming position and scheme of a bad one.

    What cannot be checked now (no memory for another process, say) passes, and shows when something is sent.
    """
    for service in open_outlets(urls):
        try:
            service.check()
        except RefusedUrlError:
            raise ConfigError(
                f"ALERT_URLS=***: {service.name} is none that apprise understands",
                hint="github.com/caronc/apprise/wiki shows each service's URL",
            ) from None
        except RagdError as error:
            _log.warning("ALERT_URLS cannot be checked: %s", error)


class Service(Outlet):
    """One entry of ALERT_URLS. `take` and `close` are for the watchdog's thread, the rest works in its own."""

    def __init__(self, number: int, url: SecretStr, patience: Patience) -> None:
        self.name = f"entry {number} ({scheme_of(url.get_secret_value())})"
        self._url = url
        self._patience = patience
        self._notices: deque[tuple[Notice, float]] = deque(maxlen=LONGEST_QUEUE)
        self._filled = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._in_hand = 0
        self._given_up = 0
        self._problem = ""

    # The outlet

    def take(self, notice: Notice) -> None:
        self._notices.append((notice, time.monotonic()))
        self._filled.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"alerts {self.name}", daemon=True)
            self._thread.start()

    def undelivered(self) -> int:
        return self._given_up + self._in_hand + len(self._notices) if self._problem else 0

    def problem(self) -> str:
        return self._problem

    def close(self) -> None:
        """Begin no other try. What is under way ends by itself, and nobody waits for it."""
        self._stop.set()
        self._filled.set()

    # Its thread

    def _work(self) -> None:
        while not self._stop.is_set():
            self._filled.wait()
            self._filled.clear()
            while self._notices and not self._stop.is_set():
                self._in_hand = 1
                self._deliver(*self._notices.popleft())
                self._in_hand = 0

    def _deliver(self, notice: Notice, taken_at: float) -> None:
        """Send a notice, again and again while it is young; never raises."""
        left = max(0.0, taken_at + self._patience.give_up_seconds - time.monotonic())
        retrying = Retrying(
            retry=retry_if_exception_type(UnavailableError),
            wait=wait_random_exponential(multiplier=1.0, max=self._patience.longest_pause_seconds),
            stop=stop_after_delay(left) | stop_when_event_set(self._stop),
            sleep=sleep_using_event(self._stop),
            before_sleep=self._note_failure,
        )
        try:
            retrying(self.send, notice)
        except (RetryError, RagdError) as error:
            self._give_up(error.last_attempt.exception() if isinstance(error, RetryError) else error)
        else:
            self._note_success()

    def _note_failure(self, state: RetryCallState) -> None:
        self._complain(state.outcome.exception() if state.outcome else None)

    def _give_up(self, error: BaseException | None) -> None:
        self._complain(error)
        self._in_hand, self._given_up = 0, self._given_up + 1
        _log.error("an alert was not delivered to %s and is given up: %s", self.name, error)

    def _complain(self, error: BaseException | None) -> None:
        problem = f"{self.name}: {error}"
        if problem != self._problem:
            _log.warning("alerts do not reach %s: %s", self.name, error)
        self._problem = problem

    def _note_success(self) -> None:
        if self._problem:
            _log.info("alerts reach %s again", self.name)
        self._problem, self._given_up = "", 0

    # The sending

    def send(self, notice: Notice) -> None:
        """Send it once, now. Raises UnavailableError if it did not arrive, RefusedUrlError if it never will."""
        title = f"ragd on {socket.gethostname()}: {notice.head(time.time())}"
        kind = "success" if notice.kind == "ended" else _APPRISE_TYPES[notice.alert.severity]
        self._order(Order(url=self._url.get_secret_value(), title=title, body=notice.alert.text, type=kind))

    def check(self) -> None:
        """Have the URL looked at. Raises as `send` does."""
        self._order(Order(url=self._url.get_secret_value(), title="", body=None, type="info"))

    def _order(self, order: Order) -> None:
        with _one_at_a_time:
            outcome = _run_sender(order, self._patience.send_seconds)
        if not outcome["ok"]:
            raise (RefusedUrlError if outcome["permanent"] else UnavailableError)(outcome["why"])


def _run_sender(order: Order, seconds: float) -> Outcome:
    """Raises UnavailableError if there is no outcome in time."""
    try:
        run = subprocess.run(
            [sys.executable, "-P", "-m", "ragd.sender"],
            input=json.dumps(order).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            timeout=seconds,
            check=True,
        )
        outcome: Outcome = json.loads(run.stdout)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"no answer within {seconds:g} s") from None
    except (subprocess.CalledProcessError, OSError, ValueError) as error:
        # not the error itself: it may hold what was sent
        raise UnavailableError(f"the sender failed with {type(error).__name__}") from None
    return outcome


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE)}


def close_outlets(outlets: Sequence[Service]) -> None:
    for outlet in outlets:
        outlet.close()
