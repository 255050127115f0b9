"""Attempts to read what the asker may not, each by real processes. Each shows an insider the secret, so it is a real
way to find it, and an outsider nothing of any secret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.processes import until
from tests.redteam.stage import CODE, HIDDEN_NAME, SECRETS, WRITER, Stage, loot

Attempt = Callable[[Stage, int], str]
"""What is shown to a user who tries it."""


@dataclass(frozen=True)
class Try:
    """`secret` is what an insider is shown; `asked` are secrets that the question itself holds."""

    name: str
    secret: str
    attempt: Attempt
    asked: tuple[str, ...] = ()


def slash(name: str, text: str, place: str = "vault", **options: object) -> Try:
    """A way to put the question, with `/search`."""
    asked = tuple(word for word in (*SECRETS.values(), CODE, WRITER, HIDDEN_NAME) if word.lower() in text.lower())
    return Try(name, SECRETS[place], lambda stage, user: stage.slash(user, text, **options), asked)


def option(name: str, channel: str, place: str) -> Try:
    """The channel option with the id of a hidden place."""
    return Try(
        name,
        SECRETS[place],
        lambda stage, user: stage.slash(user, "rain gauge", channel=getattr(stage, channel), where=stage.cellar),
    )


def _by_id(text: str) -> Attempt:
    return lambda stage, user: stage.slash(
        user, text.format(vault=stage.vault, writer=stage.writer, thread=stage.vault_thread)
    )


def _every_page(stage: Stage, user: int) -> str:
    """All that can be had by dates alone."""
    return "".join(stage.slash(user, f"since:{span} before:1m", limit=10) for span in ("1d", "30d")) + stage.slash(
        user, "after:2015"
    )


VAULT = SECRETS["vault"]

TRIES = (
    # words
    Try("plain words", VAULT, lambda stage, user: stage.slash(user, "rain gauge")),
    slash("a question", "which code opens the safe of the gauge?"),
    slash("the secret word", "kumquat"),
    slash("several secret words", "kumquat tamarind persimmon"),
    slash("a phrase", '"code VLT-7731-QX opens"'),
    slash("a code", CODE),
    slash("a part of a code", "7731-QX"),
    slash("the beginning of a part", "VLT-77"),
    slash("capitals and accents", "KÚMQUAT ráin gáuge"),
    slash("words left out", "rain gauge -roof -lunch"),
    slash("words that hidden places lack", "rain gauge -persimmon"),
    slash("words of the index's own language", "kumquat OR rain NEAR(gauge, 5) text : safe*"),
    slash("a statement of SQL", "rain gauge') OR 1=1 --"),
    # filters
    slash("from: a name", f"from:{WRITER} safe"),
    slash("from: a name alone", f"from:{WRITER}", "vault thread"),
    Try("from: an id", VAULT, _by_id("from:{writer} rain gauge")),
    Try("from: a mention", VAULT, _by_id("from:<@{writer}> rain gauge")),
    slash("in: a hidden channel", f"in:{HIDDEN_NAME} rain gauge"),
    slash("in: quoted, in capitals", f'IN:"#{HIDDEN_NAME.upper()}" rain gauge'),
    Try("in: an id", VAULT, _by_id("in:{vault} rain gauge")),
    Try("in: a mention", VAULT, _by_id("in:<#{vault}> rain gauge")),
    Try("in: a hidden thread's id", SECRETS["vault thread"], _by_id("in:{thread} rain gauge")),
    slash("in: threads", "in:thread rain gauge", "vault thread"),
    Try("has: a link", "payroll", lambda stage, user: stage.slash(user, "has:link leaves in May")),
    slash("has: code and dates", "since:1d before:2999 rain gauge"),
    Try("dates alone", VAULT, _every_page),
    # the channel option
    option("channel: a hidden channel", "vault", "vault"),
    option("channel: a thread in it", "vault_thread", "vault thread"),
    option("channel: a private thread", "private", "private thread"),
    option("channel: a hidden post", "post", "council"),
    option("channel: a hidden voice chat", "booth", "booth"),
    # other options
    Try("author: who writes only there", VAULT, lambda stage, user: stage.slash(user, "safe", author=stage.writer)),
    Try("since: and most passages", VAULT, lambda stage, user: stage.slash(user, "rain gauge", since="7d", limit=10)),
    # places to ask from
    Try("asked within the hidden channel", VAULT, lambda stage, user: stage.slash(user, "safe", where=stage.vault)),
    Try("asked within a private thread", SECRETS["private thread"], lambda stage, user: stage.slash(
        user, "persimmon grows", where=stage.private), ("persimmon",)),
    Try("an archived thread of it", SECRETS["vault archive"], lambda stage, user: stage.slash(user, "lock broken")),
    Try("what stands around", SECRETS["vault thread"], lambda stage, user: stage.slash(user, "hangs behind the clock")),
    Try("a post in a hidden forum", SECRETS["council"], lambda stage, user: stage.slash(user, "verdict")),
    Try(
        "/ask",
        VAULT,
        lambda stage, user: stage.command(user, "ask", text="which code opens the safe of the rain gauge?"),
    ),
    Try(
        "/ask in a hidden channel",
        VAULT,
        lambda stage, user: stage.command(user, "ask", text="what opens the safe?", channel=stage.vault),
    ),
    Try("a recording", SECRETS["booth"], lambda stage, user: stage.slash(user, "recording")),
)  # fmt: skip


@pytest.mark.parametrize("case", TRIES, ids=lambda case: case.name)
def test_an_outsider_gets_nothing_where_an_insider_finds_it(stage: Stage, case: Try) -> None:
    shown = case.attempt(stage, stage.insider())
    assert case.secret.casefold() in shown.casefold(), f"no way to find it at all: {shown}"
    stolen = case.attempt(stage, stage.outsider())
    assert loot(stolen, *case.asked) == [], stolen
    if case.secret not in case.asked:
        assert case.secret not in stolen
    assert f"{stage.vault}/" not in stolen, "a jump link"


# Asked aloud: nobody may be answered from hidden places, whoever asks, for everybody reads it

ALOUD = {
    "words": "!search rain gauge limit: 10",
    "channel: by name": f"!search rain gauge channel: {HIDDEN_NAME}",
    "channel: by mention": "!search rain gauge channel: <#{vault}>",
    "channel: by id": "!search rain gauge channel: {vault}",
    "channel: by address": "!search rain gauge channel: https://discord.com/channels/{guild}/{vault}",
    "channel: a private thread by name": "!search rain gauge channel: only-us",
    "author: by id": "!search rain gauge author: {writer}",
    "in: within the text": "!search in:{vault} rain gauge",
    "a health report": "!health",
    "!ask": "!ask which code opens the safe of the rain gauge?",
    "!ask in a hidden channel": "!ask what opens the safe? channel: {vault}",
    "an unknown option's echo": "!search rain gauge limit: {vault}",
}


@pytest.mark.parametrize("name", ALOUD)
@pytest.mark.parametrize("who", ["outsider", "insider"])
def test_nothing_hidden_is_said_aloud(stage: Stage, name: str, who: str) -> None:
    text = ALOUD[name].format(vault=stage.vault, guild=stage.guild, writer=stage.writer)
    user = stage.outsider() if who == "outsider" else stage.insider()
    assert loot(stage.aloud(user, text)) == []
    assert VAULT in stage.slash(stage.insider(), "rain gauge"), "it is there to be found"


# What hardly anybody finds


@pytest.mark.parametrize("who", ["outsider", "insider"])
def test_age_restricted_channels_are_searched_only_within_one(stage: Stage, who: str) -> None:
    user = stage.outsider() if who == "outsider" else stage.insider()
    shown = stage.slash(user, "party under the gauge")
    assert SECRETS["cellar"] not in shown
    assert "Age-restricted channels were left out" in shown
    assert SECRETS["cellar"] in stage.slash(user, "party under the gauge", where=stage.cellar)


@pytest.mark.parametrize("who", ["outsider", "insider"])
def test_another_servers_messages_are_found_there_alone(stage: Stage, who: str) -> None:
    def user() -> int:
        return stage.outsider() if who == "outsider" else stage.insider()

    word = SECRETS["other server"]
    assert word not in stage.slash(user(), "harvest of the rain gauge")
    assert word not in stage.slash(user(), "harvest", channel=stage.other_channel)
    assert word not in stage.slash(user(), f"in:{stage.other_channel} harvest")
    assert word not in stage.slash(user(), f"in:their-general from:{stage.stranger} harvest")
    assert word not in stage.aloud(user(), f"!search harvest channel: {stage.other_channel}")
    assert word in stage.slash(stage.stranger, "harvest", where=stage.other_channel)


def test_what_was_denied_was_never_kept(stage: Stage) -> None:
    word = SECRETS["denied"]
    assert not stage.operator_finds(word)
    assert word not in stage.slash(stage.insider(), "diary of the rain gauge", channel=stage.denied)


def test_direct_messages_are_refused(stage: Stage) -> None:
    user = stage.insider()
    channel = int(stage.control.change("create_dm", user_id=user, other_id=stage.place.bot_id)["id"])
    shown = stage.slash(user, "rain gauge", where=channel)
    assert loot(shown) == []
    assert "answers only in a server" in shown
    assert loot(stage.aloud(user, "!search rain gauge", where=channel)) == []


@pytest.mark.parametrize("command", ["health", "privacy", "sync now", "autosync_status", "listener_stats"])
def test_other_commands_tell_no_secret(stage: Stage, command: str) -> None:
    for user in (stage.outsider(), stage.insider(), stage.place.owner_id):
        assert loot(stage.command(user, command)) == []


def test_no_option_suggests_anything(stage: Stage) -> None:
    """Nobody is told names while typing: channels and people are picked from Discord's own lists."""
    world = stage.place.sandbox.world
    payloads = stage.place.sandbox.call(lambda: [dict(command.payload) for command in world.commands.values()])
    (search,) = [one for one in payloads if one["name"] == "search"]
    kinds = {one["name"]: one["type"] for one in search["options"]}
    assert kinds == {"text": 3, "channel": 7, "author": 6, "since": 3, "limit": 4}
    assert "autocomplete" not in repr(payloads).replace("'autocomplete': False", "")


def test_a_hidden_channel_is_not_named_where_it_is_mentioned(stage: Stage) -> None:
    shown = stage.slash(stage.outsider(), "see about the weather station")
    assert "about the weather station" in shown
    assert HIDDEN_NAME not in shown


def test_a_forward_is_as_public_as_the_place_it_went_to(stage: Stage) -> None:
    """Who forwards a message makes it public himself: no secret of ragd's."""
    message = stage.say(stage.vault, f"The {SECRETS['elsewhere']} may be told.")
    stage.wait_for(SECRETS["elsewhere"])
    assert SECRETS["elsewhere"] not in stage.slash(stage.outsider(), "may be told")
    copy = stage.control.forward(stage.general, stage.place.owner_id, message)
    shown = until(lambda: f"{copy}" in (text := stage.slash(stage.outsider(), "may be told")) and text)
    assert f"{stage.general}/{copy}" in shown
    assert f"{stage.vault}/{message}" not in shown
