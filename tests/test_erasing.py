"""The eraser: what it does with files, what it waits for, and what the receipt says."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from ragd import erasing
from ragd.backup import DIRECTORY, make_backup, put_back
from ragd.backup_manifest import Backup, Manifest, expected_ends
from ragd.cli.forget import _resolve
from ragd.cli.purge import _places
from ragd.cli.receipts import show_receipt
from ragd.config import Settings, load_settings
from ragd.erasing import Eraser, copies_left
from ragd.errors import ConfigError, DamagedError, RagdError, TransientError, UsageError
from ragd.snowflake import from_unix_seconds
from ragd.store import Store
from ragd.store.erasure import SLICE, Erasure
from ragd.store.events import ChannelsSeen, Deleted, GuildSeen, Posted
from ragd.store.promises import FILE, catch_up, read_promises
from ragd.store.rewriting import rewrite_database
from tests.store.factories import CHANNEL, GUILD, at, channel, message
from tests.test_status import beat

ANN = 5
WORD = b"zqxwobble"

_minutes = itertools.count()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(RAGD_DATA_DIR=str(tmp_path), DISCORD_BOT_TOKEN="t")


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    store = Store.open(settings.database_path)
    store.ingest().apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel()])])
    post(store, *(at(nth) for nth in range(1, 100)))
    yield store
    store.close()


def post(store: Store, *ids: int, **fields: object) -> None:
    store.ingest().apply([Posted(message(one, f"{WORD.decode()} {one}", author_id=ANN, **fields)) for one in ids])


def forget(store: Store) -> int:
    return store.erasures.forget_user(ANN, store.people.present_id(), "operator")


def found(store: Store, erasure_id: int) -> Erasure:
    erasure = store.erasures.find(erasure_id)
    assert erasure is not None
    return erasure


def steps(eraser: Eraser, count: int) -> None:
    """As many as it takes, the clock going on a minute with each."""
    for _ in range(count):
        eraser.step(time.monotonic() + 60 * next(_minutes))


def test_alone_it_comes_to_an_end_and_leaves_nothing(settings: Settings, store: Store) -> None:
    (settings.index_dir / "temporal").mkdir(parents=True)
    (settings.index_dir / "temporal" / "rows-00000001.npy").write_bytes(b"vectors")
    (settings.data_dir / "capture.spool").write_bytes(WORD)
    erasure_id = forget(store)
    Eraser(settings, store, alone=True).run()
    done = found(store, erasure_id)
    assert (done.state, done.messages) == ("done", 99)
    assert done.receipt["backups"] == []
    assert [path for path in settings.data_dir.rglob("*") if path.is_file() and WORD in path.read_bytes()] == []
    assert list(settings.index_dir.iterdir()) == []


def test_vectors_that_a_killed_syncer_left_go_too(settings: Settings, store: Store) -> None:
    """It stores the vectors of a cell's texts before the next cell has chunks of them."""
    insert = "INSERT INTO vector (model_id, text_hash, data) VALUES (?, ?, ?)"
    for nth in range(4_500):
        store._execute(insert, 1, nth.to_bytes(32, "big"), bytes(4))
    forget(store)
    Eraser(settings, store, alone=True).run()
    assert store._one("SELECT count(*) FROM vector") == (0,)


def test_it_waits_for_the_searcher_and_takes_what_nobody_serves(settings: Settings, store: Store) -> None:
    (settings.index_dir / "single").mkdir(parents=True)
    store._execute("UPDATE counter SET value = 5 WHERE name = 'chunk_change'")
    erasure_id = forget(store)
    steps(eraser := Eraser(settings, store), 5)
    waiting = found(store, erasure_id)
    assert (waiting.state, waiting.problem) == (
        "index",
        "the searcher has to write its index anew: temporal, conversation",
    )
    assert not (settings.index_dir / "single").exists()
    for strategy in settings.auto_sync_strategies:
        store.vectors.note_purged(strategy, store.vectors.purge_wanted())
    steps(eraser, 2)
    assert found(store, erasure_id).state == "done"


