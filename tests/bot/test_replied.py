"""The answer to /ask in Discord: nothing in it acts, no limit is passed, every sentence has its link."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from ragd.answering import Quote, Reply, Sentence, Source
from ragd.answering.extractive import extract
from ragd.bot.commands.privacy_report import TEXT, privacy_text
from ragd.bot.commands.replied import render_reply
from ragd.bot.commands.wording import EMBED_ROOM, TEXT_ROOM, width
from tests.answering.samples import COLD, NTC, found, passage
from tests.bot.test_passages import NASTY
from tests.toytree import settings_of

ACTIVE = ("@everyone", "<@1", "<@&", "<#5", "</sync", "https://evil", "discord.gg", "the end", "\u202e")


def quoted(*said: tuple[str, str], note: str = "", channel: str = "help", **more: object) -> Reply:
    results = [passage(*said, channel=channel)]
    return Reply("q", found(*results, **more), extract("q", results), note=note)


def written(*sentences: Sentence, model: str = "tiny", **names: str) -> Reply:
    results = [passage(*COLD, **names), passage(*NTC, start=900, **names)]
    return Reply("q", found(*results), extract("charge", results), sentences, model)


def test_quotes_with_their_links() -> None:
    assert render_reply(quoted(("wei", "No. Never.")), EMBED_ROOM, public=False) == (
        f"**1.** [#help]({passage(('wei', 'No.')).url}) · <t:1700000000:f>\n```\nwei: No. Never.\n```"
    )


def test_why_there_is_no_written_answer_is_said() -> None:
    shown = render_reply(quoted(("wei", "No."), note="It does not answer."), EMBED_ROOM, public=False)
    assert shown.endswith("\n-# It does not answer.")


def test_every_sentence_links_to_its_passages() -> None:
    reply = written(Sentence("Never charge it.", (1,)), Sentence("It pauses.", (1, 2)))
    urls = [source.result.url for source in reply.sources]
    lines = render_reply(reply, EMBED_ROOM, public=False).splitlines()
    assert lines[0] == f"Never charge it. [(1)]({urls[0]}) It pauses. [(1)]({urls[0]}) [(2)]({urls[1]})"
    assert lines[1].startswith("-# (1) [#help](")
    assert lines[2].startswith("-# (2) [#help](")
    assert lines[3] == "-# Written by the language model tiny; only the messages themselves are certain."


def test_only_what_the_shown_sentences_cite_is_listed() -> None:
    shown = render_reply(written(Sentence("It pauses.", (2,))), EMBED_ROOM, public=False)
    assert "-# (1)" not in shown


def test_nothing_found() -> None:
    reply = Reply("q", found(why="nothing is near enough"), ())
    assert render_reply(reply, TEXT_ROOM, public=False) == (
        "Nothing found in the channels you can read: nothing is near enough."
    )
    assert "`/ask` looks into all of yours" in render_reply(reply, TEXT_ROOM, public=True)


def test_nothing_that_people_or_models_wrote_acts() -> None:
    for reply in (
        quoted((NASTY, NASTY), channel=NASTY),
        written(Sentence(NASTY, (1,)), model=NASTY, channel=NASTY),
    ):
        shown = render_reply(reply, EMBED_ROOM, public=False)
        assert [active for active in ACTIVE if active in shown] == []
        outside = "".join(shown.split("```")[::2])
        links = re.findall(r"(?<!\\)\]\((.{33})", outside)
        assert set(links) == {"https://discord.com/channels/1/10/"[:33]}


SAID = st.lists(st.tuples(st.text(max_size=50), st.text(max_size=1500)), min_size=1, max_size=5)


@given(SAID, st.text(max_size=60), st.sampled_from((TEXT_ROOM, EMBED_ROOM)), st.integers(1, 8), st.booleans())
def test_no_answer_passes_discords_limit(
    said: list[tuple[str, str]], name: str, room: int, count: int, public: bool
) -> None:
    results = [passage(*said, channel=name)] * count
    sources = extract(name, results)
    sentences = tuple(Sentence(text, (1,)) for _, text in said)
    for reply in (
        Reply("q", found(*results), sources, note="n"),
        Reply("q", found(*results), sources, sentences, name),
        Reply("q", found(*results), (Source(1, results[0], ()),), note="n"),
    ):
        shown = render_reply(reply, room, public=public)
        assert 0 < width(shown) <= room
        assert shown.count("```") % 2 == 0


def test_a_quote_without_a_time_is_shown() -> None:
    result = passage(("ann", "why?"))
    source = Source(1, result, (Quote("bob", "because", "", result.url),))
    assert "bob: because" in render_reply(Reply("q", found(result), (source,)), TEXT_ROOM, public=False)


def test_privacy_tells_of_the_language_model() -> None:
    assert "nothing is sent to an AI service or anywhere else." in privacy_text(settings_of({}))
    told = privacy_text(settings_of({"RAGD_LLM_URL": "https://llm.example:1/v1", "RAGD_LLM_MODEL": "m_1"}))
    assert "go to the language model m\\_1 at llm.example;" in told
    assert width(told) <= TEXT_ROOM
    assert "{where}" in TEXT
