"""searcher: holds the vector indexes, follows new vectors from SQLite, answers queries on a UNIX socket.

Without files of an index it reads every vector from SQLite first, some ten thousand a second; a query that comes
meanwhile waits for that. From then on answers are exact, while a graph, if there are many, is made in small steps.

One thread owns the indexes, the store's connection and the model, because hnswlib must not add and search at once;
the event loop only speaks HTTP. The working loop sends the thread one short step after another and beats after each,
so a thread that hangs shows in the heartbeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
from aiohttp import web

from ragd.access import socket_mode
from ragd.admission import admission
from ragd.answers import SearchAnswer
from ragd.config import Settings
from ragd.embedders import TextEmbedder
from ragd.errors import CannotCreateError, RagdError, TransientError
from ragd.follower import Follower
from ragd.heartbeat import Counter
from ragd.indexes import IndexRequest, read_index_request, require_owner
from ragd.search import LAST_ID, MAX_LIMIT, Findings, Query, Search, id_at, restrict
from ragd.serving import Serving
from ragd.snowflake import read_snowflake, to_unix_seconds
from ragd.store import Store
from ragd.store.vectors import VectorStore
from ragd.worker import Pulse, StopFlag, make_directory, run_async, wait_for_stop

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

IDLE_SECONDS = 0.1

FOLLOW_SECONDS = 0.5
"""Longest that a query waits for the index to come up to date."""

FILL_SECONDS = 2.0
"""Longest that a query waits for an index that is being read from SQLite. Then it is answered by words, and said so."""

TURN_SECONDS = 10.0
"""Longest that a query waits for others. Less than who asks waits: so they are told why, and nobody works in vain."""

MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""Room for an allow-list of 200,000 channels: every thread that was ever open is one."""

MAX_QUERY_CHARACTERS = 4_000


