"""A question to an answer, by a real endpoint on loopback that is good, bad or away; and what it costs."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ragd.answering import Answerer, Reply, answerer, require_client
from ragd.answering.answerer import FAILED, FAILURES, NO_ANSWER, NOT_COUNTED, UNBACKED
from ragd.answering.llm import MOST_BYTES
from ragd.config import Settings
from ragd.errors import ConfigError, TransientError
from ragd.store import Store
from ragd.store.spending import OPERATOR
from tests.answering.endpoint import KEY, Endpoint, completion, endpoint
from tests.answering.samples import COLD, NTC, found, passage
from tests.toytree import settings_of

Result = TypeVar("Result")

QUESTION = "can I charge the battery when it freezes?"
GOOD = "Never charge it below 0 °C [1]. With an NTC the charger pauses by itself [2]."
ANN, BOB = 110_000_000_000_000_777, 6


@pytest.fixture(scope="module")
def model() -> Iterator[Endpoint]:
    with endpoint() as served:
        yield served


@pytest.fixture(autouse=True)
def _afresh(model: Endpoint) -> None:
    model.requests.clear()
    model.keys.clear()
    model.says(GOOD, usage={"total_tokens": 100})


class House:
    """A store and who answers from it; `restart` is a capture that is started anew."""

    def __init__(self, directory: Path, url: str | None, **more: str) -> None:
        variables = {"RAGD_LLM_URL": url, "RAGD_LLM_MODEL": "tiny", "RAGD_LLM_API_KEY": KEY} if url else {}
        self.settings: Settings = settings_of({"RAGD_DATA_DIR": str(directory), **variables, **more})
        self.store: Store | None = Store.open(directory / "ragd.sqlite3")
        self.restart()

    def restart(self) -> None:
        self.answerer = Answerer(self.settings, self.in_store)

    async def in_store(self, work: Callable[[Store], Result]) -> Result:
        if self.store is None:
            raise TransientError("no space left for the database")
        return work(self.store)

    def ask(self, asker: int = ANN, **more: Any) -> Awaitable[Reply]:
        return self.answerer.answer(QUESTION, found(passage(*COLD), passage(*NTC, start=900)), asker, **more)

    def spent(self) -> int:
        assert self.store is not None
        return self.store.spending.today()


@pytest.fixture
def house(short_path: Path, model: Endpoint) -> House:
    return House(short_path, model.url)


def quotes(reply: Reply, note: str) -> bool:
    """Whether it is an answer of quotes with that note."""
    return reply.note == note and not reply.sentences and [one.number for one in reply.sources] == [1, 2]


async def test_without_an_endpoint_there_are_quotes_and_no_note(short_path: Path, model: Endpoint) -> None:
    house = House(short_path, None)
    assert quotes(await house.ask(), "")
    assert house.answerer.counters() == {}
    assert model.requests == []


async def test_a_written_answer_cites_its_passages(house: House, model: Endpoint) -> None:
    reply = await house.ask()
    assert [(sentence.text, sentence.cites) for sentence in reply.sentences] == [
        ("Never charge it below 0 °C.", (1,)),
        ("With an NTC the charger pauses by itself.", (2,)),
    ]
    assert (reply.model, reply.note) == ("tiny", "")
    assert house.spent() == 100
    assert house.answerer.counters()["llm_written"] == 1


async def test_what_the_endpoint_is_sent(house: House, model: Endpoint) -> None:
    await house.ask()
    (request,) = model.requests
    assert model.keys == [f"Bearer {KEY}"]
    assert {key: request[key] for key in request if key != "messages"} == {
        "model": "tiny",
        "max_tokens": 500,
        "temperature": 0,
    }
    assert QUESTION in model.prompt
    assert str(ANN) not in model.prompt
    assert KEY not in model.prompt


async def test_a_question_without_passages_asks_nobody(house: House, model: Endpoint) -> None:
    reply = await house.answerer.answer(QUESTION, found(why="nothing is near"), ANN)
    assert (reply.sources, reply.note) == ((), "")
    assert model.requests == []


async def test_quotes_can_be_wished_for(house: House, model: Endpoint) -> None:
    assert quotes(await house.ask(write=False), "")
    assert model.requests == []


@pytest.mark.parametrize(
    ("said", "note"),
    [
        ("Never charge it below 0 °C. That is so.", UNBACKED),
        ("Never charge it below 0 °C [9].", UNBACKED),
        ("@everyone https://evil.example [1]", UNBACKED),
        ("NOT FOUND", NO_ANSWER),
    ],
)
async def test_what_is_not_backed_is_not_shown(house: House, model: Endpoint, said: str, note: str) -> None:
    model.says(said)
    reply = await house.ask()
    assert quotes(reply, note)
    assert house.spent() > 100, "without the endpoint's word by size"


async def test_only_cited_passages_are_listed(house: House, model: Endpoint) -> None:
    model.says("With an NTC the charger pauses by itself [2].")
    assert [source.number for source in (await house.ask()).sources] == [2]


# An endpoint that fails


@pytest.mark.parametrize("status", [400, 408, 422, 429, 500, 502, 503])
async def test_an_endpoint_that_fails(house: House, model: Endpoint, status: int) -> None:
    model.fails(status)
    assert quotes(await house.ask(), FAILED)
    assert len(model.requests) == (1 if status in (400, 422) else 2), "what may pass is tried once more"
    assert house.spent() == 0
    assert house.answerer.counters()["llm_problem"] == ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b"[]",
        b"null",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": null}}]}',
        b'{"choices": [{"message": {"content": [1]}}]}',
        b'{"choices": [{"message": "x"}], "usage": 3}',
        b"[" * 100_000,
        b"\xff\xfe",
        b" " * (MOST_BYTES + 1),
    ],
    ids=lambda body: repr(body[:20]),
)
async def test_an_answer_that_is_none(house: House, model: Endpoint, body: bytes) -> None:
    model.sends(body)
    assert quotes(await house.ask(), FAILED)
    assert house.spent() > 500, "it may have cost tokens, so what was taken off stays"


async def test_an_answer_that_is_cut_off(house: House, model: Endpoint) -> None:
    model.breaks_off()
    assert quotes(await house.ask(), FAILED)


async def test_an_endpoint_that_hangs(short_path: Path, model: Endpoint) -> None:
    house = House(short_path, model.url, RAGD_LLM_TIMEOUT_SECONDS="1")
    model.hangs()
    assert quotes(await house.ask(), FAILED)
    assert house.spent() > 500


async def test_an_endpoint_that_is_not_there(short_path: Path) -> None:
    house = House(short_path, "http://127.0.0.1:9/v1")
    assert quotes(await house.ask(), FAILED)
    assert house.spent() == 0


async def test_usage_that_makes_no_sense_is_not_believed(house: House, model: Endpoint) -> None:
    for usage in ({"total_tokens": -5}, {"total_tokens": "x"}, {"total_tokens": 10**15}, "x"):
        model.says(GOOD, usage=usage)
        assert (await house.ask()).sentences
    assert 0 < house.spent() < 40_000


async def test_after_failures_in_a_row_nobody_waits_for_it(
    house: House, model: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.fails(500)
    for _ in range(FAILURES):
        await house.ask()
    asked = len(model.requests)
    assert quotes(await house.ask(), FAILED)
    assert len(model.requests) == asked
    model.says(GOOD)
    monkeypatch.setattr(answerer.time, "monotonic", lambda: 10.0**12)
    assert (await house.ask()).sentences


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_what_only_the_operator_can_mend_is_told_once(
    house: House, model: Endpoint, status: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.fails(status, "your key sk-secret is wrong")
    for _ in range(3):
        assert quotes(await house.ask(), FAILED)
        monkeypatch.setattr(house.answerer, "_paused_until", 0.0)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert f"HTTP {status}" in errors[0]
    assert "RAGD_LLM" in str(house.answerer.counters()["llm_problem"])
    assert "sk-secret" not in caplog.text
    model.says(GOOD)
    assert (await house.ask()).sentences
    assert house.answerer.counters()["llm_problem"] == ""


async def test_a_model_that_takes_its_limit_by_another_name(house: House, model: Endpoint) -> None:
    async def picky(request: Any) -> Any:
        if "max_tokens" in await request.json():
            model.fails(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
            response = await model.answer(request)
            model.answer = picky
            return response
        return completion(GOOD)

    model.answer = picky
    assert (await house.ask()).sentences
    assert model.requests[-1]["max_completion_tokens"] == 500
    assert (await house.ask()).sentences
    assert len(model.requests) == 3, "it is remembered"


async def test_no_question_no_passage_and_no_answer_reaches_the_log(
    house: House, model: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ragd")
    for act in (lambda: model.says("Untold words."), lambda: model.fails(400, QUESTION), model.breaks_off):
        act()
        await house.ask()
    assert not any(words in caplog.text for words in (QUESTION, "lithium", "Untold", KEY))


# What it costs


async def test_a_person_has_a_share_of_the_day(short_path: Path, model: Endpoint) -> None:
    house = House(short_path, model.url, RAGD_LLM_USER_DAILY_TOKENS="1600")
    model.says(GOOD, usage={"total_tokens": 1500})
    assert (await house.ask()).sentences
    assert "You have used up" in (await house.ask()).note
    assert (await house.ask(BOB)).sentences
    assert (await house.ask(OPERATOR)).sentences


@pytest.mark.parametrize("cap", ["RAGD_LLM_DAILY_TOKENS", "RAGD_LLM_MONTHLY_TOKENS"])
async def test_all_have_a_cap_that_outlives_a_restart(short_path: Path, model: Endpoint, cap: str) -> None:
    house = House(short_path, model.url, **{cap: "2000"})
    model.says(GOOD, usage={"total_tokens": 1900})
    assert (await house.ask()).sentences
    house.restart()
    for asker in (ANN, BOB, OPERATOR):
        assert "are used up: these are quotes." in (await house.ask(asker)).note
    assert len(model.requests) == 1


async def test_another_day_begins_anew(short_path: Path, model: Endpoint) -> None:
    house = House(short_path, model.url, RAGD_LLM_DAILY_TOKENS="2000")
    model.says(GOOD, usage={"total_tokens": 1900})
    await house.ask()
    assert house.store is not None
    house.store.spending.now = lambda: datetime(2999, 1, 1, tzinfo=UTC)
    assert (await house.ask()).sentences


async def test_what_cannot_be_counted_is_not_spent(house: House, model: Endpoint) -> None:
    house.store = None
    assert quotes(await house.ask(), NOT_COUNTED)
    assert model.requests == []


# Without the client


async def test_without_the_package_there_are_quotes_and_one_line(
    house: House, model: Endpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="RAGD_LLM_URL needs openai") as caught:
        require_client(house.settings)
    assert "pip install 'ragd[openai]'" in caught.value.hint
    house.restart()
    assert quotes(await house.ask(), FAILED)
    assert caplog.text.count("written answers are off: RAGD_LLM_URL needs openai") == 1
    assert "ragd[openai]" in str(house.answerer.counters()["llm_problem"])
    require_client(House(house.settings.data_dir, None).settings)
