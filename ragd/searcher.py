"""searcher: holds the vector indexes, follows new vectors from SQLite, answers queries on a UNIX socket.

One thread owns the indexes, the store's connection and the model, because hnswlib must not add and search at once;
the event loop only speaks HTTP. The working loop sends the thread one short step after another and beats after each,
so a thread that hangs shows in the heartbeat.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
from aiohttp import web

from ragd.access import socket_mode
from ragd.answers import SearchAnswer
from ragd.config import Settings
from ragd.embedding import Embedder
from ragd.errors import CannotCreateError, DamagedError, RagdError, TransientError
from ragd.heartbeat import Counter
from ragd.index import StaleSnapshotError, VectorIndex, set_aside
from ragd.search import LAST_ID, MAX_LIMIT, Findings, Query, Search, id_at, restrict
from ragd.snowflake import read_snowflake, to_unix_seconds
from ragd.store import Store
from ragd.store.vectors import VectorStore
from ragd.worker import Pulse, StopFlag, make_directory, run_async, wait_for_stop

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

IDLE_SECONDS = 0.1
CHANGES_A_STEP = 1_000
FOLDS_A_STEP = 50
"""Vectors moved into the graph a step: some 40 ms, which is what a query may wait for."""

COMPACTION_SECONDS = 24 * 3600.0
"""Longest that a removed vector stays in the graph and so in its file."""

SNAPSHOT_SECONDS = 300.0
SNAPSHOT_WORTH = 100
"""Fewer changes wait for an hour: following them again takes milliseconds, and the canary alone makes a few each time
that health is checked, for which an idle server should not write its whole index."""

SNAPSHOT_LATEST_SECONDS = 3600.0
SNAPSHOT_AT_ONCE = 5_000
"""Changes after which a snapshot does not wait for its time: following them again would take seconds at a restart."""

FOLLOW_SECONDS = 0.5
"""Longest that a query waits for the index to come up to date."""

MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""Room for an allow-list of 200,000 channels: every thread that was ever open is one."""

MAX_QUERY_CHARACTERS = 4_000


class Follower:
    """One strategy's index, kept in step with the store. Belongs to the index thread."""

    def __init__(self, directory: Path, strategy: str, embedder: Embedder, store: VectorStore) -> None:
        self._directory = directory / strategy
        self._strategy = strategy
        self._model_key = embedder.identity.key
        self._dimension = embedder.dimension
        self._store = store
        self._model_id: int | None = None
        make_directory(self._directory)
        self.index, self.position = self._load()
        self._saved_position = self.position
        self._snapshot_due = time.monotonic() + SNAPSHOT_SECONDS
        self._compaction_due = time.monotonic() + COMPACTION_SECONDS

    def _load(self) -> tuple[VectorIndex, int]:
        """The snapshot, or an empty index that begins at change 0, which is how an index is rebuilt."""
        empty = VectorIndex(self._dimension), 0
        if aside := set_aside(self._directory):
            _log.error("%s: damaged index files set aside in %s", self._strategy, aside)
        try:
            index, position = VectorIndex.load(
                self._directory, model_key=self._model_key, dimension=self._dimension, strategy=self._strategy
            )
        except (StaleSnapshotError, DamagedError) as error:
            _log.info("%s: building the index from the database: %s", self._strategy, error)
            return empty
        if position < self._store.oldest_followable() or position > self._store.last_change():
            _log.warning("%s: the index snapshot does not fit the database, rebuilding", self._strategy)
            return empty
        _log.info("%s: index snapshot with %d vectors at change %d", self._strategy, len(index), position)
        return index, position

    def step(self, now: float) -> bool:
        """Follow some changes, move some vectors; True if there is more to do."""
        followed = self._follow()
        if not followed and self._compaction_is_due(now):
            self._compaction_due = now + COMPACTION_SECONDS
            self.index.compact()
        more = self.index.fold(FOLDS_A_STEP)
        if not followed and not more:
            self._snapshot_if_due(now)
        return followed or more

    def _compaction_is_due(self, now: float) -> bool:
        return self.index.needs_compaction or (now >= self._compaction_due and self.index.stats().deleted > 0)

    @property
    def behind(self) -> int:
        """Chunk changes not followed yet."""
        return max(0, self._store.last_change() - self.position)

    def _follow(self) -> bool:
        if self._store.last_change() <= self.position:
            return False
        if self._model_id is None:
            self._model_id = self._store.model_id(self._model_key)
        if self._model_id is None:
            return False  # the syncer has not met this model yet: there is no vector of it
        changes = self._store.changes(self._strategy, self._model_id, self.position, CHANGES_A_STEP)
        if changes.added:
            labels = [chunk_id for chunk_id, _ in changes.added]
            vectors = np.frombuffer(b"".join(data for _, data in changes.added), "<f4")
            self.index.add(labels, vectors.reshape(len(labels), self._dimension))
        self.index.remove(changes.removed)
        self.position = changes.position
        return changes.more

    def _snapshot_if_due(self, now: float) -> None:
        changed = self.position - self._saved_position
        if self._snapshot_is_worth_it(now, changed):
            self.snapshot()

    def _snapshot_is_worth_it(self, now: float, changed: int) -> bool:
        late = now - self._snapshot_due
        return (
            changed >= SNAPSHOT_AT_ONCE
            or (changed >= SNAPSHOT_WORTH and late >= 0)
            or (changed > 0 and late >= SNAPSHOT_LATEST_SECONDS - SNAPSHOT_SECONDS)
        )

    def snapshot(self) -> None:
        """Write the index to disk. A disk that will not take it is logged: the database has everything."""
        self._snapshot_due = time.monotonic() + SNAPSHOT_SECONDS
        if self.position == self._saved_position:
            return
        try:
            generation = self.index.save(
                self._directory, position=self.position, model_key=self._model_key, strategy=self._strategy
            )
        except TransientError as error:
            _log.warning("%s: index snapshot failed: %s", self._strategy, error)
            return
        self._saved_position = self.position
        _log.info("%s: index snapshot %d with %d vectors", self._strategy, generation, len(self.index))


