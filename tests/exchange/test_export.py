"""What an export writes, and that it comes back as it went."""

from __future__ import annotations

import csv
import io
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragd.errors import CannotCreateError, UsageError
from ragd.exchange import formats
from ragd.exchange.exporting import Exporter, Wanted
from ragd.exchange.fields import LARGEST_ID, UnfitError
from ragd.exchange.formats import CSV_COLUMNS, Format
from ragd.exchange.importing import Importer
from ragd.exchange.writing import iso
from ragd.snowflake import to_unix_ms
from ragd.store import Store, exports
from ragd.store.events import ChannelsSeen, Deleted, GuildSeen, MessageRow, PageRead, Posted
from tests.exchange.files import dce_message, there_and_back
from tests.store.factories import CHANNEL, GUILD, at, channel, message


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE", 2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "ragd.sqlite3")
    store.ingest().apply([GuildSeen(GUILD, "Guild"), ChannelsSeen([channel(), channel(id=11, name="other")])])
    yield store
    store.close()


def fill(store: Store, *rows: MessageRow) -> None:
    store.ingest().apply([Posted(row) for row in rows])


def text_of(store: Store, form: Format, **wanted: Any) -> str:
    stream = io.BytesIO()
    Exporter(store, Wanted(format=form, **wanted)).into_stream(stream)
    return stream.getvalue().decode()


def jsonl_ids(store: Store, **wanted: Any) -> list[int]:
    return [int(orjson.loads(line)["id"]) for line in text_of(store, Format.JSONL, **wanted).splitlines()]


def test_deleted_messages_are_not_in_it(store: Store) -> None:
    fill(store, *(message(at(i)) for i in range(5)))
    store.ingest().apply([Deleted(GUILD, CHANNEL, [at(2)])])
    assert jsonl_ids(store) == [at(0), at(1), at(3), at(4)]


def test_channels_by_name_or_id_with_their_threads(store: Store) -> None:
    store.ingest().apply([ChannelsSeen([channel(id=12, name="post", type=11, parent_id=11)])])
    fill(store, message(at(1)), message(at(2), channel_id=11), message(at(3), channel_id=12))
    assert jsonl_ids(store, channels=["#Other"]) == jsonl_ids(store, channels=["11"]) == [at(2), at(3)]
    assert jsonl_ids(store, channels=["general", "post"]) == [at(1), at(3)]
    with pytest.raises(UsageError, match="--channel=nowhere: the store knows no such channel"):
        jsonl_ids(store, channels=["nowhere"])


def test_a_channel_that_is_left_out_must_be_named_and_one_out_of_reach_need_not(store: Store) -> None:
    fill(store, message(at(1)), message(at(2), channel_id=11))
    store._execute("UPDATE channel SET excluded = 1 WHERE id = 11")
    store._execute("UPDATE channel SET readable = 0 WHERE id = ?", CHANNEL)
    assert jsonl_ids(store) == [at(1)]
    assert jsonl_ids(store, channels=["other"]) == [at(2)]


def test_times_bound_it(store: Store) -> None:
    fill(store, *(message(at(i)) for i in range(5)))
    assert jsonl_ids(store, first_id=at(1), last_id=at(3) - 1) == [at(1), at(2)]


def test_a_line_says_all_of_a_message(store: Store) -> None:
    fill(store, message(at(1), "line\nend", extra='{"pinned":true}', reply_to_id=at(0), edited_at=to_unix_ms(at(9))))
    assert orjson.loads(text_of(store, Format.JSONL)) == {
        "id": str(at(1)),
        "time": "2023-11-14T22:13:21.000+00:00",
        "edited_at": "2023-11-14T22:13:29.000+00:00",
        "guild_id": str(GUILD),
        "guild": "Guild",
        "channel_id": str(CHANNEL),
        "channel": "general",
        "parent_id": None,
        "author_id": "5",
        "author": "ann",
        "is_bot": False,
        "type": 0,
        "reply_to_id": str(at(0)),
        "content": "line\nend",
        "extra": {"pinned": True},
        "reactions": {},
        "url": f"https://discord.com/channels/{GUILD}/{CHANNEL}/{at(1)}",
    }


def test_a_spreadsheet_takes_nothing_for_a_formula(store: Store) -> None:
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '"quoted", and\r\nmore', "5 = 5"]
    fill(store, *(message(at(i), text, author_name="=cmd") for i, text in enumerate(texts)))
    rows = list(csv.DictReader(io.StringIO(text_of(store, Format.CSV), newline="")))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["content"] for row in rows] == [*(f"'{text}" for text in texts[:6]), *texts[6:]]
    assert {row["author"] for row in rows} == {"'=cmd"}
    assert rows[0]["id"] == str(at(0))


# Files


