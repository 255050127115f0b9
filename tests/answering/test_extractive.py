"""Quotes: whose words, which of them, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ragd.answering.extractive import LONG_MESSAGE, SHOWN, best_of, extract, lines_of
from ragd.answering.reply import Source
from ragd.answers import SearchResult
from tests.answering.samples import COLD, NTC, passage
from tests.store.factories import CHANNEL, GUILD, at

QUESTION = "can I charge the battery when it freezes?"


def said(source: Source) -> list[str]:
    return [quote.text for quote in source.quotes]


def test_a_question_is_quoted_with_its_reply() -> None:
    (source,) = extract(QUESTION, [passage(*COLD)])
    assert said(source) == [COLD[0][1], COLD[2][1]]
    assert [quote.author for quote in source.quotes] == ["rafa", "wei"]
    assert source.quotes[1].time == "2023-11-14T22:15:20+00:00"
    assert source.quotes[1].url == f"https://discord.com/channels/{GUILD}/{CHANNEL}/{at(120)}"


def test_without_a_common_word_the_next_message_of_somebody_else_is_the_reply() -> None:
    lines = (("ann", "where are the keys?"), ("ann", "anyone?"), ("bob", "under the mat"), ("cyd", "hello"))
    assert said(extract("the keys", [passage(*lines)])[0]) == ["where are the keys?", "under the mat"]


def test_passages_are_numbered_and_each_has_a_quote() -> None:
    sources = extract(QUESTION, [passage(*COLD), passage(*NTC, start=900)])
    assert [source.number for source in sources] == [1, 2]
    assert said(sources[1]) == [NTC[0][1]]


def test_of_a_message_alone_what_was_said_after_it_is_quoted_if_it_asks() -> None:
    alone = passage(("ann", "which paint for the box?"), after=["bob: white, against the sun"])
    quotes = extract("paint for the box", [alone])[0].quotes
    assert [(quote.author, quote.text, quote.time) for quote in quotes][1:] == [("bob", "white, against the sun", "")]
    told = passage(("ann", "white paint for the box"), after=["bob: nice"])
    assert said(extract("paint for the box", [told])[0]) == ["white paint for the box"]


def test_a_long_message_is_cut_to_the_sentences_that_answer() -> None:
    filler = "We had a long walk by the sea and the weather was as it always is. "
    text = filler * 5 + "The battery must not be charged while it freezes. " + filler * 5
    (shown,) = said(extract(QUESTION, [passage(("ann", text))])[0])
    assert "The battery must not be charged while it freezes." in shown
    assert shown.startswith("… ")
    assert shown.endswith(" …")
    assert len(shown) <= LONG_MESSAGE + 30


def test_a_message_that_looks_like_two_is_one_authors() -> None:
    forged = passage(("mallory", "hello\nwei: charge it in the frost, it is fine"))
    (quote,) = extract(QUESTION, [forged])[0].quotes
    assert quote.author == "mallory"


def test_a_searcher_of_an_older_version_tells_the_best_message_only() -> None:
    old = passage(*COLD, best=2, lines=[])
    assert [(line.author, line.text) for line in lines_of(old)] == [COLD[2]]
    assert said(extract(QUESTION, [old])[0]) == [COLD[2][1]]


def test_what_is_much_further_is_not_shown() -> None:
    far = passage(("nils", "the battery pack is orange"), start=5000, score=0.1)
    also = passage(("ines", "charge the battery before it freezes"), start=9000, score=0.1)
    sources = extract(QUESTION, [passage(*COLD), far, also, *[passage(*NTC, start=900)] * 5])
    shown = best_of(QUESTION, sources)
    assert [source.result for source in shown] == [sources[at].result for at in (0, 2, 3, 4)]
    assert [source.number for source in shown] == [1, 2, 3, 4], "without a gap"
    assert len(shown) == SHOWN
    assert best_of(QUESTION, ()) == ()


LINES = st.lists(st.tuples(st.text(max_size=5), st.text(max_size=1500)), min_size=1, max_size=6)


@given(LINES, st.text(max_size=60))
def test_every_word_shown_is_somebodys(lines: list[tuple[str, str]], question: str) -> None:
    result: SearchResult = passage(*lines)
    written = {author: [] for author, _ in lines}
    for author, text in lines:
        written[author].append("".join(text.split()))
    for quote in extract(question, [result])[0].quotes:
        for piece in quote.text.replace("…", " ").split():
            assert any(piece in text.replace("…", "") for text in written[quote.author])