def test_it_waits_for_what_capture_has_on_disk(settings: Settings, store: Store) -> None:
    spool = settings.data_dir / "capture.spool"
    spool.write_bytes(WORD)
    erasure_id = forget(store)
    steps(eraser := Eraser(settings, store), 5)
    assert found(store, erasure_id).problem == "capture has events on disk that it has not read: capture.spool"
    spool.unlink()
    steps(eraser, 2)
    assert found(store, erasure_id).state == "done"


def test_it_waits_for_room(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    erasure_id = forget(store)
    usage = shutil.disk_usage(settings.data_dir)
    monkeypatch.setattr(erasing.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(TransientError, match=r"rewriting the database takes \d+ MiB of free space"):
        Eraser(settings, store, alone=True).run()
    assert found(store, erasure_id).state == "file"
    monkeypatch.undo()
    Eraser(settings, store, alone=True).run()
    assert found(store, erasure_id).state == "done"


def test_a_reader_keeps_the_log_and_it_says_so(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "CHECKPOINT_BUSY_SECONDS", 0.0)
    store._execute("UPDATE counter SET value = 5 WHERE name = 'chunk_change'")
    erasure_id = forget(store)
    reader = apsw.Connection(str(settings.database_path))
    reader.execute("BEGIN; SELECT count(*) FROM message").fetchall()
    steps(eraser := Eraser(settings, store), 5)
    assert found(store, erasure_id).problem == "somebody reads the database, so its log cannot be emptied"
    reader.close()
    steps(eraser, 3)
    assert found(store, erasure_id).state == "index"


@pytest.mark.parametrize("litestream", [False, True])
def test_while_somebody_reads_it_tries_twice_a_minute(settings: Settings, store: Store, litestream: bool) -> None:
    """Each try holds up whoever writes."""
    settings = settings.model_copy(update={"litestream": litestream})
    erasure_id = forget(store)
    reader = apsw.Connection(str(settings.database_path))
    reader.execute("BEGIN; SELECT count(*) FROM message").fetchall()
    eraser, now = Eraser(settings, store), time.monotonic()
    while found(store, erasure_id).state != "log" or not found(store, erasure_id).problem:
        eraser.step(now := now + 1)
    assert ("Litestream" in found(store, erasure_id).problem) is litestream
    reader.close()
    eraser.step(now + erasing.CHECKPOINT_SECONDS - 1)
    assert found(store, erasure_id).state == "log"
    eraser.step(now + erasing.CHECKPOINT_SECONDS + 1)
    assert found(store, erasure_id).state == "index"


def test_members_cannot_have_the_file_rewritten_all_the_time(settings: Settings, store: Store) -> None:
    eraser = Eraser(settings, store)
    forget(store)
    steps(eraser, 4)
    post(store, at(200))
    eraser._rewrite_due = float("inf")
    second = store.erasures.forget_user(ANN, store.people.present_id(), "member")
    steps(eraser, 4)
    assert found(store, second).problem == "the file was rewritten a short while ago"


def test_a_rewriting_can_be_broken_off(settings: Settings, store: Store) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rewrite_database(settings.database_path, stop)
    assert store.counts().messages == 99
    rewrite_database(settings.database_path)
    assert store.counts().messages == 99


def test_retention_by_channel(settings: Settings, store: Store) -> None:
    kept = {"RAGD_RETENTION_DAYS": f"30,{CHANNEL + 1}=0,{CHANNEL + 3}=10"}
    settings = load_settings(RAGD_DATA_DIR=str(settings.data_dir), DISCORD_BOT_TOKEN="t", **kept)
    hear_capture(settings, ahead=0.2)
    more = [
        channel(id=CHANNEL + 1),
        channel(id=CHANNEL + 2, parent_id=CHANNEL + 1, type=11),
        channel(id=CHANNEL + 4, parent_id=CHANNEL + 3),
    ]
    store.ingest().apply([ChannelsSeen(more)])
    old = from_unix_seconds(time.time() - 20 * 86_400)
    ids = {place: old + place for place in (CHANNEL, CHANNEL + 2, CHANNEL + 4)}
    for place, message_id in ids.items():
        post(store, message_id, channel_id=place)
    older = from_unix_seconds(time.time() - 40 * 86_400)
    post(store, older + 1)
    post(store, older + 2, channel_id=CHANNEL + 2)
    steps(Eraser(settings, store), 5)
    left = {row[0] for row in store._all("SELECT id FROM message WHERE NOT deleted")}
    assert left == {ids[CHANNEL], ids[CHANNEL + 2], older + 2}
    post(store, older + 3)
    assert store._one("SELECT source FROM message WHERE id = ?", older + 3) == ("erased",)


def hear_capture(settings: Settings, ahead: float | None, written_at: float | None = None) -> None:
    settings.heartbeat_dir.mkdir(parents=True, exist_ok=True)
    beat(settings, "capture", 1, written_at=written_at or time.time(), counters={"clock_ahead_seconds": ahead})


def kept_for_a_month(settings: Settings, store: Store) -> tuple[Settings, int, int]:
    """Messages of 20 and of 40 days ago, and nothing newer."""
    store._execute("DELETE FROM message")
    young, old = (from_unix_seconds(time.time() - days * 86_400) for days in (20, 40))
    post(store, young, old)
    return load_settings(RAGD_DATA_DIR=str(settings.data_dir), RAGD_RETENTION_DAYS="30"), young, old


def left(store: Store) -> set[int]:
    return {row[0] for row in store._all("SELECT id FROM message WHERE NOT deleted")}


def test_a_wrong_clock_erases_nothing_that_discords_would_not(settings: Settings, store: Store) -> None:
    settings, young, old = kept_for_a_month(settings, store)
    hear_capture(settings, ahead=15 * 86_400)  # in truth they are of 5 and of 25 days ago
    steps(Eraser(settings, store), 5)
    assert left(store) == {young, old}
    hear_capture(settings, ahead=0.0)
    steps(Eraser(settings, store), 5)
    assert left(store) == {young}


@pytest.mark.parametrize("seen", ["nothing", "long ago", "no time"])
def test_without_discords_time_the_newest_message_tells_it(settings: Settings, store: Store, seen: str) -> None:
    settings, young, old = kept_for_a_month(settings, store)
    if seen != "nothing":
        hear_capture(settings, 0.0 if seen == "long ago" else None, time.time() - 3600 if seen == "long ago" else None)
    steps(Eraser(settings, store), 5)
    assert left(store) == {young, old}
    post(store, newest := from_unix_seconds(time.time()))
    steps(Eraser(settings, store), 5)
    assert left(store) == {young, newest}


def test_a_channel_that_is_new_is_not_kept_for_an_hour_first(settings: Settings, store: Store) -> None:
    settings, _, old = kept_for_a_month(settings, store)
    hear_capture(settings, ahead=0.0)
    steps(eraser := Eraser(settings, store), 5)
    store.ingest().apply([ChannelsSeen([channel(id=CHANNEL + 9)])])
    post(store, old - 1, channel_id=CHANNEL + 9)
    steps(eraser, 2)
    assert old - 1 not in left(store)
    post(store, old - 2, channel_id=CHANNEL + 9)
    assert store._one("SELECT source FROM message WHERE id = ?", old - 2) == ("erased",)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("a year", "'a year'"), ("30,31", "only once"), ("5=1,5=2", "only once"), ("-3", "'-3'"), ("1=", "'1='")],
)
def test_a_wrong_retention_is_one_line(settings: Settings, text: str, wrong: str) -> None:
    with pytest.raises(ConfigError, match="RAGD_RETENTION_DAYS") as error:
        load_settings(RAGD_DATA_DIR=str(settings.data_dir), RAGD_RETENTION_DAYS=text)
    assert wrong in str(error.value)


