"""What a handler gets: one request with the world, its caller and the checks that many routes share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from ragd.sandbox.entities import Application, Channel, Guild, Intents, Message
from ragd.sandbox.faults import Faults
from ragd.sandbox.permissions import Permission, channel_permissions, guild_permissions, sees
from ragd.sandbox.world import World

from .errors import missing_access, missing_permissions, unauthorized, unknown
from .limits import RateLimits
from .request import path_id


@dataclass(slots=True)
class Api:
    """What all requests share."""

    world: World
    faults: Faults
    limits: RateLimits
    gateway_url: Callable[[], str]
    nonces: dict[tuple[int, str], int] = field(default_factory=dict)
    """(author, nonce) -> message id, for posts with `enforce_nonce`."""


API = web.AppKey("ragd.sandbox.rest", Api)
CALLER = web.RequestKey("ragd.sandbox.caller", Application)


@dataclass(slots=True)
class Call:
    """One request in the hands of its handler. The checks raise the ApiError that Discord would answer with."""

    request: web.Request
    api: Api

    @property
    def world(self) -> World:
        return self.api.world

    @property
    def application(self) -> Application:
        """The application whose token came with the request."""
        caller: Application | None = self.request.get(CALLER)
        if caller is None:
            raise unauthorized()
        return caller

    @property
    def bot_id(self) -> int:
        return self.application.bot_id

    def path_id(self, name: str) -> int:
        return path_id(self.request, name)

    def user_id(self) -> int:
        """The user of the path, `@me` being the bot."""
        return self.bot_id if self.request.match_info["user_id"] == "@me" else self.path_id("user_id")

    # -- things in the path, visible to the caller

    def guild(self) -> Guild:
        """The guild of the path; one that the bot is not in is unknown to it."""
        guild = self.world.guilds.get(self.path_id("guild_id"))
        if guild is None or self.bot_id not in guild.members:
            raise unknown("Guild")
        return guild

    def channel(self) -> tuple[Channel, int]:
        """The channel of the path, and what the bot may do in it; 10003 when unknown, 50001 when hidden."""
        channel = self.world.channels.get(self.path_id("channel_id"))
        if channel is None:
            raise unknown("Channel")
        return channel, self.access(channel)

    def access(self, channel: Channel) -> int:
        """What the bot may do in `channel`; 50001 when it cannot see it."""
        bits = channel_permissions(self.world, self.bot_id, channel)
        if not sees(channel, self.bot_id, bits):
            raise missing_access()
        return bits

    def message(self, channel: Channel) -> Message:
        """The message of the path, which must be in `channel`; 10008 otherwise."""
        message = self.world.messages.get(self.path_id("message_id"))
        if message is None or message.channel_id != channel.id:
            raise unknown("Message")
        return message

    # -- permissions and intents

    def need_in_guild(self, guild: Guild, permission: Permission) -> None:
        need(guild_permissions(guild, self.bot_id), permission)

    def need_intent(self, intent: Intents) -> None:
        """403 unless the privileged intent is switched on for the application."""
        if not self.application.granted_intents & intent:
            raise missing_access()


Handler = Callable[[Call], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path template below /api/v10, and who answers it."""

    method: str
    path: str
    handler: Handler


def need(bits: int, permission: Permission) -> None:
    """50013 unless `bits` has every bit of `permission`."""
    if bits & permission != permission:
        raise missing_permissions()
