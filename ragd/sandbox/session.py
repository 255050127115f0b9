"""One gateway session: what it may hear, its sequence numbers and its replay buffer. Outlives its connections."""

from __future__ import annotations

import secrets
from collections import deque
from typing import Protocol

import orjson

from . import payloads
from .entities import Application, Channel, Event, Guild, Intents, Payload
from .faults import Faults
from .permissions import can_view
from .protocol import Op
from .redaction import redacted
from .world import World

_WITH_CONTENT = frozenset({"MESSAGE_CREATE", "MESSAGE_UPDATE"})
_VIEW_CHANGES = frozenset({"CHANNEL_UPDATE", "GUILD_ROLE_UPDATE", "GUILD_ROLE_DELETE", "GUILD_MEMBER_UPDATE"})


class Outlet(Protocol):
    """Where a session's messages go while a client is connected."""

    def send(self, message: bytes) -> None:
        """Send one JSON message."""


class Session:
    """An identified session of one bot on one shard."""

    def __init__(
        self,
        world: World,
        faults: Faults,
        application: Application,
        intents: int,
        shard: tuple[int, int],
        *,
        buffer_events: int,
    ) -> None:
        self.id = secrets.token_hex(16)
        self.application = application
        self.bot_id = application.bot_id
        self.intents = intents
        self.shard = shard
        self.sequence = 0
        self.outlet: Outlet | None = None
        self.disconnected_at: float | None = None
        self.expired = False
        """Set: it serves on while connected, but can no longer be resumed."""
        self.sent_events = 0
        self._world = world
        self._faults = faults
        self._buffer: deque[tuple[int, bytes]] = deque(maxlen=buffer_events)
        self._viewed_parents: dict[int, set[int]] = {}

    # -- beginning

    def owns(self, guild_id: int) -> bool:
        """Does the guild belong to this session's shard?"""
        shard_id, shards = self.shard
        return (guild_id >> 22) % shards == shard_id

    def start(self, resume_gateway_url: str) -> None:
        """Send READY, and GUILD_CREATE for every guild."""
        guilds = [
            guild for guild in self._world.guilds.values() if self.bot_id in guild.members and self.owns(guild.id)
        ]
        self._dispatch("READY", self._ready_payload(guilds, resume_gateway_url))
        if self.intents & Intents.GUILDS:
            for guild in guilds:
                if not guild.unavailable:
                    self._dispatch("GUILD_CREATE", self._guild_create_payload(guild))

    def _ready_payload(self, guilds: list[Guild], resume_gateway_url: str) -> Payload:
        application = self.application
        return {
            "v": 10,
            "user": payloads.own_user_payload(self._world.user(self.bot_id)),
            "guilds": [payloads.unavailable_guild_payload(guild.id) for guild in guilds],
            "session_id": self.id,
            "resume_gateway_url": resume_gateway_url,
            "session_type": "normal",
            "shard": list(self.shard),
            "application": {"id": str(application.id), "flags": payloads.application_flags(application)},
            "private_channels": [],
            "relationships": [],
            "user_settings": {},
            "guild_join_requests": [],
            "geo_ordered_rtc_regions": [],
            "_trace": ["sandbox"],
        }

    def _guild_create_payload(self, guild: Guild) -> Payload:
        self._viewed_parents[guild.id] = self._parents_in_view(guild)
        active = [thread for thread in payloads.active_threads(guild, self.bot_id) if self._sees(thread.id)]
        with_members = bool(self.intents & Intents.GUILD_PRESENCES)
        return payloads.guild_create_payload(self._world, guild, self.bot_id, threads=active, with_members=with_members)

    # -- events

    def hear(self, event: Event) -> None:
        """Send an event of the world if this session may have it."""
        if not self._may_have(event):
            return
        data = event.data
        if event.name == "GUILD_CREATE" and event.guild_id is not None:
            if not self.intents & Intents.GUILDS:
                return
            data = self._guild_create_payload(self._world.guild(event.guild_id))
        elif event.name in _WITH_CONTENT and event.guild_id is not None and not self.intents & Intents.MESSAGE_CONTENT:
            data = redacted(data, self.bot_id)
        self._dispatch(event.name, data)
        if event.name in _VIEW_CHANGES and event.guild_id is not None:
            self._sync_threads(self._world.guild(event.guild_id))

    def _may_have(self, event: Event) -> bool:
        if event.guild_id is not None and not self.owns(event.guild_id):
            return False
        if event.guild_id is None and self.shard[0] != 0:
            return False
        if event.only_user is not None:
            return event.only_user == self.bot_id
        if event.intent and not self.intents & event.intent and event.always_for != self.bot_id:
            return False
        if event.guild_id is not None:
            guild = self._world.guild(event.guild_id)
            if self.bot_id not in guild.members or guild.unavailable:
                return False
        return event.channel_id is None or self._sees(event.channel_id)

    def _sees(self, channel_id: int) -> bool:
        return can_view(self._world, self.bot_id, channel_id)

    def _dispatch(self, name: str, data: object) -> None:
        opening = name == "READY"
        lost = not opening and self._faults.loses(name)
        if lost and not self._faults.keep_for_resume:
            return
        self.sequence += 1
        message = orjson.dumps({"t": name, "s": self.sequence, "op": int(Op.DISPATCH), "d": data})
        self._buffer.append((self.sequence, message))
        if self.outlet is not None and not lost:
            self.sent_events += 1
            self.outlet.send(message)

    # -- threads that come into view

    def _parents_in_view(self, guild: Guild) -> set[int]:
        return {channel_id for channel_id in guild.channels if self._sees(channel_id)}

    def _sync_threads(self, guild: Guild) -> None:
        """THREAD_LIST_SYNC for channels the bot has just gained access to, as Discord sends it."""
        if not self.intents & Intents.GUILDS:
            return
        before = self._viewed_parents.get(guild.id, set())
        now = self._viewed_parents[guild.id] = self._parents_in_view(guild)
        gained = now - before
        threads = [thread for thread in payloads.active_threads(guild, self.bot_id) if thread.parent_id in gained]
        if threads:
            self._dispatch("THREAD_LIST_SYNC", self._thread_list_payload(guild, gained, threads))

    def _thread_list_payload(self, guild: Guild, gained: set[int], threads: list[Channel]) -> Payload:
        members = [
            payloads.thread_member_payload(thread.id, thread.thread.members[self.bot_id])
            for thread in threads
            if thread.thread is not None and self.bot_id in thread.thread.members
        ]
        return {
            "guild_id": str(guild.id),
            "channel_ids": [str(channel_id) for channel_id in sorted(gained)],
            "threads": [payloads.joined_thread_payload(thread, self.bot_id) for thread in threads],
            "members": members,
        }

    # -- resuming

    def can_replay(self, sequence: int) -> bool:
        """Is every event after `sequence` still in the buffer?"""
        if sequence == self.sequence:
            return True
        return bool(self._buffer) and self._buffer[0][0] <= sequence + 1

    def replay(self, sequence: int) -> int:
        """Send again what came after `sequence`, then RESUMED; returns how many events that were."""
        assert self.outlet is not None
        missed = [message for number, message in self._buffer if number > sequence]
        for message in missed:
            self.outlet.send(message)
        self.sent_events += len(missed)
        self.sequence += 1
        resumed = {"t": "RESUMED", "s": self.sequence, "op": int(Op.DISPATCH), "d": {"_trace": ["sandbox"]}}
        message = orjson.dumps(resumed)
        self._buffer.append((self.sequence, message))
        self.outlet.send(message)
        return len(missed)

    # -- requests

    def send_member_chunks(self, request: Payload) -> None:
        """Answer REQUEST_GUILD_MEMBERS with GUILD_MEMBERS_CHUNKs of at most 1000 members."""
        guild = self._world.guild(int(request["guild_id"]))
        if self.bot_id not in guild.members:
            return
        wanted, not_found = _wanted_members(self._world, guild, request)
        chunks = [wanted[start : start + _CHUNK_MEMBERS] for start in range(0, len(wanted), _CHUNK_MEMBERS)] or [[]]
        for index, chunk in enumerate(chunks):
            data: Payload = {
                "guild_id": str(guild.id),
                "members": chunk,
                "chunk_index": index,
                "chunk_count": len(chunks),
                "not_found": not_found,
                "presences": [],
            }
            if request.get("nonce") is not None:
                data["nonce"] = request["nonce"]
            self._dispatch("GUILD_MEMBERS_CHUNK", data)


_CHUNK_MEMBERS = 1000


def _wanted_members(world: World, guild: Guild, request: Payload) -> tuple[list[Payload], list[str]]:
    """The members a request asks for, by ids or by name prefix, and the ids that are not there."""
    asked = request.get("user_ids")
    if asked is not None:
        ids = [int(user_id) for user_id in (asked if isinstance(asked, list) else [asked])]
        found = [guild.members[user_id] for user_id in ids if user_id in guild.members]
        missing = [str(user_id) for user_id in ids if user_id not in guild.members]
        return [payloads.member_payload(world, member) for member in found], missing
    query = str(request.get("query") or "").lower()
    limit = int(request.get("limit") or 0) or len(guild.members)
    found = [
        member
        for member in guild.members.values()
        if world.user(member.user_id).username.lower().startswith(query)
        or (member.nick or "").lower().startswith(query)
    ]
    return [payloads.member_payload(world, member) for member in found[:limit]], []
