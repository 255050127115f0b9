"""Embedding models and their vectors: which model answers questions, and what another one has yet to embed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ragd.store.database import Queries
from ragd.store.models import EmbeddingModel


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model as it is stored with its vectors."""

    id: int
    key: str
    """Says by itself whether two vectors may be compared (ragd/embedding.py, Identity)."""
    name: str
    source: str
    """Where it is opened (ragd/embedders.py)."""
    dimension: int
    serving: int
    """The number of the switch that made it the one which answers; 0 for one that never did."""


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """What a vector depends on, to be stored with the first one of a model."""

    key: str
    name: str
    sha256: str
    dimension: int
    pooling: str
    max_tokens: int
    text_form: int
    source: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some chunks in the order in which another model embeds them."""

    texts: dict[bytes, str]
    """Those without a vector of the model yet, by hash."""
    chunks: int
    """How many there are in the page, with a vector or without."""
    end: tuple[int, int] | None
    """Where the next page begins; None at the end."""


NEWEST = ((1 << 63) - 1, (1 << 63) - 1)
"""Where the first page begins."""

_ROW = "SELECT id, key, name, source, dimension, serving FROM model"


class VectorTable(Queries):
    """What everybody needs who stores vectors. Inside of a transaction."""

    def _store_vectors(self, vectors: Mapping[bytes, bytes], model_id: int) -> None:
        self._execute_many(
            "INSERT OR IGNORE INTO vector (model_id, text_hash, data) VALUES (?, ?, ?)",
            ((model_id, digest, data) for digest, data in vectors.items()),
        )

    def _take_changes(self, count: int) -> int:
        """Reserve `count` chunk change numbers; returns the first."""
        (last,) = self._one("UPDATE counter SET value = value + ? WHERE name = 'chunk_change' RETURNING value", count)
        return int(last) - count + 1


class EmbeddingStore(VectorTable):
    """One process writes, the syncer; anybody may ask which model serves."""

    # Models

    def serving(self) -> ModelRow | None:
        """The model by whose vectors questions are answered; None while nothing was ever embedded."""
        rows = self._all(f"{_ROW} WHERE serving > 0 ORDER BY serving DESC LIMIT 1")
        return ModelRow(*rows[0]) if rows else None

    def of_source(self, source: str) -> ModelRow | None:
        """The newest model that was opened there."""
        rows = self._all(f"{_ROW} WHERE source = ? ORDER BY id DESC LIMIT 1", source)
        return ModelRow(*rows[0]) if rows else None

    def register(self, model: ModelDetails) -> ModelRow:
        """The model's row, made when it is new; a folder that moved is remembered where it is now."""
        with self._transaction():
            EmbeddingModel.insert(
                key=model.key,
                name=model.name,
                sha256=model.sha256,
                dimension=model.dimension,
                pooling=model.pooling,
                max_tokens=model.max_tokens,
                text_form=model.text_form,
                source=model.source,
            ).on_conflict(
                conflict_target=[EmbeddingModel.key],
                update={
                    EmbeddingModel.source: model.source,
                    EmbeddingModel.sha256: model.sha256,
                    EmbeddingModel.pooling: model.pooling,
                    EmbeddingModel.max_tokens: model.max_tokens,
                    EmbeddingModel.text_form: model.text_form,
                },
            ).execute(self._database)
            return ModelRow(*self._one(f"{_ROW} WHERE key = ?", model.key))

    def serve(self, model_id: int) -> None:
        """Have questions answered by this model from now on: one row, one commit."""
        with self._transaction():
            self._execute("UPDATE model SET serving = (SELECT max(serving) + 1 FROM model) WHERE id = ?", model_id)

    # Vectors

    def unembedded(self, hashes: Collection[bytes], model_id: int) -> set[bytes]:
        """Which of the text hashes have no vector of the model yet."""
        query = "SELECT 1 FROM vector WHERE model_id = ? AND text_hash = ?"
        known = {digest for digest in hashes if self._all(query, model_id, digest)}
        return set(hashes) - known

    def page(self, model_id: int, before: tuple[int, int], texts: int, chunks: int) -> Page:
        """The next chunks, those with the newest messages first, and which of their texts the model has yet to embed:
        at most so many `texts` and `chunks`.

        Not a search for the next text without a vector: that would read, in one go, all that is done already. A chunk
        whose text was erased is about to be made anew, and embedded then.
        """
        rows = self._all(
            "SELECT c.last_id, c.id, c.text_hash,"
            " CASE WHEN c.text = '' OR EXISTS"
            " (SELECT 1 FROM vector v WHERE v.model_id = ? AND v.text_hash = c.text_hash) THEN NULL ELSE c.text END"
            " FROM chunk c WHERE (c.last_id, c.id) < (?, ?) ORDER BY c.last_id DESC, c.id DESC LIMIT ?",
            model_id,
            *before,
            chunks,
        )
        missing: dict[bytes, str] = {}
        for seen, (last_id, chunk_id, digest, text) in enumerate(rows, 1):
            if text is not None:
                missing[digest] = text
            if len(missing) == texts:
                return Page(missing, seen, (last_id, chunk_id))
        return Page(missing, len(rows), (rows[-1][0], rows[-1][1]) if len(rows) == chunks else None)

    def chunk_count(self) -> int:
        """Of all strategies."""
        return int(self._one("SELECT count(*) FROM chunk")[0])

    def add_vectors(self, vectors: Mapping[bytes, bytes], model_id: int, *, announce: bool) -> None:
        """Store vectors of texts that chunks have. `announce` gives those chunks new change numbers, for a searcher
        that already follows this model; without, nobody sees the vectors before `serve`."""
        with self._transaction():
            self._store_vectors(vectors, model_id)
            if not announce:
                return
            for digest in vectors:
                for (chunk_id,) in self._all("SELECT id FROM chunk WHERE text_hash = ?", digest):
                    self._execute("UPDATE chunk SET change = ? WHERE id = ?", self._take_changes(1), chunk_id)

    def mark_chunks(self, text_hash: bytes, marked_at_ms: int) -> None:
        """Have the chunks of this text made anew, for the model to come cannot read it to its end."""
        with self._transaction():
            self._execute(
                "INSERT INTO dirty_cell (strategy, channel_id, cell, low_id, high_id, messages, marked_at)"
                " SELECT strategy, channel_id, cell, min(first_id), max(last_id), 1, ? FROM chunk WHERE text_hash = ?"
                " GROUP BY strategy, channel_id, cell"
                " ON CONFLICT (strategy, channel_id, cell) DO UPDATE SET low_id = min(low_id, excluded.low_id),"
                " high_id = max(high_id, excluded.high_id), messages = messages + 1",
                marked_at_ms,
                text_hash,
            )

    def drop_others(self, kept: Collection[int], limit: int) -> bool:
        """Forget up to `limit` vectors of models that are not in use any more; False when none are left."""
        for model_id in self._with_vectors():
            if model_id in kept:
                continue
            with self._transaction():
                self._execute(
                    "DELETE FROM vector WHERE model_id = ?1 AND text_hash IN"
                    " (SELECT text_hash FROM vector WHERE model_id = ?1 LIMIT ?2)",
                    model_id,
                    limit,
                )
            return True
        return False

    def _with_vectors(self) -> list[int]:
        """Models that have vectors; a look into the index for each, not a scan."""
        found: list[int] = []
        while True:
            (following,) = self._one("SELECT min(model_id) FROM vector WHERE model_id > ?", found[-1] if found else -1)
            if following is None:
                return found
            found.append(int(following))
