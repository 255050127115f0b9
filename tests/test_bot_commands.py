"""Commands in Discord, asked of a real capture, syncer and searcher by members of a sandbox's guild."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ragd.answers import SearchRequest
from ragd.bot.commands.errors import NO_SUCH_CHANNEL, TOLD_PER_MINUTE
from ragd.errors import RagdError
from ragd.sandbox.client import ControlError, SandboxThread
from ragd.sandbox.entities import OverwriteTarget
from ragd.sandbox.permissions import Permission
from ragd.search_client import ask_searcher
from ragd.store import Store
from tests.processes import Place, Process, environment, furnish, running, until
from tests.reaching import look

VIEW, MANAGE_GUILD = int(Permission.VIEW_CHANNEL), int(Permission.MANAGE_GUILD)
READ = VIEW | int(Permission.READ_MESSAGE_HISTORY)

HIDDEN = ("kumquat", "persimmon", "tamarind", "loquat")
"""Words of #staff, of a private thread, of an archived thread of #staff, and of a channel that staff loses."""

ANSWER_MS = 3000
_numbers = itertools.count()


class House:
    """The guild, the three processes that serve it, and members who ask."""

    def __init__(self, place: Place, directory: Path) -> None:
        self.place, self.control = place, place.control
        self.directory = directory
        guild = place.guild_id
        self.manager_role = self.control.create_role(guild, "manager", permissions=MANAGE_GUILD)
        self.staff_role = self.control.create_role(guild, "staff")
        self.staff = self.room("staff")
        self.gauge = place.post("The rain gauge on the roof counts everything twice.")
        place.post("The kumquat code opens the vault of the rain gauge.", self.staff)
        self.secret = self.control.create_thread(place.channel_id, place.owner_id, "secret", private=True)
        self.control.change("join_thread", thread_id=self.secret, user_id=place.bot_id)
        self.say_in(self.secret, "A persimmon grows behind the rain gauge.")
        self.old = self.archived(place.channel_id, "A walnut fell into the rain gauge.")
        self.old_staff = self.archived(self.staff, "The tamarind is hidden in the rain gauge.")

    def room(self, name: str) -> int:
        """A channel for the staff and the bot."""
        channel = self.control.create_channel(self.place.guild_id, name)
        self.control.set_overwrite(channel, self.place.bot_id, OverwriteTarget.MEMBER, allow=READ)
        self.control.set_overwrite(channel, self.staff_role, OverwriteTarget.ROLE, allow=READ)
        self.control.set_overwrite(channel, self.place.guild_id, OverwriteTarget.ROLE, deny=VIEW)
        return channel

    def archived(self, parent: int, text: str) -> int:
        thread = self.control.create_thread(parent, self.place.owner_id, "old")
        self.say_in(thread, text)
        self.control.archive_thread(thread)
        return thread

    def say_in(self, channel: int, text: str) -> int:
        return self.control.post(channel, self.place.owner_id, text)

    def member(self, *roles: int) -> int:
        """Somebody new, whom no cooldown holds up."""
        user = self.control.create_user(f"member{next(_numbers)}")
        self.control.add_member(self.place.guild_id, user, roles=list(roles))
        return user

    def manager(self) -> int:
        return self.member(self.manager_role)

    def ask(self, user: int, command: str, **options: Any) -> dict[str, Any]:
        """Run a slash command; the answer, which must be for the asker alone and have begun in time."""
        report = self.control.run_command(self.place.channel_id, user, command, options, wait_seconds=30)
        (message,) = report["messages"]
        assert message["ephemeral"]
        assert report["acknowledged_after_ms"] < ANSWER_MS
        return {**message, "deferred": report["deferred"], "said": text_of(message)}

    def say(self, user: int, text: str, channel: int | None = None) -> dict[str, Any]:
        """Write a text command; the answer, which everybody in the channel may read."""
        report = self.control.say(channel or self.place.channel_id, user, text, wait_seconds=30)
        (message,) = report["messages"]
        assert not any(word in text_of(message) for word in HIDDEN)
        assert message["mentions"] == []
        return {**message, "said": text_of(message)}

    def finds(self, user: int, text: str = "rain gauge", **options: Any) -> str:
        return str(self.ask(user, "search", text=text, limit=10, **options)["said"])