def test_a_file_a_channel_named_as_the_exporter_names_them(store: Store, tmp_path: Path) -> None:
    store._execute("UPDATE channel SET name = 'a/b:c' WHERE id = ?", CHANNEL)
    fill(store, message(at(1)))
    out = tmp_path / "out"
    out.mkdir()
    previous = os.umask(0o077)
    try:
        (written,) = Exporter(store, Wanted()).into_directory(out)
    finally:
        os.umask(previous)
    (path,) = out.iterdir()
    assert path.name == f"Guild - a_b_c [{CHANNEL}].json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert (written.file, written.messages, written.bytes) == (str(path), 1, path.stat().st_size)
    assert orjson.loads(path.read_bytes())["messageCount"] == 1


def test_a_name_that_is_too_long_is_cut(store: Store, tmp_path: Path) -> None:
    store._execute("UPDATE channel SET name = ? WHERE id = ?", "é" * 300, CHANNEL)
    fill(store, message(at(1)))
    (written,) = Exporter(store, Wanted()).into_directory(tmp_path)
    assert len(Path(written.file).name.encode()) <= 200
    assert written.file.endswith(f"[{CHANNEL}].json")


def test_nothing_is_overwritten_unless_asked_for(store: Store, tmp_path: Path) -> None:
    fill(store, message(at(1)))
    target = tmp_path / "all.jsonl"
    target.write_text("mine")
    exporter = Exporter(store, Wanted(format=Format.JSONL))
    with pytest.raises(CannotCreateError, match=r"all\.jsonl is there already"):
        exporter.into_file(target)
    assert target.read_text() == "mine"
    assert exporter.into_file(target, force=True).messages == 1


def test_a_file_that_cannot_be_finished_is_not_there(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, *(message(at(i)) for i in range(3)))
    out = tmp_path / "out"
    out.mkdir()

    def break_off(*_: object) -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    monkeypatch.setattr(formats, "jsonl", break_off)
    with pytest.raises(KeyboardInterrupt):
        Exporter(store, Wanted(format=Format.JSONL)).into_file(out / "f.jsonl")
    assert list(out.iterdir()) == []


def test_what_others_left_where_a_file_is_made_is_not_written_to(store: Store, tmp_path: Path) -> None:
    """In a shared directory it would make the export theirs, or have it overwrite what a link points at."""
    fill(store, message(at(1)))
    planted, linked, victim = tmp_path / ".a.jsonl.partial", tmp_path / ".b.jsonl.partial", tmp_path / "victim"
    planted.touch()
    planted.chmod(0o666)
    victim.write_text("precious")
    linked.symlink_to(victim)
    previous = os.umask(0o077)
    try:
        with planted.open("rb") as theirs:
            for name in ("a.jsonl", "b.jsonl"):
                Exporter(store, Wanted(format=Format.JSONL)).into_file(tmp_path / name)
            assert theirs.read() == b""
    finally:
        os.umask(previous)
    assert victim.read_text() == "precious"
    for name in ("a.jsonl", "b.jsonl"):
        assert (tmp_path / name).lstat().st_mode == stat.S_IFREG | 0o600
    (tmp_path / ".c.jsonl.partial").mkdir()
    with pytest.raises(CannotCreateError, match=r"cannot write .*\.c\.jsonl\.partial"):
        Exporter(store, Wanted(format=Format.JSONL)).into_file(tmp_path / "c.jsonl")