def test_retention_is_shown_as_it_is_written(settings: Settings) -> None:
    read = load_settings(RAGD_DATA_DIR=str(settings.data_dir), RAGD_RETENTION_DAYS=" 365, 123 = 30")
    assert read.masked()["RAGD_RETENTION_DAYS"] == "365,123=30"


def backup_of(days_ago: int, keep: int = 7) -> Backup:
    made = datetime(2026, 1, 20, tzinfo=UTC) - timedelta(days=days_ago)
    manifest = Manifest("", 0, 6, 0, made.isoformat(), "", "", keep)
    return Backup(Path(f"ragd-{days_ago}.sqlite3"), manifest)


def test_when_backups_are_expected_to_go() -> None:
    nightly = [backup_of(days) for days in range(7)]
    ends = [end and end.date().isoformat() for end in expected_ends(nightly, datetime(2026, 1, 20, 12, tzinfo=UTC))]
    assert ends[0] == "2026-01-27"
    assert ends[-1] == "2026-01-21", "the oldest goes with the next one"
    much_later = datetime(2026, 6, 1, tzinfo=UTC)
    assert min(end for end in expected_ends(nightly, much_later) if end) >= much_later
    assert expected_ends([backup_of(0)], much_later) == [None]
    assert expected_ends([backup_of(0), backup_of(0)], much_later) == [None, None]
    assert expected_ends([*nightly, backup_of(-400)], datetime(2026, 1, 20, tzinfo=UTC))[-2:] == [
        datetime(2026, 1, 21, tzinfo=UTC),
        None,
    ]
    assert expected_ends([backup_of(0, keep=10_000), backup_of(19_000)], much_later)[0] is None, "the year is 500,000"
    assert expected_ends([], much_later) == []