def text_of(message: dict[str, Any]) -> str:
    return message["content"] + "".join(embed.get("description", "") for embed in message["embeds"])


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with SandboxThread() as sandbox, tempfile.TemporaryDirectory(prefix="ragd-") as directory:
        yield House(furnish(sandbox), Path(directory))


@pytest.fixture(scope="module")
def variables(house: House) -> dict[str, str]:
    return environment(house.place.sandbox, house.directory, RAGD_STALE_SECONDS="20")


@pytest.fixture(scope="module")
def processes(house: House, variables: dict[str, str]) -> Iterator[dict[str, Process]]:
    with ExitStack() as stack:
        started = {name: Process(name, variables).start() for name in ("capture", "syncer", "searcher")}
        for process in started.values():
            stack.callback(process.end)
        for process in started.values():
            process.running()
        until(lambda: "slash commands" in started["capture"].log.read_text(), started["capture"].tail())
        for word in ("roof", "walnut", "kumquat", "persimmon", "tamarind"):
            until(lambda: indexed(started["searcher"], word), f"{word} indexed")  # noqa: B023 - called at once
        yield started


@pytest.fixture(autouse=True)
def served(processes: dict[str, Process]) -> None:
    """Every test needs them."""


def indexed(searcher: Process, word: str) -> bool:
    """Whether the operator finds it."""
    try:
        answer = ask_searcher(searcher.settings.search_socket, SearchRequest(word, "operator", 50))
    except RagdError:
        return False
    return any(word in result.text for result in answer.results)


# Registration


def registered(house: House) -> dict[str, int]:
    """Versions of the slash commands that Discord has, which grow with every write."""
    sandbox = house.place.sandbox
    return sandbox.call(lambda: {command.name: command.version for command in sandbox.world.commands.values()})


def test_commands_are_registered_once_and_not_again_at_the_next_start(
    house: House, processes: dict[str, Process]
) -> None:
    before = registered(house)
    everybody = {"health", "search", "ask", "privacy", "forget-me"}
    assert before.keys() == everybody | {"sync", "autosync_status", "listener_stats", "privacy-channel"}
    capture = processes["capture"]
    assert capture.stop() == 0
    capture.start().running()
    until(lambda: "slash commands are registered already" in capture.log.read_text(), capture.tail())
    assert registered(house) == before


# For everybody


def test_privacy(house: House) -> None:
    said = house.ask(house.member(), "privacy")["said"]
    assert "What this bot keeps" in said
    assert "How to object" in said
    assert said.startswith("**You:** 0 messages in 0 channels stored.")
    said_to_all = house.say(house.member(), "!privacy")["said"]
    assert said.endswith(said_to_all)
    assert "**You:**" not in said_to_all
    assert not said.endswith("…"), "it fits into a message"


def test_who_opts_out_is_recorded_no_more_until_they_opt_in(house: House, processes: dict[str, Process]) -> None:
    user, searcher = house.member(), processes["searcher"]
    house.control.post(house.place.channel_id, user, "A quince before the opt-out.")
    until(lambda: indexed(searcher, "quince"))
    assert "1 message in 1 channel stored" in house.ask(user, "privacy")["said"]
    assert house.ask(user, "privacy", change="opt-out")["said"].startswith("Opted out")
    house.control.post(house.place.channel_id, user, "A medlar after the opt-out.")
    house.place.post("A sorb by somebody else.")
    until(lambda: indexed(searcher, "sorb"))
    assert not indexed(searcher, "medlar")
    assert indexed(searcher, "quince")
    other = house.member()
    assert "Opted out" not in house.ask(other, "privacy")["said"]


def test_forget_me_wants_to_be_confirmed_and_leaves_nothing(house: House, processes: dict[str, Process]) -> None:
    user, searcher = house.member(), processes["searcher"]
    house.control.post(house.place.channel_id, user, "A rambutan that I regret.")
    until(lambda: indexed(searcher, "rambutan"))
    assert "cannot be taken back" in house.ask(user, "forget-me")["said"]
    assert indexed(searcher, "rambutan")
    assert house.ask(user, "forget-me", confirm="yes")["said"].startswith("1 message of yours will be erased, receipt ")
    until(lambda: not indexed(searcher, "rambutan"))
    house.control.post(house.place.channel_id, user, "A longan later on.")
    until(lambda: indexed(searcher, "longan"))
    store = Store.open_read_only(searcher.settings.database_path)
    until(lambda: (done := store.erasures.of_user(user)) and done.state == "done")
    store.close()
    said = house.ask(user, "privacy")["said"]
    assert "was complete" in said
    assert said.startswith("**You:** 1 message in 1 channel stored")


