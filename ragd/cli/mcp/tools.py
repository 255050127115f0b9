"""What the tools do, apart from the protocol. Called from threads, several at once; each call looks anew."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ragd.answers import SearchRequest
from ragd.cli import asker
from ragd.cli.asker import Asker, only_allowed
from ragd.cli.mcp.documents import (
    NOTICE,
    Document,
    Message,
    Passage,
    PassageDocument,
    PassageWanted,
    SearchDocument,
    SearchWanted,
    StatusDocument,
    StatusWanted,
    Wanted,
)
from ragd.cli.search import parse_since
from ragd.config import Settings
from ragd.errors import RagdError
from ragd.search_client import ask_searcher
from ragd.snowflake import to_unix_ms
from ragd.status import collect_status
from ragd.store import Store
from ragd.store.scope import Filter
from ragd.store.surroundings import Said, Surroundings
from ragd.text import searchable_text
from ragd.trace import parse_link


class NotThereError(RagdError):
    """Said of what there is not and of what the asker may not read alike."""


@dataclass(frozen=True, slots=True)
class ToolOf:
    """One tool: what agents are told of it, and what it does."""

    name: str
    title: str
    description: str
    takes: type[Wanted]
    gives: type[Document]
    run: Callable[[Any], Document]


class Tools:
    """The tools for one asker: the operator, or a member as `--as` and `--guild` say."""

    def __init__(self, settings: Settings, as_user: str | None = None, guild: str | None = None) -> None:
        self._settings = settings
        self._as_user, self._guild = as_user, guild
        self._asker: Asker | None = None

    def find_asker(self) -> Asker:
        """Who asks; once found, whoever takes that name later is another. Raises as ragd/cli/asker.py says."""
        if self._asker is None:
            self._asker = asker.find_asker(self._settings, self._as_user, self._guild)
        return self._asker

    def all(self) -> list[ToolOf]:
        return [
            ToolOf("search", "Search Discord", _SEARCH, SearchWanted, SearchDocument, self.search),
            ToolOf("fetch_passage", "Fetch a passage", _FETCH, PassageWanted, PassageDocument, self.fetch_passage),
            ToolOf("status", "Status of ragd", _STATUS, StatusWanted, StatusDocument, self.status),
        ]

    def search(self, wanted: SearchWanted) -> SearchDocument:
        """Raises RagdError."""
        since = parse_since(wanted.since, datetime.now(UTC), "since").isoformat() if wanted.since else None
        access = self.find_asker().access(self._settings)
        request = SearchRequest(
            wanted.query, access, wanted.limit, channel=wanted.channel, author=wanted.author, since=since
        )
        answer = only_allowed(ask_searcher(self._settings.search_socket, request), access)
        return SearchDocument(
            notice=NOTICE,
            results=[Passage.of(result) for result in answer.results],
            why=answer.why,
            remarks=answer.remarks,
            indexed_to=answer.indexed_to,
            lag_messages=answer.lag_messages,
            holes=answer.holes,
        )

    def fetch_passage(self, wanted: PassageWanted) -> PassageDocument:
        """Raises RagdError."""
        message_id = parse_link(wanted.message).message_id
        access = self.find_asker().access(self._settings)
        readable = Filter() if access == "operator" else Filter(access.channels)
        with contextlib.closing(Store.open_read_only(self._settings.database_path)) as store:
            found = store.surroundings.around(message_id, readable, wanted.before, wanted.after)
        if found is None:
            raise NotThereError(
                f"message {message_id} cannot be shown: it is not stored, was deleted, or is not open to this asker"
            )
        return _passage(found)

    def status(self, _wanted: StatusWanted) -> StatusDocument:
        """Never raises for anything that is dead; UsageError for an asker who is nobody."""
        seen = collect_status(self._settings)
        if self._as_user is not None:
            return StatusDocument(state=seen.state)
        return StatusDocument(**seen.document())


_SEARCH = (
    "Search what was said in the Discord servers that ragd remembers, by words and by meaning at once. Gives passages"
    " of conversations, best first, each with its text, time and a link to cite. If nothing is near enough, `results`"
    " is empty and `why` says why."
)
_FETCH = (
    "Fetch one message as it reads now, with its neighbours in the channel: to read on around a result of `search`, or"
    " to open a link somebody gave. What was deleted or may not be read is not shown."
)
_STATUS = (
    "How ragd is: whether search can be relied on, what is amiss, how much is stored, how far the index is behind. Ask"
    " when another tool fails, or when something that should be there is not found."
)


def _passage(found: Surroundings) -> PassageDocument:
    def message(said: Said) -> Message:
        return Message(
            id=str(said.id),
            author_id=str(said.author_id),
            author=said.author_name,
            time=_iso(to_unix_ms(said.id)),
            edited=_iso(said.edited_at) if said.edited_at else None,
            reply_to_id=str(said.reply_to_id) if said.reply_to_id else None,
            text=searchable_text(said.content, said.extra),
            url=f"https://discord.com/channels/{found.guild_id}/{found.channel_id}/{said.id}",
        )

    return PassageDocument(
        notice=NOTICE,
        guild_id=str(found.guild_id),
        guild=found.guild_name,
        channel_id=str(found.channel_id),
        channel=found.channel_name,
        before=[message(said) for said in found.before],
        message=message(found.message),
        after=[message(said) for said in found.after],
    )


def _iso(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="seconds")