def test_one_file_of_the_exporters_shape_holds_one_channel(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 channels do not fit"):
        Exporter(store, Wanted()).into_file(tmp_path / "f.json")


def test_a_directory_that_is_not_there(store: Store, tmp_path: Path) -> None:
    with pytest.raises(CannotCreateError, match="cannot write"):
        Exporter(store, Wanted(format=Format.CSV)).into_file(tmp_path / "no" / "f.csv")


# There and back

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ids = st.integers(1, LARGEST_ID)
named = st.fixed_dictionaries({"id": ids, "name": words})
embeds = st.fixed_dictionaries(
    {},
    optional={
        "type": st.just("link"),
        "title": words,
        "description": words,
        "url": words,
        "timestamp": st.integers(1, 4_000_000_000_000),
        "author": st.fixed_dictionaries({"name": words}, optional={"url": words}),
        "provider": st.fixed_dictionaries({"name": words}),
        "footer": st.fixed_dictionaries({"text": words}),
        "fields": st.lists(
            st.fixed_dictionaries({"name": words, "value": words}, optional={"inline": st.just(True)}), max_size=2
        ),
    },
)
extras = st.fixed_dictionaries(
    {},
    optional={
        "attachments": st.lists(
            st.fixed_dictionaries({"id": ids, "name": words, "size": st.integers(0, 2**40)}, optional={"type": words}),
            max_size=2,
        ),
        "components": st.lists(st.fixed_dictionaries({"type": st.just("button"), "label": words}), max_size=2),
        "embeds": st.lists(embeds, max_size=2),
        "flags": st.integers(1, 64),
        "interaction": st.fixed_dictionaries({"id": ids, "type": st.just(2), "user": named, "command": words}),
        "mentions": st.lists(named, max_size=3),
        "pinned": st.just(True),
        "poll": st.fixed_dictionaries({"question": words, "answers": st.just([])}),
        "reference": st.fixed_dictionaries({"type": st.just("forward"), "message_id": ids, "channel_id": ids}),
        "snapshots": st.lists(st.fixed_dictionaries({"content": words, "created_at": ids}), max_size=2),
        "stickers": st.lists(named | words, max_size=2),
    },
)
reactions = st.dictionaries(words.filter(bool) | ids.map(lambda i: f"party:{i}"), st.integers(1, 99), max_size=3)


@st.composite
def stored_messages(draw: st.DrawFn) -> list[tuple[MessageRow, dict[str, int]]]:
    found = []
    for nth, extra in enumerate(draw(st.lists(extras, max_size=5))):
        row = message(
            at(nth),
            draw(words),
            author_id=draw(ids),
            author_name=draw(words),
            is_bot=draw(st.booleans()),
            type=draw(st.sampled_from([0, 7, 19, 20, 46])),
            extra=orjson.dumps(extra, option=orjson.OPT_SORT_KEYS).decode(),
            reply_to_id=None if "reference" in extra else draw(st.none() | ids),
            edited_at=draw(st.just(0) | st.integers(to_unix_ms(at(nth)) + 1, 2_000_000_000_000)),
        )
        found.append((row, draw(reactions)))
    return found


COLUMNS = (
    "id, guild_id, channel_id, author_id, author_name, is_bot, type, content, extra, reactions, reply_to_id, edited_at,"
    " chunkable"
)


@settings(max_examples=40, deadline=None)
@given(stored_messages())
def test_what_is_exported_and_imported_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, messages: list[tuple[MessageRow, dict[str, int]]]
) -> None:
    home = tmp_path_factory.mktemp("round")
    source, target = Store.open(home / "a.sqlite3"), Store.open(home / "b.sqlite3")
    rows = [row for row, _ in messages]
    source.ingest().apply([GuildSeen(GUILD, "Guild"), ChannelsSeen([channel(parent_id=9)])])
    source.ingest().apply([PageRead(GUILD, CHANNEL, at(0), at(99), rows)])
    for row, counts in messages:
        source._execute(
            "UPDATE message SET reactions = ? WHERE id = ?",
            orjson.dumps(counts, option=orjson.OPT_SORT_KEYS).decode(),
            row.id,
        )
    for written in Exporter(source, Wanted()).into_directory(home):
        assert Importer(target).run(Path(written.file)).is_sound
    query = f"SELECT {COLUMNS} FROM message ORDER BY id"
    assert target._all(query) == source._all(query)
    if messages:
        assert target.coverage.intervals(CHANNEL) == [(at(0), at(99))]
        assert target._all("SELECT name, parent_id, type FROM channel") == [("general", 9, 0)]
    source.close()
    target.close()


FULL_EXTRA: dict[str, Any] = {
    "application_id": 4,
    "attachments": [
        {"id": 1, "name": "a.ogg", "type": None, "size": 3, "title": "t", "description": "d", "duration_seconds": 1.5}
    ],
    "components": [{"type": "row", "parts": [{"type": "button", "label": "l", "url": "u"}]}],
    "embeds": [
        {
            "type": "link",
            "title": "t",
            "author": {"name": "n", "url": "u"},
            "fields": [{"name": "a", "value": "b", "inline": True}],
            "footer": {"text": "f"},
            "timestamp": 5,
        }
    ],
    "flags": 1,
    "interaction": {"id": 5, "type": 2, "command": "c", "user": {"id": 3, "name": "n"}},
    "mention_channels": [{"id": 1, "name": "c"}],
    "mention_everyone": True,
    "mention_roles": [{"id": 1, "name": "c"}],
    "mentions": [{"id": 1, "name": "c"}],
    "pinned": True,
    "poll": {"question": "q", "answers": [{"id": 1, "text": "t", "votes": 3}], "expires_at": 5, "finished": True},
    "reference": {"type": "forward", "message_id": 4, "channel_id": 3, "guild_id": 3},
    "snapshots": [
        {"content": "x", "created_at": 5, "edited_at": 6, "attachments": [{"id": 1, "name": "a", "size": 1}]}
    ],
    "stickers": [{"id": 1, "name": "s"}, {"name": "old"}, "older"],
    "thread_id": 5,
    "webhook_id": 6,
}
"""All that a message can carry, and what earlier versions stored."""

