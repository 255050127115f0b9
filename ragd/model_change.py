"""The models that the syncer embeds with, and the way from one to another.

What answers questions goes on answering until the model that the settings name has a vector of every chunk (blue and
green). Meanwhile new texts are embedded by both. How far it has come is what SQLite holds, and nothing else: a process
that is killed goes on where it was, and going back to the old model half-way finds everything of it still there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ragd.embedders import Reader, TextEmbedder, details, let_breathe
from ragd.errors import RagdError, UnavailableError
from ragd.heartbeat import Counter
from ragd.store.embeddings import NEWEST, EmbeddingStore, ModelRow, Page

_log = logging.getLogger(__name__)

TOKENS_A_CALL = 2_048
"""Tokens embedded between two heartbeats: some 0.3 s on a core of today, 2 s on a very slow one."""

TEXTS_A_STEP = 32
CHUNKS_A_STEP = 500
"""Looked at a step; after a restart most of them have their vectors."""

DROPPED_A_STEP = 1_000

AGAIN_SECONDS = 30.0
"""After which a model to come that could not be reached, or could not embed, is tried again."""

RATE_FROM_CHUNKS = 100
"""Fewer say little about how long the rest will take."""


@dataclass(frozen=True, slots=True)
class Model:
    row: ModelRow
    embedder: TextEmbedder


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the way depends on and this module does not know."""

    source: str
    """Of the model that the settings name."""
    open_configured: Callable[[], TextEmbedder]
    open_again: Callable[[ModelRow], TextEmbedder]
    has_moved: Callable[[int], bool]
    """Whether the searcher has followed the switch of this number, or there is none that could."""
    breathe: Callable[[], None]
    """Called between two calls of a model; may raise to leave a step undone."""