def test_what_is_answered_aloud_tells_no_figure_of_anybody_and_no_hidden_name(house: House) -> None:
    user = house.member(house.staff_role)
    house.control.post(house.staff, user, "Among ourselves.")
    assert house.say(user, "!forget-me yes")["said"].startswith("Every message of yours will be erased, receipt ")
    said = house.say(house.manager(), f"!privacy-channel everybody {house.staff}")["said"]
    assert said.startswith(f"<#{house.staff}> and its threads: ")


def test_what_ragd_quoted_is_gone_with_what_was_said(house: House, processes: dict[str, Process]) -> None:
    """Its own answers are messages too, and full of what others wrote."""
    user, searcher = house.member(), processes["searcher"]
    house.control.post(house.place.channel_id, user, "A jujube that I regret.")
    until(lambda: indexed(searcher, "jujube"))
    aloud = house.say(house.member(), "!search regret")
    assert "jujube" in aloud["said"]
    capture = processes["capture"]
    own = "SELECT content, extra FROM message WHERE author_id = ? AND id = ?"
    rows = until(lambda: look(capture, lambda s: s._all(own, house.place.bot_id, int(aloud["id"]))))
    assert rows == [("", "{}")]
    house.ask(user, "forget-me", confirm="yes")
    kept = "SELECT id FROM message WHERE content LIKE '%jujube%' OR extra LIKE '%jujube%'"
    until(lambda: not look(capture, lambda s: s._all(kept)))


def test_a_channel_is_recorded_only_of_who_agreed(house: House, processes: dict[str, Process]) -> None:
    searcher, channel = processes["searcher"], house.control.create_channel(house.place.guild_id, "circle")
    shy, open_ = house.member(), house.member()
    refused = house.ask(house.member(), "privacy-channel", mode="opt-in", channel=channel)["said"]
    assert refused == "This command needs the Manage Server permission."
    assert (
        "only what members write who agreed"
        in house.ask(house.manager(), "privacy-channel", mode="opt-in", channel=channel)["said"]
    )

    def ask_there(user: int, change: str) -> str:
        report = house.control.run_command(channel, user, "privacy", {"change": change}, wait_seconds=30)
        return text_of(report["messages"][0])

    assert ask_there(open_, "agree-here").startswith("Agreed")
    house.control.post(channel, shy, "A salak of mine.")
    house.control.post(channel, open_, "A jabuticaba of mine.")
    until(lambda: indexed(searcher, "jabuticaba"))
    assert not indexed(searcher, "salak")
    assert ask_there(open_, "withdraw-here").startswith("Withdrawn")
    assert ask_there(shy, "withdraw-here").startswith("You have not agreed")
    assert "everybody again" in house.ask(house.manager(), "privacy-channel", mode="everybody", channel=channel)["said"]
    assert ask_there(shy, "agree-here").startswith("In this channel nobody has to agree")


def test_members_learn_of_health_only_how_it_is(house: House) -> None:
    for said in (house.ask(house.member(), "health")["said"], house.say(house.member(), "!health")["said"]):
        assert said.startswith("ragd is **degraded**, up ")
        assert "\n" not in said


def test_managers_learn_the_details_of_health(house: House) -> None:
    answer = house.ask(house.manager(), "health")
    assert answer["deferred"]
    for expected in ("process", "searcher", "MiB", "CPU", "Disk: ", "ragd ", "discord.py ", "SQLite ", "Python "):
        assert expected in answer["said"], expected
    assert "supervisord" in answer["said"], "why it is degraded: nobody supervises these processes"


def test_a_managers_question_in_the_channel_names_no_path(house: House) -> None:
    said = house.say(house.manager(), "!health")["said"]
    assert "searcher" in said
    assert str(house.directory) not in said
    assert "`/health` says why" in said


# For managers

OPERATOR = ("sync now", "autosync_status", "listener_stats")


@pytest.mark.parametrize("command", OPERATOR)
def test_operators_commands_are_refused_to_members(house: House, command: str) -> None:
    refusal = "This command needs the Manage Server permission."
    assert house.ask(house.member(), command)["said"] == refusal
    assert house.say(house.member(), f"!{command}")["said"] == refusal


