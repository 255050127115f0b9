"""Text to unit vectors by an endpoint that speaks OpenAI's `/v1/embeddings`: optional, and imported only if configured.

Its tokenizer is not here, so texts are measured by the bundled one and by their bytes, and kept as short as the
bundled model would have them: any endpoint reads that.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tenacity

from ragd.embedding import BUNDLED_MODEL, TOKENIZER, Identity, Vectors, load_tokenizer
from ragd.errors import ConfigError, RagdError, TransientError, UnavailableError

MAX_TOKENS = 256
"""As the bundled model reads: endpoints read more, but a passage is best no longer."""

BYTES_A_TOKEN = 4
"""The bundled tokenizer makes one token of a word that it does not know, however long: bytes bound that."""

TEXTS_A_REQUEST = 8
"""Little enough for an endpoint on a small CPU to answer within the timeout."""
ATTEMPTS = 3
WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 2.0
QUERY_SECONDS = 3.0
"""A question waits no longer: somebody is looking at the screen."""

REST_SECONDS = 10.0
"""After a failure nothing is asked for so long: the next question need not wait to learn the same."""

SHORTEST_PART = 32
"""Characters; what is refused and shorter is not refused for its length."""


class RefusedTextError(RagdError):
    """The endpoint does not take this text, or one of these."""


class RemoteEmbedder:
    """A model behind an endpoint (`TextEmbedder` in ragd/embedders.py). One thread.

    What may pass raises TransientError, or UnavailableError for a question; a refused key, an unknown model or
    another length of vectors than before is a ConfigError.
    """

    def __init__(
        self, url: str, model: str, api_key: str | None, *, timeout_seconds: float, dimension: int | None = None
    ) -> None:
        """`dimension` is the length of its vectors if that is known; else the endpoint is asked once.

        Raises ConfigError without the `openai` package, TransientError.
        """
        self._url = url
        self._model = model
        self._timeout_seconds = timeout_seconds
        self._client = _client(url, api_key)
        self._tokenizer = load_tokenizer(BUNDLED_MODEL / TOKENIZER)
        self._rests_until, self._trouble = 0.0, ""
        self.breathe: Callable[[], None] = lambda: None
        """Called between two requests; may raise to leave the work undone."""
        if dimension is None:
            dimension = len(self._embed_once(["ragd"], timeout_seconds)[0])
        fingerprint = hashlib.sha256(f"{url}\0{model}".encode()).hexdigest()
        self.identity = Identity(model, fingerprint, dimension, "none", MAX_TOKENS)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.identity.dimension

    @property
    def max_tokens(self) -> int:
        """How many tokens of `count_tokens` a text may have."""
        return MAX_TOKENS

    @property
    def limits(self) -> str:
        """The same for all endpoints."""
        return f"{MAX_TOKENS} endpoint"

    def count_tokens(self, text: str) -> int:
        """An upper estimate of what the endpoint counts."""
        return max(len(self._tokenizer.encode(text).ids), len(text.encode()) // BYTES_A_TOKEN)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 (len(texts), dimension). Raises TransientError, ConfigError."""
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for start in range(0, len(texts), TEXTS_A_REQUEST):
            self.breathe()
            part = texts[start : start + TEXTS_A_REQUEST]
            vectors[start : start + len(part)] = self._require_dimension(self._embed_patiently(part))
        return vectors

    def embed_query(self, text: str) -> Vectors:
        """The unit vector of a question, cut at its end where it is too long. Raises UnavailableError, ConfigError."""
        while self.count_tokens(text) > MAX_TOKENS:
            text = text[: len(text) * 9 // 10]
        try:
            self._require_rested()
            found: Vectors = self._require_dimension(self._embed_once([text], QUERY_SECONDS))[0]
        except (TransientError, RefusedTextError) as error:
            raise UnavailableError(
                f"the question was not embedded: {error}", hint="see the log of the embedding endpoint"
            ) from error
        return found

    def _embed_patiently(self, texts: Sequence[str]) -> Vectors:
        self._require_rested()
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=WAIT_SECONDS, max=LONGEST_WAIT_SECONDS),
            before_sleep=lambda _: self.breathe(),
            reraise=True,
        )
        try:
            return attempts(self._embed_once, texts, self._timeout_seconds)
        except RefusedTextError:
            return np.vstack([self._embed_alone(text) for text in texts])

    def _embed_alone(self, text: str) -> Vectors:
        """The vector of one text, or, where it is too long for the endpoint, the mean of its halves'."""
        self.breathe()
        try:
            return self._embed_once([text], self._timeout_seconds)
        except RefusedTextError as error:
            if len(text) <= SHORTEST_PART:
                raise ConfigError(str(error), hint="is RAGD_EMBEDDING_MODEL a model for embeddings?") from error
        middle = len(text) // 2
        halves = [self._embed_alone(half)[0] for half in (text[:middle], text[middle:])]
        return _normalise(np.mean(halves, axis=0, keepdims=True))

    def _require_rested(self) -> None:
        if time.monotonic() < self._rests_until:
            raise TransientError(self._trouble)

    def _embed_once(self, texts: Sequence[str], timeout_seconds: float) -> Vectors:
        import openai

        try:
            answer = self._client.with_options(timeout=timeout_seconds).embeddings.create(
                input=list(texts), model=self._model, encoding_format="float"
            )
            vectors = _normalise(_rows(answer.data, len(texts)))
        except openai.APIStatusError as error:
            raise self._of_status(error.status_code) from None
        except (openai.OpenAIError, ValueError, TypeError) as error:
            raise self._passing(str(error)) from None
        self._rests_until = 0.0
        return vectors

    def _of_status(self, status: int) -> RagdError:
        """What an answer means that is not 200; without its text, which may quote ours."""
        said = f"{self._url} answered {status}"
        if status in (401, 403):
            return ConfigError(said, hint="is RAGD_EMBEDDING_API_KEY right?")
        if status == 404:
            return ConfigError(said, hint=f"is RAGD_EMBEDDING_URL right, and is there a model {self._model}?")
        if status in (400, 413, 422):
            return RefusedTextError(said)
        return self._passing(f"answered {status}")

    def _passing(self, what: str) -> TransientError:
        self._trouble = f"{self._url}: {what}"
        self._rests_until = time.monotonic() + REST_SECONDS
        return TransientError(self._trouble)

    def _require_dimension(self, vectors: Vectors) -> Vectors:
        if vectors.shape[1] != self.dimension:
            raise ConfigError(
                f"{self._url}: {self._model} gives {vectors.shape[1]} numbers a vector, not {self.dimension} as before",
                hint="it is another model now: give it another name in RAGD_EMBEDDING_MODEL",
            )
        return vectors


def _client(url: str, api_key: str | None) -> Any:
    try:
        import openai
    except ImportError:
        raise ConfigError("RAGD_EMBEDDING_MODEL needs a package more", hint="pip install 'ragd[openai]'") from None
    # it refuses to be without a key; servers of one's own want none. Retries are ours.
    return openai.OpenAI(base_url=url, api_key=api_key or "none", max_retries=0)


def _rows(data: Sequence[Any], expected: int) -> Vectors:
    """The vectors of an answer in the order of the question. Raises ValueError, TypeError."""
    ordered = sorted(data, key=lambda each: int(each.index))
    rows = np.array([each.embedding for each in ordered], np.float32)
    if rows.ndim != 2 or len(rows) != expected or not np.isfinite(rows).all():
        raise ValueError(f"the answer holds no {expected} vectors")
    return rows


def _normalise(rows: Vectors) -> Vectors:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-12), np.float32)
