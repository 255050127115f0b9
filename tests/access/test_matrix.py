"""The permission matrix: what members find through a real capture and searcher, against Discord's rules in `rules`.

Two servers, one open and one closed to @everyone; channels of every kind with overwrites at random, threads of every
kind in them, members with roles at random. Each place holds one message, of a day of its own, so that a query of
nothing but dates shows all of ten places at most.
"""

from __future__ import annotations

import random
import re
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ragd.answers import SearchRequest
from ragd.errors import RagdError
from ragd.sandbox.client import ControlClient, SandboxThread
from ragd.search_client import ask_searcher
from tests.access.rules import (
    ADMINISTRATOR,
    CONNECT,
    HISTORY,
    MANAGE_THREADS,
    VIEW,
    Asker,
    Server,
    Where,
    bits,
    may_find,
    may_read,
)
from tests.processes import TOKEN, UNLIMITED, Process, environment, until

SEED = 20261123
EVERYTHING = VIEW | HISTORY | CONNECT
TEXT, VOICE, CATEGORY, NEWS, STAGE, FORUM, MEDIA = 0, 2, 4, 5, 13, 15, 16
BASES = {"open": EVERYTHING, "closed": 0}
FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
A_QUERY = 10
"""Passages that one answer holds at most."""

QUERIES = 5
"""Of one member in twenty seconds at most."""

PLACES = A_QUERY * QUERIES
MEMBERS = 40
LINK = re.compile(r"https://discord\.com/channels/(\d+)/(\d+)/\d+")


