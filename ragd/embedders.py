"""Which model embeds: the one that the settings name, or an earlier one, opened again where it was.

A *source* says where a model is opened: `bundled`, the path of a folder, or the address of an endpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from ragd.config import Settings
from ragd.embedding import Embedder, Identity, Vectors
from ragd.errors import ConfigError
from ragd.store.embeddings import ModelDetails, ModelRow

BUNDLED = "bundled"

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
    return str(settings.model_dir.expanduser().absolute()) if settings.model_dir else BUNDLED


def open_configured(settings: Settings, threads: int | None = None) -> TextEmbedder:
    """The model that the settings name. Raises RagdError."""
    return _open(configured_source(settings), threads)


def open_again(row: ModelRow, threads: int | None = None) -> TextEmbedder:
    """The model of a row, where it was opened last.

    Raises RagdError, also if another model is there by now.
    """
    embedder = _open(row.source, threads)
    if embedder.identity.key != row.key:
        raise ConfigError(f"{row.source} holds {embedder.identity.key} now, not {row.key}")
    return embedder


def _open(source: str, threads: int | None) -> TextEmbedder:
    return Embedder.open(None if source == BUNDLED else Path(source), threads)


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
