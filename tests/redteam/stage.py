"""Servers with secrets in them, ragd's processes that serve them, outsiders who are after the secrets, and insiders."""

from __future__ import annotations

import itertools
import json
import re
import socket
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from ragd.answers import SearchRequest
from ragd.errors import RagdError
from ragd.sandbox.client import ControlError, SandboxThread
from ragd.sandbox.entities import ChannelType
from ragd.sandbox.permissions import Permission
from ragd.search_client import ask_searcher
from tests.processes import UNLIMITED, Place, Process, environment, furnish, until

VIEW, HISTORY = int(Permission.VIEW_CHANNEL), int(Permission.READ_MESSAGE_HISTORY)
READ = VIEW | HISTORY
ADMINISTRATOR = int(Permission.ADMINISTRATOR)

SECRETS = {
    "vault": "kumquat",
    "vault thread": "tamarind",
    "vault archive": "loquat",
    "private thread": "persimmon",
    "council": "medlar",
    "booth": "bergamot",
    "cellar": "rambutan",
    "other server": "mangosteen",
    "denied": "salak",
    "elsewhere": "feijoa",
}
"""A word that stands in one place only, and is in no question of anybody's but the attempts'."""

CODE = "VLT-7731-QX"
"""A fragment that only #vault has."""

WRITER = "quillfeather"
"""Writes nowhere but in #vault."""

HIDDEN_NAME = "vault-of-layoffs"
"""What #vault is called."""

LOOT = (*SECRETS.values(), CODE, WRITER, HIDDEN_NAME)
_numbers = itertools.count()


