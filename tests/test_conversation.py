"""The disentangler: conversations by example, what it notices, and that its weights are what training left."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragd.chunking import SourceMessage, features, scorer, strategies
from ragd.chunking.conversation import conversations, listen
from ragd.chunking.messages import DEFAULT_OPTIONS
from ragd.chunking.reading import NOBODY, TRAITS, Reading, read_segment
from ragd.chunking.scorer import MANIFEST, WEIGHTS, bundled_scorer, read_scorer
from ragd.errors import DamagedError
from tests.test_chunking import HOUR, MINUTE, channels, say, texts

SCORER = bundled_scorer()
GAP_MS = DEFAULT_OPTIONS.gap_ms

ANN_ASKS = say(0, "ann", "how do I install it?")
BOB_ASKS_BACK = say(60, "bob", "ann: on which system?")
DEE_ASKS = say(90, "dee", "is there a way to turn off the splash screen at boot?")
EVE_ANSWERS = say(95, "eve", "dee: press escape")
FAY_ASKS = say(100, "fay", "my printer prints nothing but blank pages, what can I do?")


def crowd() -> list[SourceMessage]:
    """Five people and three conversations."""
    return [ANN_ASKS, BOB_ASKS_BACK, DEE_ASKS, EVE_ANSWERS, FAY_ASKS]


def read(*messages: SourceMessage) -> Reading:
    return read_segment(messages, SCORER.vocabulary)


# --- by example ---


def test_a_crowds_questions_and_answers_come_apart() -> None:
    late = say(110, "ann", "bob: Debian 12"), say(115, "dee", "eve: thanks, that works")
    assert texts("conversation", *crowd(), *late) == [
        "ann: how do I install it?\nbob: ann: on which system?\nann: bob: Debian 12",
        "dee: is there a way to turn off the splash screen at boot?\neve: dee: press escape\n"
        "dee: eve: thanks, that works",
        "fay: my printer prints nothing but blank pages, what can I do?",
    ]


def test_a_reply_decides_whatever_it_says() -> None:
    reply = say(120, "gus", "dee: is this about the splash screen?", reply_to=FAY_ASKS)
    assert texts("conversation", *crowd(), reply)[2].endswith(reply.text)


def test_a_reply_reaches_farther_back_than_the_scorer() -> None:
    chatter = [say(130 + at, f"p{at % 7}", f"talk number {at}") for at in range(features.LOOK_BACK + 20)]
    reply = say(600, "gus", "try another cable", reply_to=FAY_ASKS)
    groups = conversations([*crowd(), *chatter, reply], DEFAULT_OPTIONS)
    assert next(group for group in groups if reply in group)[0] == FAY_ASKS


def test_a_mention_counts_as_a_name() -> None:
    answer = say(120, "gus", "escape helps", mentions=(999, DEE_ASKS.author_id))
    assert texts("conversation", *crowd(), answer)[1].endswith("gus: escape helps")


def test_a_quiet_channel_has_one_conversation_at_a_time() -> None:
    messages = ANN_ASKS, say(29 * MINUTE, "bob", "with apt"), say(58 * MINUTE, "cal", "or pip")
    assert texts("conversation", *messages) == ["ann: how do I install it?\nbob: with apt\ncal: or pip"]


@pytest.mark.parametrize("names", [["ann"], ["ann", "bob"]])
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_two_authors_have_one_conversation_whatever_the_scorer_thinks(names: list[str], data: st.DataObject) -> None:
    """So the short cut for them is none."""
    speakers = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=20))
    segment = [say(at * 10, name, "how do I install it?") for at, name in enumerate(speakers)]
    opening = np.zeros((len(segment), 1 + len(segment)), np.float32)
    opening[:, 0] = 1
    assert listen(segment, GAP_MS, opening).groups == [segment] == conversations(segment, DEFAULT_OPTIONS)


def test_a_conversation_ends_when_nobody_wrote_for_half_an_hour() -> None:
    others = [say(minutes * MINUTE, "ann", "go on", reply_to=ANN_ASKS) for minutes in (10, 20, 30, 40)]
    answer = partial(say, name="gus", text="fay: buy ink", reply_to=FAY_ASKS)
    before, at = answer(100 + HOUR / 2 - 0.001), answer(100 + HOUR / 2)
    with_fay = [group for group in conversations([*crowd(), *others[:3], before], DEFAULT_OPTIONS) if before in group]
    assert FAY_ASKS in with_fay[0]
    without = [group for group in conversations([*crowd(), *others[:3], at], DEFAULT_OPTIONS) if at in group]
    assert FAY_ASKS not in without[0]


@settings(deadline=None, max_examples=50)
@given(messages=channels())
def test_what_comes_later_changes_nothing_before_it(messages: list[SourceMessage]) -> None:
    """Online: each message is assigned as it comes."""
    whole = listen(messages, GAP_MS, SCORER.probabilities(messages)).links
    half = messages[: len(messages) // 2]
    assert listen(half, GAP_MS, SCORER.probabilities(half)).links.items() <= whole.items()


# --- what it notices ---


@pytest.mark.parametrize("text", ["bob: Debian", "Bob, Debian", "@bob Debian", "@bob: Debian", "@bob", "bob try apt"])
def test_who_is_spoken_to(text: str) -> None:
    reading = read(ANN_ASKS, BOB_ASKS_BACK, say(70, "cal", text))
    assert reading.addressee.tolist() == [NOBODY, 0, 1]
    assert reading.named[2].tolist() == [1, NOBODY, NOBODY]


def test_names_of_several_words_can_be_spoken_to() -> None:
    peep = replace(BOB_ASKS_BACK, author_name="Bo Peep")
    assert read(ANN_ASKS, peep, say(70, "cal", "@bo peep Debian it is")).addressee[2] == 1


def test_nobody_is_known_before_they_speak_and_nobody_speaks_to_themselves() -> None:
    assert read(say(0, "ann", "bob: hi"), say(1, "bob", "bob: hi")).addressee.tolist() == [NOBODY, NOBODY]


def test_a_reply_speaks_to_the_author_of_what_it_answers() -> None:
    assert read(ANN_ASKS, BOB_ASKS_BACK, say(70, "cal", "hm", reply_to=ANN_ASKS)).addressee[2] == 0


def test_an_everyday_word_is_a_name_only_where_it_is_spoken_to() -> None:
    install = say(0, "install", "hello")
    assert read(install, say(1, "ann", "how to install it")).named[1, 0] == NOBODY
    assert read(install, say(1, "ann", "install: hi")).named[1, 0] == 0


def test_traits_of_a_text() -> None:
    flags = {text: read(say(0, "ann", text)).traits[0] for text in ("hi", "thanks a lot", "why not", "well...", "a b")}
    assert {
        text: [TRAITS[at] for at in np.flatnonzero(row) if TRAITS[at] != "length"] for text, row in flags.items()
    } == {
        "hi": ["greeting"],
        "thanks a lot": ["short_answer"],
        "why not": ["question"],
        "well...": ["trails_off"],
        "a b": [],
    }


def test_figures_do_not_depend_on_where_blocks_end(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [say(at * 7, f"p{at % 5}", f"p{at % 3}: the printer of {at % 11} is stuck?") for at in range(150)]
    reading = read(*messages)
    whole = list(features.blocks(reading))
    monkeypatch.setattr(features, "BLOCK", 1)
    for at, block in enumerate(features.blocks(reading)):
        one = whole[at // 32]
        reach = block.pairs.shape[1]
        np.testing.assert_allclose(one.pairs[at % 32, :reach], block.pairs[0], atol=1e-6)
        np.testing.assert_allclose(one.opening[at % 32], block.opening[0], atol=1e-6)
        assert not one.real[at % 32, reach:].any()


def test_probabilities_add_up_and_reach_back_only_to_what_there_is() -> None:
    rows = list(SCORER.probabilities(crowd()))
    assert rows[0][0] == 1
    for at, row in enumerate(rows):
        assert row.sum() == pytest.approx(1, abs=1e-5)
        assert not row[1 + at :].any()


def test_what_is_remembered_changes_nothing() -> None:
    messages = [say(at * 7, f"p{at % 5}", f"p{at % 3}: the printer of {at % 11} is stuck?") for at in range(150)]
    edited = [*messages[:70], replace(messages[70], text="p1: solved"), *messages[71:]]
    used = scorer.Scorer(SCORER.pair, SCORER.opening, SCORER.vocabulary)
    for segment in (messages[:100], messages, edited, messages[:31], edited[1:]):
        fresh = scorer.Scorer(SCORER.pair, SCORER.opening, SCORER.vocabulary)
        for one, other in zip(used.probabilities(segment), fresh.probabilities(segment), strict=True):
            np.testing.assert_array_equal(one, other)


def test_only_so_much_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer, "BLOCKS_KEPT", 2)
    used = scorer.Scorer(SCORER.pair, SCORER.opening, SCORER.vocabulary)
    list(used.probabilities([say(at, "ann", "hm") for at in range(200)]))
    assert len(used._judged) == 2


# --- the weights ---


def test_the_manifest_says_where_the_weights_come_from() -> None:
    about = json.loads(MANIFEST.read_bytes())
    assert about["data_license"] == "CC-BY-4.0"
    assert "Kummerfeld" in about["reference"]
    assert about["features_version"] == features.FEATURES_VERSION


def damaged(folder: Path, **changes: object) -> tuple[Path, Path]:
    manifest, weights = shutil.copy(MANIFEST, folder), shutil.copy(WEIGHTS, folder)
    Path(manifest).write_text(json.dumps({**json.loads(MANIFEST.read_bytes()), **changes}))
    return Path(manifest), Path(weights)


def test_weights_that_are_not_what_training_left_are_refused(tmp_path: Path) -> None:
    manifest, weights = damaged(tmp_path)
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(DamagedError, match=r"disentangler\.npz: not the file"):
        read_scorer(manifest, weights)
    with pytest.raises(DamagedError, match="made for features 0"):
        read_scorer(*damaged(tmp_path, features_version=0))
    manifest.write_text("{")
    with pytest.raises(DamagedError, match="not JSON"):
        read_scorer(manifest, weights)
    with pytest.raises(DamagedError, match=r"gone\.npz"):
        read_scorer(MANIFEST, tmp_path / "gone.npz")


def test_other_weights_are_another_version_of_the_strategy(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: strategies.strategy_version(name) for name in ("conversation", "temporal")}
    monkeypatch.setattr(strategies, "bundled_identity", lambda: "another")
    assert strategies.strategy_version("conversation") != before["conversation"]
    assert strategies.strategy_version("temporal") == before["temporal"]
    assert scorer.bundled_identity() != "another"
