"""The base of the world: its tables, its clock, its listeners and its look-ups."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ragd.errors import RagdError

from .entities import (
    Application,
    Channel,
    Command,
    Event,
    Guild,
    Ledger,
    LedgerEntry,
    Member,
    Message,
    Payload,
    Role,
    ThreadState,
    User,
    Webhook,
)
from .messagelog import MessageLog
from .snowflake import SnowflakeClock, iso

Listener = Callable[[Event], None]
_T = TypeVar("_T")


class UnknownEntityError(RagdError):
    """An id names nothing; `kind` is what it should have named ('channel', 'message', 'user', ...)."""

    def __init__(self, kind: str, key: int | str) -> None:
        super().__init__(f"unknown {kind} {key}")
        self.kind = kind


class WorldRuleError(RagdError):
    """What was asked contradicts the state of the world (a message in a category, a thread of a thread, ...)."""


class WorldState:
    """Tables and look-ups. Single-threaded: touch it from one event loop only. Look-ups raise UnknownEntityError."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.clock = SnowflakeClock(now)
        self.users: dict[int, User] = {}
        self.applications: dict[int, Application] = {}
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        """Every channel, thread and DM by id; guild channels also hang in their `Guild`."""
        self.messages = MessageLog()
        self.webhooks: dict[int, Webhook] = {}
        self.commands: dict[int, Command] = {}
        self._listeners: list[Listener] = []
        self._quiet = 0

    # -- events

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every event, synchronously within the mutation; returns the way to unsubscribe.

        An event about something that goes away (a channel, a thread) is sent while it is still there.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Mutations inside emit no events: how history is seeded. Do not await inside."""
        self._quiet += 1
        try:
            yield
        finally:
            self._quiet -= 1

    def emit(
        self,
        name: str,
        make_data: Callable[[], Payload],
        *,
        guild_id: int | None = None,
        channel_id: int | None = None,
        intent: int = 0,
        only_user: int | None = None,
        always_for: int | None = None,
    ) -> None:
        """Tell the listeners; the payload is built only when somebody hears it. Fields as in `Event`."""
        if self._quiet or not self._listeners:
            return
        event = Event(name, make_data(), guild_id, channel_id, intent, only_user, always_for)
        for listener in tuple(self._listeners):
            listener(event)

    # -- look-ups

    def user(self, user_id: int) -> User:
        """The account with this id."""
        return _found(self.users.get(user_id), "user", user_id)

    def guild(self, guild_id: int) -> Guild:
        """The guild with this id."""
        return _found(self.guilds.get(guild_id), "guild", guild_id)

    def channel(self, channel_id: int) -> Channel:
        """The channel, thread or DM with this id."""
        return _found(self.channels.get(channel_id), "channel", channel_id)

    def thread(self, channel_id: int) -> tuple[Channel, ThreadState]:
        """The thread with this id and its thread part."""
        channel = self.channel(channel_id)
        return channel, _found(channel.thread, "thread", channel_id)

    def message(self, message_id: int) -> Message:
        """The message with this id, if it still exists."""
        return _found(self.messages.get(message_id), "message", message_id)

    def role(self, guild_id: int, role_id: int) -> Role:
        """A role of a guild."""
        return _found(self.guild(guild_id).roles.get(role_id), "role", role_id)

    def member(self, guild_id: int, user_id: int) -> Member:
        """A member of a guild."""
        return _found(self.guild(guild_id).members.get(user_id), "member", user_id)

    def webhook(self, webhook_id: int) -> Webhook:
        """The webhook with this id."""
        return _found(self.webhooks.get(webhook_id), "webhook", webhook_id)

    def application(self, application_id: int) -> Application:
        """The application with this id."""
        return _found(self.applications.get(application_id), "application", application_id)

    def application_by_token(self, token: str) -> Application | None:
        """The application a bot token belongs to (no `Bot ` prefix), or None."""
        return next((app for app in self.applications.values() if app.token == token), None)

    def application_of_bot(self, bot_id: int) -> Application | None:
        """The application whose bot user this is, or None."""
        return next((app for app in self.applications.values() if app.bot_id == bot_id), None)

    # -- audit

    def ledger(self, guild_id: int | None = None) -> Ledger:
        """What truly exists and what is gone, in one guild or everywhere: what tests and audits compare with."""
        entries = {
            message.id: self._ledger_entry(message)
            for message in self.messages.all()
            if guild_id is None or self.channels[message.channel_id].guild_id == guild_id
        }
        gone = self.messages.deleted.items()
        return Ledger(entries, frozenset(key for key, of in gone if guild_id is None or of == guild_id))

    def _ledger_entry(self, message: Message) -> LedgerEntry:
        return LedgerEntry(
            id=message.id,
            channel_id=message.channel_id,
            guild_id=self.channels[message.channel_id].guild_id,
            author_id=message.author_id,
            content=message.content,
            edited_timestamp=None if message.edited_ms is None else iso(message.edited_ms),
        )


def _found(value: _T | None, kind: str, key: int) -> _T:
    if value is None:
        raise UnknownEntityError(kind, key)
    return value
