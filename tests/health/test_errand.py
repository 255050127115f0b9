"""Errands: one at a time, fetched when done, errors handed over, none waited for."""

from __future__ import annotations

import logging
import threading

import pytest

from ragd.errors import RagdError, TransientError
from ragd.health.errand import Errand
from tests.toytree import wait_until


def outcome(errand: Errand[int]) -> int:
    found: list[int] = []

    def fetched() -> bool:
        result = errand.fetch()
        if result is not None:
            found.append(result)
        return bool(found)

    wait_until(fetched, 10, "done")
    return found[0]


def test_the_result_is_fetched_once() -> None:
    errand, gate = Errand[int]("test"), threading.Event()
    errand.begin(5.0, lambda: (gate.wait(10) and 7) or 0)
    assert not errand.idle
    assert errand.fetch() is None
    assert errand.seconds(8.0) == 3.0
    gate.set()
    assert outcome(errand) == 7
    assert errand.idle
    assert errand.fetch() is None
    assert errand.seconds(9.0) == 0.0


def test_errors_on_purpose_come_through() -> None:
    def job() -> int:
        raise TransientError("locked")

    errand = Errand[int]("test")
    errand.begin(0.0, job)
    with pytest.raises(TransientError, match="locked"):
        outcome(errand)
    errand.begin(0.0, lambda: 3)
    assert outcome(errand) == 3


def test_a_bug_is_logged_and_an_error_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    errand = Errand[int]("test")
    with caplog.at_level(logging.ERROR):
        errand.begin(0.0, lambda: 1 // 0)
        with pytest.raises(RagdError, match="ZeroDivisionError") as caught:
            outcome(errand)
    assert "bug" in caught.value.hint
    assert caplog.records[0].exc_info is not None
