"""Asks an OpenAI-compatible endpoint to write. One event loop; `openai` is loaded when there is something to ask."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragd.answering.prompt import Prompt
from ragd.config import Settings
from ragd.errors import ConfigError, RagdError, UnavailableError

if TYPE_CHECKING:
    import openai

MOST_BYTES = 512 * 1024
"""Read of an answer: more than any that was asked for, less than what would hurt."""

AT_ONCE = 4
"""Questions that the endpoint is asked at the same time; others wait within their own time."""

_REFUSED = {
    401: ("does not take the key", "set RAGD_LLM_API_KEY"),
    403: ("does not allow this", "set RAGD_LLM_API_KEY to one that may use RAGD_LLM_MODEL"),
    404: (
        "knows no such model or path",
        "check RAGD_LLM_MODEL, and that RAGD_LLM_URL ends as it must, mostly in /v1",
    ),
}

_NO_KEY = "none"
"""Endpoints that want no key take any; the client wants one."""


class GarbledError(UnavailableError):
    """The endpoint answered with something that is no answer; it may have cost tokens all the same."""


class TimedOutError(UnavailableError):
    """The endpoint did not answer in time; it may have cost tokens all the same."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote; `tokens` is what the endpoint says that prompt and answer cost, None if it does not."""

    text: str
    tokens: int | None


def require_client(settings: Settings) -> None:
    """Raises ConfigError when RAGD_LLM_URL is set and the extra is not installed."""
    if settings.llm_url is not None and importlib.util.find_spec("openai") is None:
        raise ConfigError("RAGD_LLM_URL needs openai", hint="pip install 'ragd[openai]', or leave RAGD_LLM_URL unset")


class Writer:
    """The endpoint of the settings, which must have a URL."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._slots = asyncio.Semaphore(AT_ONCE)
        # newer models of OpenAI's take neither name of the first kind
        self._options: Mapping[str, Any] = {"max_tokens": settings.llm_max_tokens, "temperature": 0}

    async def write(self, prompt: Prompt) -> Completion:
        """What the model makes of a prompt.

        Raises ConfigError for what only the operator can mend, TimedOutError, GarbledError or UnavailableError. No
        error says what was asked or written.
        """
        require_client(self._settings)
        await asyncio.to_thread(_load_client)
        try:
            async with asyncio.timeout(self._settings.llm_timeout_seconds), self._slots:
                return _read(await self._post(prompt))
        except TimeoutError:
            seconds = self._settings.llm_timeout_seconds
            raise TimedOutError(f"the language model does not answer within {seconds:g} s") from None

    async def _post(self, prompt: Prompt) -> bytes:
        import openai

        key = self._settings.llm_api_key
        client = openai.AsyncOpenAI(
            base_url=self._settings.llm_url,
            api_key=key.get_secret_value() if key else _NO_KEY,
            timeout=self._settings.llm_timeout_seconds,
            max_retries=1,
        )
        async with client:
            while True:
                options = self._options
                try:
                    return await self._post_with(client, prompt, options)
                except openai.OpenAIError as error:
                    if not self._adapt(error, options):
                        raise _translated(error) from None

    async def _post_with(self, client: openai.AsyncOpenAI, prompt: Prompt, options: Mapping[str, Any]) -> bytes:
        """The body of the answer. Raises openai.OpenAIError, or GarbledError if it is cut off or too long."""
        async with client.chat.completions.with_streaming_response.create(
            model=self._settings.llm_model,
            messages=[{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
            **options,
        ) as response:
            return await _read_body(response.iter_bytes())

    def _adapt(self, error: openai.OpenAIError, options: Mapping[str, Any]) -> bool:
        """Whether the endpoint objects to how the length is limited, and is to be asked once more in the other way."""
        import openai

        if not isinstance(error, openai.BadRequestError) or "max_completion_tokens" in options:
            return False
        if any(name in error.message for name in ("max_tokens", "temperature")):
            self._options = {"max_completion_tokens": self._settings.llm_max_tokens}
        return self._options is not options


async def _read_body(pieces: AsyncIterator[bytes]) -> bytes:
    body = bytearray()
    try:
        async for piece in pieces:
            body += piece
            if len(body) > MOST_BYTES:
                break
    except Exception as error:  # noqa: BLE001 - of the client's HTTP library, which is another in each of its versions
        raise GarbledError(f"the language model's answer was cut off ({type(error).__name__})") from None
    if len(body) > MOST_BYTES:
        raise GarbledError(f"the language model's answer is longer than {MOST_BYTES} bytes")
    return bytes(body)


def _load_client() -> None:
    """Takes a second the first time. The client's own log quotes what is asked."""
    importlib.import_module("openai")
    for name in ("openai", "httpx", "httpx2", "httpcore", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _translated(error: openai.OpenAIError) -> RagdError:
    """By kind and status alone: the text of an error may quote the prompt."""
    import openai

    if isinstance(error, openai.APIStatusError):
        refused = _REFUSED.get(error.status_code)
        if refused:
            return ConfigError(f"the endpoint of RAGD_LLM_URL {refused[0]} (HTTP {error.status_code})", hint=refused[1])
        permanent = 400 <= error.status_code < 500 and error.status_code not in (408, 409, 429)
        return (RagdError if permanent else UnavailableError)(_status_text(error.status_code))
    if isinstance(error, openai.APITimeoutError):
        return TimedOutError("the language model does not answer in time")
    if isinstance(error, openai.APIConnectionError):
        cause = type(error.__cause__ or error).__name__
        return UnavailableError(f"the endpoint of RAGD_LLM_URL cannot be reached ({cause})")
    return GarbledError(f"the language model's answer makes no sense ({type(error).__name__})")


def _status_text(status: int) -> str:
    return f"the endpoint of RAGD_LLM_URL answers with HTTP {status}"


def _read(body: bytes) -> Completion:
    """Of the JSON what is needed, whatever else stands there. Raises GarbledError."""
    try:
        document = json.loads(body)
        text = document["choices"][0]["message"]["content"]
        usage = document.get("usage") or {}
        tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise GarbledError("the language model's answer is none of an OpenAI-compatible endpoint") from None
    if not isinstance(text, str) or not text.strip():
        raise GarbledError("the language model's answer is empty")
    counted = tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens > 0 else None
    return Completion(text, counted)
