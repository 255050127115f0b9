"""A question and what was found for it to an answer: written by a language model if there is one, else of quotes.

The model sees the passages that the searcher gave for this asker, and nothing else. Whatever goes wrong with it ends in
the quotes of the same passages, with a note.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from ragd.answering.citing import Checked, check
from ragd.answering.extractive import SHOWN, best_of, extract
from ragd.answering.llm import Completion, GarbledError, TimedOutError, Writer, require_client
from ragd.answering.prompt import PASSAGES, Prompt, write_prompt
from ragd.answering.reply import Reply, Source
from ragd.answers import SearchAnswer
from ragd.config import Settings
from ragd.errors import ConfigError, RagdError
from ragd.heartbeat import Counter
from ragd.store import Store
from ragd.store.spending import Caps, Reservation

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

PAUSE_SECONDS = 60.0
"""How long an endpoint is left alone that has failed FAILURES times in a row: nobody is to wait for it each time."""

FAILURES = 3

REFUSED_PAUSE_SECONDS = 300.0
"""And one that refuses us: until a person has acted it will go on."""

FAILED = "The language model does not answer right now: these are quotes."
UNBACKED = "What the language model wrote is not backed by the passages: these are quotes."
NO_ANSWER = "The language model finds no answer in these passages."
NOT_COUNTED = "No written answer: what it costs cannot be counted right now."
_CAPPED = {
    "person": "You have used up your written answers of today: these are quotes.",
    "day": "All written answers of today are used up: these are quotes.",
    "month": "All written answers of this month are used up: these are quotes.",
}


class InStore(Protocol):
    """Does something short where the store may be written."""

    def __call__(self, work: Callable[[Store], Result], /) -> Awaitable[Result]: ...


class Answerer:
    """Belongs to one event loop; several questions may be under way."""

    def __init__(self, settings: Settings, in_store: InStore) -> None:
        self._settings = settings
        self._in_store = in_store
        self._writer = Writer(settings) if settings.llm_url is not None else None
        self._caps = Caps(settings.llm_user_daily_tokens, settings.llm_daily_tokens, settings.llm_monthly_tokens)
        self._failures_in_a_row = 0
        self._paused_until = 0.0
        self._problem = ""
        self._written = self._unbacked = self._failed = self._tokens = 0
        try:
            require_client(settings)
        except ConfigError as error:
            self._note_refusal(error)

    @property
    def passages(self) -> int:
        """How many to search for."""
        return PASSAGES if self._writer is not None else SHOWN

    def counters(self) -> dict[str, Counter]:
        """For the heartbeat; `llm_problem` is what only the operator can mend, empty if nothing is."""
        if self._writer is None:
            return {}
        return {
            "llm_written": self._written,
            "llm_unbacked": self._unbacked,
            "llm_failed": self._failed,
            "llm_tokens": self._tokens,
            "llm_problem": self._problem,
        }

    async def answer(self, question: str, found: SearchAnswer, asker_id: int, *, write: bool = True) -> Reply:
        """The answer; never raises for anything that the model does. `asker_id` is 0 for the operator."""
        # in a thread, as all that reads whole passages: the event loop is the gateway's
        sources = await asyncio.to_thread(extract, question, found.results)
        quotes = Reply(question, found, await asyncio.to_thread(best_of, question, sources))
        if self._writer is None or not write or not sources:
            return quotes
        if time.monotonic() < self._paused_until:
            return _with(quotes, FAILED)
        return await self._written_answer(self._writer, quotes, sources, asker_id)

    async def _written_answer(self, writer: Writer, quotes: Reply, sources: tuple[Source, ...], asker_id: int) -> Reply:
        prompt = await asyncio.to_thread(write_prompt, quotes.question, sources)
        try:
            reserved = await self._reserve(asker_id, prompt)
        except RagdError as error:
            _log.warning("tokens of the language model cannot be counted, so none are spent: %s", error)
            return _with(quotes, NOT_COUNTED)
        if not isinstance(reserved, Reservation):
            return _with(quotes, _CAPPED[reserved])
        try:
            completion = await writer.write(prompt)
        except RagdError as error:
            self._note_failure(error)
            if not isinstance(error, TimedOutError | GarbledError):
                await self._settle(reserved, 0)
            return _with(quotes, FAILED)
        self._note_success()
        await self._settle(reserved, _spent(completion, prompt))
        checked = await asyncio.to_thread(check, completion.text, prompt, quotes.question)
        return self._judged(quotes, sources, checked)

    def _judged(self, quotes: Reply, sources: tuple[Source, ...], checked: Checked) -> Reply:
        if checked.refused:
            return _with(quotes, NO_ANSWER)
        if not checked.holds:
            self._unbacked += 1
            _log.info("a written answer is not backed: %s", dict(checked.dropped) or "nothing in it")
            return _with(quotes, UNBACKED)
        self._written += 1
        cited = {number for sentence in checked.sentences for number in sentence.cites}
        used = tuple(source for source in sources if source.number in cited)
        return Reply(quotes.question, quotes.found, used, checked.sentences, self._settings.llm_model)

    # What it costs

    async def _reserve(self, asker_id: int, prompt: Prompt) -> Reservation | str:
        tokens = prompt.size_tokens + self._settings.llm_max_tokens
        return await self._in_store(lambda store: store.spending.reserve(asker_id, tokens, self._caps))

    async def _settle(self, reserved: Reservation, spent: int) -> None:
        self._tokens += spent
        try:
            await self._in_store(lambda store: store.spending.settle(reserved, spent))
        except RagdError as error:
            _log.warning("tokens of the language model stay counted as estimated: %s", error)

    # How the endpoint is

    def _note_failure(self, error: RagdError) -> None:
        self._failed += 1
        self._failures_in_a_row += 1
        if isinstance(error, ConfigError):
            self._note_refusal(error)
            return
        _log.warning("no written answer: %s", error)
        if self._failures_in_a_row >= FAILURES:
            self._paused_until = time.monotonic() + PAUSE_SECONDS

    def _note_refusal(self, error: ConfigError) -> None:
        self._paused_until = time.monotonic() + REFUSED_PAUSE_SECONDS
        if error.one_line() != self._problem:
            _log.error("written answers are off: %s", error.one_line())
        self._problem = error.one_line()

    def _note_success(self) -> None:
        if self._problem:
            _log.info("written answers are back")
        self._failures_in_a_row, self._problem = 0, ""


def _with(quotes: Reply, note: str) -> Reply:
    return Reply(quotes.question, quotes.found, quotes.sources, note=note)


def _spent(completion: Completion, prompt: Prompt) -> int:
    """The endpoint's own word; without one, by size. What it says of a prompt is believed up to ten times its size."""
    estimate = prompt.size_tokens + len(completion.text.encode()) // 3 + 1
    return min(completion.tokens, 10 * estimate) if completion.tokens is not None else estimate