def test_the_receipt_names_what_still_holds_it(settings: Settings, store: Store) -> None:
    backup = make_backup(settings.database_path, settings.data_dir / DIRECTORY, keep=3)
    aside = Path(f"{settings.database_path}.damaged-20260101T000000Z")
    aside.write_bytes(b"")
    left = copies_left(settings, datetime.now(UTC), store.instance())
    assert [one["path"] for one in left["backups"]] == [str(backup.path)]
    assert left["set_aside"] == [str(aside)]
    assert left["unfinished"] == []


def test_the_receipt_names_copies_that_are_no_backups(settings: Settings, store: Store) -> None:
    directory = settings.data_dir / DIRECTORY
    damaged = make_backup(settings.database_path, directory, keep=3).path
    damaged.write_bytes(damaged.read_bytes() + b"more")
    being_made = directory / "ragd-20260101T000000.000000Z.sqlite3.partial"
    shutil.copyfile(settings.database_path, being_made)
    restoring = Path(f"{settings.database_path}.restoring")
    restoring.write_bytes(b"")
    forget(store)
    (erasure,) = store.erasures.open()
    Eraser(settings, store, alone=True).run()
    receipt = found(store, erasure.id).receipt
    assert receipt["unfinished"] == sorted([str(being_made), str(damaged)])
    assert receipt["set_aside"] == [str(restoring)]


def test_the_receipt_says_which_backups_no_rotation_removes(
    settings: Settings, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = settings.data_dir / DIRECTORY
    own, other = [make_backup(settings.database_path, directory, keep=9) for _ in range(2)]
    manifest = other.path.with_suffix(".json")
    manifest.write_text(manifest.read_text().replace(store.instance(), "0" * 16))
    forget(store)
    (erasure,) = store.erasures.open()
    Eraser(settings, store, alone=True).run()
    left = found(store, erasure.id)
    assert {one["path"]: one["rotated"] for one in left.receipt["backups"]} == {
        str(own.path): True,
        str(other.path): False,
    }
    show_receipt(left)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if str(other.path) in line]
    assert line.endswith("delete it by hand")


def test_a_clock_that_was_set_back_hides_no_backup(settings: Settings, store: Store) -> None:
    backup = make_backup(settings.database_path, settings.data_dir / DIRECTORY, keep=3)
    left = copies_left(settings, datetime.now(UTC) - timedelta(days=400), store.instance())
    assert [one["path"] for one in left["backups"]] == [str(backup.path)]


