"""Answering by the model that serves: when that is another one, its index is built beside, then takes over at once.

Belongs to the searcher's index thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from ragd.config import Settings
from ragd.embedders import TextEmbedder, open_again, open_serving
from ragd.errors import RagdError, TransientError
from ragd.follower import Follower
from ragd.search import Search
from ragd.store import Store
from ragd.store.embeddings import ModelRow

_log = logging.getLogger(__name__)

OPENING_SECONDS = 0.05
"""How long a step waits for a model that is being opened; a question waits as long."""


MakeFollower = Callable[[str, TextEmbedder, bool], Follower]
"""Of a strategy, by a model; begun from its files on disk, or with nothing."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A model, its indexes, and the search over them."""

    switch: int
    """Of the switch to that model; 0 if none had served before."""
    embedder: TextEmbedder
    followers: Mapping[str, Follower]
    search: Search

    def step(self, now: float) -> bool:
        """Follow some changes; True if there is more to do."""
        more = [follower.step(now) for follower in self.followers.values()]
        return any(more)

    @property
    def behind(self) -> int:
        """Changes that the index which is furthest behind has not followed."""
        return max((follower.behind for follower in self.followers.values()), default=0)


class Serving:
    """The engine that answers, and the one that will."""

    def __init__(self, settings: Settings, store: Store, make_follower: MakeFollower) -> None:
        """Opens the model that serves and loads its indexes. Raises RagdError."""
        self._settings = settings
        self._store = store
        self._make_follower = make_follower
        self._next: Engine | None = None
        self._opener = ThreadPoolExecutor(1, "model")
        self._opening: tuple[ModelRow, Future[TextEmbedder]] | None = None
        row = store.embeddings.serving()
        self.engine = self._make_engine(row, open_serving(settings, store.embeddings, 1), load=True)

    def _make_engine(self, row: ModelRow | None, embedder: TextEmbedder, *, load: bool) -> Engine:
        followers = {
            strategy: self._make_follower(strategy, embedder, load) for strategy in self._settings.auto_sync_strategies
        }
        indexes = {strategy: follower.index for strategy, follower in followers.items()}
        return Engine(row.serving if row else 0, embedder, followers, Search(self._store, embedder, indexes))

    def step(self, now: float) -> bool:
        """Follow some changes, of the engine that answers as of the one that will; True if there is more to do."""
        self._heed_switch()
        more = self.engine.step(now)
        if self._next is not None:
            if self._next.step(now):
                return True
            self.engine, self._next = self._next, None
            _log.info("%s answers now", self.engine.embedder.identity.name)
        return more or self._opening is not None

    def follow(self) -> bool:
        """Follow some changes of what answers."""
        more = [follower.follow() for follower in self.engine.followers.values()]
        return any(more)

    def require_no_change(self) -> None:
        """Raises TransientError while another model's index is being made: the files are its already."""
        if self._next is not None or self._opening is not None:
            raise TransientError("another model is about to answer: its index is being made", hint="try again then")

    def _heed_switch(self) -> None:
        if self._opening is not None:
            self._await_opening(*self._opening)
            return
        row = self._store.embeddings.serving()
        newest = self._next or self.engine
        if row is None or row.serving == newest.switch:
            return
        if self._next is None and newest.switch == 0 and row.key == newest.embedder.identity.key:
            # nothing served when we began: this model has answered all along
            self.engine = replace(newest, switch=row.serving)
            return
        self._opening = row, self._opener.submit(open_again, self._settings, row, 1)

    def _await_opening(self, row: ModelRow, opened: Future[TextEmbedder]) -> None:
        """Begin an engine of the model when it is there. It is opened in a thread of its own, for it may take seconds
        and questions come meanwhile."""
        if not wait([opened], OPENING_SECONDS).done:
            return
        self._opening = None
        try:
            # from nothing, whatever index is at hand: between two switches nobody fed it
            self._next = self._make_engine(row, opened.result(), load=False)
            for follower in self.engine.followers.values():
                follower.leave_files()
        except RagdError as error:
            _log.error("%s goes on answering: %s", self.engine.embedder.identity.name, error.one_line())
            # no reason to try in each step
            self.engine, self._next = replace(self.engine, switch=row.serving), None

    def close(self) -> None:
        """Write the indexes that answer to disk, unless another model's are about to take their place."""
        for follower in self.engine.followers.values():
            follower.close()
        self._opener.shutdown(wait=False, cancel_futures=True)