def test_a_manager_who_is_no_manager_any_more_is_refused(house: House) -> None:
    user = house.manager()
    assert "Listener" in house.ask(user, "listener_stats")["said"]
    house.control.set_member_roles(house.place.guild_id, user, [])
    assert "Manage Server" in house.ask(user, "listener_stats")["said"]


def test_autosync_status(house: House, processes: dict[str, Process]) -> None:
    until(lambda: processes["syncer"].counter("full_pass_at"))
    asked, said_aloud = house.ask(house.manager(), "autosync_status"), house.say(house.manager(), "!autosync_status")
    for said in (asked["said"], said_aloud["said"]):
        lines = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line}
        for strategy in ("temporal", "conversation"):
            state, messages, chunks = lines[strategy]
            assert state == "running"
            assert int(messages) >= 5
            assert int(chunks) >= 1
        assert "every 30 min; last <t:" in said
        assert "next <t:" in said
        assert "Success: 100.0 %" in said


def test_listener_stats(house: House, processes: dict[str, Process]) -> None:
    message = house.place.post("A message to be edited and deleted.")
    house.control.edit(message, "An edited message.")
    other = house.place.post("Another one.")
    house.control.edit(other, "Another one, better.")
    house.control.delete(message)
    until(lambda: (processes["capture"].counter("deleted") or 0) >= 1)
    said = house.ask(house.manager(), "listener_stats")["said"]
    lines = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line}
    assert "Listener: connected, 1 gateway session" in said
    assert int(lines["messages"][1]) >= 6
    assert min(map(int, lines["edits"] + lines["deletes"])) >= 1
    assert "No hole" in said


def test_sync_now(house: House, processes: dict[str, Process]) -> None:
    capture, syncer = processes["capture"], processes["syncer"]
    resyncs, passed_at = until(lambda: capture.counter("resyncs")), until(lambda: syncer.counter("full_pass_at"))
    user = house.manager()
    assert "Asked for" in house.ask(user, "sync now")["said"]
    until(lambda: capture.counter("resyncs") > resyncs, "history read again")
    until(lambda: syncer.counter("full_pass_at") > passed_at, "a full pass")
    assert "Not so fast" in house.say(house.manager(), "!sync now")["said"], "once a minute in a server"
    assert "sync now" in house.say(user, "!sync")["said"]


# Search


def test_a_member_finds_what_the_member_may_read(house: House) -> None:
    said = house.finds(house.member())
    assert "counts everything twice" in said
    assert f"https://discord.com/channels/{house.place.guild_id}/{house.place.channel_id}/{house.gauge}" in said
    assert "walnut" in said, "an archived thread of a channel that all may read"
    assert not any(word in said for word in HIDDEN)


def test_staff_finds_what_staff_may_read(house: House) -> None:
    said = house.finds(house.member(house.staff_role))
    assert "kumquat" in said
    assert "tamarind" in said
    assert "persimmon" not in said


def test_a_role_taken_away_counts_from_the_next_question_on(house: House) -> None:
    user = house.member(house.staff_role)
    assert "kumquat" in house.finds(user)
    house.control.set_member_roles(house.place.guild_id, user, [])
    said = house.finds(user)
    assert "twice" in said
    assert not any(word in said for word in HIDDEN)
    house.control.set_member_roles(house.place.guild_id, user, [house.staff_role])
    assert "kumquat" in house.finds(user)


def test_an_overwrite_taken_away_counts_as_soon_as_discord_tells(house: House, processes: dict[str, Process]) -> None:
    room = house.room("lost")
    house.say_in(room, "The loquat is under the rain gauge.")
    until(lambda: indexed(processes["searcher"], "loquat"))
    user = house.member(house.staff_role)
    assert "loquat" in house.finds(user)
    house.control.set_overwrite(room, house.staff_role, OverwriteTarget.ROLE, deny=VIEW)
    assert "loquat" not in house.finds(user)
    assert "loquat" not in house.finds(user, channel=room)


def test_a_private_thread_is_for_who_is_in_it(house: House) -> None:
    user = house.member()
    assert "persimmon" not in house.finds(user)
    house.control.change("join_thread", thread_id=house.secret, user_id=user)
    assert "persimmon" in house.finds(user)
    house.control.change("leave_thread", thread_id=house.secret, user_id=user)
    assert "persimmon" not in house.finds(user)


