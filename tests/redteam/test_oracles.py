"""Guesses: whatever an outsider guesses of hidden places, right or wrong, the answer is the same.

Each pair is asked by an outsider with a guess that is right and one that is wrong; nothing else differs. An insider is
answered differently, so the guess would tell something. How long an answer takes is not compared: see ARCHITECTURE.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.processes import Process, until
from tests.redteam.stage import HIDDEN_NAME, SECRETS, WRITER, Stage, loot, said

Ask = Callable[[Stage, int, str], str]


@dataclass(frozen=True)
class Guess:
    name: str
    right: str
    wrong: str
    ask: Ask


def slash(template: str) -> Ask:
    return lambda stage, user, guess: said(stage.slash(user, template.format(guess)))


def aloud(template: str) -> Ask:
    return lambda stage, user, guess: said(stage.aloud(user, template.format(guess)))


SECOND = ("since: xyz", "limit: 99", "limit: many", "author: nobodyatall")
"""Options that are refused: which of two wrong ones is told may not tell what is there."""

NAMES = (("a channel", HIDDEN_NAME, "no-such-place"), ("a private thread", "only-us", "only-you"))

GUESSES = (
    Guess("a word", SECRETS["vault"], "pomelo", slash("{}")),
    Guess("a word beside a known one", SECRETS["vault"], "pomelo", slash("zwiebel {}")),
    Guess("two words beside known ones", "payroll", "pomelo", slash("zwiebel orchard {} " + SECRETS["vault"])),
    Guess("a phrase", "behind the clock", "behind the pomelo", slash('"{}"')),
    Guess("a code", "VLT-7731-QX", "VLT-9942-ZY", slash("{}")),
    Guess("a writer", WRITER, "nobodyatall", slash("from:{} rain")),
    Guess("a channel", HIDDEN_NAME, "no-such-place", slash("in:{} rain")),
    Guess("words left out", SECRETS["vault"], "pomelo", slash("rain gauge -{}")),
    Guess("a channel aloud", HIDDEN_NAME, "no-such-place", aloud("!search rain channel: {}")),
    Guess("a private thread aloud", "only-us", "only-you", aloud("!search rain channel: {}")),
    *(
        Guess(f"{what} aloud, {option} being wrong", right, wrong, aloud(f"!{command} rain channel: {{}} {option}"))
        for what, right, wrong in NAMES
        for command, options in (("search", SECOND), ("ask", SECOND[:1]))
        for option in options
    ),
    Guess("a writer aloud", WRITER, "nobodyatall", aloud("!search rain author: {}")),
)


@pytest.mark.parametrize("guess", GUESSES, ids=lambda guess: guess.name)
def test_a_right_guess_is_answered_as_a_wrong_one(stage: Stage, guess: Guess) -> None:
    def answer(user: int, text: str) -> str:
        shown = guess.ask(stage, user, text)
        for word in (text, *text.split()):  # what was asked may stand in the answer
            shown = shown.replace(word, "GUESS")
        return shown

    right, wrong = answer(stage.outsider(), guess.right), answer(stage.outsider(), guess.wrong)
    assert right == wrong
    if "aloud" not in guess.name:
        assert answer(stage.insider(), guess.right) != answer(stage.insider(), guess.wrong)


@pytest.mark.parametrize("option", ["vault", "private", "vault_thread", "vault_archive", "booth", "post"])
def test_a_hidden_channel_is_no_other_than_none(stage: Stage, option: str) -> None:
    hidden = said(stage.slash(stage.outsider(), "rain", channel=getattr(stage, option)))
    assert hidden == said(stage.slash(stage.outsider(), "rain", channel=stage.other_channel))
    assert hidden.startswith("`channel` must be")


@pytest.mark.parametrize("option", ["vault", "private", "booth"])
def test_nor_beside_an_option_that_is_refused(stage: Stage, option: str) -> None:
    hidden = said(stage.slash(stage.outsider(), "rain", channel=getattr(stage, option), since="xyz"))
    assert hidden == said(stage.slash(stage.outsider(), "rain", channel=stage.other_channel, since="xyz"))
    assert hidden.startswith("`since` must be")


def test_a_hidden_name_does_not_stand_before_one_that_is_seen(stage: Stage) -> None:
    """Who calls a thread as a hidden channel may be called learns nothing by it, and finds that thread."""
    for name in ("council", "no-council"):
        thread = stage.control.create_thread(stage.general, stage.outsider(), name)
        word = f"yuzu{len(name)}"
        stage.say(thread, f"A {word} of the weather station.")
        stage.wait_for(word)
        assert word in stage.aloud(stage.outsider(), f"!search {word} channel: {name}")


def test_a_fragment_is_looked_for_as_if_nobody_else_had_the_word(stage: Stage) -> None:
    """A word that nobody wrote is looked for within codes: nobody whom the asker may read."""
    for word in (SECRETS["council"], "wampee"):
        stage.say(stage.general, f"set x_{word}_y=1", stage.place.member_id)
        stage.wait_for(f"x_{word}_y")
    for word in (SECRETS["council"], "wampee"):
        assert f"x_{word}_y" in stage.slash(stage.outsider(), word)


# The searcher's socket, to which only ragd's own user may speak: what says no access is given none

OPEN = {"query": "rain gauge safe", "limit": 50}
NO_ACCESS: tuple[object, ...] = (
    None,
    True,
    1,
    "OPERATOR",
    "operator ",
    "everyone",
    "",
    [],
    ["operator"],
    {},
    {"channels": None},
    {"channels": "all"},
    {"channels": "operator"},
    {"channels": {}},
    {"channels": [True]},
    {"channels": ["*"]},
    {"channels": [-1]},
    {"channels": [0]},
    {"channels": [1.5]},
    {"channels": [None]},
    {"channels": [[]]},
    {"channels": [], "operator": True},
    {"operator": True},
)


@pytest.mark.parametrize("access", NO_ACCESS, ids=json.dumps)
def test_the_searcher_refuses_a_request_without_access(stage: Stage, access: object) -> None:
    answer = stage.request(json.dumps({**OPEN, "access": access}).encode())
    assert answer.startswith("HTTP/1.1 400 ")
    assert SECRETS["vault"] not in answer
    assert SECRETS["vault"] in stage.request(json.dumps({**OPEN, "access": "operator"}).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"operator",
        b'{"query": "rain gauge"}',
        b'{"query": "rain gauge", "access"}',
        b"[" * 100_000,
        b'{"query": "rain gauge", "access": {"channels": [' + b"1," * 2_500_000 + b"1]}}",
    ],
    ids=["empty", "null", "list", "word", "no access", "cut", "nested", "oversized"],
)
def test_the_searcher_refuses_what_is_no_request(stage: Stage, body: bytes) -> None:
    answer = stage.request(body)
    assert answer.startswith(("HTTP/1.1 400 ", "HTTP/1.1 413 "))
    assert SECRETS["vault"] not in answer


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"channel": HIDDEN_NAME},
        {"author": WRITER},
        {"query": f"in:{HIDDEN_NAME} safe"},
        {"query": f"from:{WRITER} safe"},
        {"query": SECRETS["vault"]},
        {"query": "-pomelo safe"},
    ],
    ids=json.dumps,
)
def test_an_allow_list_tells_nothing_of_other_channels(stage: Stage, more: dict[str, str]) -> None:
    def ask(channels: list[int], **changed: str) -> str:
        body = {**OPEN, **more, **changed, "access": {"channels": channels}}
        return stage.request(json.dumps(body).encode()).partition("\r\n\r\n")[2]

    for channels in ([], [stage.general], [1 << 70], [stage.general, 1 << 70]):
        answer = ask(channels)
        assert SECRETS["vault thread"] not in answer
        assert str(stage.vault) not in answer
        if not channels or channels == [1 << 70]:
            document = json.loads(answer)
            assert "error" in document or not any(
                document[key] for key in ("results", "indexed", "lag_messages", "indexed_to", "holes")
            )
    assert SECRETS["vault"] in ask([stage.vault, stage.vault_thread])


def test_canaries_are_told_as_numbers(stage: Stage) -> None:
    answer = stage.request(b'{"words": "kumquat code of the safe"}', "/canary")
    assert json.loads(answer.partition("\r\n\r\n")[2]) == {"found": []}


def test_the_outside_tells_figures_alone(stage: Stage) -> None:
    """Who reaches the watchdog's port needs no password: there is nothing of what anybody wrote."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    watchdog = Process("watchdog", {**stage.variables, "RAGD_HTTP_PORT": str(port)}).start()
    try:
        until(lambda: _page(port, "/readyz"), watchdog.tail())
        paths = ("/healthz", "/readyz", "/metrics", "/search", "/", f"/metrics?q={SECRETS['booth'][:4]}")
        pages = [_page(port, path) for path in paths]
    finally:
        watchdog.end()
    assert [loot(page) for page in pages] == [[]] * len(pages)


def _page(port: int, path: str) -> str:
    """A page, or nothing while nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    except ConnectionError:
        return ""
    finally:
        connection.close()


def test_logs_and_heartbeats_hold_no_text(stage: Stage) -> None:
    stage.slash(stage.insider(), f"rain gauge {SECRETS['vault']}")
    stage.request(json.dumps({**OPEN, "access": {"channels": ["kumquat"]}}).encode())
    data, runtime = stage.directory, stage.processes["searcher"].settings.heartbeat_dir
    files = [path for path in (*data.rglob("*"), *runtime.rglob("*")) if path.is_file()]
    files = [path for path in files if "sqlite3" not in path.name]
    assert {path.suffix for path in files} >= {".log"}
    for path in files:
        text = path.read_bytes()
        assert [word for word in (*SECRETS.values(), "rain gauge") if word.encode() in text] == [], path