@dataclass
class Town:
    """One of the servers."""

    control: ControlClient
    rng: random.Random
    server: Server
    bot: int
    lobby: int = 0
    adults: int = 0
    roles: list[int] = field(default_factory=list)
    askers: list[Asker] = field(default_factory=list)
    places: list[Where] = field(default_factory=list)

    def build(self) -> Town:
        everybody = {"id": self.server.id, "target": 0, "allow": EVERYTHING | 1 << 11, "deny": 0}
        self.lobby = self.channel("lobby", TEXT, [everybody])
        self.adults = self.channel("adults", TEXT, [everybody], nsfw=True)
        kinds = (VIEW, HISTORY, VIEW | HISTORY, EVERYTHING, MANAGE_THREADS, 0)
        for number, granted in enumerate(kinds):
            self._role(f"role{number}", granted)
        admin = self._role("admin", ADMINISTRATOR)
        self.askers = [Asker(self.server.owner), self._member((admin,)), self._member((admin,), timed_out=True)]
        for number in range(MEMBERS - len(self.askers)):
            roles = self.rng.sample(self.roles[: len(kinds)], self.rng.randint(0, 3))
            self.askers.append(self._member(tuple(roles), timed_out=number % 6 == 5))
        kinds_of_places = [TEXT, NEWS, VOICE, TEXT, STAGE, FORUM, TEXT, MEDIA]
        number = 0
        while len(self.places) < PLACES:
            self._add_place(kinds_of_places[number % len(kinds_of_places)], number)
            number += 1
        del self.places[PLACES:]
        return self

    def channel(self, name: str, kind: int, overwrites: list[dict[str, int]], **more: Any) -> int:
        return self.control.create_channel(self.server.id, name, kind, overwrites=overwrites, **more)

    def new_member(self, name: str, roles: tuple[int, ...] = ()) -> int:
        user = self.control.create_user(name)
        self.control.add_member(self.server.id, user, roles=list(roles))
        return user

    def _role(self, name: str, granted: int) -> int:
        role = self.control.create_role(self.server.id, name, permissions=granted)
        self.server.roles[role] = granted
        self.roles.append(role)
        return role

    def _member(self, roles: tuple[int, ...], *, timed_out: bool = False) -> Asker:
        user = self.new_member(f"member{len(self.askers)}", roles)
        if timed_out:
            until_ms = int((time.time() + 86_400) * 1000)
            self.control.change("time_out", guild_id=self.server.id, user_id=user, until_ms=until_ms)
        return Asker(user, roles, timed_out)

    def _overwrites(self) -> dict[int, tuple[int, int]]:
        """At random: for @everyone, some roles and some members, of bits that matter; one may allow and deny both."""
        rng = self.rng
        targets = [self.server.id] * (rng.random() < 0.7) + rng.sample(self.roles, rng.randint(0, 3))
        targets += [asker.id for asker in rng.sample(self.askers, rng.randint(0, 4))]
        some = (0, VIEW, HISTORY, VIEW | HISTORY, CONNECT, EVERYTHING, MANAGE_THREADS, ADMINISTRATOR)
        return {target: (rng.choice(some), rng.choice(some)) for target in targets}

    def _add_place(self, kind: int, number: int) -> None:
        rng = self.rng
        everyone, someone = self.server.id, self.roles[0]
        overwrites = {
            0: {everyone: (EVERYTHING, 0)},  # for everybody
            1: {everyone: (HISTORY, VIEW), someone: (VIEW, 0)},  # for a role, all of it
        }.get(number) or self._overwrites()
        parent = None
        if number % 3 == 0:  # a category: in sync with its channel, or of other overwrites, which count for nothing
            theirs = overwrites if rng.random() < 0.5 else self._overwrites()
            parent = self.channel(f"category{number}", CATEGORY, _payload(self.server, theirs))
        nsfw = number > 1 and rng.random() < 0.2
        channel = self.channel(f"channel{number}", kind, _payload(self.server, overwrites), nsfw=nsfw, parent_id=parent)
        where = Where(channel, kind, overwrites, nsfw)
        if kind in (FORUM, MEDIA):
            for archived in (False, True):
                self._add_thread(where, archived=archived)
            return
        self._post(where)
        if kind in (TEXT, NEWS):
            self._add_thread(where, archived=rng.random() < 0.5)
        if kind == TEXT:
            for archived in (False, rng.random() < 0.3):
                self._add_thread(where, private=True, archived=archived)

    def _add_thread(self, parent: Where, *, private: bool = False, archived: bool) -> None:
        control, day = self.control, _at(len(self.places))
        if parent.kind in (FORUM, MEDIA):
            thread = control.create_forum_post(parent.id, self.server.owner, "post", "canary", at_ms=day)
        else:
            thread = control.create_thread(parent.id, self.server.owner, "thread", private=private, at_ms=day - 9_000)
        joined = self.rng.sample(self.askers, 4) if private else []
        members = [*(asker.id for asker in joined), self.bot] if private else []  # ragd knows those that it is in
        for user in members:
            control.change("join_thread", thread_id=thread, user_id=user)
        kind = 12 if private else 10 if parent.kind == NEWS else 11
        where = Where(thread, kind, parent=parent, joined=frozenset(one.id for one in joined) | {self.server.owner})
        if parent.kind in (FORUM, MEDIA):
            self.places.append(where)
        else:
            self._post(where)
        if archived:
            control.archive_thread(thread)
            where.archived = True

    def _post(self, where: Where) -> None:
        self.control.post(where.id, self.server.owner, "canary", at_ms=_at(len(self.places)))
        self.places.append(where)

    # Asking

    def found(self, user: int, *, channel: int = 0) -> set[int]:
        """The places that a member finds by slash command, with as many queries as it takes."""
        found: set[int] = set()
        for first in range(0, PLACES, A_QUERY):
            options = {"text": _days(first), "limit": A_QUERY}
            report = self.control.run_command(channel or self.lobby, user, "search", options, wait_seconds=60)
            found |= self._places(report)
        return found

    def found_in_public(self, user: int, channel: int) -> set[int]:
        """The places that an answer to a text command shows."""
        found: set[int] = set()
        for first in range(0, PLACES, A_QUERY):
            text = f"!search {_days(first)} limit: {A_QUERY}"
            found |= self._places(self.control.say(channel, user, text, wait_seconds=60))
        return found

    def _places(self, report: dict[str, Any]) -> set[int]:
        (message,) = report["messages"]
        said = message["content"] + "".join(embed.get("description", "") for embed in message["embeds"])
        assert "Not so fast" not in said
        links = LINK.findall(said)
        assert all(int(guild) == self.server.id for guild, _ in links)
        return {int(channel) for _, channel in links}


def _payload(server: Server, overwrites: dict[int, tuple[int, int]]) -> list[dict[str, int]]:
    return [
        {"id": target, "target": 0 if target in server.roles else 1, "allow": allow, "deny": deny}
        for target, (allow, deny) in overwrites.items()
    ]


def _at(number: int) -> int:
    return int((FIRST_DAY + timedelta(days=number, hours=12)).timestamp() * 1000)


def _days(first: int) -> str:
    after, before = (FIRST_DAY + timedelta(days=days) for days in (first - 1, first + A_QUERY))
    return f"after:{after:%Y-%m-%d} before:{before:%Y-%m-%d}"