def test_the_owner_may_read_all_of_it(house: House) -> None:
    said = house.finds(house.place.owner_id)
    assert all(word in said for word in ("kumquat", "persimmon", "tamarind"))


def allow_answers(house: House, channel: int) -> None:
    bits = READ | int(Permission.SEND_MESSAGES)
    house.control.set_overwrite(channel, house.place.bot_id, OverwriteTarget.MEMBER, allow=bits)


def test_an_answer_in_a_channel_holds_only_what_everybody_may_read(house: House) -> None:
    said = house.say(house.member(house.staff_role), "!search rain gauge limit: 10")["said"]
    assert "counts everything twice" in said
    assert "`/search` looks into all of yours" in said


def test_an_answer_in_a_channel_holds_what_that_channel_holds_and_no_other_of_the_same_members(
    house: House, processes: dict[str, Process]
) -> None:
    allow_answers(house, house.staff)
    room = house.room("staff-too")
    house.say_in(room, "A medlar ripens in the rain gauge.")
    until(lambda: indexed(processes["searcher"], "medlar"))
    user = house.member(house.staff_role)
    assert "medlar" in house.finds(user)
    report = house.control.say(house.staff, user, "!search rain gauge limit: 10", wait_seconds=30)
    said = text_of(report["messages"][0])
    assert all(word in said for word in ("twice", "kumquat", "tamarind"))
    assert not any(word in said for word in ("medlar", "persimmon"))


def test_where_some_may_look_but_not_back_an_answer_holds_only_what_everybody_may_read(house: House) -> None:
    """Who sees a channel without its history sees an answer as it comes."""
    allow_answers(house, house.staff)
    guest = house.member()
    house.control.set_overwrite(
        house.staff, guest, OverwriteTarget.MEMBER, allow=VIEW, deny=int(Permission.READ_MESSAGE_HISTORY)
    )
    try:
        assert "twice" in house.say(house.member(house.staff_role), "!search rain gauge limit: 10", house.staff)["said"]
    finally:
        house.control.delete_overwrite(house.staff, guest)


def test_a_channel_that_one_member_may_not_read_is_not_answered_from_in_public(house: House) -> None:
    other = house.control.create_channel(house.place.guild_id, "elsewhere")
    shut_out = house.member()
    house.control.set_overwrite(house.place.channel_id, shut_out, OverwriteTarget.MEMBER, deny=VIEW)
    try:
        said = house.say(house.member(), "!search counts everything twice", other)["said"]
        assert said.startswith("Nothing found in the channels that everybody here can read")
    finally:
        house.control.delete_overwrite(house.place.channel_id, shut_out)


def test_options(house: House, processes: dict[str, Process]) -> None:
    place, user = house.place, house.member()
    other = house.control.create_channel(place.guild_id, "travel")
    place.post("Our train with the rain gauge leaves at nine.", other)
    until(lambda: indexed(processes["searcher"], "train"))
    assert "train" in house.finds(user, channel=other)
    assert "twice" not in house.finds(user, channel=other)
    assert "walnut" in house.finds(user, channel=place.channel_id), "a channel with its threads"
    assert "train" not in house.finds(user, author=place.owner_id)
    user = house.member()
    assert "twice" in house.finds(user, since="1d")
    assert "Nothing found" in house.finds(user, since="2999-01-01")
    assert house.ask(user, "search", text="rain gauge", limit=1)["said"].count("**1.**") == 1
    assert "train" in house.say(user, f"!search rain gauge channel: <#{other}> limit: 3")["said"]


def test_nothing_found_is_said_plainly(house: House) -> None:
    user = house.member()
    assert house.finds(user, channel=house.staff) == f"{NO_SUCH_CHANNEL}."
    assert house.finds(user, author=house.member()).startswith("Nothing found in the channels you can read")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!search", "Usage: `!search words [channel: #name]"),
        ("!search rain limit: many", "`limit` is not understood. Usage: "),
        ("!search rain limit: 99", "`limit` must be from 1 to 10."),
        (
            "!search rain channel: #nowhere",
            "`channel` must be a channel or thread of this server that can be searched from here.",
        ),
        ("!search rain author: nobody", "`author` must be a mention or a user's id."),
        ("!search rain since: yesterday", "must be a date"),
        (f"!search {'x' * 600}", "must be from 1 to 500 characters"),
    ],
)
def test_bad_arguments_are_named(house: House, text: str, said: str) -> None:
    assert said in house.say(house.member(), text)["said"]


def test_a_bad_time_is_named_to_a_slash_command_too(house: House) -> None:
    said = house.ask(house.member(), "search", text="x", since="@everyone")["said"]
    assert said == "`since` must be a date (2026-01-31), an ISO time, or a span such as 30m, 12h, 7d, 2w."


def test_what_people_wrote_does_nothing_in_an_answer(house: House, processes: dict[str, Process]) -> None:
    house.place.post("@everyone zucchini <@1> https://evil.example ``` ||spoilt||")
    until(lambda: indexed(processes["searcher"], "zucchini"))
    for said in (house.finds(house.member(), "zucchini"), house.say(house.member(), "!search zucchini")["said"]):
        assert "zucchini" in said
        assert not any(active in said for active in ("@everyone", "<@1>", "https://evil", "spoilt"))


