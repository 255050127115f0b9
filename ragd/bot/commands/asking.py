"""Asks the searcher without holding up the event loop (ragd/search_client.py is the blocking way)."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from ragd.answers import SearchAnswer, SearchRequest
from ragd.errors import UnavailableError
from ragd.search_client import ANSWER_SECONDS, read_answer, write_request


async def ask(path: Path, request: SearchRequest) -> SearchAnswer:
    """The searcher's answer. Raises UnavailableError or RagdError as `ask_searcher` does."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)), timeout=timeout) as session,
            session.post("http://searcher/search", data=write_request(request)) as response,
        ):
            return read_answer(response.status, await response.read())
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise UnavailableError(f"no searcher answers at {path}: {error!r}") from None
