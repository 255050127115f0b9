"""Fixtures shared by all tests."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.embedding import Embedder


def pytest_configure() -> None:
    """A shell starts background jobs with SIGINT ignored, and what the tests start would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    """The bundled model."""
    return Embedder.open(threads=1)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose path leaves room for UNIX sockets, which end at 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ragd-") as directory:
        yield Path(directory)
