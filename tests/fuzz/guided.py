"""One target under atheris: `python -m tests.fuzz.guided TARGET CORPUS [libFuzzer's options]`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

import atheris

with atheris.instrument_imports(include=["ragd.asked", "ragd.terms", "ragd.exchange", "ragd.sandbox", "ragd.searcher"]):
    import orjson

    from ragd.asked import parse
    from ragd.errors import RagdError
    from ragd.searcher import read_query
    from ragd.terms import fragments
    from tests.fuzz import targets


def query_parser(data: bytes) -> None:
    """`targets.query` without the store, a hundred times as fast."""
    text = data.decode(errors="replace")
    parse(text, targets.NOW)
    fragments(text)


def request_parser(data: bytes) -> None:
    """`targets.request` without a search."""
    with contextlib.suppress(RagdError, orjson.JSONDecodeError):
        read_query(orjson.loads(data), targets.search()._vectors)


TARGETS: dict[str, Callable[[bytes], None]] = {
    **targets.TARGETS,
    "query_parser": query_parser,
    "request_parser": request_parser,
}

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
