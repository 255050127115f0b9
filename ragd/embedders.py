"""Which model embeds: the one that the settings name, or an earlier one, opened again where it was.

A *source* says where a model is opened: `bundled`, the path of a folder, or the address of an endpoint. The first two
end in `#int8` if that is the graph.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from ragd.config import Settings
from ragd.embedding import BUNDLED_MODEL, Embedder, Identity, Vectors, form_for_this_cpu
from ragd.errors import ConfigError, RagdError
from ragd.remote_embedding import RemoteEmbedder
from ragd.store.embeddings import EmbeddingStore, ModelDetails, ModelRow

_log = logging.getLogger(__name__)

BUNDLED = "bundled"
INT8 = "#int8"

TOKEN_COUNTS_KEPT = 20_000


class TextEmbedder(Protocol):
    """Text to unit vectors. `Embedder` is one."""

    @property
    def identity(self) -> Identity:
        """What its vectors depend on."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """How many tokens of `count_tokens` a text may have."""
        ...

    @property
    def limits(self) -> str:
        """What decides `count_tokens` and `max_tokens`: the same for models that take the same chunks."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens that `embed` would read, special ones and the model's prefix included."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 (len(texts), dimension). Raises RagdError."""
        ...

    def embed_query(self, text: str) -> Vectors:
        """The unit vector of a question, float32 (dimension,). Raises RagdError."""
        ...


def configured_source(settings: Settings) -> str:
    """The source of the model that the settings name."""
    if settings.embedding_model:
        return f"{settings.embedding_url} {settings.embedding_model}"
    folder = settings.model_dir.expanduser().absolute() if settings.model_dir else None
    wanted = settings.model_graph
    return source_of(str(folder or BUNDLED), form_for_this_cpu(folder or BUNDLED_MODEL) if wanted == "auto" else wanted)


def source_of(place: str, form: str) -> str:
    """The source of a graph, `fp32` or `int8`, in a folder."""
    return f"{place}{INT8 if form == 'int8' else ''}"


def open_configured(settings: Settings, store: EmbeddingStore, threads: int | None = None) -> TextEmbedder:
    """The model that the settings name. Raises RagdError; of an endpoint that nobody has asked before TransientError
    if it does not answer."""
    source = configured_source(settings)
    known = store.of_source(source)
    return _open(settings, source, threads, known.dimension if known else None)


def open_serving(settings: Settings, store: EmbeddingStore, threads: int | None = None) -> TextEmbedder:
    """The model that answers questions. The configured one while there is none, or if that one is gone: then the syncer
    has it serve too, and it answers from what it has embedded so far. Raises RagdError."""
    row = store.serving()
    if row is not None:
        try:
            return open_again(settings, row, threads)
        except RagdError as error:
            _log.warning("%s, which answered so far, cannot be opened: %s", row.name, error)
    return open_configured(settings, store, threads)


def open_again(settings: Settings, row: ModelRow, threads: int | None = None) -> TextEmbedder:
    """The model of a row, where it was opened last.

    Raises RagdError, also if another model is there by now.
    """
    embedder = _open(settings, row.source, threads, row.dimension)
    if embedder.identity.key != row.key:
        raise ConfigError(f"{row.source} holds {embedder.identity.key} now, not {row.key}")
    return embedder


def _open(settings: Settings, source: str, threads: int | None, dimension: int | None) -> TextEmbedder:
    if source.startswith(("http://", "https://")):
        url, _, model = source.partition(" ")
        # neither messages nor the key go to anybody whom the settings do not name
        if url != settings.embedding_url:
            raise ConfigError(f"RAGD_EMBEDDING_URL does not name {url} any more")
        key = settings.embedding_api_key
        return RemoteEmbedder(
            url,
            model,
            key.get_secret_value() if key else None,
            # with what it waits between two attempts, so that the heartbeat does not pass for a dead one's
            timeout_seconds=settings.still_seconds,
            dimension=dimension,
        )
    place = source.removesuffix(INT8)
    return Embedder.open(
        None if place == BUNDLED else Path(place), threads, "int8" if source.endswith(INT8) else "fp32"
    )


def let_breathe(embedder: TextEmbedder, breathe: Callable[[], None]) -> None:
    """Have `breathe` called in the middle of calls that may take long."""
    if isinstance(embedder, RemoteEmbedder):
        embedder.breathe = breathe


def details(embedder: TextEmbedder, source: str) -> ModelDetails:
    """What is stored of a model with its vectors."""
    identity = embedder.identity
    return ModelDetails(
        key=identity.key,
        name=identity.name,
        sha256=identity.sha256,
        dimension=identity.dimension,
        pooling=identity.pooling,
        max_tokens=identity.max_tokens,
        text_form=identity.text_form,
        source=source,
    )


class Reader:
    """How much text fits each of several models: a text that counts at most `max_tokens` here fits all of them."""

    def __init__(self, embedders: Sequence[TextEmbedder]) -> None:
        distinct = list({embedder.limits: embedder for embedder in embedders}.values())
        self.max_tokens = min(embedder.max_tokens for embedder in distinct)
        # a model that reads more is brought down to the least: its count is as far from its own limit as before
        counters = [(embedder.count_tokens, self.max_tokens - embedder.max_tokens) for embedder in distinct]

        def count(text: str) -> int:
            return max(tokens(text) + less for tokens, less in counters)

        self.count_tokens = lru_cache(TOKEN_COUNTS_KEPT)(count)