def test_a_cooldown_is_said(house: House) -> None:
    user = house.member()
    answers = [house.ask(user, "privacy")["said"] for _ in range(3)]
    assert answers[-1].startswith("Not so fast: try again in ")


@pytest.mark.parametrize("command", ["!health", "!listener_stats"])
def test_refusals_are_no_flood_either(house: House, command: str) -> None:
    """Of a cooldown, and of what is for managers."""
    user = house.member()

    def is_answered() -> bool:
        try:
            house.control.say(house.place.channel_id, user, command, wait_seconds=5)
        except ControlError:
            return False
        return True

    assert not all(is_answered() for _ in range(TOLD_PER_MINUTE + 5))
    assert house.ask(user, "listener_stats")["said"], "a slash command is always answered"


def test_commands_are_refused_in_direct_messages(house: House) -> None:
    user = house.member()
    channel = int(house.control.change("create_dm", user_id=user, other_id=house.place.bot_id)["id"])
    for command, options in (("search", {"text": "rain gauge"}), ("health", {}), ("sync now", {})):
        report = house.control.run_command(channel, user, command, options)
        assert text_of(report["messages"][0]).startswith("ragd answers only in a server")


def test_other_bots_commands_are_left_alone(house: House) -> None:
    user = house.member()
    with pytest.raises(ControlError, match="has not answered"):
        house.control.say(house.place.channel_id, user, "!play music", wait_seconds=0.5)
    assert "keeps" in house.say(user, "!privacy")["said"]


@contextmanager
def without(process: Process) -> Iterator[None]:
    assert process.stop() == 0
    try:
        yield
    finally:
        process.start().running()


def test_without_a_searcher_search_says_so(house: House, processes: dict[str, Process]) -> None:
    with without(processes["searcher"]):
        for said in (house.finds(house.member()), house.say(house.member(), "!search rain gauge")["said"]):
            assert said.startswith("The part of ragd that knows this does not answer right now.")
            assert str(house.directory) not in said
    until(lambda: "twice" in house.finds(house.member()), "the index is back")


def test_without_a_syncer_autosync_status_says_so(house: House, processes: dict[str, Process]) -> None:
    with without(processes["syncer"]):
        assert "temporal      stopped" in house.ask(house.manager(), "autosync_status")["said"]


def test_another_prefix(house: House, processes: dict[str, Process], variables: dict[str, str]) -> None:
    capture = processes["capture"]
    with without(capture), running("capture", {**variables, "COMMAND_PREFIX": "rag?"}) as other:
        until(lambda: other.counter("connected"))
        assert "keeps" in house.say(house.member(), "rag?privacy")["said"]


def test_a_text_command_is_answered_without_embeds_where_they_are_not_allowed(house: House) -> None:
    channel = house.control.create_channel(house.place.guild_id, "plain")
    embed = int(Permission.EMBED_LINKS)
    house.control.set_overwrite(channel, house.place.bot_id, OverwriteTarget.MEMBER, deny=embed)
    message = house.say(house.member(), "!search the roof counts everything twice", channel)
    assert message["embeds"] == []
    assert "counts everything twice" in message["content"]


def test_no_question_and_no_text_reaches_the_log(house: House, processes: dict[str, Process]) -> None:
    house.finds(house.member(), "quincunx in the rain gauge")
    house.say(house.member(), "!search quincunx limit: quinquereme")
    logs = "".join(process.log.read_text() for process in processes.values())
    assert [word for word in (*HIDDEN, "rain gauge", "quincunx", "quinquereme", "Traceback") if word in logs] == []