def test_a_restored_backup_keeps_what_was_promised_since(settings: Settings, store: Store) -> None:
    backup = make_backup(settings.database_path, settings.data_dir / DIRECTORY, keep=3)
    store.people.opt_out(7)
    forget(store)
    Eraser(settings, store, alone=True).run()
    promises = read_promises(settings.data_dir / FILE)
    assert promises is not None
    assert promises.tables["person"] != []
    store.close()
    put_back(backup, settings.database_path, settings.index_dir)
    restored = Store.open(settings.database_path)
    assert restored.counts().messages == 0
    assert restored.people.kept(7).opted_out_at > 0
    post(restored, at(1))
    assert restored.counts().messages == 0
    (again,) = restored.erasures.open()
    assert (again.kind, again.subject, again.state) == ("user", ANN, "file")
    restored.close()


def test_a_restored_backup_follows_who_changed_their_mind_since(settings: Settings, store: Store) -> None:
    store.people.set_opt_in(CHANNEL + 1, on=True)
    store.people.set_opt_in(CHANNEL + 2, on=True)
    store.people.agree(CHANNEL + 1, ANN, at(100))
    Eraser(settings, store, alone=True).run()
    backup = make_backup(settings.database_path, settings.data_dir / DIRECTORY, keep=3)
    store.people.withdraw(CHANNEL + 1, ANN)
    store.people.set_opt_in(CHANNEL + 2, on=False)
    store.people.opt_out(ANN)
    store.people.opt_in(ANN, at(100))
    Eraser(settings, store, alone=True).run()
    store.close()
    put_back(backup, settings.database_path, settings.index_dir)
    restored = Store.open(settings.database_path)
    assert not restored.people.agrees(CHANNEL + 1, ANN)
    assert [restored.people.is_opt_in(CHANNEL + nth) for nth in (1, 2)] == [True, False]
    assert restored.counts().messages == 99, "they did not ask for any to be erased"
    assert restored.erasures.open() == []
    restored.close()


def test_erasures_have_their_turn_beside_a_large_one(settings: Settings, store: Store) -> None:
    post(store, *(at(nth) for nth in range(1000, 1000 + 4 * SLICE)))
    store.ingest().apply([Posted(message(at(1), "one message", author_id=7))])
    large = forget(store)
    small = store.erasures.forget_user(7, store.people.present_id(), "member")
    eraser = Eraser(settings, store)
    for _ in range(4):
        assert eraser.step(time.monotonic())
    assert (found(store, large).state, found(store, small).state) == ("rows", "file")


def test_a_new_database_keeps_what_the_old_one_promised(settings: Settings, store: Store) -> None:
    """Somebody has moved the old one away, as its damage advises."""
    store.people.opt_out(7)
    forget(store)
    Eraser(settings, store, alone=True).run()
    before = read_promises(settings.data_dir / FILE)
    store.close()
    for path in settings.data_dir.glob("ragd.sqlite3*"):
        path.unlink()
    new = Store.open(settings.database_path)
    assert catch_up(new.database, settings.data_dir / FILE)
    assert not catch_up(new.database, settings.data_dir / FILE)
    new.ingest().apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel()])])
    post(new, at(1))
    new.ingest().apply([Posted(message(at(10**6), "objected", author_id=7))])
    assert new.counts().messages == 0
    Eraser(settings, new, alone=True).run()
    after = read_promises(settings.data_dir / FILE)
    assert before is not None
    assert after is not None
    assert after.tables == before.tables
    new.close()


def test_a_new_database_never_takes_the_promises_of_the_old_ones_place(settings: Settings, store: Store) -> None:
    """The eraser may come to it before capture does."""
    store.people.opt_out(7)
    Eraser(settings, store, alone=True).run()
    store.close()
    for path in settings.data_dir.glob("ragd.sqlite3*"):
        path.unlink()
    new = Store.open(settings.database_path)
    steps(Eraser(settings, new), 3)
    assert new.people.kept(7).opted_out_at > 0
    promises = read_promises(settings.data_dir / FILE)
    assert promises is not None
    assert [row[0] for row in promises.tables["person"]] == [7]
    new.close()