class Searcher:
    """The process: what answers, and the HTTP server."""

    def __init__(self, settings: Settings, **index_settings: int) -> None:
        self._settings = settings
        self._index_settings = index_settings
        self._thread = ThreadPoolExecutor(1, "index")
        self._pulse = Pulse(settings, "searcher", self._counters)
        self._serving: Serving | None = None
        self._opened = contextlib.ExitStack()
        self._filled = asyncio.Event()
        self._turn = asyncio.Lock()
        self._stopping = False
        self._queries = 0
        self._query_seconds = 0.0
        self._behind = 0
        self._building = 0
        self._filling = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        self._pulse.beat()
        await self._in_thread(self._open_store)
        runner = await self._listen()
        try:
            await self._open_patiently(stop)
            while not stop.is_set():
                if not await self._step():
                    await wait_for_stop(stop, IDLE_SECONDS)
            self._pulse.enter("stopping")
        finally:
            self._stopping = True
            self._filled.set()
            await runner.cleanup()
            self._settings.search_socket.unlink(missing_ok=True)
            await self._in_thread(self._opened.close)
            self._thread.shutdown(wait=False)

    async def _open_patiently(self, stop: asyncio.Event) -> None:
        """Open the indexes as soon as there is a model to ask; words answer until then."""
        while not stop.is_set():
            try:
                await self._in_thread(self._open_indexes)
            except TransientError as error:
                self._pulse.enter("degraded", str(error))
                await wait_for_stop(stop, self._settings.heartbeat_seconds)
            else:
                return

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _in_turn(self, query: Callable[[], Result]) -> Result:
        """One query at a time, so that the working loop, which beats, waits for one and not for all who ask.

        Raises TransientError if there are too many.
        """
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._turn.acquire()
        except TimeoutError:
            raise TransientError("too many ask at once") from None
        try:
            self._require_serving()
            return await self._in_thread(query)
        finally:
            self._turn.release()

    # In the index thread

    def _open_store(self) -> None:
        """Enough to answer by words."""
        self._store = Store.open(self._settings.database_path, busy_seconds=self._settings.busy_seconds)
        self._opened.callback(self._store.close)
        self._words = Search(self._store, None, {})

    def _open_indexes(self) -> None:
        serving = Serving(self._settings, self._store, self._follower)
        self._opened.callback(serving.close)
        self._serving = serving

    def _follower(self, strategy: str, embedder: TextEmbedder, load: bool) -> Follower:
        return Follower(
            self._settings.index_dir, strategy, embedder, self._store.vectors, load=load, **self._index_settings
        )

    @property
    def _followers(self) -> Mapping[str, Follower]:
        """Of the model that answers; none while there is none."""
        return self._serving.engine.followers if self._serving else {}

    @property
    def _served(self) -> Serving:
        if self._serving is None:
            raise TransientError("the searcher is starting")
        return self._serving

    def _work(self) -> bool:
        more = self._served.step(time.monotonic())
        states = [follower.describe() for follower in self._followers.values()]
        self._behind = max((state.behind for state in states), default=0)
        self._building = sum(state.stats.waiting for state in states)
        self._filling = "; ".join(state.progress() for state in states if state.expected is not None)
        return more

    # The working loop

    async def _step(self) -> bool:
        try:
            more = await self._in_thread(self._work)
        except TransientError as error:
            self._pulse.enter("degraded", str(error))
            return False
        if self._filling:
            self._filled.clear()
            self._pulse.detail = self._filling
        else:
            self._filled.set()
            self._pulse.settle("running")
        self._pulse.beat()
        return more

    def _counters(self) -> dict[str, Counter]:
        engine = self._serving.engine if self._serving else None
        return {
            "backlog": self._behind,
            "done": sum(follower.position for follower in self._followers.values()) + self._queries,
            "model": engine.embedder.identity.name if engine else None,
            "model_switch": engine.switch if engine else None,
            "queries": self._queries,
            "query_seconds": round(self._query_seconds, 6),
            **{f"vectors_{name}": len(follower.index) for name, follower in self._followers.items()},
            **{f"position_{name}": follower.position for name, follower in self._followers.items()},
            "building": self._building,
        }

    # HTTP

    async def _listen(self) -> web.AppRunner:
        application = web.Application(
            client_max_size=MAX_REQUEST_BYTES, middlewares=[admission(self._settings.search_socket, MAX_REQUEST_BYTES)]
        )
        application.router.add_post("/search", self._answer)
        application.router.add_post("/canary", self._answer_canary)
        application.router.add_post("/index", self._answer_about_index)
        runner = web.AppRunner(application, access_log=None, handle_signals=False)
        await runner.setup()
        path = self._settings.search_socket
        path.unlink(missing_ok=True)  # of a searcher that was killed; supervisord runs only one
        try:
            await web.UnixSite(runner, str(path)).start()
        except OSError as error:
            await runner.cleanup()
            raise CannotCreateError(f"cannot listen on {path}: {error}", hint="set RAGD_RUNTIME_DIR") from None
        path.chmod(socket_mode(path.parent))
        return runner

    async def _answer(self, request: web.Request) -> web.Response:
        started = time.perf_counter()
        try:
            asked = orjson.loads(await request.read())
            await self._wait_until_filled()
            answer = await self._in_turn(lambda: self._find(asked))
        except (RagdError, ValueError, TypeError) as error:
            return _refuse(error)
        took_seconds = time.perf_counter() - started
        self._queries += 1
        self._query_seconds += took_seconds
        return _json({**asdict(answer), "took_ms": round(took_seconds * 1000, 1)})

    async def _answer_canary(self, request: web.Request) -> web.Response:
        """For the watchdog: which canaries (ragd/store/canary.py) a query for these words finds; counts as no query."""
        try:
            words = read_canary(orjson.loads(await request.read()))
            await self._wait_until_filled()
            found = await self._in_thread(lambda: self._find_canaries(words))
        except (RagdError, ValueError) as error:
            return _refuse(error)
        return _json({"found": found})

    async def _answer_about_index(self, request: web.Request) -> web.Response:
        """For `ragdctl index`: how each index is, with `check` compared with the store, with `rebuild` begun anew."""
        try:
            asked = read_index_request(orjson.loads(await request.read()), self._settings.auto_sync_strategies)
            if asked.action == "rebuild":
                require_owner(request.get_extra_info("socket"))
            document = await self._in_thread(lambda: self._tell_of_indexes(asked))
        except (RagdError, ValueError) as error:
            return _refuse(error)
        if asked.action == "rebuild":
            self._filled.clear()
        return _json({"indexes": document})

    def _tell_of_indexes(self, asked: IndexRequest) -> list[dict[str, Any]]:
        followers = [self._served.engine.followers[name] for name in asked.strategies]
        if asked.action == "rebuild":
            self._served.require_no_change()
            for follower in followers:
                follower.rebuild()
        differences = [follower.check() if asked.action == "check" else None for follower in followers]
        return [
            {**follower.describe().document(), "differences": found and asdict(found)}
            for follower, found in zip(followers, differences, strict=True)
        ]

    async def _wait_until_filled(self) -> None:
        """Not for ever: words answer meanwhile, and what has been read. Raises TransientError."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._filled.wait(), FILL_SECONDS)
        self._require_serving()

    def _require_serving(self) -> None:
        if self._stopping:
            raise TransientError("the searcher is stopping")

    def _is_whole(self) -> bool:
        """Whether the indexes hold all that is stored, but for what has only just been embedded."""
        return bool(self._followers) and not any(follower.is_filling for follower in self._followers.values())

    def _find_canaries(self, words: str) -> list[int]:
        self._follow_shortly()
        if not self._is_whole():
            raise TransientError("the index is being read from the database")
        return self._served.engine.search.canaries(words)

    def _follow_shortly(self) -> None:
        """So that an answer knows what was embedded before it was asked; further behind, it does not wait for that."""
        until = time.monotonic() + FOLLOW_SECONDS
        while self._serving and self._serving.follow() and time.monotonic() < until:
            pass

    def _find(self, asked: object) -> SearchAnswer:
        self._follow_shortly()
        search = self._serving.engine.search if self._serving else self._words
        return self._state(search.answer(read_query(asked, self._store.vectors)))

    def _vectors(self) -> int:
        return sum(len(follower.index) for follower in self._followers.values())

    def _state(self, found: Findings) -> SearchAnswer:
        """The findings, with how far the channels that were searched are known; `took_ms` is the caller's."""
        lookup = self._store.lookup
        newest = lookup.newest_id(found.wanted)
        within = lookup.channels(found.wanted)
        building = bool(self._followers) and not self._is_whole()
        return SearchAnswer(
            results=found.results,
            indexed=self._vectors() if found.wanted.channel_ids is None else found.passages or 0,
            lag_messages=lookup.lag(found.wanted),
            took_ms=0.0,
            indexed_to=_iso_time(newest) if newest else "",
            holes=sum(hole.channel_id in within for hole in self._store.coverage.holes()),
            why=found.why,
            remarks=[*found.remarks, *(["the index of meanings is being built"] if building else [])],
        )