class Searcher:
    """The process: the followers, the search over them, and the HTTP server."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, "index")
        self._pulse = Pulse(settings, "searcher", self._counters)
        self._followers: dict[str, Follower] = {}
        self._queries = 0
        self._query_seconds = 0.0
        self._behind = 0
        self._caught_up = False

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        self._pulse.beat()
        await self._in_thread(self._open_store)
        runner = await self._listen()
        try:
            await self._in_thread(self._open_indexes)
            await self._catch_up(stop)
            self._pulse.enter("running")
            while not stop.is_set():
                if not await self._step():
                    await wait_for_stop(stop, IDLE_SECONDS)
            self._pulse.enter("stopping")
        finally:
            await runner.cleanup()
            self._settings.search_socket.unlink(missing_ok=True)
            await self._in_thread(self._close)
            self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # In the index thread

    def _open_store(self) -> None:
        """Enough to answer by words."""
        self._store = Store.open(self._settings.database_path, busy_seconds=self._settings.busy_seconds)
        self._search = Search(self._store, None, {})

    def _open_indexes(self) -> None:
        embedder = Embedder.open(self._settings.model_dir, threads=1)
        self._followers = {
            strategy: Follower(self._settings.index_dir, strategy, embedder, self._store.vectors)
            for strategy in self._settings.auto_sync_strategies
        }
        indexes = {strategy: follower.index for strategy, follower in self._followers.items()}
        self._search = Search(self._store, embedder, indexes)

    def _work(self) -> bool:
        now = time.monotonic()
        more = [follower.step(now) for follower in self._followers.values()]
        self._behind = max((follower.behind for follower in self._followers.values()), default=0)
        return any(more)

    def _close(self) -> None:
        for follower in self._followers.values():
            follower.snapshot()
        self._store.close()

    # The working loop

    async def _step(self) -> bool:
        try:
            more = await self._in_thread(self._work)
        except TransientError as error:
            self._pulse.enter("degraded", str(error))
            return False
        self._pulse.settle("running")
        self._pulse.beat()
        return more

    async def _catch_up(self, stop: asyncio.Event) -> None:
        """Until then an answer says that the index is being built: it must not pass for one that knows all there is."""
        while not stop.is_set():
            more = await self._in_thread(self._work)
            self._pulse.detail = f"{self._behind} changes to follow" if self._behind else ""
            self._pulse.beat()
            if not more:
                self._caught_up = True
                return

    def _counters(self) -> dict[str, Counter]:
        return {
            "backlog": self._behind,
            "done": sum(follower.position for follower in self._followers.values()) + self._queries,
            "queries": self._queries,
            "query_seconds": round(self._query_seconds, 6),
            **{f"vectors_{name}": len(follower.index) for name, follower in self._followers.items()},
            **{f"position_{name}": follower.position for name, follower in self._followers.items()},
        }

    # HTTP

    async def _listen(self) -> web.AppRunner:
        application = web.Application(client_max_size=MAX_REQUEST_BYTES)
        application.router.add_post("/search", self._answer)
        application.router.add_post("/canary", self._answer_canary)
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
            answer = await self._in_thread(lambda: self._find(asked))
        except (RagdError, ValueError, TypeError) as error:
            return _json({"error": str(error)}, status=503 if isinstance(error, TransientError) else 400)
        took_seconds = time.perf_counter() - started
        self._queries += 1
        self._query_seconds += took_seconds
        return _json({**asdict(answer), "took_ms": round(took_seconds * 1000, 1)})

    async def _answer_canary(self, request: web.Request) -> web.Response:
        """For the watchdog: which canaries (ragd/store/canary.py) a query for these words finds; counts as no query."""
        try:
            words = read_canary(orjson.loads(await request.read()))
            found = await self._in_thread(lambda: self._find_canaries(words))
        except (RagdError, ValueError) as error:
            return _json({"error": str(error)}, status=503 if isinstance(error, TransientError) else 400)
        return _json({"found": found})

    def _find_canaries(self, words: str) -> list[int]:
        if not self._caught_up:
            raise TransientError("the index is being built")
        self._work()
        return self._search.canaries(words)

    def _follow_shortly(self) -> None:
        """So that an answer knows what was embedded before it was asked; further behind, it does not wait for that."""
        until = time.monotonic() + FOLLOW_SECONDS
        while self._work() and time.monotonic() < until:
            pass

    def _find(self, asked: object) -> SearchAnswer:
        self._follow_shortly()
        return self._state(self._search.answer(read_query(asked, self._store.vectors)))

    def _vectors(self) -> int:
        return sum(len(follower.index) for follower in self._followers.values())

    def _state(self, found: Findings) -> SearchAnswer:
        """The findings, with how far the channels that were searched are known; `took_ms` is the caller's."""
        lookup = self._store.lookup
        newest = lookup.newest_id(found.wanted)
        within = lookup.channels(found.wanted)
        building = bool(self._followers) and not self._caught_up
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


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


def run(settings: Settings, stop: StopFlag) -> None:
    """Run the searcher until the flag is set. Raises RagdError."""
    make_directory(settings.data_dir)

    async def main(event: asyncio.Event) -> None:
        await Searcher(settings).run(event)

    run_async(main, stop)