def test_promises_are_on_disk_before_messages_are_erased(settings: Settings, store: Store) -> None:
    post(store, *(at(nth) for nth in range(1000, 1000 + 2 * SLICE)))
    forget(store)
    store.people.opt_out(7)
    eraser = Eraser(settings, store)
    assert eraser.step(time.monotonic()), "there is more to erase"
    promises = read_promises(settings.data_dir / FILE)
    assert promises is not None
    assert [row[0] for row in promises.tables["person"]] == [ANN, 7]
    store.people.opt_out(8)
    assert eraser.step(time.monotonic())
    promises = read_promises(settings.data_dir / FILE)
    assert promises is not None
    assert [row[0] for row in promises.tables["person"]] == [ANN, 7, 8]


def test_an_older_file_takes_back_nothing_that_the_backup_has(settings: Settings, store: Store) -> None:
    store.people.set_opt_in(CHANNEL + 1, on=True)
    Eraser(settings, store, alone=True).run()
    old = (settings.data_dir / FILE).read_bytes()
    store.people.opt_out(7)
    store.people.set_opt_in(CHANNEL, on=True)
    backup = make_backup(settings.database_path, settings.data_dir / DIRECTORY, keep=3)
    store.close()
    (settings.data_dir / FILE).write_bytes(old)
    put_back(backup, settings.database_path, settings.index_dir)
    restored = Store.open(settings.database_path)
    assert restored.people.kept(7).opted_out_at > 0
    assert restored.people.is_opt_in(CHANNEL)
    restored.close()


def test_a_database_that_is_replaced_hands_its_promises_on(settings: Settings, store: Store) -> None:
    """With --force it may be sound, and the file not be written yet."""
    backup = make_backup(settings.database_path, settings.data_dir / DIRECTORY, keep=3)
    store.people.opt_out(7)
    store.close()
    assert not (settings.data_dir / FILE).exists()
    put_back(backup, settings.database_path, settings.index_dir)
    restored = Store.open(settings.database_path)
    assert restored.people.kept(7).opted_out_at > 0
    restored.close()


def test_a_thread_that_is_kept_longer_outlives_a_restore(settings: Settings, store: Store) -> None:
    thread = 4711
    store.ingest().apply([ChannelsSeen([channel(id=thread, parent_id=CHANNEL, type=11)])])
    store.ingest().apply([Posted(message(at(500), "kept longer", channel_id=thread))])
    backup = make_backup(settings.database_path, settings.data_dir / DIRECTORY, keep=3)
    store.erasures.keep_from({CHANNEL: at(10**6)})
    Eraser(settings, store, alone=True).run()
    store.close()
    put_back(backup, settings.database_path, settings.index_dir)
    restored = Store.open(settings.database_path)
    assert restored.counts().messages == 1
    assert restored.erasures.open() == [], "retention leaves no receipts"
    restored.close()
    assert [path for path in settings.data_dir.glob("ragd.sqlite3*") if WORD in path.read_bytes()] == [
        path for path in settings.data_dir.glob("ragd.sqlite3.damaged*") if WORD in path.read_bytes()
    ]


def test_a_damaged_file_is_written_anew_where_the_database_knows(settings: Settings, store: Store) -> None:
    store.people.opt_out(7)
    (settings.data_dir / FILE).write_bytes(b"{")
    steps(Eraser(settings, store), 1)
    promises = read_promises(settings.data_dir / FILE)
    assert promises is not None
    assert [row[0] for row in promises.tables["person"]] == [7]


def test_a_damaged_file_beside_a_new_database_stops_who_would_store(settings: Settings, store: Store) -> None:
    (settings.data_dir / FILE).write_bytes(b"{")
    with pytest.raises(DamagedError, match=r"promises.json cannot be read"):
        catch_up(store.database, settings.data_dir / FILE)
    with pytest.raises(DamagedError):
        Eraser(settings, store).step(time.monotonic())