@pytest.fixture(scope="module")
def towns() -> Iterator[dict[str, Town]]:
    with SandboxThread() as sandbox, tempfile.TemporaryDirectory(prefix="ragd-") as directory, ExitStack() as stack:
        control = sandbox.control
        application = control.create_application("ragd", token=TOKEN)
        towns = {}
        for name, base in BASES.items():
            owner = control.create_user(f"owner-{name}")
            guild = control.create_guild(name, owner, everyone_permissions=base)
            control.invite_bot(guild, int(application["id"]), permissions=ADMINISTRATOR)
            rng, bot = random.Random(f"{SEED} {name}"), int(application["bot_id"])
            towns[name] = Town(control, rng, Server(guild, owner, {guild: base}), bot).build()
        variables = environment(sandbox, Path(directory), RAGD_STALE_SECONDS="30", **UNLIMITED)
        started = {name: Process(name, variables).start() for name in ("capture", "syncer", "searcher")}
        for process in started.values():
            stack.callback(process.end)
        for process in started.values():
            process.running()
        until(lambda: "slash commands" in started["capture"].log.read_text(), started["capture"].tail())
        wanted = {place.id for town in towns.values() for place in town.places}
        socket = started["searcher"].settings.search_socket
        until(lambda: wanted <= _all_places(socket, towns), "all is stored", seconds=120)
        yield towns


def _all_places(socket: Path, towns: dict[str, Town]) -> set[int]:
    found: set[int] = set()
    for _ in towns:
        for first in range(0, PLACES, A_QUERY):
            try:
                answer = ask_searcher(socket, SearchRequest(_days(first), "operator", 50))
            except RagdError:
                return set()
            found |= {int(result.channel_id) for result in answer.results}
    return found


@pytest.mark.parametrize("name", BASES)
def test_each_member_finds_just_what_discord_lets_the_member_read(
    towns: dict[str, Town], name: str, record_property: Any
) -> None:
    town = towns[name]
    restricted = [number % 4 == 3 for number in range(len(town.askers))]  # these ask in an age-restricted channel

    def ask(number: int) -> set[int]:
        return town.found(town.askers[number].id, channel=town.adults if restricted[number] else town.lobby)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(len(town.askers))))
    combinations: set[tuple[object, ...]] = set()
    for asker, found, of_age in zip(town.askers, answers, restricted, strict=True):
        expected = {place.id for place in town.places if may_find(town.server, asker, place, in_age_restricted=of_age)}
        wrong = [place for place in town.places if (place.id in found) != (place.id in expected)]
        assert not wrong, (asker, wrong)
        for place in town.places:
            parent = place.parent or place
            has = bits(town.server, asker, parent) & (EVERYTHING | MANAGE_THREADS)
            here = (parent.kind, place.kind, place.archived, parent.nsfw and of_age, asker.id in place.joined)
            combinations.add((*here, has, asker.timed_out, asker.id == town.server.owner))
    some = [len(found) for found in answers]
    assert min(some) < PLACES / 2 < max(some), "neither all nor nothing"
    record_property("compared", f"{len(answers) * PLACES} of {name}, {len(combinations)} of them different")
    print(f"\n{name}: {len(answers) * PLACES} pairs compared, {len(combinations)} different combinations")


@pytest.mark.parametrize("name", BASES)
def test_a_public_answer_holds_only_what_all_who_see_it_may_read(towns: dict[str, Town], name: str) -> None:
    """Whoever may view the channel of the answer may read all that is in it; asked by administrators.

    A time-out counts for nothing here: it ends, and until then shuts only the chats of voice channels.
    """
    town = towns[name]
    text_channels = [place for place in town.places if place.kind in (TEXT, NEWS) and not place.nsfw]
    shown: dict[int, set[int]] = {}
    for number, here in enumerate([Where(town.lobby, TEXT), *text_channels[:6]]):
        found = town.found_in_public(town.new_member(f"boss{number}", (town.roles[-1],)), here.id)
        shown[here.id] = found
        for asker in (replace(one, timed_out=False) for one in town.askers):
            if here.id == town.lobby or bits(town.server, asker, here) & VIEW:
                wrong = [one for one in town.places if one.id in found and not may_read(town.server, asker, one)]
                assert not wrong, (asker, here, wrong)
    for_all, for_role = text_channels[:2]
    assert for_all.id in shown[town.lobby]
    assert for_role.id not in shown[town.lobby]
    assert {for_all.id, for_role.id} <= shown[for_role.id]
