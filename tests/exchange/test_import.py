"""What an import does to a store: rows, precedence, coverage, reports; and what it does not take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragd.errors import UsageError
from ragd.exchange import fileimport
from ragd.exchange.importing import Importer, find_files
from ragd.exchange.report import FileReport
from ragd.exchange.writing import iso
from ragd.snowflake import from_unix_seconds
from ragd.store import Store
from ragd.store.events import ChannelGone, ChannelsSeen, Deleted, GuildSeen, PageRead, Posted
from ragd.store.vectors import Filter
from tests.exchange.files import EXPORTED, dce_message, document, write
from tests.store.factories import CHANNEL, GUILD, START, at, channel, message

LATER = EXPORTED + 3_600_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "ragd.sqlite3", durability="FULL")
    yield store
    store.close()


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fileimport, "BATCH", 2)


def run(store: Store, path: Path, **options: Any) -> FileReport:
    return Importer(store, **options).run(path)


def rows(store: Store) -> dict[int, tuple[str, str]]:
    found = store._all("SELECT id, iif(deleted, '(deleted)', content), source FROM message")
    return {row[0]: (row[1], row[2]) for row in found}


def extra_of(store: Store, message_id: int) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(store._one("SELECT extra FROM message WHERE id = ?", message_id)[0])
    return found


def nested(depth: int, key: str) -> dict[str, Any]:
    """Components within components."""
    component: dict[str, Any] = {"type": "Button", "label": "Go"}
    for _ in range(depth - 1):
        component = {"type": "Container", key: [component]}
    return {"components": [component]}


def some(*seconds: int) -> list[dict[str, Any]]:
    return [dce_message(at(second), f"number {second}") for second in seconds]


# Rows


def test_a_file_becomes_messages_of_a_channel_that_nobody_fetches_for(store: Store, tmp_path: Path) -> None:
    report = run(store, write(tmp_path / "f.json", some(1, 2, 3, 4, 5)))
    assert (report.messages, report.new, report.is_sound) == (5, 5, True)
    assert rows(store) == {at(i): (f"number {i}", "import") for i in range(1, 6)}
    assert store._all("SELECT name, imported, readable, last_message_id FROM channel") == [("general", 1, 0, at(5))]
    assert store._all("SELECT name, removed FROM guild") == [("Guild", 0)]
    assert store.coverage.intervals(CHANNEL) == [(1, at(5))]
    assert store.coverage.holes() == []
    assert store.counts().unreadable_channels == 0


def test_all_that_a_message_carries_is_kept(store: Store, tmp_path: Path) -> None:
    person = {"id": "6", "name": "bob", "nickname": None}
    full = dce_message(
        at(1),
        type="Reply",
        timestampEdited=iso((START + 60) * 1000),
        isPinned=True,
        reference={"messageId": str(at(0)), "channelId": str(CHANNEL), "guildId": str(GUILD)},
        attachments=[{"id": "77", "url": "x", "fileName": "a.png", "fileSizeBytes": 12}],
        embeds=[
            {
                "title": "T",
                "url": None,
                "timestamp": iso(START * 1000),
                "description": "D",
                "author": {"name": "A", "url": None},
                "footer": {"text": "F"},
                "fields": [{"name": "n", "value": "v", "isInline": True}],
            }
        ],
        stickers=[{"id": "8", "name": "wave", "format": "Png", "sourceUrl": "x"}],
        components=[{"type": "ActionRow", "components": [{"type": "Button", "label": "Go", "url": "https://x"}]}],
        reactions=[
            {"emoji": {"id": "", "name": "👍", "code": "thumbsup"}, "count": 3, "users": []},
            {"emoji": {"id": "99", "name": "party"}, "count": 1},
        ],
        mentions=[{**person, "id": "7", "nickname": "Cy"}, person],
        interaction={"id": "5", "name": "poll", "user": person},
    )
    assert run(store, write(tmp_path / "f.json", [full])).new == 1
    (columns,) = store._all(
        "SELECT author_id, author_name, is_bot, type, reply_to_id, edited_at, reactions, received_at, chunkable"
        " FROM message"
    )
    reactions = {"party:99": 1, "👍": 3}
    assert columns[:6] == (5, "Ann", 0, 19, at(0), (START + 60) * 1000)
    assert (orjson.loads(columns[6]), *columns[7:]) == (reactions, EXPORTED, 1)
    assert extra_of(store, at(1)) == {
        "attachments": [{"id": 77, "name": "a.png", "size": 12}],
        "components": [{"type": "action_row", "parts": [{"type": "button", "label": "Go", "url": "https://x"}]}],
        "embeds": [
            {
                "title": "T",
                "description": "D",
                "timestamp": START * 1000,
                "author": {"name": "A"},
                "footer": {"text": "F"},
                "fields": [{"name": "n", "value": "v", "inline": True}],
            }
        ],
        "interaction": {"id": 5, "type": 2, "user": {"id": 6, "name": "bob"}, "command": "poll"},
        "mentions": [{"id": 6, "name": "bob"}, {"id": 7, "name": "Cy"}],
        "pinned": True,
        "stickers": [{"id": 8, "name": "wave"}],
    }


def test_a_forward_is_no_reply_and_keeps_what_was_forwarded(store: Store, tmp_path: Path) -> None:
    forward = dce_message(
        at(1),
        "",
        reference={"type": "Forward", "messageId": "44", "channelId": "45", "guildId": str(GUILD)},
        forwardedMessage={"timestamp": iso(START * 1000), "content": "look", "attachments": [], "embeds": []},
    )
    run(store, write(tmp_path / "f.json", [forward]))
    assert store._all("SELECT reply_to_id FROM message") == [(None,)]
    assert extra_of(store, at(1)) == {
        "reference": {"type": "forward", "message_id": 44, "channel_id": 45},
        "snapshots": [{"content": "look", "created_at": START * 1000}],
    }


def test_old_files_lack_most_of_it(store: Store, tmp_path: Path) -> None:
    bare = {"id": str(at(1)), "content": "hello", "author": {"id": "5", "name": "ann"}, "type": "Default"}
    digits = {**bare, "id": str(at(2)), "type": "24"}
    path = write(
        tmp_path / "f.json",
        [bare, digits],
        exportedAt=None,
        dateRange=None,
        messageCount=None,
        channel={"id": str(CHANNEL), "type": "GuildTextChat", "category": "Cat", "name": "general"},
    )
    assert run(store, path).new == 2
    assert store._all("SELECT author_name, type, received_at FROM message") == [
        ("ann", 0, (START + 1) * 1000),
        ("ann", 24, (START + 2) * 1000),
    ]


def test_an_edit_time_that_only_repeats_the_sending_is_none(store: Store, tmp_path: Path) -> None:
    run(store, write(tmp_path / "f.json", [dce_message(at(1), timestampEdited=iso((START + 1) * 1000))]))
    assert store._all("SELECT edited_at FROM message") == [(0,)]


@pytest.mark.parametrize(
    ("kind", "first_id", "parent_type"),
    [("GuildPublicThread", at(1), 0), ("GuildNewsThread", at(1), 5), ("11", 11, 15)],
)
def test_a_thread_comes_with_its_parent(
    store: Store, tmp_path: Path, kind: str, first_id: int, parent_type: int
) -> None:
    thread = {"id": "11", "type": kind, "categoryId": "10", "category": "help", "name": "a question"}
    run(store, write(tmp_path / "f.json", [dce_message(first_id)], channel=thread))
    assert store._all("SELECT id, parent_id, type, name, imported FROM channel ORDER BY id") == [
        (10, None, parent_type, "help", 1),
        (11, 10, 10 if kind == "GuildNewsThread" else 11, "a question", 1),
    ]


# Precedence


def test_importing_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "f.json", some(1, 2, 3))
    run(store, path)
    before = store._all("SELECT * FROM message")
    report = run(store, path)
    assert (report.new, report.known, report.updated) == (0, 3, 0)
    assert store._all("SELECT * FROM message") == before


def test_what_discord_said_is_never_changed(store: Store, tmp_path: Path) -> None:
    ingest = store.ingest()
    ingest.apply([ChannelsSeen([channel()]), Posted(message(at(1), "live"))])
    ingest.apply([PageRead(GUILD, CHANNEL, 1, at(2), [message(at(1), "live"), message(at(2), "read")])])
    report = run(store, write(tmp_path / "f.json", some(1, 2), exportedAt=iso(LATER * 10)))
    assert (report.older, report.new) == (2, 0)
    assert rows(store) == {at(1): ("live", "gateway"), at(2): ("read", "rest")}
    assert store._all("SELECT name, imported, readable FROM channel") == [("general", 0, 1)]


def test_what_discord_says_later_takes_the_place_of_a_files_word(store: Store, tmp_path: Path) -> None:
    edited = dce_message(at(1), "from a file", timestampEdited=iso(LATER), isPinned=True)
    run(store, write(tmp_path / "f.json", [edited]))
    store.ingest().apply([GuildSeen(GUILD, "real"), ChannelsSeen([channel(at(1), name="real")])])
    store.ingest().apply([PageRead(GUILD, CHANNEL, 1, at(1), [message(at(1), "from Discord")])])
    assert rows(store) == {at(1): ("from Discord", "rest")}
    assert store._all("SELECT edited_at, extra, author_name FROM message") == [(0, "{}", "ann")]
    assert store._all("SELECT name, imported, readable FROM channel") == [("real", 0, 1)]
    assert [proof.source for proof in store.coverage.proofs(CHANNEL)] == ["rest"]


def test_what_was_deleted_does_not_come_back(store: Store, tmp_path: Path) -> None:
    """By a tombstone, or because Discord listed the interval and it was not in it."""
    ingest = store.ingest()
    ingest.apply([ChannelsSeen([channel(at(9))]), Deleted(GUILD, CHANNEL, [at(1)])])
    ingest.apply([PageRead(GUILD, CHANNEL, at(2), at(4), [message(at(3))])])
    report = run(store, write(tmp_path / "f.json", some(1, 2, 5)))
    assert [(skipped.reason, skipped.count) for skipped in report.skipped.values()] == [("deleted on Discord", 2)]
    assert report.is_sound
    assert rows(store) == {at(1): ("(deleted)", "gateway"), at(3): ("hello", "rest"), at(5): ("number 5", "import")}


def test_a_message_deleted_after_the_import_stays_deleted(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "f.json", some(1, 2))
    run(store, path)
    store.ingest().apply([ChannelsSeen([channel(at(2))]), Deleted(GUILD, CHANNEL, [at(1)])])
    run(store, path)
    assert rows(store)[at(1)] == ("(deleted)", "import")


def test_a_channel_that_was_deleted_or_is_left_out_takes_nothing(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "f.json", some(1))
    store.ingest().apply([ChannelsSeen([channel()]), ChannelGone(CHANNEL)])
    assert list(run(store, path).skipped) == ["deleted on Discord"]
    store._execute("UPDATE channel SET deleted = 0, excluded = 1")
    assert list(run(store, path).skipped) == ["in a channel that is left out"]
    assert (rows(store), store.coverage.intervals(CHANNEL)) == ({}, [])


def test_a_message_that_is_in_another_channel_stays_there(store: Store, tmp_path: Path) -> None:
    store.ingest().apply([Posted(message(at(1), channel_id=99))])
    assert list(run(store, write(tmp_path / "f.json", some(1))).skipped) == ["in another channel here"]
    assert store._all("SELECT channel_id FROM message") == [(99,)]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from([1, 2, 3]), st.sampled_from("abc"), min_size=1), min_size=2, max_size=3),
    st.data(),
)
def test_of_several_exports_the_latest_word_counts_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, exports: list[dict[int, str]], draw: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("exports")
    paths = [
        write(
            folder / f"{nth}.json",
            [dce_message(at(second), words) for second, words in sorted(words_at.items())],
            exportedAt=iso(EXPORTED + nth * 1000),
        )
        for nth, words_at in enumerate(exports)
    ]
    order = draw.draw(st.permutations(paths))
    store = Store.open(folder / "ragd.sqlite3")
    for path in order:
        assert run(store, path).is_sound
    latest = {at(second): words for words_at in exports for second, words in words_at.items()}
    assert {key: words for key, (words, _) in rows(store).items()} == latest
    store.close()


# Coverage


def test_a_date_range_bounds_what_is_complete(store: Store, tmp_path: Path) -> None:
    ranged = {"after": iso(START * 1000), "before": iso((START + 100) * 1000)}
    run(store, write(tmp_path / "f.json", some(1, 2), dateRange=ranged))
    assert store.coverage.intervals(CHANNEL) == [(from_unix_seconds(START + 0.001), at(100) - 1)]


@pytest.mark.parametrize("ranged", [{"before": "9999-12-31T23:59:59"}, {"after": "9999-12-31T23:59:59"}])
def test_a_time_that_has_no_ids_any_more_is_no_error(store: Store, tmp_path: Path, ranged: dict[str, str]) -> None:
    path = write(tmp_path / "f.json", some(1), dateRange=ranged, exportedAt="9999-12-31T23:59:59")
    assert (run(store, path).new, run(store, path).problem) == (1, "")


def test_the_future_of_an_export_is_not_complete(store: Store, tmp_path: Path) -> None:
    run(store, write(tmp_path / "f.json", some(1), dateRange={"after": None, "before": iso(LATER)}))
    assert store.coverage.intervals(CHANNEL) == [(1, at(1))]


def test_nothing_is_complete_when_the_operator_says_so(store: Store, tmp_path: Path) -> None:
    report = run(store, write(tmp_path / "f.json", some(1, 2)), coverage=False)
    assert (report.new, report.complete_to, store.coverage.intervals(CHANNEL)) == (2, 0, [])


def test_an_export_that_descends_shows_only_what_lies_between_its_ends(store: Store, tmp_path: Path) -> None:
    assert run(store, write(tmp_path / "f.json", some(5, 4, 3, 2, 1))).new == 5
    assert store.coverage.intervals(CHANNEL) == [(at(1), at(5))]


def test_one_that_turns_round_has_its_claims_taken_back_first(store: Store, tmp_path: Path) -> None:
    whole = document(some(1, 2, 8, 9, 3, 4))
    (tmp_path / "f.json").write_text(json.dumps(whole)[:-40])
    run(store, tmp_path / "f.json")
    assert store.coverage.intervals(CHANNEL) == []
    run(store, write(tmp_path / "f.json", some(1, 2, 8, 9, 3, 4)))
    assert store.coverage.intervals(CHANNEL) == [(at(1), at(9))]


def test_taking_back_leaves_what_discord_proved(store: Store, tmp_path: Path) -> None:
    store.ingest().apply([ChannelsSeen([channel(at(9))]), PageRead(GUILD, CHANNEL, at(2), at(4), [message(at(3))])])
    report = run(store, write(tmp_path / "f.json", some(1, 3, 5), messageCount=4))
    assert "expected 3, the number of messages in the file, found messageCount 4" in report.problem
    assert store.coverage.intervals(CHANNEL) == [(at(2), at(4))]
    assert (report.complete_from, report.complete_to) == (0, 0)


def test_parts_of_an_export_go_on_where_the_one_before_ended(store: Store, tmp_path: Path) -> None:
    ranged = {"after": None, "before": iso((START + 50) * 1000)}
    names = ["f.json", *(f"f [part {number}].json" for number in range(2, 12))]
    for number, name in enumerate(names):
        write(tmp_path / name, some(number * 2 + 1, number * 2 + 2), dateRange=ranged)
    importer = Importer(store)
    files = find_files([tmp_path])
    assert [file.name for file in files] == names
    assert importer.run(files[0]).complete_to == at(2), "there are other parts, so not up to `before`"
    importer.run(files[2])
    assert store.coverage.intervals(CHANNEL) == [(1, at(2)), (at(5), at(6))], (
        "a part alone begins with its first message"
    )
    for file in files[1:]:
        importer.run(file)
    assert store.coverage.intervals(CHANNEL) == [(1, at(50) - 1)]


# Bad input


def test_a_broken_end_costs_only_itself(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    raw = json.dumps(document(some(1, 2, 3, 4, 5)))
    cut = raw.index(str(at(4))) + 100
    path.write_text(raw[:cut])
    report = run(store, path)
    begins = raw.index(str(at(4))) - len('{"id": "')
    expected = f"the end of the object that begins at byte {begins:,}"
    assert report.problem == f"f.json: byte {cut:,}: expected {expected}, found the end of the file"
    assert (report.new, report.bytes_read) == (3, begins)
    assert store.coverage.intervals(CHANNEL) == [(1, at(3))], "up to where it broke off it was whole"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": "x"}, "id: expected an id, found a text"),
        ({"id": None}, "id: expected an id, found nothing"),
        ({"id": "9" * 19}, "id: expected an id, found a text"),
        ({"content": 5}, "content: expected a text, found a number"),
        ({"author": {"name": "ann"}}, "author.id: expected an id, found nothing"),
        ({"author": []}, "author: expected an object, found a list"),
        ({"type": "Telepathy"}, "type: expected a type of message, found another text"),
        ({"timestampEdited": "yesterday"}, "timestampEdited: expected an ISO 8601 time, found another text"),
        ({"attachments": [{"id": {}}]}, "attachments[].id: expected an id, found an object"),
        ({"reactions": [1]}, "reactions[]: expected an object, found a number"),
        ({"ragd": {"extra": {"embeds": [7]}}}, "ragd.extra: expected what ragd wrote, found something else"),
        ({"ragd": {"extra": nested(400, "parts")}}, "ragd.extra: expected what ragd wrote, found something else"),
        ({"id": str(2**63 - 1)}, "id: expected an id, found a text"),
        (
            {"reactions": [{"emoji": {"name": "x"}, "count": 2**64 - 1}] * 2},
            "reactions[].count: expected a size or count, found a number",
        ),
        (
            nested(21, "components"),
            "components[]." * 20 + "components: expected at most 20 within one another, found more",
        ),
        (
            nested(400, "components"),
            "components[]." * 20 + "components: expected at most 20 within one another, found more",
        ),
        ({"content": "w" * 2**18}, "content: expected at most 262,144 characters in all, found more"),
    ],
)
def test_a_message_that_makes_no_sense_is_left_out_and_breaks_the_claim(
    store: Store, tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    broken = dce_message(at(3), **fields)
    path = write(tmp_path / "f.json", [*some(1, 2), broken, *some(4, 5)])
    report = run(store, path)
    text = path.read_text()
    offset = text.index("    {\n      ", text.index("number 2")) + 4
    assert [(s.reason, s.count, s.first_byte) for s in report.skipped.values()] == [(reason, 1, offset)]
    assert (report.new, report.problem, report.is_sound) == (4, "", False)
    assert store.coverage.intervals(CHANNEL) == [(1, at(2)), (at(4), at(5))]


@pytest.mark.parametrize("value", [r'"\ud800"', "[" * 2000 + "]" * 2000, "1e999"])
def test_a_message_that_cannot_be_kept_is_left_out_like_others(store: Store, tmp_path: Path, value: str) -> None:
    """Half of a surrogate pair, for one, which JSON may escape and UTF-8 cannot hold."""
    text = json.dumps(document([*some(1, 2), dce_message(at(3), "?"), *some(4), dce_message(at(5), "?"), *some(6)]))
    path = tmp_path / "f.json"
    path.write_text(text.replace('"?"', value))
    report = run(store, path)
    (skipped,) = report.skipped.values()
    assert skipped.reason.startswith("expected JSON that can be kept, found more (")
    assert (skipped.count, skipped.first_byte) == (2, text.index(f'{{"id": "{at(3)}"'))
    assert (report.messages, report.new, report.problem, report.is_sound) == (6, 4, "", False)
    assert store.coverage.intervals(CHANNEL) == [(1, at(2)), (at(4), at(4)), (at(6), at(6))]


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ({"guild": None}, "expected 'guild' before the messages, as DiscordChatExporter writes it, found `[`"),
        ({"guild": {"id": "0", "name": "Direct Messages"}}, "guild.id: expected the id of a server, found none"),
        ({"guild": 7}, "expected 'guild' to be an object, found something else"),
        ({"channel": {"id": "1", "type": "DirectTextChat"}}, "channel.type: expected a channel of a server that holds"),
        ({"exportedAt": "once"}, "exportedAt: expected an ISO 8601 time, found another text"),
        ({"ragd": {"complete": [["1"]]}}, "ragd.complete[]: expected two ids, found something else"),
        ({"messages": None}, "expected `messages`, as DiscordChatExporter writes it, found the end of the file"),
        ({"messages": {}}, "expected a list, `[`, found `{`"),
    ],
)
def test_foreign_json_is_refused(store: Store, tmp_path: Path, members: dict[str, Any], complaint: str) -> None:
    before = {key: value for key, value in members.items() if key != "messages"}
    whole = {**document(some(1), messageCount=None, **before), **members}
    (tmp_path / "f.json").write_text(json.dumps({key: value for key, value in whole.items() if value is not None}))
    report = run(store, tmp_path / "f.json")
    assert report.problem.startswith("f.json: byte ")
    assert complaint in report.problem
    assert store.counts().messages == store.counts().channels == 0


def test_files_are_looked_for_before_anything_is_imported(tmp_path: Path) -> None:
    write(tmp_path / "b.json")
    write(tmp_path / "a.json")
    assert [file.name for file in find_files([tmp_path, tmp_path / "b.json"])] == ["a.json", "b.json", "b.json"]
    with pytest.raises(UsageError, match=r"c\.json: no such file"):
        find_files([tmp_path, tmp_path / "c.json"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no \*\.json"):
        find_files([tmp_path / "empty"])


def test_what_is_imported_can_be_found(store: Store, tmp_path: Path) -> None:
    """The syncer follows the change numbers, and the searcher shows a channel that was imported."""
    run(store, write(tmp_path / "f.json", some(1)))
    changes = [row[0] for row in store._all("SELECT change FROM message WHERE chunkable")]
    assert changes == [store._one("SELECT value FROM counter WHERE name = 'message_change'")[0]]
    store._execute(
        "INSERT INTO chunk (id, key, strategy, channel_id, cell, first_id, last_id, text, text_hash, change)"
        " VALUES (1, 'k', 's', ?, 0, ?, ?, 't', x'00', 1)",
        CHANNEL,
        at(1),
        at(1),
    )
    store._execute("INSERT INTO chunk_message VALUES (1, ?)", at(1))
    assert store.vectors.allowed_chunks("s", Filter(channel_ids=[CHANNEL])) == [1]
    assert [m.content for m in store.vectors.passages([1])[1].messages] == ["number 1"]
