"""Chunking: the laws for any messages and any token counter, the edges and the conversations by example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

import ragd
from ragd.chunking import (
    DEFAULT_OPTIONS,
    GRID_MS,
    STRATEGIES,
    Chunk,
    ChunkingOptions,
    SourceMessage,
    affected_span,
    chunk_messages,
    is_boundary,
    strategies,
    strategy_version,
)
from ragd.config import STRATEGY_NAMES, load_settings
from ragd.errors import ConfigError
from ragd.snowflake import from_unix_seconds
from ragd.syncer import chunking_options

Counter = Callable[[str], int]

TOKENIZER = Path(ragd.__file__).parent / "model" / "all-MiniLM-L6-v2" / "tokenizer.json"
NOON = 1_700_006_400 - 1_700_006_400 % 21_600
"""Unix seconds at the start of a grid cell."""
MINUTE, HOUR = 60.0, 3600.0

each_strategy = pytest.mark.parametrize("strategy", STRATEGIES)
each_joining_strategy = pytest.mark.parametrize("strategy", ["temporal", "conversation", "sliding_window", "tokens"])
"""Those that put neighbouring messages of two authors together."""
law = settings(deadline=None)


def count_words(text: str) -> int:
    return 2 + len(text.split())


def count_characters(text: str) -> int:
    return 1 + len(text)


def count_costly_newlines(text: str) -> int:
    """More for a whole than for its lines: sums of lines are always too low."""
    return 2 + len(text.split()) + 4 * text.count("\n")


def count_erratically(text: str) -> int:
    """Neither additive nor growing with the text, and dear by the mere number of lines."""
    return 1 + len(text.split()) + len(text) % 5 + (text.count("\n") ** 2) // 2


COUNTERS: dict[str, Counter] = {
    "words": count_words,
    "characters": count_characters,
    "newlines": count_costly_newlines,
    "erratic": count_erratically,
}
each_counter = pytest.mark.parametrize("count_tokens", COUNTERS.values(), ids=COUNTERS)


@pytest.fixture(scope="module")
def count_really() -> Counter:
    if not TOKENIZER.exists():
        pytest.skip("the bundled model is not built: no tokenizer.json")
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return lambda text: len(tokenizer.encode(text).ids)


# --- any messages ---

GAPS_MS = st.one_of(
    st.sampled_from([0, 1, 1_000, 899_999, 900_000, 1_799_999, 1_800_000, 3_599_999, 3_600_000, GRID_MS]),
    st.integers(0, 120_000),
    st.integers(0, 2 * 3_600_000),
)
WORDS = [
    "cake",
    "Wie?",
    "ok.",
    "السلام",
    "今日は。",
    "👩‍👩‍👧",
    "x" * 90,
    "[SEP]",
    "\n",
    "\u00a0",
    "한국어!",
    "\0",
    "##a",
]
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=60).map(" ".join),
    st.sampled_from(["Ann: yes", "@Bo Peep see above", "bo peep, no", "@", ":", "@Ann", "\n", " "]),
)
NAMES = ["Ann", "Bo Peep", "ann", "", "名前" * 16, "very-long-name " * 8]


@st.composite
def channels(draw: st.DrawFn) -> list[SourceMessage]:
    """Up to thirty messages of one channel, with gaps at and around every edge there is."""
    gaps = draw(st.lists(GAPS_MS, max_size=30))
    times = accumulate(gaps, initial=draw(st.integers(0, GRID_MS)))
    ids = [(ms << 22) + at for at, ms in enumerate(times, start=1)]
    authors = st.integers(0, len(NAMES) - 1)
    return [
        SourceMessage(
            id=message_id,
            author_id=(author := draw(authors)),
            author_name=NAMES[author],
            text=draw(TEXTS),
            reply_to_id=draw(st.one_of(st.none(), st.just(1), st.sampled_from(ids))),
            mention_ids=tuple(draw(st.lists(authors, max_size=2))),
        )
        for message_id in ids[: len(gaps)]
    ]


OPTIONS = st.one_of(
    st.just(DEFAULT_OPTIONS),
    st.builds(
        ChunkingOptions,
        window_ms=st.integers(60_000, GRID_MS),
        gap_ms=st.integers(60_000, GRID_MS),
        window_messages=st.integers(4, 8),
        overlap_messages=st.integers(0, 3),
        author_gap_ms=st.integers(1_000, GRID_MS),
    ),
)


@each_strategy
@each_counter
@law
@given(messages=channels(), options=OPTIONS)
def test_cutting_at_boundaries_changes_nothing(
    strategy: str, count_tokens: Counter, messages: list[SourceMessage], options: ChunkingOptions
) -> None:
    chunk = partial(chunk_messages, strategy, count_tokens=count_tokens, max_tokens=40, options=options)
    whole = chunk(messages)
    for cut in range(1, len(messages)):
        if is_boundary(strategy, messages[cut - 1].id, messages[cut].id, options):
            assert chunk(messages[:cut]) + chunk(messages[cut:]) == whole


@each_strategy
@law
@given(messages=channels(), options=OPTIONS, data=st.data())
def test_mending_what_a_change_touched_equals_chunking_everything(
    strategy: str, messages: list[SourceMessage], options: ChunkingOptions, data: st.DataObject
) -> None:
    """As the syncer does it: one cell, a span of messages that came, went or were edited."""
    messages = [replace(each, id=each.id % (GRID_MS << 22)) for each in messages]
    messages = sorted({each.id: each for each in messages}.values(), key=lambda each: each.id)
    fates = data.draw(st.lists(st.sampled_from(["keep", "came", "went", "edited"]), min_size=len(messages)))
    before = [each for each, fate in zip(messages, fates, strict=False) if fate != "came"]
    after = [
        replace(each, text="another text") if fate == "edited" else each
        for each, fate in zip(messages, fates, strict=False)
        if fate != "went"
    ]
    changed = [each.id for each, fate in zip(messages, fates, strict=False) if fate != "keep"]
    assume(changed)
    chunk = partial(chunk_messages, strategy, count_tokens=count_words, max_tokens=40, options=options)
    old, extents = chunk(before), [(each.message_ids[0], each.message_ids[-1]) for each in chunk(before)]
    ids = [each.id for each in after]
    first, last = affected_span(strategy, ids, extents, min(changed), max(changed), options)
    new = chunk([each for each in after if first <= each.id <= last])
    left = [each for each in old if not (first <= each.message_ids[0] and each.message_ids[-1] <= last)]
    assert sorted(each.key for each in left + new) == sorted(each.key for each in chunk(after))


@each_strategy
@law
@given(messages=channels(), data=st.data())
def test_a_new_message_touches_only_the_segments_of_its_neighbours(
    strategy: str, messages: list[SourceMessage], data: st.DataObject
) -> None:
    assume(len(messages) > 1)
    at = data.draw(st.integers(0, len(messages) - 1))
    before = messages[:at] + messages[at + 1 :]
    touched = {message.id for near in before[max(0, at - 1) : at + 1] for message in segment_of(strategy, near, before)}
    chunk = partial(chunk_messages, strategy, count_tokens=count_words, max_tokens=40)
    elsewhere = [c for c in chunk(before) if not touched & set(c.message_ids)]
    touched.add(messages[at].id)
    assert [c for c in chunk(messages) if not touched & set(c.message_ids)] == elsewhere


def segment_of(strategy: str, message: SourceMessage, messages: Sequence[SourceMessage]) -> list[SourceMessage]:
    segments: list[list[SourceMessage]] = [[]]
    for candidate in messages:
        if segments[-1] and is_boundary(strategy, segments[-1][-1].id, candidate.id):
            segments.append([])
        segments[-1].append(candidate)
    return next(segment for segment in segments if message in segment)


@each_strategy
@law
@given(ids=st.lists(st.integers(1, 2 * GRID_MS << 22), min_size=4, max_size=4).map(sorted))
def test_neighbours_farther_apart_stay_a_boundary(strategy: str, ids: list[int]) -> None:
    if is_boundary(strategy, ids[1], ids[2]):
        assert is_boundary(strategy, ids[0], ids[3])


def assert_sound(chunks: list[Chunk], messages: list[SourceMessage], count_tokens: Counter, max_tokens: int) -> None:
    """All that holds of the chunks of any messages, whatever the strategy."""
    assert all(count_tokens(chunk.text) <= max_tokens for chunk in chunks)
    assert all(a < b for chunk in chunks for a, b in pairwise(chunk.message_ids))
    assert [(c.message_ids, c.part) for c in chunks] == sorted((c.message_ids, c.part) for c in chunks)
    assert len({chunk.key for chunk in chunks}) == len(chunks)
    homes: dict[int, list[Chunk]] = {message.id: [] for message in messages}
    for chunk in chunks:
        for message_id in chunk.message_ids:
            homes[message_id].append(chunk)
    for message in messages:
        assert_kept(message, homes[message.id])


def assert_kept(message: SourceMessage, chunks: list[Chunk]) -> None:
    """The message is whole in one chunk, or its parts, numbered from 0, are together its text."""
    name = message.author_name
    if all(label(name) + message.text in chunk.text for chunk in chunks[:1]):
        assert all(chunk.part == 0 for chunk in chunks)
        return
    assert [chunk.part for chunk in chunks] == list(range(len(chunks)))
    assert all(chunk.message_ids == (message.id,) for chunk in chunks)
    labels = [label(name[:end]) for end in range(len(name), -1, -1)]
    common = next(each for each in labels if all(chunk.text.startswith(each) for chunk in chunks))
    assert "".join(chunk.text.removeprefix(common) for chunk in chunks) == message.text


def label(name: str) -> str:
    return f"{name}: " if name else ""


@each_strategy
@each_counter
@pytest.mark.parametrize("max_tokens", [16, 64])
@law
@given(messages=channels())
def test_every_message_is_kept_once_and_fits(
    strategy: str, count_tokens: Counter, max_tokens: int, messages: list[SourceMessage]
) -> None:
    chunks = chunk_messages(strategy, messages, count_tokens=count_tokens, max_tokens=max_tokens)
    assert_sound(chunks, messages, count_tokens, max_tokens)
    assert chunk_messages(strategy, tuple(messages), count_tokens=count_tokens, max_tokens=max_tokens) == chunks


@each_strategy
@pytest.mark.parametrize("max_tokens", [16, 256])
@law
@given(messages=channels())
def test_every_message_is_kept_once_and_fits_the_real_tokenizer(
    strategy: str, count_really: Counter, max_tokens: int, messages: list[SourceMessage]
) -> None:
    chunks = chunk_messages(strategy, messages, count_tokens=count_really, max_tokens=max_tokens)
    assert_sound(chunks, messages, count_really, max_tokens)


# --- examples ---


def say(
    seconds: float, name: str, text: str, *, reply_to: SourceMessage | None = None, mentions: tuple[int, ...] = ()
) -> SourceMessage:
    """A message of so many seconds after the start of a grid cell; an author's id follows from the name."""
    author_id = int.from_bytes(name.encode())
    reply_to_id = reply_to.id if reply_to else None
    return SourceMessage(from_unix_seconds(NOON + seconds) + 1, author_id, name, text, reply_to_id, mentions)


