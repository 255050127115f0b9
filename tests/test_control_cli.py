"""`ragdctl` as its own process, beside real files, a real supervisord, and something that answers on its socket."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import ragd
from ragd.cli.render import format_bytes, format_seconds, harmless, one_line
from ragd.cli.restart import replace_process
from ragd.cli.search import parse_since
from ragd.config import Settings, variable
from ragd.errors import RagdError
from ragd.store import Store
from ragd.store.events import Posted
from ragd.supervision import ProcessState
from tests.store.factories import at, message
from tests.test_status import beat, fill_store, settings_in
from tests.toytree import ROOT, ToyTree, wait_until

COMMANDS = {
    "status": (),
    "search": ("x",),
    "ask": ("x",),
    "coverage": (),
    "why": ("1",),
    "audit": (),
    "watch": ("--once",),
    "restart": ("capture",),
    "config": (),
    "alert": ("list",),
    "backup": (),
    "restore": (),
}
RUN = ("-c", "import sys; sys.argv[0] = 'ragdctl'; from ragd.cli.control import main; main()")


SCREEN = {"TERM": "xterm-256color", "TZ": "UTC", "COLUMNS": "120"}


class Operator:
    """Runs `ragdctl` in a directory of its own, with these variables and no other settings."""

    def __init__(self, directory: Path, variables: Mapping[str, str]) -> None:
        names = {variable(name) for name in Settings.model_fields}
        inherited = {name: value for name, value in os.environ.items() if name not in names}
        self.directory = directory
        self.environment = {**inherited, "PYTHONPATH": str(ROOT), **SCREEN, **variables}

    def __call__(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *RUN, *arguments],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json").stdout)


@pytest.fixture
def settings(short_path: Path) -> Settings:
    settings = settings_in(str(short_path))
    settings.heartbeat_dir.mkdir(parents=True)
    return settings


@pytest.fixture
def ragdctl(settings: Settings) -> Operator:
    return Operator(settings.data_dir, {"RAGD_DATA_DIR": str(settings.data_dir), "DISCORD_BOT_TOKEN": "top-secret"})


@pytest.fixture
def live(settings: Settings) -> None:
    """Heartbeats of a process that lives: this one."""
    for name in ("capture", "syncer", "searcher", "watchdog"):
        beat(settings, name, os.getpid(), written_at=time.time() + 3000, counters={"backlog": 1234})


# status


def test_status_of_a_dead_daemon(settings: Settings, ragdctl: Operator) -> None:
    fill_store(settings).close()
    answer = ragdctl("status")
    assert answer.returncode == 2
    assert "ragd is down" in answer.stdout
    assert "2 messages" in answer.stdout
    assert "start it with `ragd`" in answer.stdout
    assert answer.stderr == ""


def test_status_as_json_has_what_is_documented(settings: Settings, ragdctl: Operator, live: None) -> None:
    fill_store(settings).close()
    answer = ragdctl("status", "--json")
    document = json.loads(answer.stdout)
    assert answer.returncode == 1
    assert document["state"] == "degraded"
    assert document["lag_messages"] == 0
    assert list(document["processes"]) == ["capture", "syncer", "searcher", "watchdog"]
    for process in document["processes"].values():
        assert {"state", "pid", "restarts", "rss_bytes", "heartbeat_age_seconds"} <= process.keys()
    assert {"messages", "chunks", "vectors", "holes"} <= document["store"].keys()
    assert document["store"]["messages"] == 2
    assert all(isinstance(reason, str) for reason in document["reasons"])


def test_status_without_anything_is_json_too(ragdctl: Operator) -> None:
    document = ragdctl.json("status")
    assert (document["state"], document["store"], document["lag_messages"]) == ("down", None, None)


def test_status_fits_a_narrow_terminal(settings: Settings, ragdctl: Operator, live: None) -> None:
    fill_store(settings).close()
    ragdctl.environment["COLUMNS"] = "80"
    narrow = ragdctl("status").stdout
    table = narrow.split("stored")[0].split("\n\n")[1]
    assert len(table.strip().splitlines()) == 5
    assert max(map(len, table.splitlines())) <= 80
    assert "1,234 waiting" not in narrow
    ragdctl.environment["COLUMNS"] = "120"
    assert "1,234 waiting" in ragdctl("status").stdout


def test_text_of_heartbeats_cannot_control_the_terminal(settings: Settings, ragdctl: Operator) -> None:
    beat(settings, "capture", os.getpid(), state="degraded", detail="bad \x1b]0;title\x07 [red]news[/red]")
    shown = ragdctl("status").stdout
    assert "\x1b" not in shown
    assert "[red]news[/red]" in shown


# config and what all share


def test_config_masks_secrets_and_tells_origins(settings: Settings, ragdctl: Operator) -> None:
    (settings.data_dir / ".env").write_text("COMMAND_PREFIX=?\nMIN_DISK_GB=3\n")
    ragdctl.environment["MIN_DISK_GB"] = "2"
    by_name = {setting["variable"]: setting for setting in ragdctl.json("config")["settings"]}
    assert list(by_name) == [variable(name) for name in Settings.model_fields]
    assert by_name["DISCORD_BOT_TOKEN"]["value"] == "********"
    assert (by_name["COMMAND_PREFIX"]["value"], by_name["COMMAND_PREFIX"]["origin"]) == ("?", ".env")
    assert (by_name["MIN_DISK_GB"]["value"], by_name["MIN_DISK_GB"]["origin"]) == ("2.0", "environment")
    assert by_name["RAGD_LOG_LEVEL"]["is_default"]
    assert by_name["ALERT_CHANNEL_ID"]["value"] is None
    shown = ragdctl("config").stdout
    assert "top-secret" not in shown
    assert all(f"{name} " in shown and setting["description"] in shown for name, setting in by_name.items())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_setting_is_one_line(ragdctl: Operator, command: str) -> None:
    ragdctl.environment["MAX_MEMORY_MB"] = "little"
    answer = ragdctl(command, *COMMANDS[command], "--json")
    assert (answer.returncode, answer.stdout) == (78, "")
    assert len(answer.stderr.splitlines()) == 1
    assert "MAX_MEMORY_MB='little'" in answer.stderr


@pytest.mark.parametrize("command", ["search", "restart"])
def test_without_a_daemon_what_needs_one_is_unavailable(ragdctl: Operator, command: str) -> None:
    answer = ragdctl(command, *COMMANDS[command], "--json")
    assert (answer.returncode, answer.stdout) == (69, "")
    assert len(answer.stderr.splitlines()) == 1
    assert "ragdctl status" in answer.stderr


def test_version(ragdctl: Operator) -> None:
    assert ragdctl("--version").stdout == f"ragd {ragd.__version__}\n"


def test_help_names_every_command_and_loads_nothing_heavy(ragdctl: Operator) -> None:
    code = (
        "import sys; sys.argv = ['ragdctl', '--help']\n"
        "from ragd.cli.control import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print({'discord', 'onnxruntime', 'hnswlib', 'numpy', 'tokenizers', 'aiohttp'} & set(sys.modules))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], env=ragdctl.environment, capture_output=True, text=True, check=True
    ).stdout
    assert shown.splitlines()[-1] == "set()"
    assert all(f"  {command}" in shown for command in COMMANDS)


# search

RESULT = {
    "score": 0.8123,
    "strategy": "temporal",
    "guild_id": "1",
    "channel_id": "10",
    "channel": "general",
    "author": "ann",
    "time": "2026-01-31T12:00:00+00:00",
    "message_ids": ["100", "101"],
    "text": "ann: the rain gauge\nbob: moved to the roof",
    "url": "https://discord.com/channels/1/10/101",
    "best_message_id": "101",
    "highlight": "bob: moved to the roof",
    "before": [],
    "after": ["eve: good"],
    "found_by": "meaning+words",
    "lines": [
        {"message_id": "100", "author": "ann", "text": "the rain gauge"},
        {"message_id": "101", "author": "bob", "text": "moved to the roof"},
    ],
}
STATE = {"indexed_to": "2026-01-31T13:00:00+00:00", "holes": 1, "why": "", "remarks": []}
ANSWER = {"results": [RESULT], "indexed": 7, "lag_messages": 0, "took_ms": 3.2, **STATE}


class FakeSearcher:
    """Answers POST /search on a UNIX socket with what it is told to, and keeps what it was asked."""

    def __init__(self, path: Path, answer: Any, status: int) -> None:
        self.asked: list[Any] = []
        self._path, self._answer, self._status = path, answer, status
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    async def _handle(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        body = self._answer if isinstance(self._answer, bytes) else json.dumps(self._answer).encode()
        return web.Response(body=body, status=self._status, content_type="application/json")

    def _run(self) -> None:
        runner = self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _start(self) -> web.AppRunner:
        application = web.Application()
        application.router.add_post("/search", self._handle)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.UnixSite(runner, str(self._path)).start()
        return runner

    def start(self) -> FakeSearcher:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


Serve = Callable[..., FakeSearcher]


@pytest.fixture
def serve(settings: Settings) -> Iterator[Serve]:
    servers: list[FakeSearcher] = []

    def start(answer: Any, status: int = 200) -> FakeSearcher:
        servers.append(FakeSearcher(settings.search_socket, answer, status).start())
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def test_search_asks_as_the_operator(ragdctl: Operator, serve: Serve) -> None:
    searcher = serve(ANSWER)
    options = ("--channel", "general", "--author", "ann", "--since", "2026-01-31", "--limit", "3")
    assert ragdctl("search", "rain", *options).returncode == 0
    assert ragdctl("search", "rain").returncode == 0
    assert searcher.asked[0] == {
        "query": "rain",
        "limit": 3,
        "access": "operator",
        "channel": "general",
        "author": "ann",
        "since": "2026-01-31T00:00:00+00:00",
    }
    assert searcher.asked[1]["since"] is None


def test_search_shows_passages(ragdctl: Operator, serve: Serve) -> None:
    serve(ANSWER)
    assert ragdctl("search", "rain").stdout.splitlines() == [
        "0.81  #general  ann  2026-01-31 12:00  by meaning and words",
        "https://discord.com/channels/1/10/101",
        "    ann: the rain gauge",
        "  > bob: moved to the roof",
        "    eve: good",
        "",
        "1 of 7 passages in 3 ms; indexed to 2026-01-31 13:00, none waiting, 1 hole in these channels",
    ]


def test_search_keeps_further_lines_of_a_message_set_in(ragdctl: Operator, serve: Serve) -> None:
    text = "mal: it said bob: nine\n  bob: nine\nbob: nine"
    said = {"text": text, "highlight": "bob: nine", "after": ["mal: a\n  eve: b"]}
    serve({**ANSWER, "results": [{**RESULT, **said}]})
    assert ragdctl("search", "rain").stdout.splitlines()[2:7] == [
        "    mal: it said bob: nine",
        "      bob: nine",
        "  > bob: nine",
        "    mal: a",
        "      eve: b",
    ]


def test_search_as_json_is_the_documented_document(ragdctl: Operator, serve: Serve) -> None:
    serve({**ANSWER, "news": 1})
    assert ragdctl.json("search", "rain") == ANSWER


def test_search_makes_what_people_wrote_harmless(ragdctl: Operator, serve: Serve) -> None:
    evil = {
        "channel": "gen\x1b[2Jeral",
        "author": "a\nnn\u202e",
        "text": "\x1b]8;;http://evil\x1b\\[bold]click[/bold] :smile: \x9b31m\u202eback\u2066wards\r\x07\n👨\u200d👩",
        "url": "https://discord.com/\x1b[31m1",
    }
    serve({**ANSWER, "results": [{**RESULT, **evil}]})
    shown = ragdctl("search", "x").stdout
    assert "[bold]click[/bold] :smile:" in shown
    assert "👨\u200d👩" in shown
    assert not set("\x1b\x9b\x07\r\u202e\u2066") & set(shown)
    raw = ragdctl("search", "x", "--json").stdout
    assert raw.isascii()
    assert not set("\x1b\x07\r") & set(raw)


def test_ask_quotes_and_makes_what_people_wrote_harmless(ragdctl: Operator, serve: Serve) -> None:
    evil = {
        "message_id": "100",
        "author": "a\x1b[2J\nnn\u202e",
        "text": "the roof \x1b]8;;http://evil\x1b\\\u202e\u2066x",
    }
    serve({**ANSWER, "results": [{**RESULT, "lines": [evil]}]})
    shown = ragdctl("ask", "what is on the roof").stdout
    assert "the roof" in shown
    assert "https://discord.com/channels/1/10/100" in shown
    assert not set("\x1b\x07\r\u202e\u2066") & set(shown)


def test_ask_as_json_is_the_documented_document(ragdctl: Operator, serve: Serve) -> None:
    serve(ANSWER)
    document = ragdctl.json("ask", "what is on the roof")
    assert document.keys() == {
        *("question", "written_by", "sentences", "note", "sources"),
        *(ANSWER.keys() - {"results"}),
    }
    (source,) = document["sources"]
    assert source["message_ids"] == ["100", "101"]
    assert [(quote["author"], quote["url"]) for quote in source["quotes"]] == [
        ("bob", "https://discord.com/channels/1/10/101")
    ]


def test_ask_without_an_answer_says_why(ragdctl: Operator, serve: Serve) -> None:
    serve({**ANSWER, "results": [], "why": "nothing is near enough in meaning"})
    assert ragdctl("ask", "x").stdout.startswith("No answer: nothing is near enough in meaning.\n")


def test_search_on_a_terminal_links_and_wraps(ragdctl: Operator, serve: Serve) -> None:
    serve({**ANSWER, "results": [{**RESULT, "text": "ann: " + "word " * 40 + "the-end", "highlight": ""}]})
    with Terminal(ragdctl, "search", "rain") as terminal:
        shown = terminal.read_to_end()
    assert b"\x1b]8;" in shown
    assert b";https://discord.com/channels/1/10/101\x1b\\" in shown
    assert b"the-end" in shown


def test_search_without_results_says_why(ragdctl: Operator, serve: Serve) -> None:
    serve({"results": [], "indexed": 0, "lag_messages": 12, "took_ms": 1.0})
    answer = ragdctl("search", "rain")
    assert answer.returncode == 0
    assert "nothing is indexed yet" in answer.stdout
    assert "12 messages found by words only" in answer.stdout


def test_search_says_why_and_what_it_could_not_look_into(ragdctl: Operator, serve: Serve) -> None:
    serve({**ANSWER, "results": [], "why": "no message passes the filters", "remarks": ["has:cats is none of these"]})
    assert ragdctl("search", "has:cats").stdout.splitlines()[:2] == [
        "No results: no message passes the filters.",
        "Note: has:cats is none of these",
    ]


def test_search_without_results_blames_the_filters(ragdctl: Operator, serve: Serve) -> None:
    serve({**ANSWER, "results": []})
    assert "--channel" in ragdctl("search", "rain", "--since", "7d").stdout


@pytest.mark.parametrize(
    ("answer", "status", "exit_code", "words"),
    [
        ({"error": "no channel called 'nope' is known"}, 400, 1, "no channel called 'nope' is known"),
        ({"error": "database: locked"}, 503, 69, "database: locked"),
        (b"<html>", 500, 1, "makes no sense"),
        ({"results": [{}]}, 200, 1, "makes no sense"),
        ([], 200, 1, "makes no sense"),
    ],
)
def test_search_refusals_are_one_line(
    ragdctl: Operator, serve: Serve, answer: Any, status: int, exit_code: int, words: str
) -> None:
    serve(answer, status)
    shown = ragdctl("search", "rain", "--json")
    assert (shown.returncode, shown.stdout, len(shown.stderr.splitlines())) == (exit_code, "", 1)
    assert words in shown.stderr


NOW = datetime.fromisoformat("2026-02-03T12:00:00+01:00")


@pytest.mark.parametrize(
    ("text", "before_now"),
    [("7d", timedelta(days=7)), ("12h", timedelta(hours=12)), ("30m", timedelta(minutes=30)), ("2w", timedelta(14))],
)
def test_since_takes_spans(text: str, before_now: timedelta) -> None:
    assert parse_since(text, NOW) == NOW - before_now


def test_since_takes_times() -> None:
    assert parse_since("2026-01-31T08:00:00Z", NOW) == datetime.fromisoformat("2026-01-31T08:00:00+00:00")
    assert parse_since("2026-01-31", NOW).tzinfo is not None


@pytest.mark.parametrize("text", ["yesterday", "7", "d", "-7d", "7y", "2026-13-01", "999999w", "7 d ago"])
def test_since_refuses_the_rest_with_its_rule(text: str) -> None:
    with pytest.raises(RagdError, match="must be a date"):
        parse_since(text, NOW)


# watch


class Terminal:
    """A `ragdctl` on a terminal of its own. Use as a context manager."""

    def __init__(self, ragdctl: Operator, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, *RUN, *arguments],
            cwd=ragdctl.directory,
            env={**ragdctl.environment, "COLUMNS": "100", "LINES": "30"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = b""

    def read_until(self, wanted: bytes, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while wanted not in self.seen:
            assert time.monotonic() < deadline, f"no {wanted!r} in {self.seen[-2000:]!r}"
            self._read(0.1)

    def _read(self, seconds: float) -> bool:
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            part = os.read(self.master, 65536)
        except OSError:  # how a pty tells that nobody has its other side open any more
            return False
        self.seen += part
        return bool(part)

    def read_to_end(self) -> bytes:
        while self._read(20):
            pass
        assert self.process.wait(20) == 0
        return self.seen

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.mark.parametrize("end", ["q", "ctrl-c"])
def test_watch_shows_and_ends_cleanly(settings: Settings, ragdctl: Operator, end: str) -> None:
    with Terminal(ragdctl, "watch") as terminal:
        terminal.read_until(b"q ends")
        fill_store(settings).close()
        terminal.read_until(b"2 messages")
        if end == "q":
            os.write(terminal.master, b"q")
        else:
            terminal.process.send_signal(signal.SIGINT)
        shown = terminal.read_to_end()
    assert b"Traceback" not in shown
    assert shown.rstrip().endswith(b"\x1b[?25h\x1b[?1049l")


def test_watch_prints_a_document_a_line(settings: Settings, ragdctl: Operator) -> None:
    store = fill_store(settings)
    process = subprocess.Popen(
        [sys.executable, *RUN, "watch", "--json"],
        cwd=ragdctl.directory,
        env=ragdctl.environment,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    store.ingest().apply([Posted(message(at(50)))])
    counts = [json.loads(process.stdout.readline())["store"]["messages"] for _ in range(3)]
    process.send_signal(signal.SIGINT)
    process.stdout.close()
    assert process.wait(20) == 0
    store.close()
    assert (first["state"], first["store"]["messages"]) == ("down", 2)
    assert counts[-1] == 3


def test_watch_once(settings: Settings, ragdctl: Operator) -> None:
    Store.open(settings.database_path).close()
    answer = ragdctl("watch", "--once")
    assert answer.returncode == 2
    assert "ragd is down" in answer.stdout
    assert ragdctl.json("watch", "--once")["state"] == "down"


# restart


@pytest.fixture
def tree() -> Iterator[ToyTree]:
    with ToyTree() as tree:
        yield tree


def operator_of(tree: ToyTree) -> Operator:
    return Operator(tree.directory, tree.variables)


def test_restart_tells_old_and_new_pid(tree: ToyTree) -> None:
    tree.start()
    wait_until(lambda: tree.info("syncer").state is ProcessState.RUNNING, 20, "syncer runs")
    old = tree.pid("syncer")
    document = operator_of(tree).json("restart", "syncer")
    assert document == {"worker": "syncer", "old_pid": old, "new_pid": tree.pid("syncer")}
    assert document["new_pid"] != old
    assert f"pid {tree.pid('syncer')}, now " in operator_of(tree)("restart", "syncer").stdout


def test_restart_waits_for_one_that_has_only_just_begun(tree: ToyTree) -> None:
    """To end within startsecs counts as a failed start."""
    tree.start()
    wait_until(lambda: tree.info("syncer").state is ProcessState.STARTING, 20, "syncer starts")
    old, new = replace_process(tree.settings, "syncer")
    assert old not in (None, new)
    assert tree.spawns("syncer") == [old, new]


def test_restart_starts_what_is_stopped(tree: ToyTree) -> None:
    tree.start()
    tree.client.stop("capture")
    wait_until(lambda: tree.info("capture").state is ProcessState.STOPPED, 20, "stopped")
    document = operator_of(tree).json("restart", "capture")
    assert document == {"worker": "capture", "old_pid": None, "new_pid": tree.pid("capture")}


@pytest.mark.parametrize(("behaviour", "words"), [("exit1", "ends at its start"), ("exit78", "configuration error")])
def test_restart_tells_of_one_that_does_not_stay(tree: ToyTree, behaviour: str, words: str) -> None:
    tree.start()
    wait_until(lambda: tree.info("searcher").state is ProcessState.RUNNING, 20, "searcher runs")
    tree.behave("searcher", behaviour)
    answer = operator_of(tree)("restart", "searcher")
    assert (answer.returncode, len(answer.stderr.splitlines())) == (1, 1)
    assert words in answer.stderr


def test_restart_of_a_name_that_is_none(ragdctl: Operator) -> None:
    answer = ragdctl("restart", "sincer", "--json")
    assert (answer.returncode, answer.stdout) == (64, "")
    assert "'sincer' - there are capture, syncer, searcher, watchdog" in answer.stderr


def test_restart_of_one_that_supervisord_has_not(tree: ToyTree) -> None:
    tree.start()
    answer = operator_of(tree)("restart", "watchdog")
    assert answer.returncode == 1
    assert "does not know watchdog" in answer.stderr


# how things are shown


def test_harmless_keeps_letters_of_all_scripts() -> None:
    text = "naïve סלאם 雪 👨\u200d👩 e\u0301\nnext"
    assert harmless(text) == text
    assert one_line("a\u2028b\tc\x00d\ud800") == "a b cd"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (0.44, "0.4 s"), (34.4, "34 s"), (600, "10 min"), (9000, "2.5 h"), (864_000, "10 d")],
)
def test_durations(seconds: float | None, shown: str) -> None:
    assert format_seconds(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(None, "-"), (2048, "2 KiB"), (200 * 2**20, "200 MiB"), (3 * 2**29, "1.5 GiB")]
)
def test_sizes(count: int | None, shown: str) -> None:
    assert format_bytes(count) == shown