FULL_MESSAGE = dce_message(
    at(1),
    "hi <@1>",
    timestampEdited=iso(to_unix_ms(at(2))),
    reference={"type": "Forward", "messageId": "4", "channelId": "5", "guildId": "6"},
    attachments=[{"id": "1", "fileName": "a", "fileSizeBytes": 1}],
    components=[{"type": "ActionRow", "components": [{"type": "Button", "label": "l"}]}],
    embeds=[{"title": "t", "timestamp": iso(5), "author": {"name": "n"}, "footer": {"text": "f"}, "fields": []}],
    stickers=[{"id": "1", "name": "s"}],
    reactions=[{"emoji": {"id": "9", "name": "x"}, "count": 2}],
    mentions=[{"id": "1", "name": "n"}],
    interaction={"id": "5", "name": "c", "user": {"id": "3", "name": "n"}},
    forwardedMessage={"timestamp": iso(5), "content": "x", "attachments": [{"id": "1", "fileName": "a"}]},
)

Place = tuple[str | int, ...]


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Of every value within it."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*place, key)
        yield from places(inner, (*place, key))


def replaced(value: Any, place: Place, new: object) -> Any:
    """A copy with another value in that place."""
    if not place:
        return new
    key, *rest = place
    copy: Any = value.copy()
    copy[key] = replaced(value[key], tuple(rest), new)
    return copy


OURS = dce_message(at(1), "hi <@1>", ragd={"extra": FULL_EXTRA})
REPLY = dce_message(at(1), reference={"messageId": "4"}, ragd={"extra": FULL_EXTRA})
SEEDS = (OURS, FULL_MESSAGE, REPLY)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words | st.sampled_from(["id", "name", "type"]), inner),
    max_leaves=4,
)


def test_all_that_a_message_can_carry_comes_back() -> None:
    for said in SEEDS:
        first, again = there_and_back(said)
        assert again == first
    assert orjson.loads(there_and_back(OURS)[0].row.extra) == FULL_EXTRA


@pytest.mark.parametrize("new", [None, 5, -1, 2**63, 1.5, "x", "\x00", True, [], [1], ["x"], {}, {"a": 1}, [{}], [[]]])
def test_whatever_stands_in_a_place_of_a_message_what_is_imported_can_be_exported(new: object) -> None:
    for said in SEEDS:
        for place in places(said):
            with suppress(UnfitError):
                first, again = there_and_back(replaced(said, place, new))
                assert again == first, place


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([(said, place) for said in SEEDS for place in places(said)]), anything)
def test_what_is_imported_can_be_exported(place_in: tuple[Any, Place], new: object) -> None:
    with suppress(UnfitError):
        first, again = there_and_back(replaced(*place_in, new))
        assert again == first


@pytest.mark.parametrize("depth", [20, 60, 120, 124, 125, 126, 127, 300])
def test_what_is_imported_is_not_too_deep_to_be_exported(depth: int) -> None:
    component: dict[str, Any] = {"label": "l"}
    for _ in range(depth - 1):
        component = {"parts": [component]}
    for extra in ({"components": [component]}, {"snapshots": [{"created_at": 1, "components": [component]}]}):
        with suppress(UnfitError):
            there_and_back(dce_message(at(1), ragd={"extra": extra}))
            assert depth < 127


@pytest.mark.parametrize(
    "extra", ['{"reference":"x"}', '{"attachments":[{"id":1,"name":5}]}', "[]", "{", "[" * 300 + "]" * 300]
)
@pytest.mark.parametrize("form", list(Format))
def test_what_is_stored_and_makes_no_sense_is_left_out_and_counted(store: Store, form: Format, extra: str) -> None:
    """Earlier versions imported some of it."""
    fill(store, message(at(1), "first"), message(at(2), "second", extra='{"pinned":true}'))
    store._execute("UPDATE message SET extra = ? WHERE id = ?", extra, at(1))
    stream = io.BytesIO()
    written = Exporter(store, Wanted(format=form, channels=["general"])).into_stream(stream)
    assert (written.messages, written.damaged) == (2, 1)
    assert all(text in stream.getvalue() for text in (b"first", b"second"))


def test_a_copy_of_a_copy_is_no_newer_than_the_first(store: Store, tmp_path: Path) -> None:
    """Or an old file, imported, exported and imported elsewhere, would win over a newer one."""
    other = Store.open(tmp_path / "other.sqlite3")
    store._execute("DELETE FROM channel")
    fill(store, message(at(1)))
    store._execute("UPDATE message SET source = 'import', received_at = 1700000000123")
    store.ingest().apply([ChannelsSeen([channel()])])
    (written,) = Exporter(store, Wanted()).into_directory(tmp_path)
    Importer(other).run(Path(written.file))
    assert other._all("SELECT received_at FROM message") == [(1_700_000_000_123,)]
    other.close()