class Stage:
    """All of it; processes run from `start` on."""

    def __init__(self, sandbox: SandboxThread, directory: Path) -> None:
        self.place: Place = furnish(sandbox)
        self.directory = directory
        self.control = control = sandbox.control
        self.guild = self.place.guild_id
        self.bot_role = self._role("bot", ADMINISTRATOR)
        control.set_member_roles(self.guild, self.place.bot_id, [self.bot_role])
        self.keepers = self._role("keepers", 0)
        self.general = self.place.channel_id
        self.writer = control.create_user(WRITER)
        control.add_member(self.guild, self.writer, roles=[self.keepers])
        self._furnish_open()
        self._furnish_hidden()
        self._furnish_other_server()

    def _role(self, name: str, permissions: int) -> int:
        return self.control.create_role(self.guild, name, permissions=permissions)

    def _furnish_open(self) -> None:
        self.place.post("The rain gauge on the roof counts everything twice.")
        self.place.post("Lunch is at noon, bring the weather station along.")
        self.place.post("An orchard filler word that stands here once: zwiebel.")

    def _furnish_hidden(self) -> None:
        say, control = self.say, self.control
        self.vault = self.hidden_channel(HIDDEN_NAME)
        self.vault_message = say(self.vault, f"The {SECRETS['vault']} code {CODE} opens the safe of the rain gauge.")
        say(self.vault, "https://example.org/payroll has who leaves in May.")
        self.vault_thread = control.create_thread(self.vault, self.writer, "on-the-safe", message_id=self.vault_message)
        say(self.vault_thread, f"The {SECRETS['vault thread']} key of the rain gauge hangs behind the clock.")
        self.vault_archive = control.create_thread(self.vault, self.writer, "old-safe")
        say(self.vault_archive, f"The {SECRETS['vault archive']} lock of the rain gauge was broken.")
        control.archive_thread(self.vault_archive)
        self.private = control.create_thread(self.general, self.writer, "only-us", private=True)
        control.change("join_thread", thread_id=self.private, user_id=self.place.bot_id)
        say(self.private, f"A {SECRETS['private thread']} grows behind the rain gauge.")
        forum = self.hidden_channel("council", ChannelType.FORUM)
        self.post = control.create_forum_post(
            forum, self.writer, "verdict", f"The {SECRETS['council']} verdict on the rain gauge."
        )
        self.booth = self.hidden_channel("booth", ChannelType.VOICE)
        say(self.booth, f"The {SECRETS['booth']} recording of the rain gauge.")
        self.cellar = control.create_channel(self.guild, "cellar", nsfw=True)
        say(self.cellar, f"The {SECRETS['cellar']} party under the rain gauge.")
        self.denied = control.create_channel(self.guild, "denied")
        say(self.denied, f"The {SECRETS['denied']} diary of the rain gauge.")
        say(self.general, f"See <#{self.vault}> about the weather station.", self.place.owner_id)
        control.post(
            self.general, self.place.owner_id, "That is settled.", type=19, reference=(self.vault, self.vault_message)
        )

    def _furnish_other_server(self) -> None:
        control = self.control
        self.stranger = control.create_user("stranger")
        self.other_guild = control.create_guild("Elsewhere", self.stranger)
        (application,) = {int(one["id"]) for one in control.world()["applications"]}
        control.invite_bot(self.other_guild, application)
        self.other_channel = control.create_channel(self.other_guild, "their-general")
        control.post(self.other_channel, self.stranger, f"The {SECRETS['other server']} harvest of the rain gauge.")

    def hidden_channel(self, name: str, kind: int = ChannelType.TEXT) -> int:
        """A channel for keepers and the bot."""
        overwrites = [
            {"id": self.guild, "target": 0, "allow": 0, "deny": VIEW},
            {"id": self.keepers, "target": 0, "allow": READ, "deny": 0},
        ]
        return self.control.create_channel(self.guild, name, kind, overwrites=overwrites)

    # Processes

    def start(self, stack: ExitStack) -> None:
        self.variables = environment(
            self.place.sandbox, self.directory, RAGD_STALE_SECONDS="30", RAGD_DENY_IDS=str(self.denied), **UNLIMITED
        )
        self.processes = {name: Process(name, self.variables).start() for name in ("capture", "syncer", "searcher")}
        for process in self.processes.values():
            stack.callback(process.end)
        for process in self.processes.values():
            process.running()
        until(lambda: "slash commands" in self.processes["capture"].log.read_text())
        for name, word in SECRETS.items():
            if name not in ("denied", "elsewhere"):
                self.wait_for(word)

    def wait_for(self, word: str) -> None:
        """Until the operator finds it, in a chunk of its own."""
        until(lambda: self.operator_finds(word, embedded=True), f"{word} indexed")

    def operator_finds(self, word: str, *, embedded: bool = False) -> bool:
        try:
            answer = ask_searcher(self.socket, SearchRequest(word, "operator", 50))
        except RagdError:
            return False
        return any(word in one.text and (one.strategy != "message" or not embedded) for one in answer.results)

    @property
    def socket(self) -> Path:
        return self.processes["searcher"].settings.search_socket

    # People

    def outsider(self) -> int:
        """A member without roles, whom no cooldown holds up."""
        return self._member()

    def insider(self) -> int:
        """A member who may read all there is in this server, and asks where age-restricted channels are searched."""
        user = self._member(self.keepers)
        self.control.change("join_thread", thread_id=self.private, user_id=user)
        return user

    def _member(self, *roles: int) -> int:
        user = self.control.create_user(f"member{next(_numbers)}")
        self.control.add_member(self.guild, user, roles=list(roles))
        return user

    def say(self, channel: int, text: str, user: int = 0) -> int:
        return self.control.post(channel, user or self.writer, text)

    # Asking

    def slash(self, user: int, text: str, *, where: int = 0, **options: Any) -> str:
        """All that `/search` shows the asker, however it shows it."""
        return self.command(user, "search", where=where, **{"text": text, "limit": 10, **options})

    def command(self, user: int, name: str, *, where: int = 0, **options: Any) -> str:
        report = self.control.run_command(where or self.general, user, name, options, wait_seconds=30)
        return json.dumps(report["messages"])

    def aloud(self, user: int, text: str, *, where: int = 0) -> str:
        """What a text command is answered, without the question that it stands under."""
        try:
            report = self.control.say(where or self.general, user, text, wait_seconds=10)
        except ControlError as error:  # nothing was said
            return str(error)
        answers = [{**one, "referenced_message": None, "mentions": None} for one in report["messages"]]
        return json.dumps(answers)

    def request(self, body: bytes, path: str = "/search") -> str:
        """Talk to the searcher's socket without any of ragd's code."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self.socket))
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            with suppress(BrokenPipeError):  # refused before all of it was said
                connection.sendall(head.encode() + body)
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode(errors="replace")


def said(answer: str) -> str:
    """What an answer says, without what differs from one question to the next."""
    messages = json.loads(answer)
    texts = [one["content"] + "".join(embed.get("description", "") for embed in one["embeds"]) for one in messages]
    return re.sub(r"<t:\d+:\w>", "<t>", "\n".join(texts))


def loot(shown: str, *asked: str) -> list[str]:
    """What of the secrets an answer shows; words that the asker said are none."""
    return [word for word in LOOT if word.casefold() in shown.casefold() and word not in asked]
