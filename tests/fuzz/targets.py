"""What is given any bytes, and may only refuse them: by ragd's own errors, whose messages name what is wrong.

Each target is a function of bytes that raises what must not happen. Hypothesis (test_fuzz.py) and, in `make fuzz`,
atheris (__main__.py) call them.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import orjson
from rich.console import Console

from ragd.asked import parse
from ragd.backup import open_backup
from ragd.backup_manifest import expected_ends, list_backups, rotated
from ragd.bot.commands.errors import BadValue
from ragd.bot.commands.passages import parse_since
from ragd.cli.backup import _document as list_document
from ragd.cli.backup import _table as list_table
from ragd.errors import RagdError
from ragd.exchange.importing import Importer
from ragd.exchange.jsonstream import JsonStream
from ragd.heartbeat import process_exists, read_heartbeat
from ragd.index.snapshot import MANIFEST, file_name, generations, read_manifest
from ragd.sandbox.demo_script import load_demo
from ragd.sandbox.exports import load_exports
from ragd.search import Query, Search
from ragd.searcher import read_canary, read_query
from ragd.status import collect_status
from ragd.store import Store
from ragd.store.events import ChannelsSeen, GuildSeen, Posted
from tests.bot.bots import settings_in
from tests.fuzz.seeds import SOUND_BACKUP
from tests.store.factories import CHANNEL, GUILD, at, channel, message

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HIDDEN, SECRET = 20, "kumquat"


@cache
def directory() -> Path:
    """One for all, gone with the process."""
    made = tempfile.TemporaryDirectory(prefix="ragd-fuzz-")
    _KEPT.append(made)
    return Path(made.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@cache
def search() -> Search:
    """By words alone, over a few messages in the open and one that is not."""
    store = Store.open(directory() / "search.sqlite3")
    said = ["The rain gauge counts twice.", "`set x_y=1` see https://a.example/b", "日本語 🎉 naïve", "again the gauge"]
    posted = [Posted(message(at(60 * number), text)) for number, text in enumerate(said)]
    posted.append(Posted(message(at(999), f"The {SECRET} is here, rain gauge.", channel_id=HIDDEN, author_name="Wei")))
    store.ingest().apply([GuildSeen(GUILD, "g"), ChannelsSeen([channel(), channel(id=HIDDEN, name="vault")]), *posted])
    return Search(store, None, {})


def query(data: bytes) -> None:
    """What people type."""
    text = data.decode(errors="replace")
    parse(text, NOW)
    found = search().answer(Query(text, frozenset({CHANNEL})))
    shown = repr((found.results, found.why, found.remarks)).casefold()
    assert SECRET not in shown or SECRET in repr(text).casefold(), shown
    assert all(result.channel_id == str(CHANNEL) for result in found.results)
    search().answer(Query(text, None))


def since(data: bytes) -> None:
    """The option `since` of `/search`."""
    with contextlib.suppress(BadValue):
        datetime.fromisoformat(parse_since(data.decode(errors="replace"), NOW))


def request(data: bytes) -> None:
    """A body on the search socket. Without access nothing is answered."""
    try:
        asked = orjson.loads(data)
    except ValueError:
        return
    try:
        wanted = read_query(asked, search()._vectors)
    except RagdError:
        return
    if wanted.channel_ids is None:
        assert asked["access"] == "operator"
    found = search().answer(wanted)
    assert wanted.channel_ids is None or all(int(one.channel_id) in wanted.channel_ids for one in found.results)


def canary(data: bytes) -> None:
    """A body on the socket's `/canary`."""
    with contextlib.suppress(RagdError, ValueError):
        read_canary(orjson.loads(data))


def importer(data: bytes) -> None:
    """A file that says that it is DiscordChatExporter's."""
    path = directory() / "export.json"
    path.write_bytes(data)
    store = _import_store()
    with contextlib.suppress(RagdError):
        Importer(store).run(path)
    assert store._one("SELECT count(*) FROM message WHERE id <= 0 OR channel_id <= 0") == (0,)


@cache
def _import_store() -> Store:
    return Store.open(directory() / "import.sqlite3")


def json_stream(data: bytes) -> None:
    """The reader under the importer, alone."""
    path = directory() / "stream.json"
    path.write_bytes(data)
    try:
        with path.open("rb") as file:
            stream = JsonStream(file, path.name)
            for key in stream.members():
                if key == "messages":
                    for _ in stream.elements():
                        pass
                else:
                    stream.value()
    except RagdError:
        pass


def heartbeat(data: bytes) -> None:
    """A heartbeat file, and what is made of one."""
    settings = settings_in(directory())
    settings.heartbeat_dir.mkdir(parents=True, exist_ok=True)
    (settings.heartbeat_dir / "capture.json").write_bytes(data)
    try:
        beat = read_heartbeat(settings.heartbeat_dir, "capture")
    except RagdError:
        beat = None
    if beat is not None:
        process_exists(beat.pid)
    collect_status(settings)


def index_manifest(data: bytes) -> None:
    """The manifest of an index snapshot."""
    place = directory() / "index"
    place.mkdir(exist_ok=True)
    (place / file_name(MANIFEST, 1)).write_bytes(data)
    assert generations(place) == [1]
    with contextlib.suppress(RagdError):
        read_manifest(place, 1)


def backup_manifest(data: bytes) -> None:
    """The manifest of a backup, beside that of a sound one: in the list, in a receipt, on the way to be restored."""
    place = directory() / "backups"
    place.mkdir(exist_ok=True)
    database, sound = (place / f"ragd-2026010{day}T000000.000000Z.sqlite3" for day in (2, 1))
    for path, manifest in ((database, data), (sound, SOUND_BACKUP)):
        path.write_bytes(b"x" * 10)
        path.with_suffix(".json").write_bytes(manifest)
    backups = list_backups(place)
    assert sound in [backup.path for backup in backups]
    assert sound in [backup.path for backup in rotated(backups, "0123456789abcdef", directory())]
    for end in expected_ends(backups, NOW):
        assert end is None or end.isoformat()
    shown = io.StringIO()
    Console(file=shown, width=200).print(list_table(backups))
    assert "\x1b" not in shown.getvalue()
    orjson.dumps([list_document(backup) for backup in backups])
    with contextlib.suppress(RagdError):
        open_backup(database)


def sandbox_export(data: bytes) -> None:
    """An export that the local Discord is to replay."""
    path = directory() / "replay.json"
    path.write_bytes(data)
    with contextlib.suppress(RagdError):
        load_exports([path])


def sandbox_script(data: bytes) -> None:
    """A script that the local Discord is to play."""
    path = directory() / "script.json"
    path.write_bytes(data)
    with contextlib.suppress(RagdError):
        load_demo(1_767_000_000_000, path=path)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        query,
        since,
        request,
        canary,
        importer,
        json_stream,
        heartbeat,
        index_manifest,
        backup_manifest,
        sandbox_export,
        sandbox_script,
    )
}