class ModelChange:
    """Embeds texts by every model that is in use. One thread, the syncer's."""

    def __init__(self, store: EmbeddingStore, configured: TextEmbedder | None, around: Surroundings) -> None:
        """`configured` None: the model that the settings name cannot be reached now; it is tried again.

        Raises UnavailableError if there is no other one that serves meanwhile.
        """
        self._store = store
        self._around = around
        self._dropping = True
        self._next: Model | None = None
        self._outgoing: Model | None = None
        self._missing_model = configured is None
        self._again_at = 0.0
        self.problem = ""
        """Why the model to come does not embed; empty if nothing is wrong."""
        self.embedded = 0
        """Texts, since the start, once for each model."""
        self._begin_pass()
        self._current = self._begin(configured)
        self._after_change()

    def _begin(self, configured: TextEmbedder | None) -> Model:
        serving = self._store.serving()
        if configured is None:
            if serving is None:
                raise UnavailableError("the embedding model cannot be reached, and no other one serves")
            return Model(serving, self._around.open_again(serving))
        named = self._register(configured)
        if serving is None or serving.id == named.row.id:
            return named if serving else self._served(named)
        try:
            current = Model(serving, self._around.open_again(serving))
        except RagdError as error:
            _log.warning(
                "%s, which answered so far, cannot be opened (%s): %s answers from what it has embedded",
                serving.name,
                error,
                named.row.name,
            )
            return self._served(named)
        self._come(current, named)
        return current

    def _register(self, embedder: TextEmbedder) -> Model:
        return Model(self._store.register(details(embedder, self._around.source)), embedder)

    def _served(self, model: Model) -> Model:
        """The model as the one that answers questions from now on."""
        self._store.serve(model.row.id)
        row = self._store.serving()
        assert row is not None
        return Model(row, model.embedder)

    def _come(self, current: Model, named: Model) -> None:
        self._next = named
        _log.info("changing the model: %s answers until %s has embedded everything", *_labels(current, named))

    def _after_change(self) -> None:
        others = [model for model in (self._next, self._outgoing) if model]
        self._models = [self._current, *others]
        self.reader = Reader([model.embedder for model in self._models])
        for model in self._models:
            let_breathe(model.embedder, self._around.breathe)

    @property
    def limits(self) -> str:
        """What the strategies' versions depend on: that of the older model as long as two are in use."""
        return (self._outgoing or self._current).embedder.limits

    # Embedding

    def vectors(self, texts: Mapping[bytes, str]) -> dict[int, dict[bytes, bytes]]:
        """Vectors of those texts that have none yet, by model id and text hash, of each model in use.

        Without the model to come, should that fail: nobody waits for it, and it makes good later. Raises RagdError.
        """
        made = {self._current.row.id: self._embed_missing(self._current, texts)}
        for model in self._models[1:]:
            if self._is_put_off(model):
                self._found += 1  # another pass finds it
                continue
            try:
                made[model.row.id] = self._embed_missing(model, texts)
            except RagdError as error:
                self._put_off(error, model)
        return made

    def _embed_missing(self, model: Model, texts: Mapping[bytes, str]) -> dict[bytes, bytes]:
        missing = self._store.unembedded(texts.keys(), model.row.id)
        return self._embed(model, {digest: texts[digest] for digest in sorted(missing)})

    def _embed(self, model: Model, texts: Mapping[bytes, str]) -> dict[bytes, bytes]:
        vectors: dict[bytes, bytes] = {}
        for part in self._calls(texts):
            self._around.breathe()
            for digest, vector in zip(part, model.embedder.embed([texts[d] for d in part]), strict=True):
                vectors[digest] = vector.astype("<f4").tobytes()
            self.embedded += len(part)
        return vectors

    def _calls(self, texts: Mapping[bytes, str]) -> Iterator[list[bytes]]:
        """Texts by hash, as many at a time as have TOKENS_A_CALL together."""
        part: list[bytes] = []
        tokens = 0
        for digest, text in texts.items():
            part.append(digest)
            tokens += self.reader.count_tokens(text)
            if tokens >= TOKENS_A_CALL:
                yield part
                part, tokens = [], 0
        if part:
            yield part

    def _is_put_off(self, model: Model) -> bool:
        return model is self._next and time.monotonic() < self._again_at

    def _put_off(self, error: RagdError, model: Model | None) -> None:
        """Raises the error unless trying again can help, or it is of a model that goes."""
        if model is not None and model is self._outgoing:
            return
        if error.permanent:
            raise error
        if not self.problem:
            _log.warning("changing the model waits: %s", error.one_line())
        self.problem = str(error)
        self._again_at = time.monotonic() + AGAIN_SECONDS
        self._found += 1

    # The way

    def step(self) -> bool:
        """A small piece of what is to be done about the models; True while there is more."""
        if self._missing_model:
            self._try_configured()
            return not self._missing_model
        if not self._complete and self._fill():
            return True
        if not self._complete:
            return False
        if self._outgoing:
            self._release()
            return self._outgoing is None
        if self._dropping:
            self._dropping = self._store.drop_others([self._current.row.id], DROPPED_A_STEP)
        return self._dropping

    def _try_configured(self) -> None:
        if time.monotonic() < self._again_at:
            return
        try:
            named = self._register(self._around.open_configured())
        except RagdError as error:
            self._put_off(error, None)
            return
        self._missing_model, self.problem = False, ""
        if named.row.id != self._current.row.id:
            self._come(self._current, named)
        self._begin_pass()
        self._after_change()

    def _begin_pass(self) -> None:
        self._complete, self._dropping = False, True
        self._position, self._found, self._passes = NEWEST, 0, 0
        self._done, self._total = 0, self._store.chunk_count()
        self._rate_since: tuple[float, int] | None = None

    def _fill(self) -> bool:
        """Embed some of what the model to come, or the one that serves, has no vector of."""
        model = self._next or self._current
        if self._is_put_off(model):
            return False
        page = self._store.page(model.row.id, self._position, TEXTS_A_STEP, CHUNKS_A_STEP)
        try:
            self._embed_page(model, page)
        except RagdError as error:
            if model is self._current:
                raise
            self._put_off(error, model)
            return False
        self._done += page.chunks
        if page.end is None:
            self._end_pass()
        else:
            self._position = page.end
        return page.chunks > 0

    def _embed_page(self, model: Model, page: Page) -> None:
        if not page.texts:
            return
        self._found += len(page.texts)
        if self._rate_since is None:
            self._rate_since = time.monotonic(), self._done
        counted = {digest: model.embedder.count_tokens(text) for digest, text in page.texts.items()}
        readable = {
            digest: page.texts[digest] for digest, count in counted.items() if count <= model.embedder.max_tokens
        }
        vectors = self._embed(model, readable)
        self._store.add_vectors(vectors, model.row.id, announce=model is self._current)
        for digest in page.texts.keys() - readable.keys():
            self._store.mark_chunks(digest, time.time_ns() // 1_000_000)
        self.problem = ""

    def _end_pass(self) -> None:
        """A pass that found nothing to do says that all is done; what was left out meanwhile another one finds."""
        if self._found:
            self._position, self._found = NEWEST, 0
            self._passes += 1
            return
        self._complete = True
        if self._next is None:
            return
        self._outgoing, self._current, self._next = self._current, self._served(self._next), None
        self._after_change()
        _log.info("the model is changed: %s answers no more, %s does", *_labels(self._outgoing, self._current))

    def _release(self) -> None:
        """Embed with the old model no more, once nobody asks its vectors."""
        if self._around.has_moved(self._current.row.serving):
            self._outgoing = None
            self._after_change()

    # For the heartbeat

    def counters(self) -> dict[str, Counter]:
        """The model that serves, the one to come, and how far that is."""
        coming_at_all = self._missing_model or self._next is not None
        filling = not self._complete and (coming_at_all or bool(self._found or self._passes))
        current, coming = _labels(self._current, self._next)
        if self._missing_model:
            coming = self._around.source
        done = self._total if self._passes else min(self._done, self._total)
        return {
            "model": current,
            "model_next": coming or (current if filling else None),
            "model_done": done if filling else None,
            "model_total": self._total if filling else None,
            "model_seconds_left": self._seconds_left() if filling else None,
            "model_problem": self.problem,
        }

    def _seconds_left(self) -> float | None:
        if self._rate_since is None or self._passes:
            return None
        since, done = self._rate_since
        made = self._done - done
        if made < RATE_FROM_CHUNKS:
            return None
        return round((time.monotonic() - since) / made * max(0, self._total - self._done), 1)


def _labels(current: Model, other: Model | None) -> Sequence[str | None]:
    """Names for people; of models that bear the same, their keys."""
    if other is None:
        return current.row.name, None
    if current.row.name == other.row.name:
        return current.row.key, other.row.key
    return current.row.name, other.row.name
