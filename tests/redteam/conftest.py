"""One stage for the attempts of a module: what one of them says there must not be what another looks for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ragd.sandbox.client import SandboxThread
from tests.redteam.stage import Stage


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with SandboxThread() as sandbox, tempfile.TemporaryDirectory(prefix="ragd-") as directory, ExitStack() as stack:
        stage = Stage(sandbox, Path(directory))
        stage.start(stack)
        yield stage