def test_the_last_promise_that_is_taken_back_leaves_the_file(settings: Settings, store: Store) -> None:
    store.people.set_opt_in(CHANNEL, on=True)
    Eraser(settings, store, alone=True).run()
    store.people.set_opt_in(CHANNEL, on=False)
    Eraser(settings, store, alone=True).run()
    promises = read_promises(settings.data_dir / FILE)
    assert promises is not None
    assert not any(promises.tables.values())


def test_promises_that_cannot_be_read_stop_a_restore(settings: Settings, store: Store) -> None:
    backup = make_backup(settings.database_path, settings.data_dir / DIRECTORY, keep=3)
    (settings.data_dir / FILE).write_bytes(b"{")
    with pytest.raises(RagdError, match=r"promises.json cannot be read"):
        put_back(backup, settings.database_path, settings.index_dir)
    assert store.counts().messages == 99


NONE = {"person": [], "opt_in_channel": [], "consent": [], "cutoff": []}


@pytest.mark.parametrize(
    "odd",
    [
        [],
        {},
        {**NONE, "person": [[5, 0]]},
        {**NONE, "person": [[5, 0, 0, 0]]},
        {**NONE, "person": ["500"]},
        {**NONE, "person": [["5", 0, 0]]},
        {**NONE, "person": [[True, 0, 0]]},
        {**NONE, "person": {"5": 1}},
        {**NONE, "cutoff": [[2**63, 1]]},
        {**NONE, "cutoff": [[1, 2**65]]},
        {**NONE, "cutoff": None},
        {**NONE, "wishes": -1},
        {**NONE, "wishes": 2**60},
    ],
    ids=str,
)
def test_promises_that_nobody_can_keep_stop_a_restore(tmp_path: Path, odd: object) -> None:
    (tmp_path / FILE).write_text(json.dumps(odd))
    with pytest.raises(RagdError, match=r"promises.json cannot be read"):
        read_promises(tmp_path / FILE)


def test_promises_at_the_edge_of_what_is_held_are_kept(settings: Settings, store: Store) -> None:
    backup = make_backup(settings.database_path, settings.data_dir / DIRECTORY, keep=3)
    most = 2**63 - 1
    edge = {"person": [[ANN, most, most]], "cutoff": [[0, most], [CHANNEL, most]], "opt_in_channel": [[most, -most]]}
    (settings.data_dir / FILE).write_text(json.dumps({**NONE, **edge, "wishes": 1}))
    store.close()
    put_back(backup, settings.database_path, settings.index_dir)
    restored = Store.open(settings.database_path)
    assert restored.counts().messages == 0
    restored.close()


@pytest.mark.parametrize("user", ["0", "99999999999999999999"])
def test_what_can_be_nobody_s_id_is_refused(store: Store, user: str) -> None:
    with pytest.raises(UsageError, match=f"nobody called {user} has written"):
        _resolve(store, user)


def test_what_was_deleted_before_the_setting_was_lowered_goes_too(settings: Settings, store: Store) -> None:
    store.ingest(deleted_kept_days=30).apply([Deleted(GUILD, CHANNEL, [at(1)])])
    steps(Eraser(settings, store), 2)
    assert store._one("SELECT content FROM message WHERE id = ?", at(1)) == ("",)


def test_what_is_older_in_a_category_is_what_is_older_in_its_channels(store: Store) -> None:
    category, thread = 900, CHANNEL + 2
    more = [channel(id=CHANNEL + 1, parent_id=category), channel(id=thread, parent_id=CHANNEL + 1, type=11)]
    store.ingest().apply([ChannelsSeen(more)])
    assert _places(store, category) == [CHANNEL + 1]
    assert _places(store, CHANNEL + 1) == [CHANNEL + 1]
    assert _places(store, thread) == [thread]
    with pytest.raises(UsageError, match="nothing was captured of channel 901"):
        _places(store, 901)