def texts(strategy: str, *messages: SourceMessage, max_tokens: int = 256) -> list[str]:
    chunks = chunk_messages(strategy, messages, count_tokens=count_words, max_tokens=max_tokens)
    return [chunk.text for chunk in chunks]


def test_every_configurable_strategy_exists() -> None:
    assert tuple(STRATEGIES) == STRATEGY_NAMES


def test_the_settings_defaults_are_chunkings(tmp_path: Path) -> None:
    assert chunking_options(load_settings(RAGD_DATA_DIR=tmp_path)) == DEFAULT_OPTIONS


@each_strategy
def test_nothing_gives_nothing(strategy: str) -> None:
    assert texts(strategy) == []


@each_strategy
def test_unordered_or_repeated_messages_are_refused(strategy: str) -> None:
    first, second = say(0, "ann", "one"), say(1, "ann", "two")
    with pytest.raises(ValueError, match="ascend"):
        texts(strategy, second, first)
    with pytest.raises(ValueError, match="ascend"):
        texts(strategy, first, first)


@each_joining_strategy
def test_a_line_a_message_keeps_its_newlines(strategy: str) -> None:
    assert texts(strategy, say(0, "ann", "one\ntwo"), say(1, "bob", "three")) == ["ann: one\ntwo\nbob: three"]


