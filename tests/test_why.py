"""`ragdctl why`: every way in which a message is found, waits, or is kept out, from a real store and real files."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragd.cli.why import look
from ragd.config import Settings
from ragd.embedding import Embedder
from ragd.errors import UsageError
from ragd.heartbeat import Heartbeat, write_heartbeat
from ragd.snowflake import from_unix_seconds
from ragd.store import Store
from ragd.store.canary import CANARY_CHANNEL
from ragd.store.events import (
    ChannelGone,
    ChannelsSeen,
    Deleted,
    Edited,
    Event,
    GuildSeen,
    LoggedIn,
    PageRead,
    Posted,
    SessionBroken,
)
from ragd.syncer import Syncer
from ragd.trace import Link, State, Trace, explain, parse_link
from ragd.worker import StopFlag
from tests.store.factories import CHANNEL, GUILD, at, channel, message
from tests.test_control_cli import Operator
from tests.toytree import settings_of

THREAD = 20
OWN_ID = 77
NOBODY = 2**22 + 1
"""A process id that no process has."""


@pytest.fixture
def settings(short_path: Path) -> Settings:
    settings = settings_of({"RAGD_DATA_DIR": str(short_path), "DISCORD_BOT_TOKEN": "x"})
    settings.heartbeat_dir.mkdir(parents=True)
    return settings


@pytest.fixture
def ragdctl(settings: Settings) -> Operator:
    return Operator(settings.data_dir, {"RAGD_DATA_DIR": str(settings.data_dir), "DISCORD_BOT_TOKEN": "x"})


class Site:
    """A store with a channel that is live from at(0) on, and what else a test does to it."""

    def __init__(self, settings: Settings, embedder: Embedder) -> None:
        self.settings = settings
        self.store = Store.open(settings.database_path)
        self._embedder = embedder
        self._ingest = self.store.ingest()
        self.tell(GuildSeen(GUILD, "Lab"), ChannelsSeen([channel(at(0))]))

    def tell(self, *events: Event) -> None:
        self._ingest.apply(events)

    def sql(self, statement: str, *parameters: object) -> None:
        assert self.store._execute(statement, *parameters) == 1

    def sync(self) -> None:
        syncer = Syncer(self.settings, self.store, self._embedder, StopFlag())
        while syncer.step(time.monotonic()):
            pass

    def search_runs(self, position: int | None = None, pid: int | None = None, state: str = "running") -> None:
        """Write the heartbeat of a searcher whose indexes have followed to that change, or to the last."""
        upto = self.store.vectors.last_change() if position is None else position
        counters = {f"position_{strategy}": upto for strategy in self.settings.auto_sync_strategies}
        self.beat("searcher", pid or os.getpid(), state, **counters)

    def beat(self, process: str, pid: int, state: str = "running", **counters: int | str) -> None:
        now = time.time()
        write_heartbeat(self.settings.heartbeat_dir, Heartbeat(process, pid, now, now, 1, state, "", dict(counters)))

    def why(self, message_id: int, channel_id: int | None = CHANNEL, guild_id: int | None = GUILD) -> Trace:
        return explain(look(self.settings, self.store, Link(message_id, channel_id, guild_id)))

    def reasons(self, message_id: int, channel_id: int | None = CHANNEL, guild_id: int | None = GUILD) -> str:
        """Of a message that is not findable."""
        trace = self.why(message_id, channel_id, guild_id)
        assert trace.state is State.UNFINDABLE
        assert trace.waits == ()
        return "; ".join(trace.reasons)


@pytest.fixture
def site(settings: Settings, embedder: Embedder) -> Iterator[Site]:
    site = Site(settings, embedder)
    yield site
    site.store.close()


# What names a message


@pytest.mark.parametrize(
    "text",
    [
        "https://discord.com/channels/1/10/99",
        "<https://discord.com/channels/1/10/99>",
        "  https://ptb.discord.com/channels/1/10/99 ",
        "https://canary.discord.com/channels/1/10/99/",
        "https://discordapp.com/channels/1/10/99",
        "http://www.discord.com/channels/1/10/99?utm=x",
        "HTTPS://DISCORD.COM/channels/1/10/99#top",
    ],
)
def test_links(text: str) -> None:
    assert parse_link(text) == Link(99, 10, 1)


def test_an_id_alone_and_a_direct_message() -> None:
    assert parse_link("1234567890123456789") == Link(1234567890123456789)
    assert parse_link("https://discord.com/channels/@me/10/99") == Link(99, 10, direct=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is neither a message's link nor its id"),
        ("hello", "is neither a message's link nor its id"),
        ("https://discord.com/channels/1/10", "names a channel, no message"),
        ("https://discord.com/channels/1/10/", "names a channel, no message"),
        ("https://evil.example/channels/1/10/99", "is neither"),
        ("https://discord.com.evil.example/channels/1/10/99", "is neither"),
        ("https://discord.com/channels/1/10/99999999999999999999999", "is no id of Discord's"),
        ("https://discord.com/channels/1/10/9223372036854775808", "is no id of Discord's"),
        ("0", "is no id of Discord's"),
        ("9" * 5000, "is no id of Discord's"),
        ("١٢٣", "is neither"),
        ("https://discord.com/channels/1/10/99\nhttps://discord.com/channels/1/10/98", "is neither"),
    ],
)
def test_what_names_no_message_is_one_line(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        parse_link(text)
    assert "\n" not in error.value.one_line()
    assert len(error.value.one_line()) < 300


# Found


def test_a_findable_message_has_the_whole_way(site: Site) -> None:
    site.tell(Posted(message(at(1), "the battery freezes in winter")))
    site.sync()
    site.search_runs()
    trace = site.why(at(1))
    assert (trace.state, trace.reasons, trace.waits) == (State.FINDABLE, (), ())
    assert [chunk.facts.strategy for chunk in trace.chunks] == ["conversation", "temporal"]
    assert all(chunk.indexed and chunk.facts.model and chunk.snapshot is None for chunk in trace.chunks)
    assert trace.findable_since_ms == min(chunk.facts.made_at for chunk in trace.chunks)
    assert site.why(at(1), None, None).state is State.FINDABLE  # by its id alone


def test_the_snapshot_that_holds_it_is_named(site: Site, embedder: Embedder) -> None:
    from ragd.searcher import Follower

    site.tell(Posted(message(at(1))))
    site.sync()
    for strategy in site.settings.auto_sync_strategies:
        follower = Follower(site.settings.index_dir, strategy, embedder, site.store.vectors)
        while follower.step(time.monotonic()):
            pass
        follower.snapshot()
    trace = site.why(at(1))
    assert trace.state is State.UNKNOWN
    assert [chunk.snapshot.generation for chunk in trace.chunks if chunk.snapshot] == [1, 1]
    site.tell(Posted(message(at(2), "later")))
    site.sync()
    assert [chunk.snapshot for chunk in site.why(at(2)).chunks] == [None, None]


# Waiting


def test_it_waits_for_the_syncer_and_then_for_the_searcher(site: Site) -> None:
    site.tell(Posted(message(at(1))))
    trace = site.why(at(1))
    assert (trace.state, trace.waits) == (
        State.WAITING,
        ("no chunking strategy has begun: the syncer has not run yet",),
    )
    site.sync()
    before = site.store.vectors.last_change()
    site.tell(Posted(message(at(2), "one more")))
    assert "the syncer has not followed the feed of changes up to it" in site.why(at(2)).waits[0]
    site.sync()
    site.search_runs(before)
    trace = site.why(at(2))
    assert trace.state is State.WAITING
    assert "the searcher has not followed up to chunk" in trace.waits[0]
    site.search_runs()
    assert site.why(at(2)).state is State.FINDABLE


def test_a_dirty_cell_is_told_with_its_time(site: Site) -> None:
    site.sync()
    site.tell(Posted(message(at(1))))
    from ragd.chunking import cell_of

    for strategy in site.settings.auto_sync_strategies:
        site.store.chunks.mark_dirty(strategy, cell_of, 10)
    trace = site.why(at(1))
    assert trace.state is State.WAITING
    assert trace.waits[0].startswith("conversation: its chunks wait to be made anew, since 20")


def test_an_edit_waits_while_the_old_words_are_found(site: Site) -> None:
    site.tell(Posted(message(at(1))))
    site.sync()
    site.search_runs()
    site.tell(Edited(message(at(1), "other words", edited_at=int(time.time() * 1000))))
    trace = site.why(at(1))
    assert trace.state is State.FINDABLE
    assert "has not followed" in trace.waits[0]


def test_a_chunk_without_a_vector(site: Site) -> None:
    site.tell(Posted(message(at(1))))
    site.sync()
    site.search_runs()
    site.store._execute("DELETE FROM vector")
    trace = site.why(at(1))
    assert trace.state is State.WAITING
    assert "waits for its vector" in trace.waits[0]


def test_a_message_that_no_chunk_holds_though_one_should(site: Site) -> None:
    site.tell(Posted(message(at(1))))
    site.sync()
    site.store._execute("DELETE FROM chunk_message")
    trace = site.why(at(1))
    assert trace.state is State.WAITING
    assert "no chunk holds it although one should" in trace.waits[0]


@pytest.mark.parametrize(
    ("pid", "state"),
    [(None, None), (NOBODY, "running"), (os.getpid(), "starting")],
    ids=["down", "of a dead process", "starting"],  # the same in every process that collects tests
)
def test_only_a_running_searcher_could_tell(site: Site, pid: int | None, state: str | None) -> None:
    site.tell(Posted(message(at(1))))
    site.sync()
    if pid is not None and state is not None:
        site.search_runs(pid=pid, state=state)
    trace = site.why(at(1))
    assert trace.state is State.UNKNOWN
    assert "only a running searcher could tell" in trace.waits[0]
    assert trace.findable_since_ms is None


# Kept out


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"type": 7}, "it is a system message (type 7), which nobody wrote"),
        ({"is_bot": True}, "a bot or a webhook wrote it, and RAGD_INDEX_BOTS is off"),
        ({"is_bot": True, "author_id": OWN_ID}, "the bot wrote it itself: its answers never become passages"),
        ({"content": "  "}, "it says nothing in words"),
    ],
)
def test_rules_that_keep_a_message_out(site: Site, fields: dict[str, Any], reason: str) -> None:
    site.tell(LoggedIn(OWN_ID))
    site.tell(Posted(message(at(1), **fields)))
    site.sync()
    assert site.reasons(at(1)) == reason


def test_a_deleted_message(site: Site) -> None:
    site.tell(Posted(message(at(1))), Deleted(GUILD, CHANNEL, [at(1)]))
    assert site.reasons(at(1)) == "it was deleted; what the store keeps is a tombstone without text"


def test_a_deleted_message_whose_text_is_kept_for_a_while(site: Site) -> None:
    site.tell(Posted(message(at(1))))
    site.store.ingest(deleted_kept_days=30).apply([Deleted(GUILD, CHANNEL, [at(1)])])
    assert (
        site.reasons(at(1)) == "it was deleted; what the store keeps is its text, as RAGD_DELETED_RETENTION_DAYS says"
    )


def test_out_of_reach(site: Site) -> None:
    site.tell(Posted(message(at(1))), ChannelsSeen([channel(id=THREAD, type=11, parent_id=CHANNEL, name="thread")]))
    site.tell(Posted(message(at(2), channel_id=THREAD)))
    site.sync()
    site.search_runs()
    assert site.why(at(2), THREAD).state is State.FINDABLE
    for column, value, reason in (
        ("readable", 0, "is not readable for the bot: it needs View Channel and Read Message History"),
        ("excluded", 1, "is excluded by the settings (RAGD_ALLOW_IDS, RAGD_DENY_IDS)"),
        ("deleted", 1, "was deleted"),
    ):
        site.sql(f"UPDATE channel SET {column} = ? WHERE id = ?", value, CHANNEL)
        assert site.reasons(at(1)) == f"its channel {reason}"
        assert site.reasons(at(2), THREAD) == f"the channel of its thread {reason}"
        site.sql(f"UPDATE channel SET {column} = ? WHERE id = ?", 1 - value, CHANNEL)
    site.sql("UPDATE guild SET removed = 1 WHERE id = ?", GUILD)
    assert site.reasons(at(1)) == "the bot is not in its server any more"


def test_a_message_of_a_channel_that_was_deleted(site: Site) -> None:
    site.tell(Posted(message(at(1))), ChannelGone(CHANNEL))
    assert "tombstone" in site.reasons(at(1))
    assert "its channel was deleted" in site.reasons(at(1))


def test_an_imported_channel_may_be_unreadable(site: Site) -> None:
    site.tell(Posted(message(at(1))))
    site.sql("UPDATE channel SET imported = 1, readable = 0 WHERE id = ?", CHANNEL)
    site.sync()
    site.search_runs()
    assert site.why(at(1)).state is State.FINDABLE
    assert "known from an imported file alone" in site.reasons(at(-5))


def test_the_canary_is_nobodys(site: Site) -> None:
    canary = site.store.canary.release("quaint words")
    assert site.store.traces.message(canary).channel_id == CANARY_CHANNEL  # type: ignore[union-attr]
    assert site.reasons(canary, None, None) == "its channel is not known"


# Never seen


def test_a_hole_is_named_by_its_extent(site: Site) -> None:
    site.tell(PageRead(GUILD, CHANNEL, at(-100), at(-50), []))
    reasons = site.reasons(at(-30))
    assert f"it lies in a hole of its channel, ids {at(-50) + 1} to {at(0)} (2023-11-14 22:12:30 UTC to" in reasons
    assert f"ids 1 to {at(-100) - 1} (up to 2023-11-14" in site.reasons(at(-200))
    later = int(time.time() * 1000) + 3_600_000
    site.sql("UPDATE channel SET refused_until = ? WHERE id = ?", later, CHANNEL)
    assert "Discord refused to show the channel, it is asked again at 20" in site.reasons(at(-30))


def test_complete_there_and_never_seen(site: Site) -> None:
    site.tell(PageRead(GUILD, CHANNEL, 1, at(0), []), Posted(message(at(9))), SessionBroken())
    assert "proved complete there, by pages read over REST: it does not exist" in site.reasons(at(-30))
    assert "proved complete there, by an unbroken gateway session" in site.reasons(at(4))
    assert "is newer than any message that was seen of its channel" in site.reasons(at(500))


def test_what_is_not_captured_is_said_plainly(site: Site) -> None:
    site.sql("INSERT INTO guild (id, name, removed) VALUES (2, 'Left', 1)")
    forum = channel(id=30, type=15, name="ideas")
    site.tell(ChannelsSeen([forum]))
    assert "nor was its server (3): is the bot a member?" in site.reasons(at(1), 31, 3)
    assert "the bot is not in its server any more" in site.reasons(at(1), 31, 2)
    assert "nor was its channel (31): may the bot view it?" in site.reasons(at(1), 31, GUILD)
    assert "a forum holds no messages" in site.reasons(at(1), 30, GUILD)
    assert "its link would tell whether its channel is captured" in site.reasons(at(1), None, None)
    direct = explain(look(site.settings, site.store, Link(at(1), 31, direct=True)))
    assert (direct.state, direct.reasons) == (State.UNFINDABLE, ("direct messages are not captured",))
    site.sql("UPDATE channel SET readable = 0 WHERE id = ?", CHANNEL)
    assert "its channel is not readable for the bot" in site.reasons(at(-5))


# The command


def link_to(message_id: int, channel_id: int = CHANNEL) -> str:
    return f"https://discord.com/channels/{GUILD}/{channel_id}/{message_id}"


def test_the_command_while_everything_is_down(site: Site, ragdctl: Operator) -> None:
    words = "the battery freezes in winter " * 10 + "\x1b[31m"
    site.tell(Posted(message(at(1), words)), PageRead(GUILD, CHANNEL, at(-100), at(0), []))
    site.sync()
    answer = ragdctl("why", f"<{link_to(at(1))}>")
    assert (answer.returncode, answer.stderr) == (69, "")
    lines = answer.stdout.splitlines()
    assert lines[0] == f"message   {at(1)} in #general of Lab by ann, 2023-11-14 22:13:21 UTC"
    assert lines[1].startswith("text      the battery freezes in winter the battery")
    assert lines[1].endswith("...")
    assert "\x1b" not in answer.stdout
    assert lines[2].endswith("live, by the gateway")
    assert lines[3].startswith(f"proved    ids {at(0) + 1} to {at(1)}, by an unbroken gateway session, 20")
    assert lines[4].startswith("chunk     conversation ")
    assert "vector of all-MiniLM-L6-v2; no searcher runs" in lines[4]
    assert "unknown" in lines
    assert "- temporal: only a running searcher could tell whether its index has it" in lines
    site.search_runs()
    answer = ragdctl("why", str(at(1)))
    assert answer.returncode == 0
    assert answer.stdout.splitlines()[-1].startswith("findable since 20")


def test_the_command_as_json(site: Site, ragdctl: Operator) -> None:
    site.tell(Posted(message(at(1))))
    site.sync()
    site.search_runs()
    document = ragdctl.json("why", link_to(at(1)))
    assert document["state"] == "findable"
    assert document["message"]["source"] == "gateway"
    assert document["message"]["excerpt"] == "hello"
    assert document["proof"]["source"] == "gateway"
    assert [chunk["indexed"] for chunk in document["chunks"]] == [True, True]
    assert document["findable_since_ms"] > 0
    missing = ragdctl("why", link_to(at(-9)), "--json")
    assert missing.returncode == 66
    document = json.loads(missing.stdout)
    assert (document["message"], document["hole"]) == (None, [1, at(0)])


def test_a_link_to_another_channel_is_noted(site: Site, ragdctl: Operator) -> None:
    site.tell(Posted(message(at(1))))
    assert f"the link names channel 999, it is in {CHANNEL}" in ragdctl("why", link_to(at(1), 999)).stdout


@pytest.mark.parametrize("text", ["nonsense", "https://discord.com/channels/1/10"])
def test_a_malformed_link_is_one_line(site: Site, ragdctl: Operator, text: str) -> None:
    answer = ragdctl("why", text, "--json")
    assert (answer.returncode, answer.stdout) == (64, "")
    assert len(answer.stderr.splitlines()) == 1


def test_without_a_database(ragdctl: Operator) -> None:
    answer = ragdctl("why", "123")
    assert (answer.returncode, len(answer.stderr.splitlines())) == (69, 1)
    assert "no database" in answer.stderr


def test_codes(site: Site, ragdctl: Operator) -> None:
    site.tell(Posted(message(from_unix_seconds(time.time()))))
    assert ragdctl("why", str(site.store._one("SELECT id FROM message")[0])).returncode == 75
