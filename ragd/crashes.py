"""Unexpected errors to Sentry (`ragd[sentry]`, SENTRY_DSN): which error on which line of code, and nothing else.

Sentry's client is loaded when there is something to report, not before: until then it costs nothing.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from typing import Any

import ragd
from ragd.config import Settings
from ragd.errors import ConfigError

_log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
"""How long a process that ends by an error waits for the report to go out."""

_KEPT = ("event_id", "timestamp", "level", "platform", "release", "tags")
_KEPT_OF_FRAME = ("module", "function", "lineno", "in_app")


def crash_reporter(process: str, settings: Settings) -> Callable[[BaseException], None]:
    """What `run_process` calls with an error of its own; does nothing without SENTRY_DSN.

    Raises ConfigError when the extra is not installed.
    """
    if settings.sentry_dsn is None:
        return lambda _: None
    if importlib.util.find_spec("sentry_sdk") is None:
        raise ConfigError("SENTRY_DSN needs sentry-sdk", hint="pip install 'ragd[sentry]', or leave SENTRY_DSN unset")
    dsn = settings.sentry_dsn.get_secret_value()
    return lambda error: _report(dsn, process, error)


def _report(dsn: str, process: str, error: BaseException) -> None:
    try:
        _send(dsn, process, error)
    except Exception as failure:  # noqa: BLE001 - the process ends by another error, which this one must not hide
        _log.warning("the error could not be reported to Sentry: %s", type(failure).__name__)


def _send(dsn: str, process: str, error: BaseException) -> None:
    import sentry_sdk

    client = sentry_sdk.Client(
        dsn=dsn,
        release=ragd.__version__,
        before_send=scrub,
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        include_source_context=False,
        max_breadcrumbs=0,
    )
    event, hint = sentry_sdk.utils.event_from_exception(error, client_options=client.options)
    client.capture_event({**event, "tags": {"process": process}}, hint)
    client.close(timeout=FLUSH_SECONDS)


def scrub(event: Any, _hint: Any) -> Any:
    """Build the event anew from what is known to be harmless: types of errors, and modules, functions, line numbers.

    No text of an error, for it may quote a message; no variables, paths, names of machines or people.
    """
    values = (event.get("exception") or {}).get("values") or []
    kept = {name: event[name] for name in _KEPT if name in event}
    return {**kept, "exception": {"values": [_scrub_error(value) for value in values]}}


def _scrub_error(value: Any) -> dict[str, Any]:
    frames = (value.get("stacktrace") or {}).get("frames") or []
    kept = [{name: frame[name] for name in _KEPT_OF_FRAME if name in frame} for frame in frames]
    return {"type": value.get("type"), "module": value.get("module"), "stacktrace": {"frames": kept}}