@pytest.mark.parametrize(
    ("strategy", "gap"),
    [("temporal", HOUR), ("conversation", HOUR / 2), ("sliding_window", HOUR / 2), ("author", HOUR / 6)],
)
def test_a_gap_is_a_boundary_from_its_full_length_on(strategy: str, gap: float) -> None:
    first, before, at = say(0, "ann", "one"), say(gap - 0.001, "ann", "two"), say(gap, "ann", "two")
    assert not is_boundary(strategy, first.id, before.id)
    assert is_boundary(strategy, first.id, at.id)
    assert texts(strategy, first, before) == ["ann: one\nann: two"]
    assert texts(strategy, first, at) == ["ann: one", "ann: two"]


@each_joining_strategy
def test_no_chunk_crosses_the_six_hour_grid(strategy: str) -> None:
    last, first, second = (
        say(6 * HOUR - 0.001, "ann", "one"),
        say(6 * HOUR, "ann", "two"),
        say(6 * HOUR + 1, "ann", "3"),
    )
    assert is_boundary(strategy, last.id, first.id)
    assert not is_boundary(strategy, first.id, second.id)
    assert texts(strategy, last, first, second) == ["ann: one", "ann: two\nann: 3"]


def test_a_temporal_window_is_an_hour_from_its_first_message() -> None:
    messages = [say(minutes * MINUTE, "ann", f"at {minutes}") for minutes in (0, 40, 59, 60, 119, 121)]
    assert texts("temporal", *messages) == [
        "ann: at 0\nann: at 40\nann: at 59",
        "ann: at 60\nann: at 119",
        "ann: at 121",
    ]


