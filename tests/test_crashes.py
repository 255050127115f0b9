"""What Sentry gets of an unexpected error: its type and the lines of code, and not a word more."""

from __future__ import annotations

import gzip
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ragd.config import load_settings
from ragd.crashes import crash_reporter
from ragd.errors import ConfigError, TransientError
from ragd.worker import StopFlag, run_process
from tests.receivers import SECRET, HttpReceiver, free_port, http_receiver, until
from tests.toytree import ROOT

TEXT = "what Ann wrote to Bob about the kettle"


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        yield receiver


def dsn(port: int) -> str:
    return f"http://public@127.0.0.1:{port}/42"


def crash(_: StopFlag) -> None:
    content, token = TEXT, SECRET
    raise ValueError(f"cannot parse {content!r} with {token}")


def events(receiver: HttpReceiver) -> list[Any]:
    """The events in the envelopes (develop.sentry.dev/sdk/envelopes) that came."""
    found = []
    for body, headers in zip(receiver.bodies, receiver.headers, strict=True):
        plain = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
        _, item, payload, *_ = plain.split(b"\n")
        if json.loads(item)["type"] == "event":
            found.append(json.loads(payload))
    return found


def test_an_unexpected_error_is_reported_without_what_people_wrote(receiver: HttpReceiver) -> None:
    settings = load_settings(SENTRY_DSN=dsn(receiver.port), DISCORD_BOT_TOKEN=SECRET)
    assert run_process("capture", crash, crash_reporter("capture", settings)) == 1
    until(lambda: receiver.bodies, "reported")
    (event,) = events(receiver)
    (error,) = event["exception"]["values"]
    assert error["type"] == "ValueError"
    assert error["stacktrace"]["frames"][-1]["function"] == "crash"
    assert event["tags"] == {"process": "capture"}
    everything = json.dumps(event)
    for secret in (TEXT, "kettle", SECRET, str(ROOT), "cannot parse"):
        assert secret not in everything
    assert set(event) <= {"event_id", "timestamp", "level", "platform", "release", "tags", "exception"}


def test_an_error_on_purpose_is_not_reported(receiver: HttpReceiver) -> None:
    def fail(_: StopFlag) -> None:
        raise TransientError("database is locked")

    settings = load_settings(SENTRY_DSN=dsn(receiver.port))
    assert run_process("capture", fail, crash_reporter("capture", settings)) == 75
    assert receiver.requests == 0


def test_a_dead_sentry_does_not_hide_the_error(caplog: pytest.LogCaptureFixture) -> None:
    settings = load_settings(SENTRY_DSN=dsn(free_port()))
    with caplog.at_level(logging.WARNING):
        assert run_process("capture", crash, crash_reporter("capture", settings)) == 1
    assert "capture ends by an error of its own" in caplog.text


def test_nothing_is_loaded_before_there_is_an_error() -> None:
    code = (
        "import sys; from ragd.config import load_settings; from ragd.crashes import crash_reporter;"
        f"crash_reporter('x', load_settings(SENTRY_DSN={dsn(1)!r})); print('sentry_sdk' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_without_the_extra_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="sentry-sdk"):
        crash_reporter("capture", load_settings(SENTRY_DSN=dsn(1)))
    crash_reporter("capture", load_settings())


def test_what_is_no_dsn_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError, match=r"SENTRY_DSN=\*\*\*: must be a URL") as caught:
        load_settings(SENTRY_DSN=SECRET)
    assert SECRET not in caught.value.one_line()
