"""Fixtures shared by all tests."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragd.embedding import Embedder
from ragd.sandbox.client import SandboxThread
from tests.processes import Place, Process, environment, furnish, running


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


# A process of ragd's against a local Discord; modules that want either otherwise define their own.


@pytest.fixture
def place() -> Iterator[Place]:
    """A server with a channel and a member."""
    with SandboxThread() as sandbox:
        yield furnish(sandbox)


@pytest.fixture
def variables(place: Place, short_path: Path) -> dict[str, str]:
    """The environment of processes that are to connect to it."""
    return environment(place.sandbox, short_path)


@pytest.fixture
def capture(variables: dict[str, str]) -> Iterator[Process]:
    """A capture that has come up."""
    with running("capture", variables) as process:
        yield process