@each_joining_strategy
def test_packing_is_greedy_and_exact(strategy: str) -> None:
    messages = [say(at, "ann", "one two") for at in range(5)]
    both = "ann: one two\nann: one two"
    assert texts(strategy, *messages, max_tokens=2 + 6) == [both, both, "ann: one two"]
    assert texts(strategy, *messages[:2], max_tokens=2 + 5) == ["ann: one two"] * 2


@each_joining_strategy
def test_a_sum_that_was_too_low_halves_the_chunk(strategy: str) -> None:
    messages = [say(at, "ann", str(at)) for at in range(4)]
    chunks = chunk_messages(strategy, messages, count_tokens=count_costly_newlines, max_tokens=10)
    assert [chunk.text for chunk in chunks] == ["ann: 0\nann: 1", "ann: 2\nann: 3"]


@pytest.mark.parametrize("strategy", ["temporal", "conversation", "author", "tokens"])
def test_tokens_are_counted_once_a_message_and_once_a_chunk(strategy: str) -> None:
    asked: list[str] = []

    def count(text: str) -> int:
        asked.append(text)
        return count_words(text)

    messages = [say(at, "ann", "one two") for at in range(100)]
    chunks = chunk_messages(strategy, messages, count_tokens=count, max_tokens=32)
    assert len(chunks) == 10
    assert len(asked) == 1 + len(messages) + len(chunks)


# --- messages longer than the model reads ---


@each_strategy
def test_parts_end_with_sentences_or_lines(strategy: str) -> None:
    long = say(1, "ann", "One two three. Four five six!\nSeven eight nine\nTen eleven twelve.")
    around = say(0, "bob", "before"), long, say(2, "bob", "after")
    assert texts(strategy, *around, max_tokens=10) == [
        "bob: before",
        "ann: One two three. Four five six!\n",
        "ann: Seven eight nine\nTen eleven twelve.",
        "bob: after",
    ]


@each_strategy
def test_parts_end_with_words_where_there_is_no_sentence(strategy: str) -> None:
    assert texts(strategy, say(0, "ann", "a b c d e f g h"), max_tokens=7) == ["ann: a b c d ", "ann: e f g h"]


def test_parts_end_anywhere_as_last_resort() -> None:
    message = say(0, "ann", "abcdefgh")
    chunks = chunk_messages("temporal", [message], count_tokens=count_characters, max_tokens=12)
    assert [(chunk.text, chunk.part) for chunk in chunks] == [("ann: abcd", 0), ("ann: efgh", 1)]


def test_a_greeting_is_no_part_of_its_own() -> None:
    first, *_ = texts("temporal", say(0, "ann", "Hi. " + "word " * 40), max_tokens=30)
    assert len(first.split()) > 10


def test_sentences_without_spaces_between_them_are_cut_between_them() -> None:
    message = say(0, "花子", "今日は晴れです。明日は雨でしょう。")
    chunks = chunk_messages("temporal", [message], count_tokens=count_characters, max_tokens=14)
    assert [chunk.text for chunk in chunks] == ["花子: 今日は晴れです。", "花子: 明日は雨でしょう。"]


def test_a_long_name_leaves_half_of_the_room_to_the_text() -> None:
    message = say(0, "n" * 50, "short")
    chunks = chunk_messages("temporal", [message], count_tokens=count_characters, max_tokens=32)
    assert [chunk.text for chunk in chunks] == [f"{'n' * 12}: short"]