def _iso_time(message_id: int) -> str:
    return datetime.fromtimestamp(to_unix_seconds(message_id), UTC).isoformat(timespec="seconds")


def read_canary(asked: object) -> str:
    """The words of a request for canaries. Raises RagdError."""
    words = asked.get("words") if isinstance(asked, dict) else None
    if not isinstance(words, str) or not 0 < len(words) <= MAX_QUERY_CHARACTERS:
        raise RagdError(f"words must be a text of 1 to {MAX_QUERY_CHARACTERS} characters")
    return words


def read_query(asked: object, store: VectorStore) -> Query:
    """A request's JSON to a query. Raises RagdError naming what is wrong; without `access` nothing is answered."""
    if not isinstance(asked, dict):
        raise RagdError("the request must be a JSON object")
    text = asked.get("query")
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_QUERY_CHARACTERS:
        raise RagdError(f"query must be a text of 1 to {MAX_QUERY_CHARACTERS} characters")
    limit = asked.get("limit", 10)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
        raise RagdError(f"limit must be a whole number from 1 to {MAX_LIMIT}")
    readable = _access(asked.get("access"))
    query = Query(text, readable, limit, _author(asked.get("author"), readable, store), _since(asked))
    channel = asked.get("channel")
    return query if channel is None else restrict(query, _channels(channel, readable, store))


def _access(access: object) -> frozenset[int] | None:
    """`operator`, or `{"channels": [ids]}` with the channels the asker may read now."""
    if access == "operator":
        return None
    if isinstance(access, dict) and access.keys() == {"channels"} and isinstance(access["channels"], list):
        ids = [_id(channel) for channel in access["channels"]]
        return frozenset(one for one in ids if one is not None)
    raise RagdError('access must be "operator" or {"channels": [ids]}: without it nobody is answered')


def _id(value: object) -> int | None:
    """An id of Discord's, None for one that SQLite cannot hold. Raises RagdError for what is none."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value if value <= LAST_ID else None
    raise RagdError("access: channels must be ids, whole numbers above 0")


def _author(author: object, readable: frozenset[int] | None, store: VectorStore) -> int | None:
    if author is None:
        return None
    name = str(author).removeprefix("@")
    number = read_snowflake(name)
    author_id = store.author_id(name, readable) if number is None else number
    if author_id is None:
        raise RagdError(f"nobody called {name!r} has written a message that is stored")
    return author_id


def _channels(channel: object, readable: frozenset[int] | None, store: VectorStore) -> list[int]:
    """Those of that name or id, among what the asker may read: elsewhere is as if it were not."""
    name = str(channel).removeprefix("#")
    number = read_snowflake(name)
    ids = store.channel_ids(name) if number is None else [number]
    ids = [one for one in ids if readable is None or one in readable]
    if not ids:
        raise RagdError(f"no channel called {name!r} is known")
    return ids


def _since(asked: dict[str, Any]) -> int | None:
    """Unix seconds, or an ISO 8601 time with its offset, to the lowest id of that moment."""
    since = asked.get("since")
    if since is None:
        return None
    try:
        seconds = datetime.fromisoformat(since).timestamp() if isinstance(since, str) else float(since)
        return id_at(seconds)
    except (ValueError, TypeError, OverflowError):
        raise RagdError("since must be a time in Unix seconds or ISO 8601") from None


def _refuse(error: Exception) -> web.Response:
    """503 where the same request may be answered later, for the fault is ours and not the request's; else 400."""
    passing = isinstance(error, RagdError) and not error.permanent
    return _json({"error": str(error)}, status=503 if passing else 400)


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


def run(settings: Settings, stop: StopFlag) -> None:
    """Run the searcher until the flag is set. Raises RagdError."""
    make_directory(settings.data_dir)

    async def main(event: asyncio.Event) -> None:
        await Searcher(settings).run(event)

    run_async(main, stop)