def test_a_model_that_reads_nothing_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="max_tokens is 1"):
        chunk_messages("temporal", [say(0, "ann", "hello")], count_tokens=count_characters, max_tokens=1)


# --- keys ---


def key_of(strategy: str = "temporal", *messages: SourceMessage) -> str:
    messages = messages or (say(0, "ann", "one"),)
    (chunk,) = chunk_messages(strategy, messages, count_tokens=count_words, max_tokens=64)
    return chunk.key


def test_a_key_follows_from_everything_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    one = say(0, "ann", "one")
    keys = [
        key_of(),
        key_of("conversation"),
        key_of("temporal", replace(one, id=one.id + 1)),
        key_of("temporal", replace(one, text="other")),
        key_of("temporal", replace(one, author_name="bob")),
        key_of("temporal", one, say(1, "ann", "two")),
    ]
    monkeypatch.setattr(strategies, "CHUNKING_VERSION", strategies.CHUNKING_VERSION + 1)
    keys.append(key_of())
    assert len(set(keys)) == len(keys)


def test_equal_parts_have_keys_of_their_own() -> None:
    chunks = chunk_messages("temporal", [say(0, "ann", "ha ha ha ha ")], count_tokens=count_words, max_tokens=6)
    assert chunks[0].text == chunks[1].text
    assert chunks[0].key != chunks[1].key


def test_a_key_stays_what_it_was() -> None:
    # Another key for the same chunk re-embeds every server: change this only along with CHUNKING_VERSION.
    message = SourceMessage(1 << 22, 7, "ann", "one")
    assert key_of("temporal", message) == "fae42f36d69067e9bdd281117bbb8b1a"


def test_only_the_settings_that_a_strategy_reads_change_its_version() -> None:
    others = ChunkingOptions(window_ms=60_000), ChunkingOptions(gap_ms=60_000), ChunkingOptions(author_gap_ms=60_000)
    changed = {
        strategy: [strategy_version(strategy, each) != strategy_version(strategy) for each in others]
        for strategy in STRATEGIES
    }
    assert changed == {
        "single": [False, False, False],
        "temporal": [True, False, False],
        "conversation": [False, True, False],
        "sliding_window": [False, True, False],
        "author": [False, False, True],
        "tokens": [False, False, False],
    }


# --- the plain strategies ---


def test_single_messages_stay_alone() -> None:
    assert texts("single", say(0, "ann", "one"), say(1, "ann", "two")) == ["ann: one", "ann: two"]


def test_an_authors_run_ends_with_anothers_word() -> None:
    messages = say(0, "ann", "one"), say(1, "ann", "two"), say(2, "bob", "three"), say(3, "ann", "four")
    assert texts("author", *messages) == ["ann: one\nann: two", "bob: three", "ann: four"]


@pytest.mark.parametrize(
    ("count", "windows"),
    [(2, ["0-1"]), (5, ["0-4"]), (6, ["0-4", "3-5"]), (8, ["0-4", "3-7"]), (9, ["0-4", "3-7", "6-8"])],
)
def test_sliding_windows_overlap_and_end_with_the_segment(count: int, windows: list[str]) -> None:
    messages = [say(at, "ann", str(at)) for at in range(count)]
    chunks = chunk_messages(
        "sliding_window",
        messages,
        count_tokens=count_words,
        max_tokens=256,
        options=ChunkingOptions(window_messages=5, overlap_messages=2),
    )
    spoken = [[line.removeprefix("ann: ") for line in chunk.text.split("\n")] for chunk in chunks]
    assert [f"{lines[0]}-{lines[-1]}" for lines in spoken] == windows


def test_an_overlong_message_of_two_windows_is_split_once() -> None:
    messages = [say(0, "ann", "one"), say(1, "ann", "long " * 20), say(2, "ann", "two")]
    options = ChunkingOptions(window_messages=2, overlap_messages=1)
    chunks = chunk_messages("sliding_window", messages, count_tokens=count_words, max_tokens=16, options=options)
    assert [chunk.part for chunk in chunks if chunk.message_ids == (messages[1].id,)] == [0, 1]


def test_tokens_fill_what_the_model_reads_whoever_speaks_and_when() -> None:
    messages = say(0, "ann", "one"), say(3 * HOUR, "bob", "two"), say(5 * HOUR, "cal", "three")
    assert texts("tokens", *messages, max_tokens=6) == ["ann: one\nbob: two", "cal: three"]
